"""What prints imply of the quotes around them, from each print and earlier ones alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from servers.model.market import TradeFlag
from servers.recordings import RecordedTrades

Int64s = npt.NDArray[np.int64]

SPREAD_MEMORY = 0.02
QUEUE_MEMORY = 0.05
QUOTE_NANOS = 100_000_000
_GRIDS_NANOS = (1_000_000_000, 100_000_000, 50_000_000, 10_000_000, 5_000_000, 1_000_000, 100_000)
_GRID_PRINTS = 1_000


@dataclass(frozen=True, slots=True)
class ImpliedQuotes:
    """One row a print, as of just after it.

    Attributes:
        bid_nanos, ask_nanos: implied best quote, 0 before the first print on an exchange.
        queue_nanos: what would stand at the touch: the usual volume of a run of prints at one price.
        last_nanos: price of the last print that counts, 0 before the first.
    """

    bid_nanos: Int64s
    ask_nanos: Int64s
    queue_nanos: Int64s
    last_nanos: Int64s
    time_nanos: Int64s

    def changes(self, start: int, end: int) -> npt.NDArray[np.intp]:
        """Return the rows in [start, end) whose quote goes out: the last of each 100 ms."""
        rows = np.arange(start, end)
        slots = self.time_nanos[start:end] // QUOTE_NANOS
        is_last = np.append(slots[1:] != slots[:-1], True)
        return rows[is_last & (self.bid_nanos[start:end] > 0)]


def price_grid(prices: Int64s) -> int:
    """Return the coarsest grid, in nanos, on which nine of ten of the first prints lie."""
    sample = prices[:_GRID_PRINTS]
    for grid in _GRIDS_NANOS:
        if len(sample) and np.count_nonzero(sample % grid == 0) >= 0.9 * len(sample):
            return grid
    return 1


def imply_quotes(trades: RecordedTrades) -> ImpliedQuotes:
    """Return the quotes that the prints of a day imply: the tick rule, reversals, and runs of one price."""
    hidden = int(TradeFlag.OFF_EXCHANGE | TradeFlag.CANCEL | TradeFlag.AUCTION)
    is_seen = (trades.flags & int(TradeFlag.ELIGIBLE) != 0) & (trades.flags & hidden == 0)
    seen = np.flatnonzero(is_seen)
    bids, asks, queues = _quotes(trades.price_nanos[seen].tolist(), trades.size_nanos[seen].tolist(),
                                 price_grid(trades.price_nanos[seen]))  # fmt: skip
    latest = np.cumsum(is_seen) - 1

    def carried(values: list[int]) -> Int64s:
        column: Int64s = np.append(np.array(values, np.int64), 0)[latest]
        return column

    counts = (trades.flags & int(TradeFlag.ELIGIBLE)) != 0
    last = np.where(counts, np.arange(len(counts)), -1)
    last = np.maximum.accumulate(last) if len(last) else last
    prices = np.append(trades.price_nanos, 0)[last]
    return ImpliedQuotes(carried(bids), carried(asks), carried(queues), prices, trades.time_nanos)


def _quotes(prices: list[int], sizes: list[int], grid: int) -> tuple[list[int], list[int], list[int]]:
    bids, asks, queues = [], [], []
    spread, queue = float(grid), float(sizes[0]) if sizes else 0.0
    previous, side, run = 0, 1, 0
    for price, size in zip(prices, sizes, strict=True):
        move = price - previous
        if previous and move:
            turned = 1 if move > 0 else -1
            if turned != side:
                spread += SPREAD_MEMORY * (min(abs(move), 20 * grid) - spread)
            side = turned
            queue += QUEUE_MEMORY * (run - queue)
            run = 0
        run += size
        width = max(-(-round(spread) // grid), 1) * grid
        if side > 0:
            ask = -(-price // grid) * grid
            bid = ask - width
        else:
            bid = price // grid * grid
            ask = bid + width
        bids.append(max(bid, 1))
        asks.append(ask)
        queues.append(max(round(queue), 1))
        previous = price
    return bids, asks, queues
