"""The peers' side of the VWAP benchmark; runs in `.venv-peers` and answers every line with one round.

The peers get what our kernel gets, int64 nanos of prices and sizes, and convert them to float64 first: the
product of two nanos does not fit into int64. Which session a trade belongs to is known to all beforehand: as
rows where sessions start, or as a column with the session's number. Each says it the way its users do, a
group for each column that is summed; `_grouped_once` are the fastest forms that we found, for the notes.
"""

import itertools
import json
import sys
import time
from collections.abc import Callable

import numpy as np

SESSIONS = 10


def cases(trades: int) -> dict[str, Callable[[], object]]:
    """Return what to time, by name; a library that cannot be imported is left out."""
    generator = np.random.default_rng(7)
    left, right, product = generator.random(trades), generator.random(trades), np.zeros(trades)
    prices = (10_000 + np.cumsum(generator.integers(-1, 2, trades))) * 10_000_000
    sizes = generator.integers(1, 1000, trades) * 1_000_000_000
    starts = np.arange(SESSIONS + 1) * (trades // SESSIONS)
    session = np.repeat(np.arange(SESSIONS), trades // SESSIONS)
    found: dict[str, Callable[[], object]] = {"floor": lambda: np.multiply(left, right, out=product)}
    try:
        import talib

        # TA-Lib has no running sum: the longest rolling one that it allows stands in, in the same number of
        # passes, session by session.

        def by_talib() -> object:
            series = []
            for first, last in itertools.pairwise(starts):
                price, size = prices[first:last].astype(np.float64), sizes[first:last].astype(np.float64)
                series.append(
                    talib.DIV(talib.SUM(talib.MULT(price, size), 100_000), talib.SUM(size, 100_000))
                )
            return np.concatenate(series)

        found["talib"] = by_talib
    except ImportError:
        pass
    try:
        import pandas as pd

        frame = pd.DataFrame({"price": prices, "size": sizes, "session": session})

        def by_pandas() -> object:
            price, size = frame["price"].astype("float64"), frame["size"].astype("float64")
            session = frame["session"]
            return (price * size).groupby(session).cumsum() / size.groupby(session).cumsum()

        def by_pandas_grouped_once() -> object:
            size = frame["size"].astype("float64")
            columns = pd.DataFrame({"notional": frame["price"].astype("float64") * size, "size": size})
            sums = columns.groupby(frame["session"]).cumsum()
            return sums["notional"] / sums["size"]

        found["pandas"] = by_pandas
        found["pandas_grouped_once"] = by_pandas_grouped_once
    except ImportError:
        pass
    try:
        import polars as pl

        table = pl.DataFrame({"price": prices, "size": sizes, "session": session})
        price, size = pl.col("price").cast(pl.Float64), pl.col("size").cast(pl.Float64)
        each = (price * size).cum_sum().over("session") / size.cum_sum().over("session")
        once = ((price * size).cum_sum() / size.cum_sum()).over("session")
        found["polars"] = lambda: table.select(each)
        found["polars_grouped_once"] = lambda: table.select(once)
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
