"""Bars from prints and from other bars, aligned to real sessions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.market_data.history import BarColumns, bars_of_prints, concatenate, resample
from servers.market_data.tape import Columns
from servers.model.calendar import Session

NANO = 1_000_000_000
MINUTE = 60 * NANO
DAY = 86_400 * NANO


def columns(rows: list[tuple[int, int, int]]) -> Columns:
    times, prices, sizes = (
        np.array(part, np.int64) for part in (zip(*rows, strict=True) if rows else ([],) * 3)
    )
    return Columns(times, prices, sizes, np.ones(len(rows), np.int64))


def nanos(text: str, zone: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * NANO


def plain_bars(rows: list[tuple[int, int, int]], start: int, end: int, length: int) -> list[tuple[Any, ...]]:
    """The same with dictionaries and exact fractions: specification and oracle."""
    length = end - start if length >= DAY else length
    found: dict[int, list[tuple[int, int, int]]] = {}
    for row in rows:
        place = min(max((row[0] - start) // length, 0), (end - start - 1) // length)
        found.setdefault(start + place * length, []).append(row)
    return [
        (
            bin_start,
            inside[0][1],
            max(row[1] for row in inside),
            min(row[1] for row in inside),
            inside[-1][1],
            sum(row[2] for row in inside),
            round(Fraction(sum(row[1] * row[2] for row in inside), sum(row[2] for row in inside))),
            len(inside),
        )
        for bin_start, inside in sorted(found.items())
    ]


@given(
    st.lists(st.tuples(st.integers(-50, 1_100), st.integers(1, 60), st.integers(1, 9)), max_size=40),
    st.integers(1, 1_200),
)
def test_bars_are_what_a_dictionary_of_bins_gives(rows: list[tuple[int, int, int]], length: int) -> None:
    bars = bars_of_prints(columns(rows), 0, 1_000, length)
    found = [
        (
            bar.start_time_nanos,
            bar.open_price_nanos,
            bar.high_price_nanos,
            bar.low_price_nanos,
            bar.close_price_nanos,
            round(bar.volume * NANO),
            bar.vwap_nanos,
            bar.trade_count,
        )
        for bar in bars.bars()
    ]
    assert found == plain_bars(rows, 0, 1_000, length)


@pytest.mark.parametrize(
    ("calendar", "date", "zone", "opens", "closes", "hours"),
    [
        ("XNYS", "2013-10-07", "America/New_York", "09:30", "16:00", 6.5),
        ("XNYS", "2024-03-08", "America/New_York", "09:30", "16:00", 6.5),
        ("XNYS", "2024-03-11", "America/New_York", "09:30", "16:00", 6.5),
        ("XNYS", "2024-07-03", "America/New_York", "09:30", "13:00", 3.5),
        ("XBOM", "2016-08-23", "Asia/Kolkata", "09:15", "15:30", 6.25),
    ],
)
def test_bars_begin_at_the_open_and_the_closing_auction_is_in_the_last(
    session_of: Callable[..., Session],
    calendar: str,
    date: str,
    zone: str,
    opens: str,
    closes: str,
    hours: float,
) -> None:
    session = session_of(date, calendar)
    first, last = nanos(f"{date}T{opens}", zone), nanos(f"{date}T{closes}", zone)
    prints = columns(
        [(first, 10, 1), (first + 30 * MINUTE - 1, 12, 1), (first + 30 * MINUTE, 11, 1), (last, 9, 5)]
    )
    bars = bars_of_prints(prints, session.open_time_nanos, session.close_time_nanos, 30 * MINUTE)
    starts = bars.start_nanos.tolist()
    final = (round(hours * 60) - 1) // 30 * 30
    assert starts == [first, first + 30 * MINUTE, first + final * MINUTE]
    assert bars.trade_count.tolist() == [2, 1, 1]
    (day,) = bars_of_prints(prints, session.open_time_nanos, session.close_time_nanos, DAY).bars()
    assert (day.start_time_nanos, day.length_nanos) == (first, DAY)
    assert (day.open_price_nanos, day.high_price_nanos, day.low_price_nanos, day.close_price_nanos) == (
        10,
        12,
        9,
        9,
    )


def minute_bars(session: Session, count: int, price: int = 10) -> BarColumns:
    number = np.arange(count, dtype=np.int64)
    opens = price * NANO + number
    volume = (number + 1).astype(np.float64)
    return BarColumns(
        MINUTE,
        session.open_time_nanos + number * MINUTE,
        opens,
        opens + 5,
        opens - 5,
        opens + 1,
        volume,
        opens + 2,
        np.ones(count, np.int64),
    )


def test_minutes_join_to_longer_bars_and_to_the_session(session_of: Callable[..., Session]) -> None:
    session = session_of("2024-03-11")
    minutes = minute_bars(session, 390)
    fives = resample(minutes, session, 5 * MINUTE)
    assert len(fives) == 78
    first = fives.bars()[0]
    assert first.open_price_nanos == minutes.open_nanos[0]
    assert first.close_price_nanos == minutes.close_nanos[4]
    assert (first.high_price_nanos, first.low_price_nanos) == (minutes.high_nanos[4], minutes.low_nanos[0])
    assert first.volume == 15
    weights = minutes.volume[:5]
    assert first.vwap_nanos == round(float((minutes.vwap_nanos[:5] * weights).sum() / weights.sum()))
    (day,) = resample(minutes, session, DAY).bars()
    assert day.volume == minutes.volume.sum()
    assert (day.start_time_nanos, day.length_nanos) == (session.open_time_nanos, DAY)


def test_joined_bars_have_no_vwap_when_a_part_has_none(session_of: Callable[..., Session]) -> None:
    session = session_of("2024-03-11")
    minutes = minute_bars(session, 10)
    minutes.vwap_nanos[7] = 0
    assert [bar.vwap_nanos > 0 for bar in resample(minutes, session, 5 * MINUTE).bars()] == [True, False]


def test_bars_outside_the_session_are_left_out(session_of: Callable[..., Session]) -> None:
    friday, monday = session_of("2024-03-08"), session_of("2024-03-11")
    both = concatenate([minute_bars(friday, 390), minute_bars(monday, 390)], MINUTE)
    assert resample(both, monday, MINUTE).start_nanos[0] == monday.open_time_nanos
    assert len(resample(both, monday, MINUTE)) == 390
    assert len(resample(minute_bars(friday, 390), monday, 5 * MINUTE)) == 0


def test_no_prints_and_no_bars_are_empty(session_of: Callable[..., Session]) -> None:
    assert len(bars_of_prints(columns([]), 0, 1_000, 10)) == 0
    assert concatenate([], MINUTE).bars() == []
