"""Earlier sessions of a recorded file as minute bars. The file is read once, whoever asks and how often."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from servers.calendars import Calendars
from servers.exchange.history import MINUTE_NANOS, MinuteBar
from servers.model.calendar import Session
from servers.model.market import TradeFlag
from servers.recordings import RecordedTrades, load_bars, load_profile
from servers.recordings.table import Doubles, Int64s
from servers.recordings.trades import is_trades_file, stream_trades


class MinuteColumns(NamedTuple):
    """Minutes in which something traded, oldest first: prices in nanos, volume in shares.

    A minute has a second row for what an auction printed in it (`is_auction`): the closing auction prints
    after the bell and counts in the session's last minute, other prints after the bell do not count.
    """

    start_nanos: Int64s
    open_nanos: Int64s
    high_nanos: Int64s
    low_nanos: Int64s
    close_nanos: Int64s
    volume: Doubles
    is_auction: Int64s

    def take(self, rows: Int64s) -> MinuteColumns:
        """Return some of the rows."""
        return MinuteColumns(
            self.start_nanos[rows],
            self.open_nanos[rows],
            self.high_nanos[rows],
            self.low_nanos[rows],
            self.close_nanos[rows],
            self.volume[rows],
            self.is_auction[rows],
        )


class RecordedHistory:
    """What a file of trades or bars says about sessions before a given one.

    It holds a minute's columns of all wanted symbols, some 60 bytes a minute and symbol.

    Args:
        calendar: whose sessions cut the file into days.
        symbols: those wanted; none for all of the file.
        profile: which prints of a trades file count; by default the shipped one that fits its columns.
    """

    def __init__(
        self,
        path: Path,
        calendars: Calendars,
        calendar: str,
        symbols: Collection[str] = (),
        profile: str = "",
    ) -> None:
        self._path = path
        self._calendars = calendars
        self._calendar = calendar
        self._symbols = frozenset(symbols)
        self._profile = profile
        self._reading = threading.Lock()
        self._minutes: Mapping[str, MinuteColumns] | None = None

    def bars(self, symbol: str, session: Session, count: int) -> list[MinuteBar]:
        """Return the bars of the last `count` sessions before `session` in which the symbol traded.

        Any thread may call. Raises InvalidInput FILE_MALFORMED as the first reading of the file did.
        """
        with self._reading:
            if self._minutes is None:
                self._minutes = self._read()
        minutes = self._minutes.get(symbol)
        if minutes is None:
            return []
        minutes = minutes.take(np.flatnonzero(minutes.start_nanos < session.open_time_nanos))
        if not len(minutes.start_nanos):
            return []
        first = int(minutes.start_nanos[0])
        earlier = self._calendars.sessions_between(self._calendar, first, session.open_time_nanos)
        days = [day for day in (_bars_of_session(minutes, one) for one in earlier) if day]
        return [bar for day in days[-count:] for bar in day]

    def _read(self) -> Mapping[str, MinuteColumns]:
        if not is_trades_file(self._path):
            return {
                symbol: MinuteColumns(
                    bars.start_nanos - bars.start_nanos % MINUTE_NANOS,
                    bars.open_nanos,
                    bars.high_nanos,
                    bars.low_nanos,
                    bars.close_nanos,
                    np.floor(bars.volume),
                    np.zeros(len(bars), np.int64),
                )
                for symbol, bars in load_bars(self._path, self._symbols).items()
            }
        profile = load_profile(self._profile) if self._profile else None
        parts: dict[str, list[tuple[Int64s, Doubles]]] = defaultdict(list)
        for prints in stream_trades(self._path, self._symbols, profile):
            parts[prints.symbol].append(_minutes_of_prints(prints))
        return {symbol: _joined(mine) for symbol, mine in parts.items()}


def _minutes_of_prints(prints: RecordedTrades) -> tuple[Int64s, Doubles]:
    """Return what each minute's eligible prints come to, and their volume.

    Rows are (minute, is_auction, first time, last time, open, high, low, close).
    """
    rows = np.flatnonzero(prints.flags & int(TradeFlag.ELIGIBLE))
    rows = rows[np.argsort(prints.time_nanos[rows], kind="stable")]
    times, prices = prints.time_nanos[rows], prints.price_nanos[rows]
    minutes = times - times % MINUTE_NANOS
    auctions = ((prints.flags[rows] & int(TradeFlag.AUCTION)) != 0).astype(np.int64)
    order = np.lexsort((auctions, minutes))  # stable: in time order within a minute and kind
    rows, times, prices, minutes, auctions = (
        column[order] for column in (rows, times, prices, minutes, auctions)
    )
    firsts = _firsts(minutes, auctions)
    if not len(firsts):
        return np.empty((8, 0), np.int64), np.empty(0)
    lasts = np.append(firsts[1:], len(rows)) - 1
    return (
        np.stack(
            [
                minutes[firsts],
                auctions[firsts],
                times[firsts],
                times[lasts],
                prices[firsts],
                np.maximum.reduceat(prices, firsts),
                np.minimum.reduceat(prices, firsts),
                prices[lasts],
            ]
        ),
        np.add.reduceat(prints.size_nanos[rows] / 1e9, firsts),
    )


def _joined(parts: list[tuple[Int64s, Doubles]]) -> MinuteColumns:
    """Return one row a minute and kind, of blocks in which a minute may occur again."""
    columns = np.concatenate([part for part, _ in parts], axis=1)
    volumes = np.concatenate([volume for _, volume in parts])
    order = np.lexsort((columns[2], columns[1], columns[0]))
    minutes, auctions, begins, lasts, opens, highs, lows, closes = columns[:, order]
    firsts = _firsts(minutes, auctions)
    if not len(firsts):
        none = np.empty(0, np.int64)
        return MinuteColumns(none, none, none, none, none, np.empty(0), none)
    ends = np.append(firsts[1:], len(minutes))
    last = [first + int(np.argmax(lasts[first:end])) for first, end in zip(firsts, ends, strict=True)]
    joined = MinuteColumns(
        minutes[firsts],
        opens[firsts],
        np.maximum.reduceat(highs, firsts),
        np.minimum.reduceat(lows, firsts),
        closes[last],
        np.add.reduceat(volumes[order], firsts),
        auctions[firsts],
    )
    # Of a minute's two rows the one that began first: an opening auction before what followed it.
    return joined.take(np.lexsort((begins[firsts], minutes[firsts])))


def _firsts(minutes: Int64s, auctions: Int64s) -> Int64s:
    """Return the first row of each run of the same minute and kind."""
    starts = np.ones(len(minutes), bool)
    starts[1:] = (minutes[1:] != minutes[:-1]) | (auctions[1:] != auctions[:-1])
    return np.flatnonzero(starts)


def _bars_of_session(minutes: MinuteColumns, session: Session) -> list[MinuteBar]:
    opened, closed = session.open_time_nanos, session.close_time_nanos
    # The closing auction prints within hours of the bell, and no session opens so soon after another.
    first, end = np.searchsorted(minutes.start_nanos, (opened, closed + 6 * 60 * MINUTE_NANOS))
    mine = minutes.take(np.arange(first, end))
    mine = mine.take(np.flatnonzero((mine.start_nanos < closed) | (mine.is_auction == 1)))
    last_minute = opened + (max(closed - opened - 1, 0) // MINUTE_NANOS) * MINUTE_NANOS
    bars: list[MinuteBar] = []
    for start, open_, high, low, close, volume, _ in zip(*(column.tolist() for column in mine), strict=True):
        if volume < 1:
            continue
        bar = MinuteBar(min(start, last_minute), open_, high, low, close, volume)
        if bars and bars[-1].start_nanos == bar.start_nanos:
            bars[-1] = _together(bars[-1], bar)
        else:
            bars.append(bar)
    return bars


def _together(first: MinuteBar, then: MinuteBar) -> MinuteBar:
    return MinuteBar(
        first.start_nanos,
        first.open_nanos,
        max(first.high_nanos, then.high_nanos),
        min(first.low_nanos, then.low_nanos),
        then.close_nanos,
        first.volume + then.volume,
    )
