"""VWAP series over 10M trades against the floor, TA-Lib, pandas and polars; batched events; exactness.

The floor is one `numpy.multiply(out=)` of float64 columns: it moves the same bytes as a VWAP series (two
columns of eight bytes in, one out) and does the least that can be done to them. Inputs are int64 nanos; every
series is written out whole, into an array made beforehand, as the floor's. Peers are compared over ten
sessions, where a session VWAP has to begin anew; where each starts is known to all of them beforehand. The
session's figure from times and boundaries, which reads all times to see that they are in order, stands in a
note. Times are CPU seconds, the best of interleaved rounds.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import PeerProcess, PeersUnavailableError, ensure_environment
from benchmarks.report import Options, Row, not_compared
from native.running_vwap import RunningVwap
from native.vwap import choose_lanes, rolling_vwap_by_count, rolling_vwap_by_time, session_vwap_series

TRADES = 10_000_000
ROUNDS = 20
# A message holds at most 1,000 ticks.
BATCH = 1_000
BATCHED_EVENTS = 1_000_000
WINDOW_TRADES = 1_000
WINDOW_NANOS = 1_000_000_000
SESSIONS = 10
# math.fsum over whole windows is slow: so many places are compared, the last trade always among them.
COMPARED_PLACES = 20
PEERS = (("talib", 2.0), ("pandas", 30.0), ("polars", 30.0))
Column = NDArray[np.int64]


def trades(count: int = TRADES) -> tuple[Column, Column, Column]:
    """Return prices, sizes and times: a random walk in cents, a trade a millisecond on average."""
    generator = np.random.default_rng(7)
    cents = 10_000 + np.cumsum(generator.integers(-1, 2, count))
    prices = np.maximum(cents, 100).astype(np.int64) * 10_000_000
    sizes = generator.integers(1, 1_000, count, dtype=np.int64) * 1_000_000_000
    times = 1_700_000_000_000_000_000 + np.cumsum(generator.exponential(1e6, count).astype(np.int64))
    return prices, sizes, times


def cpu_seconds(case: Callable[[], object]) -> float:
    """Return the CPU time of one call."""
    began = time.process_time()
    case()
    return time.process_time() - began


def run(options: Options) -> list[Row]:
    """Measure all rows; the peers last in every round, each against the floor of its own environment."""
    prices, sizes, times = trades()
    left, right = np.random.default_rng(8).random(TRADES), np.random.default_rng(9).random(TRADES)
    starts = np.arange(0, TRADES, TRADES // SESSIONS)
    product = np.zeros(TRADES)
    out = np.zeros(TRADES)
    cases: dict[str, Callable[[], object]] = {
        "floor": lambda: np.multiply(left, right, out=product),
        "session": lambda: session_vwap_series(prices, sizes, out=out),
        "sessions": lambda: session_vwap_series(prices, sizes, starts=starts, out=out),
        "dated": lambda: session_vwap_series(prices, sizes, times, times[starts], out=out),
        "count": lambda: rolling_vwap_by_count(prices, sizes, WINDOW_TRADES, out=out),
        "time": lambda: rolling_vwap_by_time(prices, sizes, times, WINDOW_NANOS, out=out),
        "batched": lambda: feed_in_batches(prices, sizes),
    }
    best = dict.fromkeys(cases, math.inf)
    peers_best: dict[str, float] = {}
    reason = "--no-peers"
    process: PeerProcess | None = None
    if options.compare_peers:
        try:
            python = ensure_environment(options.progress)
            process = PeerProcess(python, Path(__file__).with_name("_vwap_peers.py"), str(TRADES))
        except PeersUnavailableError as error:
            reason = str(error)
    options.progress(f"{ROUNDS} interleaved rounds over {TRADES:,} trades")
    try:
        for _ in range(ROUNDS):
            for name, case in cases.items():
                best[name] = min(best[name], cpu_seconds(case))
            if process is not None:
                for name, seconds in process.measure().items():
                    peers_best[name] = min(peers_best.get(name, math.inf), seconds)
    except PeersUnavailableError as error:
        reason, peers_best = str(error), {}
    finally:
        if process is not None:
            process.__exit__(None, None, None)
    options.progress("comparing with math.fsum")
    return [
        *our_rows(best),
        *peer_rows(best["sessions"] / best["floor"], peers_best, reason),
        Row(
            "batched_event_ns",
            best["batched"] / BATCHED_EVENTS * 1e9,
            "ns",
            5.0,
            "max",
            f"RunningVwap with its band, {BATCH:,} trades a batch",
        ),
        Row(
            "max_relative_error",
            max_relative_error(prices, sizes, times),
            "ratio",
            1e-9,
            "max",
            f"all series against math.fsum at {COMPARED_PLACES} places (session: 3), the last included",
        ),
    ]


def feed_in_batches(prices: Column, sizes: Column) -> float:
    """Feed the running average with batches, reading it after each, as a server does."""
    running = RunningVwap()
    last = math.nan
    for start in range(0, BATCHED_EVENTS, BATCH):
        running.update(prices[start : start + BATCH], sizes[start : start + BATCH])
        last = running.vwap
    return last


def our_rows(best: dict[str, float]) -> list[Row]:
    """Return the three series as multiples of the floor."""
    floor = best["floor"]
    lanes = choose_lanes()
    said = f"floor {floor * 1e3:.1f} ms (numpy.multiply(out=), float64); {lanes} lanes"
    windows = {
        "count": f"last {WINDOW_TRADES:,} trades",
        "time": f"last {WINDOW_NANOS / 1e9:g} s, some 1,000 trades",
    }
    return [
        Row(
            "session_series_over_floor",
            best["session"] / floor,
            "x floor",
            1.3,
            "max",
            f"{said}; {best['dated'] / floor:.2f}x from times and boundaries, which checks the times' order",
        ),
        Row("rolling_count_over_floor", best["count"] / floor, "x floor", 2.0, "max", windows["count"]),
        Row("rolling_time_over_floor", best["time"] / floor, "x floor", 6.0, "max", windows["time"]),
    ]


def peer_rows(ours_over_floor: float, peers: dict[str, float], reason: str) -> list[Row]:
    """Return how many times faster the session series is than each peer, floor by floor."""
    rows = []
    for peer, target in PEERS:
        name = f"session_over_{peer}"
        if peer not in peers:
            missing = f"{peer} is not installed in .venv-peers" if peers else reason
            rows.append(not_compared(name, "times faster", target, "min", missing))
            continue
        over_floor = peers[peer] / peers["floor"]
        note = f"ours {ours_over_floor:.2f}x the floor, {peer} {over_floor:.1f}x; {SESSIONS} sessions"
        if peer == "talib":
            note += "; SUM(100,000) for want of a running sum"
        elif f"{peer}_grouped_once" in peers:
            fastest = min(peers[peer], peers[f"{peer}_grouped_once"]) / peers["floor"]
            note += f"; {fastest / ours_over_floor:.1f} times beside {peer}'s fastest form"
        rows.append(Row(name, over_floor / ours_over_floor, "times faster", target, "min", note))
    return rows


def max_relative_error(prices: Column, sizes: Column, times: Column) -> float:
    """Return the largest relative error of the three series at places spread over the trades."""
    places = np.linspace(0, len(prices) - 1, COMPARED_PLACES, dtype=np.int64)
    by_time = np.searchsorted(times, times[places] - WINDOW_NANOS, side="right")
    expected_by_count = [
        exact_vwap(prices, sizes, max(0, int(i) - WINDOW_TRADES + 1), int(i)) for i in places
    ]
    expected_by_time = [
        exact_vwap(prices, sizes, int(j), int(i)) for i, j in zip(places, by_time, strict=True)
    ]
    # The longest sums are the likeliest to be wrong: the session is checked at the end and at a few places
    # before.
    worst = 0.0
    session = session_vwap_series(prices, sizes)
    for i in places[[1, COMPARED_PLACES // 2, -1]]:
        worst = max(worst, abs(float(session[i]) / exact_vwap(prices, sizes, 0, int(i)) - 1))
    for series, expected in (
        (rolling_vwap_by_count(prices, sizes, WINDOW_TRADES), expected_by_count),
        (rolling_vwap_by_time(prices, sizes, times, WINDOW_NANOS), expected_by_time),
    ):
        for i, exact in zip(places, expected, strict=True):
            worst = max(worst, abs(float(series[i]) / exact - 1))
    return worst


def exact_vwap(prices: Column, sizes: Column, first: int, last: int) -> float:
    """Return the VWAP of trades first..last by math.fsum, in price units."""
    window_prices = prices[first : last + 1].astype(np.float64)
    window_sizes = sizes[first : last + 1].astype(np.float64)
    return math.fsum((window_prices * window_sizes).tolist()) / math.fsum(window_sizes.tolist()) / 1e9
