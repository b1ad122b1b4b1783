"""One recorded day as prints, from a file of trades or of bars."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from servers.model.calendar import Session
from servers.model.market import TradeFlag
from servers.recordings import (
    RecordedBars,
    RecordedTrades,
    load_bars,
    load_profile,
    load_trades,
    profile_for,
)
from servers.recordings.table import TableFile
from servers.recordings.trades import is_trades_file

BAR_NANOS = 60_000_000_000
PRINTS_A_BAR = 12


def load_day(
    path: Path, session: Session, symbols: Collection[str], profile: str = ""
) -> dict[str, RecordedTrades]:
    """Return the prints of a session by symbol.

    Raises InvalidInput FILE_MALFORMED that names file, row, column and reason; nothing is half-loaded.
    """
    if is_trades_file(path):
        return load_trades(path, session, symbols, load_profile(profile) if profile else None)
    day = {}
    for symbol, bars in load_bars(path, symbols).items():
        prints = prints_of_bars(bars, session)
        if len(prints):
            day[symbol] = prints
    return day


def rule_of(path: Path, profile: str = "") -> str:
    """Return for people which prints of a file count."""
    if not is_trades_file(path):
        return "regular session, as prints made of recorded bars"
    return (load_profile(profile) if profile else profile_for(TableFile(path).columns)).rule


def prints_of_bars(bars: RecordedBars, session: Session) -> RecordedTrades:
    """Return prints that make up the bars of a session: open, extremes, close, volume, and VWAP if given.

    Open, low, high and close print a twelfth of the volume each, the rest prints between, at the price that
    makes the bar's VWAP (its typical price without one), held within low and high.
    """
    starts = bars.start_nanos
    rows = np.flatnonzero(
        (starts >= session.open_time_nanos) & (starts < session.close_time_nanos) & (bars.volume >= 1)
    )
    count = len(rows)
    whole = np.floor(bars.volume[rows]).astype(np.int64)
    part = whole // PRINTS_A_BAR
    open_, high = bars.open_nanos[rows], bars.high_nanos[rows]
    low, close = bars.low_nanos[rows], bars.close_nanos[rows]
    mean = np.where(bars.vwap_nanos[rows] > 0, bars.vwap_nanos[rows], (high + low + close) // 3)
    rest = whole - 4 * part
    middle = (mean.astype(np.float64) * whole - part.astype(np.float64) * (open_ + low + high + close)) / rest
    middle = np.clip(middle.round().astype(np.int64), low, high)
    is_rising = close >= open_
    corners = [open_, np.where(is_rising, low, high), np.where(is_rising, high, low), close]
    prices = np.empty((count, PRINTS_A_BAR), np.int64)
    sizes = np.empty((count, PRINTS_A_BAR), np.int64)
    prices[:] = middle[:, None]
    between = rest // (PRINTS_A_BAR - 4)
    sizes[:] = between[:, None]
    for column, corner in zip((0, 4, 7, PRINTS_A_BAR - 1), corners, strict=True):
        prices[:, column] = corner
        sizes[:, column] = part
    sizes[:, 5] += rest - between * (PRINTS_A_BAR - 4)
    step = BAR_NANOS // PRINTS_A_BAR
    times = starts[rows][:, None] + np.arange(PRINTS_A_BAR)[None, :] * step + step // 2
    is_print = sizes.ravel() > 0
    flags = np.full(int(is_print.sum()), int(TradeFlag.ELIGIBLE), np.int64)
    return RecordedTrades(
        bars.symbol,
        times.ravel()[is_print],
        prices.ravel()[is_print],
        (sizes.ravel() * 1_000_000_000)[is_print],
        flags,
    )
