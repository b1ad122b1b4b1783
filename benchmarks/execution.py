"""From a trade batch to the child order that it leads to, through a real execution server.

The execution server is a process of its own with its journal on the disk of the working copy. This process
plays market data, orders and risk over loopback gRPC: it hands a batch of prints, a quote and the market's
time to the stream, and the clock runs from there until the request with the child has arrived. In between lie
two gRPC hops, decoding, the aggregates, schedule and cap of a percentage-of-volume parent, the decision, and
the commit of the child to the journal (synced, as in production) before it is sent. The next batch goes when
time is acknowledged.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import grpc
import uvloop
from tapeline.execution.v1 import execution_pb2, execution_service_pb2, execution_service_pb2_grpc
from tapeline.trading.v1 import side_pb2

from benchmarks._execution_peers import Orders, serve
from benchmarks.orders import SCRATCH, _raw_syncs
from benchmarks.report import Options, Row
from servers.execution.adapters.memory import OPEN_NANOS, PracticeVenue, Step
from servers.local.health import health_of
from servers.local.mesh import pick_places

WARM_STEPS = 200
STEPS = 2_000
READY_SECONDS = 60.0
STEP_SECONDS = 10.0
NANO = 1_000_000_000


def run(options: Options) -> list[Row]:
    """Measure on two cores and return the rows."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, set(cores[:2]))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_measure(options, len(cores[:2])))
    finally:
        os.sched_setaffinity(0, set(cores))


async def _measure(options: Options, cores: int) -> list[Row]:
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="execution-", dir=SCRATCH) as name:
        folder = Path(name)
        syncs = _raw_syncs(folder)
        venue = PracticeVenue(lambda now: Step(volume=4_000), now_nanos=OPEN_NANOS)
        peers, address, orders = await serve(venue)
        options.progress(f"the disk syncs {syncs:,.0f} times a second; starting the execution server")
        process, server = _start(folder, address)
        try:
            await _ready(server, process, folder)
            async with grpc.aio.insecure_channel(server) as channel:
                await _begin(execution_service_pb2_grpc.ExecutionServiceStub(channel), venue)
                await _steps(venue, orders, WARM_STEPS)
                options.progress(f"warm; {STEPS:,} batches")
                latencies = await _steps(venue, orders, STEPS)
        finally:
            process.terminate()
            try:
                await asyncio.to_thread(process.wait, 15)
            except subprocess.TimeoutExpired:
                process.kill()
                await asyncio.to_thread(process.wait)
            await peers.stop(None)
    quantiles = statistics.quantiles(latencies, n=100)
    p50, p99 = 1e6 * quantiles[49], 1e6 * quantiles[98]
    said = (
        f"{len(latencies):,} children of {STEPS:,} batches; real process, loopback gRPC both ways,"
        f" journal synced ({1e6 / syncs:,.0f} us a raw sync), {cores} cores shared with the peers"
    )
    return [
        Row("batch_to_child_p50_us", p50, "us", None, "max", said),
        Row("batch_to_child_p99_us", p99, "us", None, "max", f"slowest {1e3 * max(latencies):.1f} ms"),
        Row("raw_fsync_us", 1e6 / syncs, "us", None, "max", "fdatasync of 8 KiB on the same disk"),
    ]


def _start(folder: Path, peers: str) -> tuple[subprocess.Popen[bytes], str]:
    place = pick_places(("execution",), 0)["execution"]
    settings = {
        "port": place.address.rpartition(":")[2],
        "metrics_port": place.metrics.rpartition(":")[2],
        "peers": ",".join(f"{peer}={peers}" for peer in ("market_data", "orders", "risk")),
        "data_dir": str(folder / "state"),
        "parent_pid": str(os.getpid()),
        "log_level": "warning",
    }
    environment = {f"TAPELINE_EXECUTION_{field.upper()}": text for field, text in settings.items()}
    with (folder / "execution.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "servers.execution"],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    return process, place.address


async def _ready(address: str, process: subprocess.Popen[bytes], folder: Path) -> None:
    ends = time.monotonic() + READY_SECONDS
    while await health_of(address) != "SERVING":
        if time.monotonic() > ends or process.poll() is not None:
            log = (folder / "execution.log").read_text(errors="replace")[-2_000:]
            raise RuntimeError(f"execution is not ready; its log ends with:\n{log}")
        await asyncio.sleep(0.1)


async def _begin(stub: execution_service_pb2_grpc.ExecutionServiceAsyncStub, venue: PracticeVenue) -> None:
    """Start one parent that every batch makes due for more, and wait until it follows the market."""
    parameters = execution_pb2.ExecutionParameters(
        account="demo",
        symbol=venue.symbol,
        side=side_pb2.SIDE_BUY,
        quantity_nanos=100_000_000 * NANO,
        algorithm=execution_pb2.ALGORITHM_POV,
        horizon_nanos=6 * 3600 * NANO,
        slice_nanos=NANO,
        max_market_impact=1.0,
        max_vwap_deviation=1.0,
    )
    await stub.StartExecution(
        execution_service_pb2.StartExecutionRequest(request_id=str(uuid.uuid4()), parameters=parameters)
    )
    ends = time.monotonic() + READY_SECONDS
    while not venue.feeds:
        if time.monotonic() > ends:
            raise RuntimeError("execution did not subscribe to the market")
        await asyncio.sleep(0.02)


async def _steps(venue: PracticeVenue, orders: Orders, count: int) -> list[float]:
    """Let so many batches out and return the latency of each that led to a child, in seconds."""
    latencies = []
    for _ in range(count):
        orders.arrived = 0.0
        departed = time.perf_counter()
        venue.advance()
        await asyncio.wait_for(_worked_through(venue), STEP_SECONDS)
        if orders.arrived:
            latencies.append(orders.arrived - departed)
    return latencies


async def _worked_through(venue: PracticeVenue) -> None:
    while any(feed.acknowledged_nanos < venue.now_nanos for feed in venue.feeds):
        for feed in list(venue.feeds):
            feed.acknowledged.clear()
            if feed.acknowledged_nanos < venue.now_nanos:
                await feed.acknowledged.wait()
