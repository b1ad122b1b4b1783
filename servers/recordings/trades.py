"""Trades files: `symbol,time_ms,price,size` and what the feed's profile names."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from servers.model.calendar import Session
from servers.model.market import TradeFlag
from servers.recordings.profile import FeedProfile, profile_for
from servers.recordings.table import NANOS_PER_MILLISECOND, Int64s, TableFile, doubles, int64s, to_nanos

COLUMNS = ("symbol", "time_ms", "price", "size")
MAX_PRICE = 4_000_000.0
MAX_SIZE = 4_000_000_000.0


@dataclass(frozen=True, slots=True)
class RecordedTrades:
    """The prints of one symbol, oldest first; equal times keep the file's order.

    Attributes:
        time_nanos: UTC epoch nanoseconds.
        price_nanos: prices in 1e-9 currency units.
        size_nanos: sizes in 1e-9 shares.
        flags: sums of `TradeFlag`.
    """

    symbol: str
    time_nanos: Int64s
    price_nanos: Int64s
    size_nanos: Int64s
    flags: Int64s

    def __len__(self) -> int:
        return len(self.time_nanos)


def is_trades_file(path: Path) -> bool:
    """Return whether a file has the columns of trades (bars have others)."""
    return set(COLUMNS) <= set(TableFile(path).columns)


def load_trades(
    path: Path,
    session: Session,
    symbols: Collection[str] = (),
    profile: FeedProfile | None = None,
) -> dict[str, RecordedTrades]:
    """Return the prints of one session's local date, by symbol, pre- and post-market included.

    Args:
        path: CSV (.gz, .xz) or Parquet.
        session: whose date is read; prints outside its regular hours are EXTENDED_HOURS and not eligible.
        symbols: those wanted; none for all of the file.
        profile: which prints count; by default the shipped one that fits the columns.

    Raises InvalidInput FILE_MALFORMED that names file, row, column and reason. Nothing is half-loaded.
    """
    first_ms, end_ms = _local_day(session)
    parts: dict[str, list[tuple[Int64s, Int64s, Int64s, Int64s]]] = defaultdict(list)
    for prints in stream_trades(path, symbols, profile, first_ms=first_ms, end_ms=end_ms):
        parts[prints.symbol].append((prints.time_nanos, prints.price_nanos, prints.size_nanos, prints.flags))
    return {symbol: _joined(symbol, columns, session) for symbol, columns in sorted(parts.items())}


def stream_trades(
    path: Path,
    symbols: Collection[str] = (),
    profile: FeedProfile | None = None,
    *,
    first_ms: int = 0,
    end_ms: int = 2**63 - 1,
) -> Iterator[RecordedTrades]:
    """Yield a file's prints as they stand in it, block by block, one symbol of a block at a time.

    Sessions are not known here: a print outside regular hours is as eligible as its condition says.

    Args:
        path: CSV (.gz, .xz) or Parquet; it is read once, and only a block of it is held.
        symbols: those wanted; none for all of the file.
        profile: which prints count; by default the shipped one that fits the columns.
        first_ms: prints before it are left out, UTC epoch milliseconds.
        end_ms: likewise from it on.

    Raises InvalidInput FILE_MALFORMED that names file, row, column and reason.
    """
    table = TableFile(path)
    profile = profile or profile_for(table.columns)
    types = {
        "symbol": pa.string(),
        "time_ms": pa.int64(),
        "price": pa.float64(),
        "size": pa.float64(),
        **{column: pa.string() for column in profile.columns},
    }
    wanted = pa.array(sorted(symbols), pa.string())
    for first_row, block in table.blocks(types):
        times = int64s(block, "time_ms")
        is_wanted = (times >= first_ms) & (times < end_ms)
        if len(wanted):
            is_wanted &= pc.is_in(block.column("symbol"), wanted).to_numpy(zero_copy_only=False)
        prices, sizes = doubles(block, "price"), doubles(block, "size")
        table.check(first_row, "price", is_wanted & ~((prices > 0) & (prices < MAX_PRICE)), "not a price")
        table.check(first_row, "size", is_wanted & ~((sizes > 0) & (sizes < MAX_SIZE)), "not a size")
        rows = np.flatnonzero(is_wanted)
        if not len(rows):
            continue
        kept = block.take(pa.array(rows))
        flags = _flags(table, first_row, rows, kept, profile)
        names = kept.column("symbol").dictionary_encode()
        codes = names.indices.to_numpy(zero_copy_only=False)
        for code, symbol in enumerate(names.dictionary.to_pylist()):
            mine = np.flatnonzero(codes == code)
            at = rows[mine]
            yield RecordedTrades(
                symbol,
                times[at] * NANOS_PER_MILLISECOND,
                to_nanos(prices[at]),
                to_nanos(sizes[at]),
                flags[mine],
            )


def recorded_dates(path: Path, time_zone: str, symbols: Collection[str] = ()) -> list[str]:
    """Return the local dates ("YYYY-MM-DD", ascending) on which a trades or bars file has rows."""
    table = TableFile(path)
    column = "time_ms" if "time_ms" in table.columns else "start_time_ms"
    wanted = pa.array(sorted(symbols), pa.string())
    found: set[str] = set()
    for _, block in table.blocks({"symbol": pa.string(), column: pa.int64()}):
        if len(wanted):
            block = block.filter(pc.is_in(block.column("symbol"), wanted))
        moments = pc.cast(block.column(column), pa.timestamp("ms", tz=time_zone))
        found.update(pc.unique(pc.strftime(moments, "%Y-%m-%d")).to_pylist())
    return sorted(found)


def _local_day(session: Session) -> tuple[int, int]:
    """Return [first, end) of the session's local date in UTC epoch milliseconds."""
    day = datetime.date.fromisoformat(session.date)
    zone = ZoneInfo(session.time_zone)
    first, end = (
        datetime.datetime.combine(date, datetime.time(), zone).timestamp()
        for date in (day, day + datetime.timedelta(days=1))
    )
    return round(first * 1000), round(end * 1000)


def _flags(
    table: TableFile, first_row: int, rows: npt.NDArray[np.intp], kept: pa.RecordBatch, profile: FeedProfile
) -> Int64s:
    """Return eligibility (session apart), auction and off-exchange bits of the rows that are kept."""
    flags = np.full(kept.num_rows, int(TradeFlag.ELIGIBLE), np.int64)
    if profile.condition_column:
        conditions = _conditions(table, first_row, rows, kept, profile.condition_column)
        flags[(conditions & profile.ineligible_mask) != 0] &= ~int(TradeFlag.ELIGIBLE)
        flags[(conditions & profile.auction_mask) != 0] |= int(TradeFlag.AUCTION)
    if profile.venue_column:
        codes = pa.array(profile.off_exchange_venues, pa.string())
        is_off = pc.is_in(kept.column(profile.venue_column), codes).to_numpy(zero_copy_only=False)
        flags[is_off] |= int(TradeFlag.OFF_EXCHANGE)
    return flags


def _conditions(
    table: TableFile, first_row: int, rows: npt.NDArray[np.intp], kept: pa.RecordBatch, column: str
) -> Int64s:
    """Return hexadecimal texts as numbers; there are few different ones."""
    encoded = kept.column(column).dictionary_encode()
    numbers = []
    for code, text in enumerate(encoded.dictionary.to_pylist()):
        try:
            numbers.append(int(text, 16))
        except ValueError:
            indices = encoded.indices.to_numpy(zero_copy_only=False)
            row = first_row + int(rows[np.argmax(indices == code)])
            raise table.wrong(f"{text!r} is no hexadecimal number", row=row, column=column) from None
    return cast(Int64s, np.array(numbers, np.int64)[encoded.indices.to_numpy(zero_copy_only=False)])


def _joined(
    symbol: str, columns: list[tuple[Int64s, Int64s, Int64s, Int64s]], session: Session
) -> RecordedTrades:
    times, prices, sizes, flags = (np.concatenate(part) for part in zip(*columns, strict=True))
    is_regular = (times >= session.open_time_nanos) & (times < session.close_time_nanos)
    # The closing auction prints moments after the bell and belongs to the regular session.
    is_regular |= (flags & int(TradeFlag.AUCTION) != 0) & (times >= session.open_time_nanos)
    flags[~is_regular] &= ~int(TradeFlag.ELIGIBLE)
    flags[~is_regular] |= int(TradeFlag.EXTENDED_HOURS)
    order = np.argsort(times, kind="stable")
    return RecordedTrades(symbol, times[order], prices[order], sizes[order], flags[order])
