"""The panel of a file, summed while it is read: a few figures a bin stay, no row does."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from servers.backtest.tape import RowsOutOfOrder, TapeFile
from servers.backtest.tracking import BIN_NANOS, load_panel, require_sessions
from servers.calendars import Calendars
from servers.forecast import Panel
from servers.model.calendar import Session
from servers.model.errors import InvalidInput
from servers.recordings import load_bars
from servers.recordings.table import Doubles


def read_panel(
    path: Path,
    is_bars: bool,
    calendar: str,
    calendars: Calendars,
    bin_nanos: int = BIN_NANOS,
    *,
    must_be_ordered: bool = False,
) -> Panel:
    """Return volume and mean price by symbol, session and bin, of the symbols that traded.

    A bar counts in the bin that holds its start. Bars whose rows are in no order are read whole, unless
    `must_be_ordered`: they are to be replayed. Raises InvalidInput FILE_MALFORMED with the row,
    VALUE_OUT_OF_RANGE for a file in which nothing traded, or most of it outside the calendar's sessions.
    """
    try:
        return _streamed(TapeFile(path, is_bars, calendar, calendars), calendar, bin_nanos)
    except InvalidInput as error:
        if is_bars and not must_be_ordered and isinstance(error.__cause__, RowsOutOfOrder):
            return load_panel(load_bars(path), calendar, calendars, bin_nanos)
        raise


def _streamed(tape: TapeFile, calendar: str, bin_nanos: int) -> Panel:
    sums: dict[tuple[str, str], tuple[Doubles, Doubles]] = {}
    sessions: dict[str, Session] = {}
    for part in tape.totals():
        date = part.session.date
        sessions[date] = part.session
        bins = -(-part.session.length_nanos // bin_nanos)
        if (part.symbol, date) not in sums:
            sums[part.symbol, date] = np.zeros(bins), np.zeros(bins)
        volumes, notional = sums[part.symbol, date]
        at = (part.times - part.session.open_time_nanos) // bin_nanos
        np.add.at(volumes, at, part.volumes)
        np.add.at(notional, at, part.volumes * part.prices)
    if tape.volume_read:
        require_sessions(sum(volumes.sum() for volumes, _ in sums.values()) / tape.volume_read, calendar)
    traded = {key: found for key, found in sums.items() if found[0].any()}
    if not traded:
        raise InvalidInput("VALUE_OUT_OF_RANGE", "nothing traded in any session of the file", field="path")
    symbols = sorted({symbol for symbol, _ in traded})
    dates = sorted({date for _, date in traded})
    counts = np.array([-(-sessions[date].length_nanos // bin_nanos) for date in dates], np.int64)
    shape = (len(symbols), len(dates), int(counts.max()))
    all_volumes, all_prices = np.zeros(shape), np.full(shape, np.nan)
    row = {symbol: index for index, symbol in enumerate(symbols)}
    column = {date: index for index, date in enumerate(dates)}
    for (symbol, date), (volumes, notional) in traded.items():
        place = (row[symbol], column[date], slice(len(volumes)))
        all_volumes[place] = volumes
        all_prices[place] = np.divide(notional, volumes, out=np.full(len(volumes), np.nan), where=volumes > 0)
    return Panel(tuple(symbols), tuple(sessions[date] for date in dates), counts, all_volumes, all_prices)
