"""Earlier sessions: from recorded files, from what was seen, from the venue; and TA-Lib's own answers."""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import talib

from servers.calendars import Calendars
from servers.market_data.adapters.recorded_history import load_history
from servers.market_data.adapters.talib_indicators import TalibIndicators
from servers.market_data.domain import IndicatorSpec
from servers.market_data.indicators import BarSeries
from servers.market_data.shelf import HistoryShelf
from servers.market_data.tape import SymbolTape
from servers.model.calendar import Session
from servers.model.errors import InvalidInput, Unavailable

NANO = 1_000_000_000
MINUTE = 60 * NANO
BARS = "symbol,start_time_ms,open,high,low,close,vwap,volume\n"


def bars_csv(session: Session, minutes: int, price: float = 10.01, symbol: str = "ACME") -> str:
    start = session.open_time_nanos // 1_000_000
    return "".join(
        f"{symbol},{start + 60_000 * minute},{price},{price + 1},{price - 1},{price},{price},{100 + minute}\n"
        for minute in range(minutes)
    )


def write(path: Path, text: str) -> Path:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif path.suffix == ".xz":
        path.write_bytes(lzma.compress(text.encode()))
    else:
        path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["bars.csv", "bars.csv.gz", "bars.csv.xz"])
def test_recorded_bars_are_history(
    tmp_path: Path, name: str, session_of: Callable[[str], Session], calendars: Calendars
) -> None:
    session = session_of("2024-03-08")
    path = write(tmp_path / name, BARS + bars_csv(session, 5) + bars_csv(session, 3, symbol="BOLT"))
    history = load_history([path], calendars, "XNYS")
    assert sorted(history) == ["ACME", "BOLT"]
    acme = history["ACME"]
    assert (len(acme), acme.length_nanos, acme.start_nanos[0]) == (5, MINUTE, session.open_time_nanos)
    assert (acme.open_nanos[0], acme.vwap_nanos[0]) == (10_010_000_000, 10_010_000_000)
    assert acme.volume.tolist() == [100, 101, 102, 103, 104]


def test_recorded_trades_become_minutes_of_eligible_prints(
    tmp_path: Path, session_of: Callable[[str], Session], calendars: Calendars
) -> None:
    session = session_of("2013-10-07")
    at = session.open_time_nanos // 1_000_000
    text = "symbol,time_ms,price,size,exchange,sale_condition\n" + "".join(
        f"BAC,{at + offset},{price},{size},{exchange},{condition}\n"
        for offset, price, size, exchange, condition in [
            (-60_000, 13.0, 500, "N", "1"),
            (0, 14.0, 100, "N", "40"),
            (10_000, 14.1, 200, "D", "1"),
            (20_000, 99.0, 900, "D", "100000"),
            (61_000, 14.2, 300, "N", "20"),
        ]
    )
    bars = load_history([write(tmp_path / "trades.csv", text)], calendars, "XNYS")["BAC"]
    assert bars.start_nanos.tolist() == [session.open_time_nanos, session.open_time_nanos + MINUTE]
    assert bars.volume.tolist() == [300.0, 300.0]
    assert bars.high_nanos.tolist() == [14_100_000_000, 14_200_000_000]


def test_two_files_of_one_symbol_are_joined_in_time_order(
    tmp_path: Path, session_of: Callable[[str], Session], calendars: Calendars
) -> None:
    friday, monday = session_of("2024-03-08"), session_of("2024-03-11")
    later = write(tmp_path / "later.csv", BARS + bars_csv(monday, 2))
    earlier = write(tmp_path / "earlier.csv", BARS + bars_csv(friday, 2) + bars_csv(monday, 1, price=99.0))
    acme = load_history([later, earlier], calendars, "XNYS")["ACME"]
    assert acme.start_nanos.tolist() == sorted(acme.start_nanos.tolist())
    assert len(acme) == 4
    assert acme.open_nanos[2] == 10_010_000_000


def test_a_malformed_file_is_refused_with_row_and_column(tmp_path: Path, calendars: Calendars) -> None:
    path = write(tmp_path / "bars.csv", BARS + "ACME,1,10,11,9,10,10,5\nACME,2,10,11,9,ten,10,5\n")
    with pytest.raises(InvalidInput) as refusal:
        load_history([path], calendars, "XNYS")
    assert refusal.value.reason == "FILE_MALFORMED"
    assert refusal.value.metadata["column"] == "close"


async def test_the_shelf_joins_the_best_source_of_each_stretch(
    session_of: Callable[[str], Session],
    calendars: Calendars,
    make_bars: Any,
    HistoryVenue: Any,  # noqa: N803
) -> None:
    present = session_of("2024-03-11").open_time_nanos
    earlier = calendars.sessions_before("XNYS", present, 4)
    opens = [session.open_time_nanos for session in earlier]
    venue = HistoryVenue({"ACME": make_bars([(start, 1.0) for start in opens])})
    files = {"ACME": make_bars([(opens[1], 2.0), (opens[2], 2.0), (present, 2.0)])}
    shelf = HistoryShelf(venue, 60, files)
    bars = await shelf.bars("ACME", present)
    assert bars.volume.tolist() == [1.0, 2.0, 2.0, 1.0]
    assert (await shelf.bars("ACME", present)) is bars
    assert venue.asked == [("ACME", 60)]
    assert len(await shelf.bars("BOLT", present)) == 0


async def test_files_of_another_bar_length_stand_alone(
    session_of: Callable[[str], Session],
    make_bars: Any,
    HistoryVenue: Any,  # noqa: N803
) -> None:
    start = session_of("2024-03-08").open_time_nanos
    venue = HistoryVenue({"ACME": make_bars([(start, 1.0)])})
    shelf = HistoryShelf(
        venue, 60, {"ACME": make_bars([(start, 2.0), (start + 5 * MINUTE, 2.0)], 5 * MINUTE)}
    )
    bars = await shelf.bars("ACME", start + 100 * MINUTE)
    assert (bars.length_nanos, bars.volume.tolist()) == (5 * MINUTE, [2.0, 2.0])


async def test_a_session_that_was_seen_replaces_what_the_venue_says_of_it(
    session_of: Callable[[str], Session],
    make_bars: Any,
    make_prints: Any,
    HistoryVenue: Any,  # noqa: N803
) -> None:
    friday, monday = session_of("2024-03-08"), session_of("2024-03-11")
    venue = HistoryVenue({"ACME": make_bars([(friday.open_time_nanos, 1.0)])})
    shelf = HistoryShelf(venue, 60)
    tape = SymbolTape("ACME")
    tape.append(make_prints(1, [friday.open_time_nanos], [50], [7 * NANO]))
    shelf.keep(tape, friday.open_time_nanos, friday.close_time_nanos)
    shelf.keep(SymbolTape("BOLT"), friday.open_time_nanos, friday.close_time_nanos)
    assert (await shelf.bars("ACME", monday.open_time_nanos)).volume.tolist() == [7.0]


async def test_a_venue_that_is_away_is_asked_again(make_bars: Any, HistoryVenue: Any) -> None:  # noqa: N803
    venue = HistoryVenue({"ACME": make_bars([(1, 1.0)])})
    venue.is_away = True
    shelf = HistoryShelf(venue, 60)
    with pytest.raises(Unavailable):
        await shelf.bars("ACME", 10)
    venue.is_away = False
    assert len(await shelf.bars("ACME", 10)) == 1


def series(count: int) -> BarSeries:
    walk = 50 + np.cumsum(np.sin(np.arange(count) * 0.7))
    return BarSeries(walk, walk + 1, walk - 1, walk + 0.3, np.arange(1.0, count + 1))


def test_indicators_equal_talibs_functions() -> None:
    bars, indicators = series(120), TalibIndicators()
    rsi = indicators.compute(IndicatorSpec("RSI", {"timeperiod": 14}), bars)["real"]
    np.testing.assert_array_equal(rsi, talib.RSI(bars.close, 14))
    macd = indicators.compute(IndicatorSpec("MACD", {}), bars)
    for output, values in zip(("macd", "macdsignal", "macdhist"), talib.MACD(bars.close), strict=True):
        np.testing.assert_array_equal(macd[output], values)
    atr = indicators.compute(IndicatorSpec("ATR", {"timeperiod": 5}), bars)["real"]
    np.testing.assert_array_equal(atr, talib.ATR(bars.high, bars.low, bars.close, 5))
    doji = indicators.compute(IndicatorSpec("CDLDOJI", {}), bars)["integer"]
    assert np.isnan(doji[:10]).all()
    np.testing.assert_array_equal(doji[10:], talib.CDLDOJI(bars.open, bars.high, bars.low, bars.close)[10:])


def test_every_function_of_bars_gives_one_value_a_bar() -> None:
    bars, indicators = series(40), TalibIndicators()
    known = talib.get_functions()  # type: ignore[no-untyped-call]
    names = [name for name in known if name != "MAVP"]  # MAVP reads a series of periods
    assert len(names) > 150
    for name in names:
        outputs = indicators.compute(IndicatorSpec(name, {}), bars)
        assert {len(values) for values in outputs.values()} == {40}, name


def test_fewer_bars_than_the_warm_up_are_all_nan() -> None:
    values = TalibIndicators().compute(IndicatorSpec("SMA", {"timeperiod": 30}), series(5))["real"]
    assert np.isnan(values).all()
    assert len(values) == 5


async def test_a_venue_that_is_away_leaves_the_files_and_is_asked_again(
    session_of: Callable[[str], Session],
    calendars: Calendars,
    make_bars: Any,
    HistoryVenue: Any,  # noqa: N803
) -> None:
    present = session_of("2024-03-11").open_time_nanos
    opens = [session.open_time_nanos for session in calendars.sessions_before("XNYS", present, 2)]
    venue = HistoryVenue({"ACME": make_bars([(opens[1], 1.0)])})
    venue.is_away = True
    shelf = HistoryShelf(venue, 60, {"ACME": make_bars([(opens[0], 2.0), (present, 2.0)])})
    assert (await shelf.bars("ACME", present)).volume.tolist() == [2.0]
    with pytest.raises(Unavailable):
        await shelf.bars("BOLT", present)
    venue.is_away = False
    assert (await shelf.bars("ACME", present)).volume.tolist() == [2.0, 1.0]
    assert venue.asked == [("ACME", 60), ("BOLT", 60), ("ACME", 60)]
