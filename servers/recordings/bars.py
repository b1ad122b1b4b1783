"""Bars files: `symbol,start_time_ms,open,high,low,close[,vwap],volume`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from servers.recordings.table import (
    NANOS_PER_MILLISECOND,
    Doubles,
    Int64s,
    TableFile,
    doubles,
    int64s,
    to_nanos,
)
from servers.recordings.trades import MAX_PRICE

COLUMNS = ("symbol", "start_time_ms", "open", "high", "low", "close", "volume")
PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True)
class RecordedBars:
    """The bars of one symbol, oldest first.

    Prices in 1e-9 currency units (`vwap_nanos` 0 where the file has none), volume in shares.
    """

    symbol: str
    start_nanos: Int64s
    open_nanos: Int64s
    high_nanos: Int64s
    low_nanos: Int64s
    close_nanos: Int64s
    vwap_nanos: Int64s
    volume: Doubles

    def __len__(self) -> int:
        return len(self.start_nanos)


def load_bars(path: Path, symbols: Collection[str] = ()) -> dict[str, RecordedBars]:
    """Return the bars of a file, by symbol.

    Args:
        path: CSV (.gz, .xz) or Parquet.
        symbols: those wanted; none for all of the file.

    Raises InvalidInput FILE_MALFORMED that names file, row, column and reason: a price that is none, a
    high below a low, a negative volume, a bar that is there twice. Nothing is half-loaded.
    """
    table = TableFile(path)
    has_vwap = "vwap" in table.columns
    numbers = (*PRICES, *(("vwap",) if has_vwap else ()), "volume")
    types = {"symbol": pa.string(), "start_time_ms": pa.int64(), **{name: pa.float64() for name in numbers}}
    wanted = pa.array(sorted(symbols), pa.string())
    parts: dict[str, list[dict[str, Int64s | Doubles]]] = defaultdict(list)
    for first_row, whole in table.blocks(types):
        _check(table, first_row, whole)
        block = whole.filter(pc.is_in(whole.column("symbol"), wanted)) if len(wanted) else whole
        names = block.column("symbol").dictionary_encode()
        codes = names.indices.to_numpy(zero_copy_only=False)
        for code, symbol in enumerate(names.dictionary.to_pylist()):
            mine = np.flatnonzero(codes == code)
            columns: dict[str, Int64s | Doubles] = {name: doubles(block, name)[mine] for name in numbers}
            parts[symbol].append({**columns, "start_time_ms": int64s(block, "start_time_ms")[mine]})
    return {symbol: _joined(table, symbol, blocks, has_vwap) for symbol, blocks in sorted(parts.items())}


def _check(table: TableFile, first_row: int, block: pa.RecordBatch) -> None:
    for name in PRICES:
        prices = doubles(block, name)
        table.check(first_row, name, ~((prices > 0) & (prices < MAX_PRICE)), "not a price")
    table.check(
        first_row, "high", doubles(block, "high") < doubles(block, "low"), "the high is below the low"
    )
    table.check(first_row, "volume", ~(doubles(block, "volume") >= 0), "not a volume")


def _joined(
    table: TableFile, symbol: str, blocks: list[dict[str, Int64s | Doubles]], has_vwap: bool
) -> RecordedBars:
    columns = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    order = np.argsort(columns["start_time_ms"], kind="stable")
    columns = {name: column[order] for name, column in columns.items()}
    starts = columns["start_time_ms"].astype(np.int64) * NANOS_PER_MILLISECOND
    repeated = np.flatnonzero(np.diff(starts) == 0)
    if len(repeated):
        raise table.wrong(
            f"{symbol} has two bars at {int(starts[repeated[0]]) // NANOS_PER_MILLISECOND}",
            column="start_time_ms",
        )
    vwap = to_nanos(columns["vwap"]) if has_vwap else np.zeros(len(starts), np.int64)
    prices = {name: to_nanos(columns[name]) for name in PRICES}
    return RecordedBars(
        symbol,
        starts,
        prices["open"],
        prices["high"],
        prices["low"],
        prices["close"],
        vwap,
        columns["volume"].astype(np.float64),
    )
