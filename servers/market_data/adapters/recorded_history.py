"""Recorded files as history: bars as they are, trades as minute bars of their eligible prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from servers.calendars import Calendars
from servers.market_data.domain import NANOS_PER_MINUTE
from servers.market_data.history import BarColumns, bars_of_prints, concatenate
from servers.market_data.shelf import one_length
from servers.market_data.tape import Columns
from servers.model.market import TradeFlag


def load_history(paths: Sequence[Path], calendars: Calendars, calendar: str) -> Mapping[str, BarColumns]:
    """Return the bars of recorded files, by symbol. Blocks: seconds for a big file.

    Args:
        calendar: whose sessions cut files of trades into days.

    Raises InvalidInput FILE_MALFORMED with file, row, column and reason. Nothing is half-loaded.
    """
    parts: dict[str, list[BarColumns]] = {}
    for path in paths:
        for symbol, bars in _load(path, calendars, calendar).items():
            parts.setdefault(symbol, []).append(bars)
    return {symbol: one_length(bars) for symbol, bars in parts.items()}


def _load(path: Path, calendars: Calendars, calendar: str) -> dict[str, BarColumns]:
    # pyarrow takes a third of a second to import, and most meshes have no history files.
    from servers.recordings import load_bars
    from servers.recordings.trades import is_trades_file

    if is_trades_file(path):
        return _bars_of_trades(path, calendars, calendar)
    return {
        symbol: BarColumns(
            _length(bars.start_nanos),
            bars.start_nanos,
            bars.open_nanos,
            bars.high_nanos,
            bars.low_nanos,
            bars.close_nanos,
            bars.volume,
            bars.vwap_nanos,
            np.zeros(len(bars), np.int64),
        )
        for symbol, bars in load_bars(path).items()
    }


def _bars_of_trades(path: Path, calendars: Calendars, calendar: str) -> dict[str, BarColumns]:
    from servers.recordings.trades import load_trades, recorded_dates

    parts: dict[str, list[BarColumns]] = {}
    for date in recorded_dates(path, calendars.time_zone(calendar)):
        session = calendars.session_for(calendar, date)
        if session is None:
            continue
        for symbol, trades in load_trades(path, session).items():
            counts = (trades.flags & int(TradeFlag.ELIGIBLE)) != 0
            prints = Columns(
                trades.time_nanos[counts],
                trades.price_nanos[counts],
                trades.size_nanos[counts],
                trades.flags[counts],
            )
            parts.setdefault(symbol, []).append(
                bars_of_prints(prints, session.open_time_nanos, session.close_time_nanos, NANOS_PER_MINUTE)
            )
    return {symbol: concatenate(bars, NANOS_PER_MINUTE) for symbol, bars in parts.items()}


def _length(starts: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> int:
    """Return the length of bars that a file does not state: the smallest distance between two."""
    return int(np.diff(starts).min()) if len(starts) > 1 else NANOS_PER_MINUTE
