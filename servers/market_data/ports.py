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
    """Where the tape is kept across restarts, by session (open and close). The venue refills what is lost."""

    def load(self) -> Iterable[tuple[tuple[int, int], Prints]]:
        """Yield what is kept of the last sessions, oldest first; a torn tail is cut off."""
        ...

    async def append(self, session: tuple[int, int], runs: Sequence[Prints]) -> None:
        """Write runs of a session and sync them. Raises OSError when the disk does not take them."""
        ...

    async def clear(self) -> None:
        """Let go of everything."""
        ...

    async def close(self) -> None:
        """Close what is open."""
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
