"""Backtests: events a CPU-second beside NautilusTrader and hftbacktest, CPU an order, memory as a file grows.

All replay the same columns, already in memory: trades a millisecond apart. Ours follows a TWAP schedule in
steps, under a participation cap, with spread and impact, and keeps every fill; the peers send an order at the
same rate, one for every 1,000 and one for every 10 trades. CPU time, the best of interleaved rounds. Memory
is the peak of a process that backtests a trades file of 1, 4 and 16 times as many sessions.
"""

import contextlib
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from benchmarks.peers import BACKTEST_FOLDER, BACKTEST_REQUIREMENTS, PeerProcess, PeersUnavailableError
from benchmarks.peers import ensure_environment as ensure
from benchmarks.report import Options, Row, not_compared
from native.backtest import Parent, finish, replay
from native.backtest_cap import TrailingCap
from native.backtest_costs import CostModel
from native.schedule import TwapSchedule
from servers.calendars import Calendars
from servers.model.calendar import Session
from servers.model.participation import ASSUMED_PACE
from servers.recordings.table import Int64s

EVENTS = 2_000_000
CHUNK = 4_096
ROUNDS = 5
EVERY = (1_000, 10)
GAP_NANOS = 1_000_000
ONE = 1_000_000_000
GROWTH = (1, 4, 16)
SESSIONS = 4
TRADES_A_SESSION = 60_000
MEMORY_TIMEOUT_SECONDS = 300
ROOT = Path(__file__).resolve().parent.parent
Columns = tuple[Int64s, Int64s, Int64s]


def trades() -> Columns:
    """Return times, prices and sizes in nanos: a random walk in cents, a trade a millisecond."""
    generator = np.random.default_rng(7)
    times = 1_700_000_000 * ONE + np.arange(EVENTS, dtype=np.int64) * GAP_NANOS
    cents = np.maximum(10_000 + np.cumsum(generator.integers(-1, 2, EVENTS)), 5_000)
    sizes = generator.integers(1, 1_000, EVENTS, dtype=np.int64) * ONE
    return times, cents.astype(np.int64) * 10_000_000, sizes


def replay_ours(columns: Columns, every: int) -> tuple[float, Parent]:
    """Return the CPU seconds of one replay, and the order: a child for every so many trades."""
    times, prices, sizes = columns
    schedule = TwapSchedule(EVENTS // every * ONE, ONE, int(times[0]), int(times[-1]) + GAP_NANOS)
    parent = Parent(
        schedule,
        1,
        CostModel(
            half_spread_bps=1.0,
            daily_volatility=0.02,
            daily_volume=float(sizes.sum()) / ONE,
            permanent_share=0.5,
        ),
        step_nanos=every * GAP_NANOS,
        latency_nanos=GAP_NANOS // 2,
        cap=TrailingCap(0.1, assumed_pace=ASSUMED_PACE),
    )
    began = time.process_time()
    for low in range(0, EVENTS, CHUNK):
        part = slice(low, low + CHUNK)
        replay([parent], times[part], prices[part], sizes[part])
    finish([parent], schedule.end_nanos)
    return time.process_time() - began, parent


def run(options: Options) -> list[Row]:
    """Measure all rows, ours and the peers' rounds in turn."""
    columns = trades()
    best = dict.fromkeys(EVERY, math.inf)
    orders: dict[int, Parent] = {}
    peers: dict[str, float] = {}
    reason = "--no-peers"
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        process: PeerProcess | None = None
        if options.compare_peers:
            try:
                np.savez(Path(folder) / "trades.npz", times=columns[0], prices=columns[1], sizes=columns[2])
                python = ensure(options.progress, BACKTEST_FOLDER, BACKTEST_REQUIREMENTS)
                script = Path(__file__).with_name("_backtest_peers.py")
                process = stack.enter_context(PeerProcess(python, script, f"{folder}/trades.npz"))
            except PeersUnavailableError as error:
                reason = str(error)
        options.progress(f"{ROUNDS} interleaved rounds over {EVENTS:,} trades")
        try:
            for _ in range(ROUNDS):
                for every in EVERY:
                    seconds, orders[every] = replay_ours(columns, every)
                    best[every] = min(best[every], seconds)
                if process is not None:
                    for name, value in process.measure().items():
                        peers[name] = max(peers.get(name, 0.0), value)
        except PeersUnavailableError as error:
            reason, peers = str(error), {}
        options.progress(f"memory: trades files of {', '.join(f'{times}x' for times in GROWTH)}")
        memory = [measure_memory(Path(folder), times) for times in GROWTH]
    return [*our_rows(best, orders), *peer_rows(best, peers, reason), *memory_rows(memory)]


def our_rows(best: dict[int, float], orders: dict[int, Parent]) -> list[Row]:
    """Return the speed at both rates, and the CPU of an order with its fill."""
    rare, dense = EVERY
    done = {every: order.fill_count for every, order in orders.items()}
    return [
        Row(
            "events_per_cpu_second",
            EVENTS / best[rare],
            "events/s",
            10e6,
            "min",
            f"one order for {rare:,} trades, {done[rare]:,} fills; schedule, cap, spread and impact",
        ),
        Row(
            "events_per_cpu_second_dense",
            EVENTS / best[dense],
            "events/s",
            10e6,
            "min",
            f"one order for {dense} trades, {done[dense]:,} fills",
        ),
        Row(
            "order_fill_cpu_us",
            best[dense] / orders[dense].child_count * 1e6,
            "us",
            10.0,
            "max",
            f"all CPU of the dense replay over its {orders[dense].child_count:,} orders, the trades included",
        ),
    ]


def peer_rows(best: dict[int, float], peers: dict[str, float], reason: str) -> list[Row]:
    """Return how many times as many events a CPU-second we replay, at the rate that suits the peer better."""
    rows = []
    for peer, target in (("nautilus", 50.0), ("hftbacktest", 1.0)):
        for every, suffix in zip(EVERY, ("", "_dense"), strict=True):
            name = f"over_{peer}{suffix}"
            speed = peers.get(f"{peer}_{every}")
            if not speed:
                why = f"{peer} cannot be used in {BACKTEST_FOLDER.name}" if peers else reason
                rows.append(not_compared(name, "times as fast", target, "min", why))
                continue
            note = f"{speed:,.0f} events a CPU-second with {peers[f'{peer}_{every}_fills']:,.0f} fills"
            rows.append(
                Row(
                    name,
                    EVENTS / best[every] / speed,
                    "times as fast",
                    target,
                    "min",
                    f"one order for {every:,} trades; {note}",
                )
            )
    return rows


def measure_memory(folder: Path, times: int) -> dict[str, float]:
    """Return what `_backtest_memory.py` says of a file of so many times the sessions."""
    path, until = write_trades(folder / f"trades_{times}.csv", SESSIONS * times)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks._backtest_memory", str(path), until],
        check=True,
        capture_output=True,
        text=True,
        timeout=MEMORY_TIMEOUT_SECONDS,
        cwd=ROOT,
    )
    path.unlink()
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def write_trades(path: Path, sessions: int) -> tuple[Path, str]:
    """Write a trades file of one symbol; return it and the date of the session in its middle."""
    calendars = Calendars()
    first = calendars.session_for("XNYS", "2023-01-03")
    assert first is not None
    found = calendars.sessions_between(
        "XNYS", first.open_time_nanos, first.open_time_nanos + 150 * 86_400 * ONE
    )
    chosen = found[:sessions]
    with pa.csv.CSVWriter(path, _SCHEMA) as writer:
        for table in _sessions(chosen):
            writer.write_table(table)
    return path, chosen[sessions // 2 - 1].date


_SCHEMA = pa.schema(
    [("symbol", pa.string()), ("time_ms", pa.int64()), ("price", pa.float64()), ("size", pa.int64())]
)


def _sessions(chosen: tuple[Session, ...]) -> Iterator[pa.Table]:
    generator = np.random.default_rng(9)
    for session in chosen:
        opens = session.open_time_nanos // 10**6
        length = session.length_nanos // 10**6
        times = opens + np.sort(generator.integers(0, length, TRADES_A_SESSION))
        prices = np.round(50.0 + np.cumsum(generator.integers(-1, 2, TRADES_A_SESSION)) * 0.001, 3)
        sizes = generator.integers(1, 500, TRADES_A_SESSION)
        yield pa.table([["AAA"] * TRADES_A_SESSION, times, prices, sizes], schema=_SCHEMA)


def memory_rows(memory: list[dict[str, float]]) -> list[Row]:
    """Return the growth of the peak with the file, and how fast the file is parsed."""
    peaks = [measured["peak_bytes"] for measured in memory]
    said = ", ".join(
        f"{times}x {measured['rows']:,.0f} rows {measured['peak_bytes'] / 1e6:,.0f} MB"
        for times, measured in zip(GROWTH, memory, strict=True)
    )
    largest = memory[-1]
    return [
        Row("peak_memory_16x_over_1x", peaks[-1] / peaks[0], "ratio", 1.2, "max", said),
        Row(
            "parsed_rows_per_cpu_second",
            largest["rows"] / largest["parsing_seconds"],
            "rows/s",
            None,
            "min",
            "CSV to checked prints in nanos, not part of the rows above",
        ),
    ]
