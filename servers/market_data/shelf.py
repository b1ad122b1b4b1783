"""Earlier sessions' bars, fetched once and kept: from recorded files, and from the venue for the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import numpy as np

from servers.market_data.domain import NANOS_PER_MINUTE
from servers.market_data.history import BarColumns, concatenate
from servers.market_data.ports import Venue


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
        self._fetched: dict[tuple[str, int], asyncio.Task[BarColumns]] = {}

    async def bars(self, symbol: str, before_nanos: int) -> BarColumns:
        """Return the bars that start before `before_nanos`, the open of the present session, oldest first.

        Raises Unavailable when the venue does not answer; the next call asks again.
        """
        key = (symbol, before_nanos)
        task = self._fetched.get(key)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            for old in [other for other in self._fetched if other[0] == symbol]:
                del self._fetched[old]
            task = self._fetched[key] = asyncio.create_task(self._fetch(symbol, before_nanos))
        return await asyncio.shield(task)

    async def _fetch(self, symbol: str, before_nanos: int) -> BarColumns:
        venue = (await self._venue.history(symbol, self._sessions)).between(0, before_nanos)
        recorded = self.files.get(symbol)
        if recorded is None:
            return venue
        recorded = recorded.between(0, before_nanos)
        if not len(recorded) or recorded.length_nanos != venue.length_nanos:
            return recorded if len(recorded) else venue
        day = 12 * 60 * NANOS_PER_MINUTE
        first, last = int(recorded.start_nanos[0]), int(recorded.start_nanos[-1])
        parts = [venue.between(0, first - day), recorded, venue.between(last + day, before_nanos)]
        return concatenate(parts, recorded.length_nanos)


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
