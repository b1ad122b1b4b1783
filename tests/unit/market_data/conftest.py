"""Prints, sessions and venues for tests that need no network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from servers.calendars import Calendars
from servers.market_data.domain import Acknowledgement, Prints, VenueEvent, VenueSession
from servers.market_data.history import BarColumns
from servers.market_data.market import Market
from servers.model.calendar import Session
from servers.model.errors import Unavailable
from servers.reference import load_instruments

NANO = 1_000_000_000


def column(values: Sequence[int]) -> bytes:
    return np.asarray(values, "<i8").tobytes()


def make_prints(
    first_sequence: int,
    times: Sequence[int],
    prices: Sequence[int],
    sizes: Sequence[int],
    flags: Sequence[int] | None = None,
    cancelled: Sequence[int] | None = None,
    symbol: str = "ACME",
) -> Prints:
    return Prints(
        symbol,
        len(times),
        first_sequence,
        column(times),
        column(prices),
        column(sizes),
        column(flags if flags is not None else [1] * len(times)),
        column(cancelled) if cancelled is not None else b"",
    )


def make_bars(rows: Sequence[tuple[int, float]], length_nanos: int = 60 * NANO) -> BarColumns:
    """Return bars at a price of 10 with the given starts and volumes."""
    starts = np.array([start for start, _ in rows], np.int64)
    price = np.full(len(rows), 10 * NANO, np.int64)
    volume = np.array([volume for _, volume in rows], np.float64)
    zeros = np.zeros(len(rows), np.int64)
    return BarColumns(length_nanos, starts, price, price + 1, price - 1, price, volume, zeros, zeros)


class HistoryVenue:
    """A venue that only knows history."""

    def __init__(self, bars: Mapping[str, BarColumns]) -> None:
        self.bars = dict(bars)
        self.asked: list[tuple[str, int]] = []
        self.is_away = False

    async def session(self) -> VenueSession:
        raise Unavailable("PEER_UNAVAILABLE")

    async def list_trades(self, symbol: str, after_sequence: int) -> AsyncIterator[Prints]:
        nothing: tuple[Prints, ...] = ()
        for prints in nothing:
            yield prints

    async def follow(
        self, resume_after: Mapping[str, int], acknowledgements: AsyncIterator[Acknowledgement]
    ) -> AsyncIterator[VenueEvent]:
        nothing: tuple[VenueEvent, ...] = ()
        for event in nothing:
            yield event

    async def history(self, symbol: str, sessions: int) -> BarColumns:
        self.asked.append((symbol, sessions))
        if self.is_away:
            raise Unavailable("PEER_UNAVAILABLE")
        return self.bars.get(symbol, BarColumns.empty(60 * NANO))


@pytest.fixture(scope="session")
def calendars() -> Calendars:
    return Calendars()


@pytest.fixture(scope="session")
def session_of(calendars: Calendars) -> Callable[[str], Session]:
    def session(date: str, calendar: str = "XNYS") -> Session:
        found = calendars.session_for(calendar, date)
        assert found is not None
        return found

    return session


@pytest.fixture
def market() -> Market:
    return Market(load_instruments().instruments)


@pytest.fixture(name="make_prints")
def _make_prints() -> Any:
    return make_prints


@pytest.fixture(name="make_bars")
def _make_bars() -> Any:
    return make_bars


@pytest.fixture(name="HistoryVenue")
def _history_venue() -> Any:
    return HistoryVenue
