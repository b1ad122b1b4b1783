"""Earlier sessions' bars, fetched once and kept: from recorded files, and from the venue for the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import numpy as np

from servers.market_data.domain import NANOS_PER_MINUTE
from servers.market_data.history import BarColumns, bars_of_prints, concatenate
from servers.market_data.ports import Venue
from servers.market_data.tape import SymbolTape
from servers.model.errors import TapelineError

NANOS_PER_HOUR = 60 * NANOS_PER_MINUTE
NANOS_PER_HALF_DAY = 12 * NANOS_PER_HOUR
"""Sessions lie further apart than this: bars within it of another's are of the same session."""


VENUE_SECONDS = 2.0
"""Longest wait for a venue whose history is wanted beside what is at hand: callers have deadlines."""


class HistoryShelf:
    """Minute bars of sessions before the present one, by symbol.

    Attributes:
        files: bars that were read from recorded files, by symbol, any span of time.

    Args:
        venue: asked for what lies before the first and after the last bar of the files.
        sessions: how many earlier sessions to ask the venue for.
    """

    def __init__(self, venue: Venue, sessions: int, files: Mapping[str, BarColumns] | None = None) -> None:
        self.files: Mapping[str, BarColumns] = files or {}
        self._venue = venue
        self._sessions = sessions
        self._seen: dict[str, list[BarColumns]] = {}
        self._fetched: dict[tuple[str, int], asyncio.Task[BarColumns]] = {}

    async def bars(self, symbol: str, before_nanos: int) -> BarColumns:
        """Return the bars that start before `before_nanos`, the open of the present session, oldest first.

        Where the venue does not answer, what recorded files and seen sessions hold is all there is, and the
        next call asks the venue again. Raises what the venue raised (Unavailable) when there is nothing else.
        """
        key = (symbol, before_nanos)
        task = self._fetched.get(key)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            for old in [other for other in self._fetched if other[0] == symbol]:
                del self._fetched[old]
            task = self._fetched[key] = asyncio.create_task(self._fetch(symbol, before_nanos))
        return await asyncio.shield(task)

    def keep(self, tape: SymbolTape, open_nanos: int, close_nanos: int) -> None:
        """Keep a session that was seen to its end as minute bars: from now on it is history."""
        following = tape.eligible(open_nanos, close_nanos + NANOS_PER_HOUR)
        bars = bars_of_prints(following, open_nanos, close_nanos, NANOS_PER_MINUTE)
        if len(bars):
            seen = self._seen.setdefault(tape.symbol, [])
            seen.append(bars)
            del seen[: -self._sessions]

    async def _fetch(self, symbol: str, before_nanos: int) -> BarColumns:
        """Put the best source of each stretch together: recorded files, what was seen, then the venue."""
        seen = self._seen.get(symbol, [])
        better = [*seen, *([self.files[symbol]] if symbol in self.files else [])]
        joined = await self._of_venue(symbol, before_nanos, has_other=bool(better))
        for bars in better:
            bars = bars.between(0, before_nanos)
            if not len(bars):
                continue
            if bars.length_nanos != joined.length_nanos and len(joined):
                joined = bars
                continue
            first, last = int(bars.start_nanos[0]), int(bars.start_nanos[-1])
            parts = [
                joined.between(0, first - NANOS_PER_HALF_DAY),
                bars,
                joined.between(last + NANOS_PER_HALF_DAY, before_nanos),
            ]
            joined = concatenate(parts, bars.length_nanos)
        return joined.between(0, before_nanos)

    async def _of_venue(self, symbol: str, before_nanos: int, *, has_other: bool) -> BarColumns:
        if not has_other:
            return await self._venue.history(symbol, self._sessions)
        try:
            async with asyncio.timeout(VENUE_SECONDS):
                return await self._venue.history(symbol, self._sessions)
        except (TapelineError, TimeoutError):
            # What is at hand does for this caller; it is not the whole, so it is not kept.
            self._fetched.pop((symbol, before_nanos), None)
            return BarColumns.empty(NANOS_PER_MINUTE)


def one_length(parts: list[BarColumns]) -> BarColumns:
    """Return several files' bars of one symbol in time order; of two bars at one time, the first file's."""
    length_nanos = min(part.length_nanos for part in parts)
    joined = concatenate([part for part in parts if part.length_nanos == length_nanos], length_nanos)
    _, rows = np.unique(joined.start_nanos, return_index=True)
    return BarColumns(
        length_nanos,
        *(
            getattr(joined, name)[rows]
            for name in (
                "start_nanos",
                "open_nanos",
                "high_nanos",
                "low_nanos",
                "close_nanos",
                "volume",
                "vwap_nanos",
                "trade_count",
            )
        ),
    )
