"""Prints out of bars: four a bar, at open, extremes and close, that trade its volume at its VWAP."""

from __future__ import annotations

import numpy as np

from servers.recordings.table import Doubles, Int64s

BAR_NANOS = 60_000_000_000
PRINTS_PER_BAR = 4
_NEWTON_STEPS = 12


def prints_of_bars(
    starts: Int64s,
    open_prices: Doubles,
    high_prices: Doubles,
    low_prices: Doubles,
    close_prices: Doubles,
    vwaps: Doubles,
    volumes: Doubles,
    bar_nanos: int = BAR_NANOS,
) -> tuple[Int64s, Int64s, Int64s]:
    """Return times, prices and sizes (int64 nanos) of the prints that stand for bars.

    A bar that rises goes open, low, high, close, one that falls open, high, low, close, each in the middle of
    its quarter of the bar: nothing of a bar is seen at its start. The sizes are those nearest to equal (in
    relative entropy) whose mean price is the VWAP; (high + low + close) / 3 where there is none. Bars without
    volume make no prints.
    """
    traded = volumes > 0
    starts, volumes = starts[traded], volumes[traded]
    rises = close_prices[traded] >= open_prices[traded]
    low, high = low_prices[traded], high_prices[traded]
    path = np.stack(
        [open_prices[traded], np.where(rises, low, high), np.where(rises, high, low), close_prices[traded]],
        axis=1,
    )
    typical = (high + low + close_prices[traded]) / 3.0
    weights = tilted_weights(path, np.where(vwaps[traded] > 0, vwaps[traded], typical))
    totals = np.rint(volumes * 1e9).astype(np.int64)
    sizes = np.floor(weights * totals[:, None]).astype(np.int64)
    # Rounding leaves a few nanos: the first print carries them, so that the volume is exact.
    sizes[:, 0] += totals - sizes.sum(axis=1)
    middles = (2 * np.arange(PRINTS_PER_BAR) + 1) * bar_nanos // (2 * PRINTS_PER_BAR)
    times = starts[:, None] + middles[None, :]
    prices = np.rint(path * 1e9).astype(np.int64)
    return times.ravel(), prices.ravel(), sizes.ravel()


def tilted_weights(path: Doubles, means: Doubles) -> Doubles:
    """Return positive weights (rows sum to 1) whose mean of `path` is `means`, as near to equal as can be.

    Exponential tilting by Newton's method; a mean at or outside the row's extremes is drawn just inside.
    """
    low, high = path.min(axis=1), path.max(axis=1)
    span = np.where(high > low, high - low, 1.0)
    relative = (path - low[:, None]) / span[:, None]
    wanted = np.clip((means - low) / span, 0.02, 0.98)
    tilt = np.zeros(len(path))
    for _ in range(_NEWTON_STEPS):
        weights = _softmax(tilt[:, None] * relative)
        mean = (weights * relative).sum(axis=1)
        spread = (weights * relative**2).sum(axis=1) - mean**2
        tilt += np.clip((wanted - mean) / np.maximum(spread, 1e-3), -4.0, 4.0)
    flat = high <= low
    return _softmax(np.where(flat, 0.0, tilt)[:, None] * relative)


def _softmax(values: Doubles) -> Doubles:
    raised = np.exp(values - values.max(axis=1, keepdims=True))
    total: Doubles = raised / raised.sum(axis=1, keepdims=True)
    return total
