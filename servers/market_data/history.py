"""Bars of earlier sessions, in columns, and how bars of one length become bars of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from native.slippage import average_price
from servers.market_data.domain import NANOS_PER_DAY, Bar
from servers.market_data.tape import Columns, Int64s
from servers.model.calendar import Session

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BarColumns:
    """Bars of one symbol and one length, oldest first: prices in nanos, volume in shares.

    `vwap_nanos` is 0 where the source has none, and so is `trade_count`.
    """

    length_nanos: int
    start_nanos: Int64s
    open_nanos: Int64s
    high_nanos: Int64s
    low_nanos: Int64s
    close_nanos: Int64s
    volume: Doubles
    vwap_nanos: Int64s
    trade_count: Int64s

    def __len__(self) -> int:
        return len(self.start_nanos)

    @classmethod
    def empty(cls, length_nanos: int) -> BarColumns:
        """Return no bars."""
        none = np.empty(0, np.int64)
        return cls(length_nanos, none, none, none, none, none, np.empty(0), none, none)

    def between(self, start_nanos: int, end_nanos: int) -> BarColumns:
        """Return the bars that start in [start_nanos, end_nanos)."""
        first, end = np.searchsorted(self.start_nanos, (start_nanos, end_nanos))
        return self.take(slice(int(first), max(int(first), int(end))))

    def take(self, rows: slice) -> BarColumns:
        """Return some of the bars."""
        return BarColumns(
            self.length_nanos,
            self.start_nanos[rows],
            self.open_nanos[rows],
            self.high_nanos[rows],
            self.low_nanos[rows],
            self.close_nanos[rows],
            self.volume[rows],
            self.vwap_nanos[rows],
            self.trade_count[rows],
        )

    def bars(self) -> list[Bar]:
        """Return the bars as values."""
        columns = (
            self.start_nanos,
            self.open_nanos,
            self.high_nanos,
            self.low_nanos,
            self.close_nanos,
            self.volume,
            self.vwap_nanos,
            self.trade_count,
        )
        return [
            Bar(start, self.length_nanos, first, high, low, last, volume, vwap, count)
            for start, first, high, low, last, volume, vwap, count in zip(
                *(column.tolist() for column in columns), strict=True
            )
        ]


def concatenate(parts: Sequence[BarColumns], length_nanos: int) -> BarColumns:
    """Return the bars of all parts, one after the other."""
    kept = [part for part in parts if len(part)]
    if not kept:
        return BarColumns.empty(length_nanos)
    return BarColumns(
        length_nanos,
        *(
            np.concatenate([getattr(part, name) for part in kept])
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


def bars_of_prints(prints: Columns, open_nanos: int, close_nanos: int, length_nanos: int) -> BarColumns:
    """Return the bars of eligible prints of one session, aligned to its open.

    A print at or after the close (the closing auction) belongs to the last bar of the session, one
    before the open to the first. A length of a day is the whole session, whatever its hours.
    """
    step = session_length(open_nanos, close_nanos, length_nanos)
    if not len(prints.time_nanos):
        return BarColumns.empty(length_nanos)
    last_bin = max(0, (close_nanos - open_nanos - 1) // step)
    bins = np.clip((prints.time_nanos - open_nanos) // step, 0, last_bin)
    price, size = prints.price_nanos, prints.size_nanos
    if (bins[1:] < bins[:-1]).any():
        order = np.argsort(bins, kind="stable")
        bins, price, size = bins[order], price[order], size[order]
    starts = np.flatnonzero(np.diff(bins, prepend=-1))
    ends = np.append(starts[1:], len(bins))
    shares = size / 1e9
    vwap = [_vwap_nanos(price[first:end], size[first:end]) for first, end in zip(starts, ends, strict=True)]
    return BarColumns(
        length_nanos,
        open_nanos + bins[starts] * step,
        price[starts],
        np.maximum.reduceat(price, starts),
        np.minimum.reduceat(price, starts),
        price[ends - 1],
        np.add.reduceat(shares, starts),
        np.asarray(vwap, np.int64),
        ends - starts,
    )


def resample(bars: BarColumns, session: Session, length_nanos: int) -> BarColumns:
    """Return a session's bars joined to a longer length, aligned to the session's open.

    `length_nanos` is a multiple of the bars' own, or a day (the whole session). Bars that do not start
    inside the session are left out.
    """
    step = session_length(session.open_time_nanos, session.close_time_nanos, length_nanos)
    inside = bars.between(session.open_time_nanos, session.close_time_nanos)
    if length_nanos == bars.length_nanos or not len(inside):
        return inside if len(inside) else BarColumns.empty(length_nanos)
    bins = (inside.start_nanos - session.open_time_nanos) // step
    starts = np.flatnonzero(np.diff(bins, prepend=-1))
    ends = np.append(starts[1:], len(bins))
    volume = np.add.reduceat(inside.volume, starts)
    notional = np.add.reduceat(inside.vwap_nanos * inside.volume, starts)
    has_vwap = np.minimum.reduceat(np.where(inside.volume > 0, inside.vwap_nanos, 1), starts) > 0
    vwap = np.where(has_vwap & (volume > 0), notional / np.where(volume > 0, volume, 1.0), 0.0)
    return BarColumns(
        length_nanos,
        session.open_time_nanos + bins[starts] * step,
        inside.open_nanos[starts],
        np.maximum.reduceat(inside.high_nanos, starts),
        np.minimum.reduceat(inside.low_nanos, starts),
        inside.close_nanos[ends - 1],
        volume,
        np.rint(vwap).astype(np.int64),
        np.add.reduceat(inside.trade_count, starts),
    )


def session_length(open_nanos: int, close_nanos: int, length_nanos: int) -> int:
    """Return the time that a bar spans: a day's bar is the session's."""
    return close_nanos - open_nanos if length_nanos >= NANOS_PER_DAY else length_nanos


def _vwap_nanos(price: Int64s, size: Int64s) -> int:
    return average_price(price.data, size.data).price_nanos or 0
