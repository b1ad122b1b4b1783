"""Stream a bars or trades file by symbol and session, in memory that does not grow with the file."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from servers.backtest.prints import prints_of_bars
from servers.calendars import Calendars
from servers.model.calendar import Session
from servers.recordings import trades
from servers.recordings.profile import FeedProfile, profile_for
from servers.recordings.table import (
    NANOS_PER_MILLISECOND,
    Doubles,
    Int64s,
    TableFile,
    doubles,
    int64s,
    to_nanos,
)

Mask = npt.NDArray[np.bool_]
PRICES = ("open", "high", "low", "close")
MAX_VOLUME = trades.MAX_SIZE
SLIM_BLOCK_BYTES = 512 << 10


@dataclass(frozen=True, slots=True)
class Prints:
    """Part of one symbol's session, in time order: prints as the market saw them.

    Attributes:
        times: UTC epoch nanos.
        prices: nanos.
        sizes: nanos.
        takeable: of each size, what could be had by an order: nothing off exchange or in an auction.
    """

    symbol: str
    session: Session
    times: Int64s
    prices: Int64s
    sizes: Int64s
    takeable: Int64s


@dataclass(frozen=True, slots=True)
class Totals:
    """Volume (shares) and notional by moment, of part of one symbol's session: what bins are summed from."""

    symbol: str
    session: Session
    times: Int64s
    volumes: Doubles
    prices: Doubles


class RowsOutOfOrder(Exception):
    """A symbol's rows are not in the order of their times; the text says where."""


class _SlimTable(TableFile):
    """A table whose reading ahead stays small: pyarrow holds up to 32 blocks unasked for."""

    def _csv(self, types: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
        with self._open() as file:
            yield from pyarrow.csv.open_csv(
                file,
                # In one thread: only then do errors carry the row.
                read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=SLIM_BLOCK_BYTES),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict(types),
                    include_columns=list(types),
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            )


class TapeFile:
    """A file of bars or trades, read block by block.

    Args:
        path: CSV (.gz, .xz) or Parquet.
        is_bars: bars (`symbol,start_time_ms,open,high,low,close[,vwap],volume`) or trades
            (`symbol,time_ms,price,size` and what the feed's profile names: only eligible prints count).
        calendar: code; what lies outside its sessions is left out.

    Every symbol's rows must be in the order of their times. Iterating raises InvalidInput FILE_MALFORMED that
    names row, column and reason.
    """

    def __init__(self, path: Path, is_bars: bool, calendar: str, calendars: Calendars) -> None:
        self._table = _SlimTable(path)
        self._is_bars = is_bars
        self._calendar = calendar
        self._calendars = calendars
        self._profile: FeedProfile | None = None
        self.volume_read = 0.0
        """Of the eligible rows of the last iteration so far, those outside the sessions included."""
        if is_bars:
            self._time = "start_time_ms"
            self._has_vwap = "vwap" in self._table.columns
            self._numbers: tuple[str, ...] = (
                *PRICES,
                *(("vwap",) if self._has_vwap else ()),
                "volume",
            )
        else:
            self._time = "time_ms"
            self._profile = profile_for(self._table.columns)
            self._numbers = ("price", "size")
        self._table.require(["symbol", self._time, *self._numbers])

    def prints(self, symbols: Collection[str] = ()) -> Iterator[Prints]:
        """Yield the prints of some symbols (none: of all)."""
        for symbol, session, times, part in self._sessions(symbols):
            if self._is_bars:
                vwap = part["vwap"] if self._has_vwap else np.zeros(len(times))
                made = prints_of_bars(
                    times, part["open"], part["high"], part["low"], part["close"], vwap, part["volume"]
                )
                # The last bar of a session may have begun before its close and end after it.
                inside = made[0] < session.close_time_nanos
                stamped, prices, sizes = (column[inside] for column in made)
                takeable = sizes
            else:
                stamped, prices, sizes = times, to_nanos(part["price"]), to_nanos(part["size"])
                takeable = np.where(part["takeable"] > 0, sizes, 0)
            if len(stamped):
                yield Prints(symbol, session, stamped, prices, sizes, takeable)

    def totals(self, symbols: Collection[str] = ()) -> Iterator[Totals]:
        """Yield volume and price by moment: of a bar its VWAP, (high + low + close) / 3 where it has none."""
        for symbol, session, times, part in self._sessions(symbols):
            if self._is_bars:
                price = (part["high"] + part["low"] + part["close"]) / 3.0
                if self._has_vwap:
                    price = np.where(part["vwap"] > 0, part["vwap"], price)
                yield Totals(symbol, session, times, part["volume"], price)
            else:
                yield Totals(symbol, session, times, part["size"], part["price"])

    def _sessions(
        self, symbols: Collection[str]
    ) -> Iterator[tuple[str, Session, Int64s, dict[str, Doubles]]]:
        """Yield each run of rows of one symbol and session, checked, ineligible prints left out."""
        wanted = pa.array(sorted(symbols), pa.string())
        newest: dict[str, int] = {}
        self.volume_read = 0.0
        for first_row, block in self._table.blocks(self._types()):
            self._check(first_row, block)
            times = int64s(block, self._time)
            if len(wanted):
                rows = np.flatnonzero(pc.is_in(block.column("symbol"), wanted).to_numpy(zero_copy_only=False))
                block = block.take(pa.array(rows))
                times = times[rows]
            else:
                rows = np.arange(block.num_rows)
            if not len(rows):
                continue
            nanos = times * NANOS_PER_MILLISECOND
            columns: dict[str, Doubles] = {name: doubles(block, name) for name in self._numbers}
            keep = np.ones(len(rows), np.bool_)
            if not self._is_bars:
                keep, takeable = self._eligible(first_row, rows, block)
                columns["takeable"] = takeable.astype(np.float64)
            self.volume_read += float(columns["volume" if self._is_bars else "size"][keep].sum())
            sessions = self._calendars.sessions_between(
                self._calendar, int(nanos.min()), int(nanos.max()) + 1
            )
            opens = np.array([session.open_time_nanos for session in sessions], np.int64)
            closes = np.array([session.close_time_nanos for session in sessions], np.int64)
            day = np.searchsorted(opens, nanos, side="right") - 1
            if len(sessions):
                keep &= (day >= 0) & (nanos < closes[np.maximum(day, 0)])
            else:
                keep[:] = False
            names = block.column("symbol").dictionary_encode()
            codes = names.indices.to_numpy(zero_copy_only=False)
            for code, symbol in enumerate(names.dictionary.to_pylist()):
                mine = np.flatnonzero(keep & (codes == code))
                if not len(mine):
                    continue
                self._check_order(symbol, nanos[mine], first_row + rows[mine], newest)
                for place in np.unique(day[mine]):
                    at = mine[day[mine] == place]
                    part = {name: column[at] for name, column in columns.items()}
                    yield symbol, sessions[int(place)], nanos[at], part

    def _types(self) -> Mapping[str, pa.DataType]:
        extra = self._profile.columns if self._profile else ()
        return {
            "symbol": pa.string(),
            self._time: pa.int64(),
            **dict.fromkeys(self._numbers, pa.float64()),
            **dict.fromkeys(extra, pa.string()),
        }

    def _check(self, first_row: int, block: pa.RecordBatch) -> None:
        for name in PRICES if self._is_bars else ("price",):
            prices = doubles(block, name)
            self._table.check(first_row, name, ~((prices > 0) & (prices < trades.MAX_PRICE)), "not a price")
        if self._is_bars:
            is_wrong = doubles(block, "high") < doubles(block, "low")
            self._table.check(first_row, "high", is_wrong, "the high is below the low")
            volumes = doubles(block, "volume")
            self._table.check(first_row, "volume", ~((volumes >= 0) & (volumes < MAX_VOLUME)), "not a volume")
        else:
            sizes = doubles(block, "size")
            self._table.check(first_row, "size", ~((sizes > 0) & (sizes < MAX_VOLUME)), "not a size")

    def _check_order(self, symbol: str, times: Int64s, rows: Int64s, newest: dict[str, int]) -> None:
        before = np.concatenate([[newest.get(symbol, -1)], times[:-1]])
        wrong = times <= before if self._is_bars else times < before
        newest[symbol] = int(times[-1])
        if not wrong.any():
            return
        at = int(np.argmax(wrong))
        why = f"{symbol} has two bars at this time" if times[at] == before[at] else "the time runs backwards"
        error = self._table.wrong(why, row=int(rows[at]), column=self._time)
        if times[at] == before[at]:
            raise error
        raise error from RowsOutOfOrder(why)

    def _eligible(self, first_row: int, rows: Int64s, block: pa.RecordBatch) -> tuple[Mask, Mask]:
        """Return which prints count, and which an order could have taken part in."""
        profile = self._profile
        assert profile is not None
        counts = np.ones(block.num_rows, np.bool_)
        takeable = np.ones(block.num_rows, np.bool_)
        if profile.condition_column:
            encoded = block.column(profile.condition_column).dictionary_encode()
            codes = encoded.indices.to_numpy(zero_copy_only=False)
            for code, text in enumerate(encoded.dictionary.to_pylist()):
                try:
                    bits = int(text, 16)
                except ValueError:
                    raise self._table.wrong(
                        f"{text!r} is no hexadecimal number",
                        row=first_row + int(rows[np.argmax(codes == code)]),
                        column=profile.condition_column,
                    ) from None
                if bits & profile.ineligible_mask:
                    counts[codes == code] = False
                if bits & profile.auction_mask:
                    takeable[codes == code] = False
        if profile.venue_column:
            away = pa.array(profile.off_exchange_venues, pa.string())
            takeable &= ~pc.is_in(block.column(profile.venue_column), away).to_numpy(zero_copy_only=False)
        return counts, takeable
