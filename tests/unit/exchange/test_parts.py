"""The smaller parts: clock and pacers, tape, phases, history, subscriptions, paging."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from servers.exchange.clock import VenueClock
from servers.exchange.feed import Feed, Subscription
from servers.exchange.history import HistoryModel, draw_history
from servers.exchange.paging import after_token, page_size
from servers.exchange.session import phase_at, phases_of
from servers.exchange.tape import Tape, TapeFile
from servers.model.calendar import Session
from servers.model.errors import InvalidInput, OutOfRange, Unavailable
from servers.model.market import MarketPhase
from servers.model.nanos import NANO

OPEN = 1_700_000_000 * NANO
CLOSE = OPEN + 23_400 * NANO
SESSION = Session("XNYS", "2023-11-14", "America/New_York", OPEN, CLOSE)


def clock(speed: float = 100.0, *, is_held: bool = False) -> VenueClock:
    made = VenueClock(OPEN, speed, is_held=is_held, lead_seconds=5, silence_seconds=2)
    made.allowed_nanos(0)
    return made


def test_market_time_runs_at_its_speed_and_stands_when_held() -> None:
    made = clock(100.0)
    assert made.allowed_nanos(NANO) == OPEN + 100 * NANO
    made.advance(OPEN + 100 * NANO, NANO)
    assert made.allowed_nanos(NANO) == OPEN + 100 * NANO
    assert clock(is_held=True).allowed_nanos(10 * NANO) == OPEN
    made.speed = 1.0
    assert made.allowed_nanos(5 * NANO) == OPEN + 100 * NANO
    assert made.allowed_nanos(6 * NANO) == OPEN + 101 * NANO


def test_the_venue_stays_within_five_seconds_of_its_slowest_pacer() -> None:
    made = clock()
    slow = made.join("slow", 0, is_idle=False)
    fast = made.join("fast", 0, is_idle=False)
    made.acknowledge(fast, OPEN + 50 * NANO, 0, is_idle=False)
    assert made.allowed_nanos(NANO) == OPEN + 5 * NANO
    made.advance(OPEN + 5 * NANO, NANO)
    made.acknowledge(slow, OPEN + 3 * NANO, NANO, is_idle=False)
    made.acknowledge(fast, OPEN + 5 * NANO, NANO, is_idle=False)
    assert made.allowed_nanos(2 * NANO) == OPEN + 8 * NANO
    made.acknowledge(slow, OPEN, 2 * NANO, is_idle=True)
    assert made.allowed_nanos(2 * NANO) == OPEN + 5 * NANO + 5 * NANO
    made.leave(fast)
    assert made.allowed_nanos(2 * NANO) == OPEN + 105 * NANO
    assert made.pacer_count == 1


def test_a_silent_pacer_is_dropped_and_comes_back_with_its_next_word() -> None:
    made = clock()
    pacer = made.join("silent", 0, is_idle=False)
    assert made.drop_silent(2 * NANO) == []
    assert made.drop_silent(2 * NANO + 1) == [pacer]
    assert made.drop_silent(3 * NANO) == []
    assert made.allowed_nanos(NANO) == OPEN + 100 * NANO
    made.acknowledge(pacer, OPEN, 3 * NANO, is_idle=False)
    assert made.allowed_nanos(NANO) == OPEN + 5 * NANO


def test_a_jump_takes_pacers_along_and_never_goes_back() -> None:
    made = clock()
    pacer = made.join("p", 0, is_idle=False)
    made.jump(OPEN + 1_000 * NANO)
    made.jump(OPEN)
    assert made.now_nanos == pacer.acknowledged_nanos == OPEN + 1_000 * NANO


def rows(count: int) -> list[bytes]:
    return [np.arange(count, dtype=np.int64).tobytes() for _ in range(4)]


def test_a_tape_gives_runs_of_at_most_a_thousand_after_a_sequence() -> None:
    tape = Tape("A", first_sequence=11)
    assert tape.last_sequence == 10
    tape.extend(*rows(2_500))
    assert [(run.first_sequence, run.length) for run in tape.after(10)] == [
        (11, 1_000),
        (1_011, 1_000),
        (2_011, 500),
    ]
    assert [(run.first_sequence, run.length) for run in tape.after(2_505)] == [(2_506, 5)]
    assert list(tape.after(9_999)) == []
    assert next(tape.after(0)).first_sequence == 11
    tape.start_over()
    assert (tape.first_sequence, tape.last_sequence) == (2_511, 2_510)


def test_a_tape_comes_back_from_its_file_torn_end_and_all(tmp_path: Path) -> None:
    tape, file = Tape("A/B", 5), TapeFile(tmp_path, "A/B")
    file.begin(tape, OPEN)
    tape.extend(*rows(3))
    file.save(tape)
    file.save(tape)
    file.close()
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes() + b"torn")
    again = Tape("A/B")
    file = TapeFile(tmp_path, "A/B")
    file.load(again, OPEN)
    assert (again.first_sequence, again.last_sequence) == (5, 7)
    again.extend(*rows(1))
    file.save(again)
    file.close()
    third = Tape("A/B")
    TapeFile(tmp_path, "A/B").load(third, OPEN)
    assert third.last_sequence == 8
    other = Tape("A/B", 100)
    TapeFile(tmp_path, "A/B").load(other, CLOSE)
    assert other.last_sequence == 99


def test_phases_follow_the_session() -> None:
    phases = phases_of(SESSION, 300, 30)
    assert phase_at(phases, OPEN - 301 * NANO) is MarketPhase.CLOSED
    assert phase_at(phases, OPEN - 1) is MarketPhase.PRE_OPEN
    assert phase_at(phases, OPEN) is MarketPhase.CONTINUOUS
    assert phase_at(phases, CLOSE) is MarketPhase.CLOSING_AUCTION
    assert phase_at(phases, CLOSE + 30 * NANO) is MarketPhase.CLOSED


def test_drawn_history_is_the_same_again_u_shaped_and_ends_at_the_price() -> None:
    model = HistoryModel("A", 1, 50 * NANO, 10_000_000, 5e6, 0.015)
    sessions = [SESSION, Session("XNYS", "2023-11-15", "America/New_York", OPEN + 10**14, CLOSE + 10**14)]
    bars = draw_history(model, sessions)
    assert bars == draw_history(model, sessions)
    assert bars != draw_history(HistoryModel("A", 2, 50 * NANO, 10_000_000, 5e6, 0.015), sessions)
    assert len(bars) == 780
    assert [bar.start_nanos for bar in bars] == sorted(bar.start_nanos for bar in bars)
    assert abs(bars[-1].close_nanos - 50 * NANO) <= 10_000_000
    assert all(bar.low_nanos <= min(bar.open_nanos, bar.close_nanos) for bar in bars)
    assert all(bar.high_nanos >= max(bar.open_nanos, bar.close_nanos) for bar in bars)
    volumes = np.array([bar.volume for bar in bars]).reshape(2, 390)
    assert (volumes[:, :30].mean(axis=1) > 1.5 * volumes[:, 180:210].mean(axis=1)).all()
    assert 2e6 < volumes.sum(axis=1).mean() < 1e7


async def test_a_reader_gets_its_symbols_and_its_depth_in_order() -> None:
    feed = Feed()
    plain = Subscription(["A"], include_depth=False, limit=10)
    deep = Subscription(["A", "B"], include_depth=True, limit=10)
    feed.join(plain)
    assert [feed.wants_depth] == [False]
    feed.join(deep)
    assert [feed.wants_depth] == [True]
    feed.publish([("A", False, 1), ("B", False, 2), ("A", True, 3), ("", False, 4)])
    assert await plain.take() == [1, 4]
    assert await deep.take() == [1, 2, 3, 4]
    feed.leave(deep)
    assert len(feed) == 1


async def test_a_reader_that_falls_behind_is_cut_off_and_the_end_is_said() -> None:
    slow = Subscription(["A"], include_depth=False, limit=2)
    slow.push([1, 2, 3])
    slow.push([4])
    with pytest.raises(OutOfRange) as caught:
        await slow.take()
    assert caught.value.reason == "STREAM_TOO_SLOW"
    feed, reader = Feed(), Subscription(["A"], include_depth=False, limit=2)
    feed.join(reader)
    feed.close()
    with pytest.raises(Unavailable):
        await reader.take()


def test_pages_have_bounds_and_tokens_are_numbers() -> None:
    assert (page_size(0, 50, 100), page_size(7, 50, 100)) == (50, 7)
    assert (after_token("", 3), after_token("12", 3)) == (3, 12)
    for size in (-1, 101):
        with pytest.raises(InvalidInput):
            page_size(size, 50, 100)
    for token in ("x", "-1", "1" * 30, "²"):
        with pytest.raises(InvalidInput):
            after_token(token, 0)
