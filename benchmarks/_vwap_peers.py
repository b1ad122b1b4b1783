"""The peers' side of the VWAP benchmark; runs in `.venv-peers` and answers every line with one round.

The peers get what our kernel gets, int64 nanos, and convert to float64 first: the product of two nanos does
not fit into int64.
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
    prices = (10_000 + np.cumsum(generator.integers(-1, 2, trades))) * 10_000_000
    sizes = generator.integers(1, 1000, trades) * 1_000_000_000
    found: dict[str, Callable[[], object]] = {"floor": lambda: np.multiply(left, right, out=product)}
    try:
        import talib

        # TA-Lib has no running sum: the longest rolling one that it allows stands in, in the same number of
        # passes.
        def by_talib() -> object:
            price, size = prices.astype(np.float64), sizes.astype(np.float64)
            return talib.DIV(talib.SUM(talib.MULT(price, size), 100_000), talib.SUM(size, 100_000))

        found["talib"] = by_talib
    except ImportError:
        pass
    try:
        import pandas as pd

        frame = pd.DataFrame({"price": prices, "size": sizes})

        def by_pandas() -> object:
            price, size = frame["price"].astype("float64"), frame["size"].astype("float64")
            return (price * size).cumsum() / size.cumsum()

        found["pandas"] = by_pandas
    except ImportError:
        pass
    try:
        import polars as pl

        table = pl.DataFrame({"price": prices, "size": sizes})
        price, size = pl.col("price").cast(pl.Float64), pl.col("size").cast(pl.Float64)
        vwap = (price * size).cum_sum() / size.cum_sum()
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
