"""What the engine needs of other servers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from servers.signals.domain.live import Bars
from servers.signals.domain.signal import RegimeReading, Sentiment


@dataclass(frozen=True, slots=True)
class SessionTimes:
    """The session that is on, or is next: UTC epoch nanoseconds; both 0 when there is none."""

    open_nanos: int = 0
    close_nanos: int = 0


class MarketHistory(Protocol):
    """Sessions and bars of market_data. Both raise TapelineError when they cannot be had."""

    async def session(self, symbol: str) -> SessionTimes:
        """Return the session of a symbol that is on, or is next."""
        ...

    async def minutes(self, symbol: str, start_nanos: int, now_nanos: int) -> Bars:
        """Return the minutes from a start on that were over at `now_nanos`."""
        ...


class RegimeSource(Protocol):
    """Intelligence's classification."""

    async def regime(
        self, symbol: str, closes_nanos: Sequence[int], sentiment: Sentiment | None, now_nanos: int
    ) -> RegimeReading | None:
        """Return the regime of closes of equal length, oldest first; None when it cannot be had."""
        ...
