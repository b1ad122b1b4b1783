"""History out of a recorded file: read once, by session, with what counts and nothing of the present day."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from servers.calendars import Calendars
from servers.exchange import recorded_history
from servers.exchange.recorded_history import RecordedHistory
from servers.exchange.shared_answers import SharedAnswers
from servers.model.calendar import Session
from servers.recordings import RecordedBars, load_bars

OPEN_MS = 1_381_152_600_000  # 2013-10-07 09:30 in New York
DAY_MS = 86_400_000
MINUTE_NANOS = 60 * 10**9
CALENDARS = Calendars()


def session(date: str) -> Session:
    found = CALENDARS.session_for("XNYS", date)
    assert found is not None
    return found


def test_trades_become_minutes_of_what_counts_whatever_their_order_in_the_file(tmp_path: Path) -> None:
    close = 23_400_000
    rows = [
        (-60_000, 9.0, 500, "1"),  # before the open
        (31_000, 12.0, 5, "1"),
        (0, 10.0, 5, "40"),  # the opening auction, out of order
        (15_000, 99.0, 900, "100000"),  # average price
        (61_000, 11.0, 7, "1"),
        (close - 1_000, 13.0, 2, "1"),
        (close + 5_000, 14.0, 70, "80"),  # the closing auction
        (close + 9_000, 77.0, 70, "1"),  # after the bell
    ]
    text = "symbol,time_ms,price,size,exchange,sale_condition\n" + "".join(
        f"{symbol},{OPEN_MS + day * DAY_MS + offset},{price + day},{size},N,{condition}\n"
        for day in (1, 0)
        for symbol in ("AAA", "BBB")
        for offset, price, size, condition in rows
    )
    path = tmp_path / "trades.csv"
    path.write_text(text)
    history = RecordedHistory(path, CALENDARS, "XNYS", ["AAA"])
    opened = OPEN_MS * 10**6
    bars = history.bars("AAA", session("2013-10-08"), 60)
    assert [bar.start_nanos - opened for bar in bars] == [0, MINUTE_NANOS, 389 * MINUTE_NANOS]
    assert bars[0][1:] == (10 * 10**9, 12 * 10**9, 10 * 10**9, 12 * 10**9, 10.0)
    assert bars[2][1:] == (13 * 10**9, 14 * 10**9, 13 * 10**9, 14 * 10**9, 72.0)
    assert len(history.bars("AAA", session("2013-10-09"), 60)) == 6
    assert history.bars("AAA", session("2013-10-09"), 1)[0].start_nanos == opened + DAY_MS * 10**6
    assert history.bars("AAA", session("2013-10-07"), 60) == []
    assert history.bars("BBB", session("2013-10-09"), 60) == []


@pytest.mark.data
def test_a_file_of_many_days_is_read_once_and_says_what_its_bars_say(
    recorded_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recorded_data / "market" / "us_1min_2024.csv.xz"
    readings = []
    reader = load_bars

    def counted(file: Path, symbols: frozenset[str]) -> dict[str, RecordedBars]:
        readings.append(file)
        return reader(file, symbols)

    monkeypatch.setattr(recorded_history, "load_bars", counted)
    history = RecordedHistory(path, CALENDARS, "XNYS", ["LII", "NVR"])
    present = session("2024-06-03")
    bars = {symbol: history.bars(symbol, present, 60) for symbol in ("LII", "NVR")}
    history.bars("LII", session("2024-06-04"), 60)
    assert readings == [path]
    expected = reader(path, ["LII"])["LII"]
    earlier = CALENDARS.sessions_before("XNYS", present.open_time_nanos, 60)
    for place, bar in ((0, bars["LII"][0]), (59, bars["LII"][-1])):
        assert earlier[place].open_time_nanos <= bar.start_nanos < earlier[place].close_time_nanos
    of_file = sum(
        float(
            expected.volume[
                (expected.start_nanos >= one.open_time_nanos) & (expected.start_nanos < one.close_time_nanos)
            ].sum()
        )
        for one in earlier
    )
    assert sum(bar.volume for bar in bars["LII"]) == pytest.approx(of_file, rel=1e-3)


async def test_a_caller_who_gives_up_does_not_end_the_work_of_others() -> None:
    answers = SharedAnswers[str, int]()
    begun, may_end, calls = asyncio.Event(), asyncio.Event(), []

    async def work() -> int:
        calls.append(time.monotonic())
        begun.set()
        await may_end.wait()
        return 7

    impatient = asyncio.create_task(answers.get("a", work, keep=lambda _: True))
    patient = asyncio.create_task(answers.get("a", work, keep=lambda _: True))
    await begun.wait()
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    may_end.set()
    assert await patient == 7
    assert await answers.get("a", work, keep=lambda _: True) == 7
    assert len(calls) == 1


async def test_work_that_failed_is_done_again_and_what_nobody_asks_for_goes() -> None:
    answers = SharedAnswers[str, int]()
    calls: list[str] = []

    async def fail() -> int:
        calls.append("fail")
        raise OSError("no disk")

    async def answer() -> int:
        calls.append("answer")
        return 1

    with pytest.raises(OSError, match="no disk"):
        await answers.get("a", fail, keep=lambda _: True)
    assert await answers.get("a", answer, keep=lambda _: True) == 1
    assert await answers.get("b", answer, keep=lambda key: key != "a") == 1
    assert await answers.get("a", answer, keep=lambda _: True) == 1
    assert calls == ["fail", "answer", "answer", "answer"]
