"""What market data needs from outside: a venue, a place for the tape, history, indicators."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Protocol

from servers.market_data.domain import Acknowledgement, IndicatorSpec, Prints, VenueEvent, VenueSession
from servers.market_data.history import BarColumns
from servers.market_data.indicators import BarSeries, IndicatorOutputs


class Venue(Protocol):
    """The venue whose feed is followed. Every method raises Unavailable when it does not answer."""

    async def session(self) -> VenueSession:
        """Return the venue's clock and the phase of every symbol."""
        ...

    def list_trades(self, symbol: str, after_sequence: int) -> AsyncIterator[Prints]:
        """Yield the present session's prints after a sequence, oldest first."""
        ...

    def follow(
        self, resume_after: Mapping[str, int], acknowledgements: AsyncIterator[Acknowledgement]
    ) -> AsyncIterator[VenueEvent]:
        """Yield everything that happens, prints after the given sequences first, until the feed breaks."""
        ...

    async def history(self, symbol: str, sessions: int) -> BarColumns:
        """Return minute bars of up to `sessions` sessions before the present one, oldest first."""
        ...


class TapeStore(Protocol):
    """Where the tape is kept across restarts. What was lost is refilled from the venue."""

    def load(self) -> Iterable[Prints]:
        """Yield what is kept, oldest first; a torn tail is cut off."""
        ...

    async def append(self, runs: Sequence[Prints]) -> None:
        """Write runs and sync them. Raises OSError when the disk does not take them."""
        ...

    async def start_session(self, session_date: str) -> None:
        """Write what comes to a new file, and let go of the oldest ones."""
        ...

    async def clear(self) -> None:
        """Let go of everything: the venue that the tape came from is gone."""
        ...

    async def close(self) -> None:
        """Sync and close."""
        ...


class Indicators(Protocol):
    """A library of technical indicators."""

    def lookback(self, spec: IndicatorSpec) -> int:
        """Return the number of bars before the first value.

        Raises InvalidInput INDICATOR_UNKNOWN, or FIELD_INVALID for a parameter.
        """
        ...

    def compute(self, spec: IndicatorSpec, bars: BarSeries) -> IndicatorOutputs:
        """Return output name -> one value a bar, NaN in the warm-up. Refuses as `lookback` does."""
        ...
