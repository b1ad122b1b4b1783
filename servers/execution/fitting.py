"""Fits the volume forecast of a session when the first parent that follows it begins, off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from servers.execution.domain.fitting import (
    FIT_BIN_NANOS,
    OWN_SESSIONS,
    FittedForecast,
    fit_forecast,
)
from servers.execution.domain.parameters import SessionTimes
from servers.execution.domain.quality import PastDay
from servers.execution.ports import Market
from servers.model.errors import TapelineError

FIT_SECONDS = 4.0
"""Longest wait for history and fit: who starts a parent order waits meanwhile."""

MOST_PEERS = 15


class SessionFits:
    """The forecasts of the present session by symbol, each fitted once, in one flight for all who wait."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._fits: dict[tuple[str, int], asyncio.Task[FittedForecast | None]] = {}

    async def fitted(self, symbol: str, session: SessionTimes) -> FittedForecast | None:
        """Return the forecast of a session, or None where history does not come or says too little.

        What could not be had is asked for again by the next parent.
        """
        key = (symbol, session.open_time_nanos)
        fit = self._fits.get(key)
        if fit is None:
            self._fits = {other: task for other, task in self._fits.items() if other[1] == key[1]}
            fit = self._fits[key] = asyncio.create_task(self._fit(symbol, session))
        try:
            async with asyncio.timeout(FIT_SECONDS):
                return await asyncio.shield(fit)
        except (TapelineError, TimeoutError):
            if fit.done():
                self._fits.pop(key, None)
            return None

    async def _fit(self, symbol: str, session: SessionTimes) -> FittedForecast | None:
        opened = session.open_time_nanos
        history: dict[str, Sequence[PastDay]] = {symbol: await self._market.past_days(symbol, opened)}
        if 0 < len(history[symbol]) < OWN_SESSIONS:
            for peer in (await self._market.peers(symbol))[:MOST_PEERS]:
                history[peer] = await self._market.past_days(peer, opened)
        bins = -(-(session.close_time_nanos - opened) // FIT_BIN_NANOS)
        return await asyncio.to_thread(fit_forecast, symbol, history, bins)
