"""The peers' side of the VWAP benchmark; runs in `.venv-peers` and answers every line with one round.

The peers get float64 columns made beforehand: the conversion from int64 nanos, which our kernel does itself, is not
charged to them.
"""

import json
import sys
import time
from collections.abc import Callable

import numpy as np


def cases(trades: int) -> dict[str, Callable[[], object]]:
    """Return what to time, by name; a library that cannot be imported is left out."""
    generator = np.random.default_rng(7)
    left, right, product = generator.random(trades), generator.random(trades), np.zeros(trades)
    prices = 100 + np.cumsum(generator.normal(0, 0.001, trades))
    sizes = generator.integers(1, 1000, trades).astype(np.float64)
    found: dict[str, Callable[[], object]] = {"floor": lambda: np.multiply(left, right, out=product)}
    try:
        import talib

        # TA-Lib has no running sum: the longest rolling one that it allows stands in, in the same number of passes.
        found["talib"] = lambda: talib.DIV(
            talib.SUM(talib.MULT(prices, sizes), timeperiod=100_000), talib.SUM(sizes, timeperiod=100_000)
        )
    except ImportError:
        pass
    try:
        import pandas as pd

        frame = pd.DataFrame({"price": prices, "size": sizes})
        found["pandas"] = lambda: (frame["price"] * frame["size"]).cumsum() / frame["size"].cumsum()
    except ImportError:
        pass
    try:
        import polars as pl

        table = pl.DataFrame({"price": prices, "size": sizes})
        vwap = (pl.col("price") * pl.col("size")).cum_sum() / pl.col("size").cum_sum()
        found["polars"] = lambda: table.select(vwap)
    except ImportError:
        pass
    return found


def main() -> None:
    """Answer rounds until the input ends."""
    timed = cases(int(sys.argv[1]))
    for _ in sys.stdin:
        seconds = {}
        for name, case in timed.items():
            began = time.process_time()
            case()
            seconds[name] = time.process_time() - began
        sys.stdout.write(json.dumps(seconds) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
