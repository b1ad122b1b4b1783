"""The volume forecast of a session, fitted on earlier ones as the backtester does, on live history."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from servers.execution.domain.quality import BIN_SECONDS, PastDay
from servers.forecast import Panel, WalkForward
from servers.model.calendar import Session
from servers.model.clock import NANOS_PER_SECOND

FIT_BIN_NANOS = BIN_SECONDS * NANOS_PER_SECOND
FIT_SESSIONS = 60
LEAST_SESSIONS = 2
"""A single session says nothing of days: the median and the coefficients without a fit stand in."""

OWN_SESSIONS = 20
"""With fewer of its own a symbol's curve and coefficients are fitted together with its peers'. On recorded
names peers are worth some four points of tracking error against the static curve with a fortnight of history,
one point with a month to a quarter."""


@dataclass(frozen=True, slots=True)
class FittedForecast:
    """What `native.volume_share` needs beside the curve's bins, of one symbol and session.

    Attributes:
        curve_shares: expected share of the session's volume in each bin of FIT_BIN_NANOS from the open.
        day_volume: expected volume of the session in shares.
        coefficients: of `ShareForecast`.
        previous_price: last price of earlier sessions in currency units, NaN where there is none.
        typical_move: mean absolute log return from close to close.
        session_count: sessions of the symbol that it was fitted on.
        peer_count: other symbols that it was fitted on.
    """

    curve_shares: tuple[float, ...]
    day_volume: float
    coefficients: tuple[float, ...]
    previous_price: float
    typical_move: float
    session_count: int
    peer_count: int

    @property
    def sentence(self) -> str:
        """What it is, for people."""
        together = f" together with {self.peer_count} other names" if self.peer_count else ""
        return (
            f"fitted on {self.session_count} earlier sessions{together}; {self.day_volume:,.0f} shares were"
            " expected of the session"
        )


def fit_forecast(symbol: str, history: Mapping[str, Sequence[PastDay]], bins: int) -> FittedForecast | None:
    """Return the forecast of the session after `history`; None where the symbol's own says too little.

    Args:
        history: whole days of the symbol and its peers, dated, oldest first.
        bins: of the session to come.
    """
    panel = _panel(history)
    row = panel.symbols.index(symbol) if symbol in panel.symbols else -1
    if row < 0 or len(panel.sessions) < LEAST_SESSIONS or not 0 < bins <= panel.volumes.shape[2]:
        return None
    own = int((panel.day_volumes[row] > 0).sum())
    known = WalkForward().walk(panel, bins)
    day_volume = float(known.volumes[row])
    if own < LEAST_SESSIONS or not (math.isfinite(day_volume) and day_volume > 0):
        return None
    return FittedForecast(
        tuple(known.curves[row].tolist()),
        day_volume,
        tuple(known.coefficients.tolist()),
        float(known.previous_prices[row]),
        float(known.typical_moves[row]),
        own,
        len(panel.symbols) - 1,
    )


def _panel(history: Mapping[str, Sequence[PastDay]]) -> Panel:
    """Return the last FIT_SESSIONS sessions on which any of the symbols traded."""
    by_date = {day.date: day for days in history.values() for day in days if len(day.offsets)}
    sessions = [by_date[date] for date in sorted(by_date)][-FIT_SESSIONS:]
    places = {day.date: place for place, day in enumerate(sessions)}
    symbols = tuple(
        sorted(symbol for symbol, days in history.items() if any(len(day.offsets) for day in days))
    )
    counts = np.array([-(-day.length_nanos // FIT_BIN_NANOS) for day in sessions], np.int64)
    shape = (len(symbols), len(sessions), int(counts.max(initial=0)))
    volumes, prices = np.zeros(shape), np.full(shape, np.nan)
    for row, symbol in enumerate(symbols):
        for day in history[symbol]:
            if day.date not in places:
                continue
            at = day.offsets // FIT_BIN_NANOS
            inside = at < shape[2]
            volumes[row, places[day.date], at[inside]] = day.volumes[inside]
            prices[row, places[day.date], at[inside]] = day.prices[inside]
    dated = tuple(Session("", day.date, "", 0, day.length_nanos, False) for day in sessions)
    return Panel(symbols, dated, counts, volumes, prices)
