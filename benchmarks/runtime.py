"""CPU of a unary call against a bare grpc.aio echo, and ticks a second to a Python client.

Every server is a process of its own on uvloop, and only its CPU time is counted (user and system, all
threads); this process is the client of all of them, and the OTLP receiver. The servers take turns in short
bursts of 32 concurrent callers, in another order each round, and a ratio is the median over the rounds of
ours against the bare server's burst of the same round. A traced burst ends when its last span has arrived.

Ticks are counted against the CPU time of the client: it reads every column with `numpy.frombuffer`, sums
it, and the sums are checked. The server holds 1,000 prints back for no longer than it takes to fill a
message, at these rates a millisecond; the mesh's bound is 50 ms.
"""

import asyncio
import random
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import uvloop
from google.protobuf import wrappers_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from tapeline.trading.v1 import market_pb2

from benchmarks._runtime_server import (
    DECODE,
    ECHO_SERVICE,
    ENCODE,
    FIRST_PRICE_NANOS,
    TICK_SERVICE,
)
from benchmarks.peers import INSTALL_TIMEOUT_SECONDS, PeersUnavailableError, ensure_environment
from benchmarks.report import Options, Row, not_compared

CALLERS = 32
CALLS = 960
ROUNDS = 25
PAYLOAD = wrappers_pb2.BytesValue(value=b"x" * 64)
SPANS_SECONDS = 15.0
TICK_ROUNDS = 7
TICKS = {1_000: 1_000_000, 32: 64_000, 1: 4_000}
"""Ticks a message -> ticks a round."""
COLUMNS = ("event_time_nanos", "price_nanos", "size_nanos", "flags")
OFFICIAL = (
    "grpcio==1.81.1",
    "protobuf==6.33.6",
    "opentelemetry-sdk==1.45.2",
    "opentelemetry-exporter-otlp-proto-grpc==1.45.2",
    "opentelemetry-instrumentation-grpc==0.66b2",
    "uvloop==0.23.0",
)
SCRIPT = Path(__file__).resolve().parent / "_runtime_server.py"


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    """Counts the spans that one server sends."""

    def __init__(self) -> None:
        self.spans = 0

    async def Export(self, request: Any, context: Any) -> Any:  # noqa: N802  # gRPC's name
        self.spans += sum(len(scope.spans) for group in request.resource_spans for scope in group.scope_spans)
        return trace_service_pb2.ExportTraceServiceResponse()


@dataclass
class Measured:
    """One server process and what its bursts cost, in microseconds of CPU a call."""

    pid: int
    channel: grpc.aio.Channel
    receiver: Receiver
    is_traced: bool
    micros: list[float] = field(default_factory=list)


def run(options: Options) -> list[Row]:
    """Measure and return the rows."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measure(options))


async def measure(options: Options) -> list[Row]:
    """Measure unary calls, then ticks."""
    official = peer_python(options)
    kinds = {"bare": sys.executable, "tapeline": sys.executable, "tapeline_traced": sys.executable}
    if isinstance(official, Path):
        kinds |= {"official": str(official), "official_traced": str(official)}
    async with AsyncExitStack() as stack:
        servers = {
            kind: await stack.enter_async_context(serving(kind, python)) for kind, python in kinds.items()
        }
        await measure_unary(servers, options)
        rows = unary_rows(servers, official)
        rows += await measure_ticks(servers["tapeline"], options)
    return rows


def peer_python(options: Options) -> Path | str:
    """Return the interpreter of the peers' environment, or why there is none."""
    if not options.compare_peers:
        return "--no-peers"
    try:
        python = ensure_environment(options.progress)
        probe = [str(python), "-c", "import opentelemetry.instrumentation.grpc, uvloop"]
        if subprocess.run(probe, capture_output=True, check=False).returncode:
            options.progress(f"adding the peers of this benchmark ({', '.join(OFFICIAL)})")
            install = [
                str(python),
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                *OFFICIAL,
            ]
            subprocess.run(
                install, capture_output=True, check=True, text=True, timeout=INSTALL_TIMEOUT_SECONDS
            )
    except subprocess.CalledProcessError as error:
        return f"pip could not install it: {error.stderr.strip().splitlines()[-1]}"
    except (PeersUnavailableError, OSError, subprocess.TimeoutExpired) as error:
        return f"no environment for it: {error}"
    return python


@asynccontextmanager
async def serving(kind: str, python: str) -> AsyncIterator[Measured]:
    """Run one server process, with an OTLP receiver of its own."""
    sink, receiver = grpc.aio.server(), Receiver()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, sink)
    endpoint = f"http://127.0.0.1:{sink.add_insecure_port('127.0.0.1:0')}"
    await sink.start()
    process = await asyncio.create_subprocess_exec(
        python, str(SCRIPT), kind, endpoint, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port = int(await asyncio.wait_for(process.stdout.readline(), 60))
        channel = grpc.aio.insecure_channel(
            f"127.0.0.1:{port}", options=[("grpc.max_receive_message_length", 16 << 20)]
        )
        async with channel:
            yield Measured(process.pid, channel, receiver, kind.endswith("_traced"))
    finally:
        process.stdin.close()
        await process.wait()
        await sink.stop(None)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, with the kernel's own resolution (Linux: a clock for each pid)."""
    return time.clock_gettime((~pid << 3) | 2)


async def measure_unary(servers: dict[str, Measured], options: Options) -> None:
    """Let the servers take turns, each round in another order; the first round only warms up."""
    order, shuffle = list(servers.values()), random.Random(1).shuffle
    for round_number in range(ROUNDS + 1):
        options.progress(f"unary calls: round {round_number} of {ROUNDS}")
        shuffle(order)
        for server in order:
            micros = await burst(server)
            if round_number:
                server.micros.append(micros)


async def burst(server: Measured) -> float:
    """Return the server's CPU a call, in microseconds."""
    call = server.channel.unary_unary(f"/{ECHO_SERVICE}/Echo", ENCODE, DECODE)

    async def caller() -> None:
        for _ in range(CALLS // CALLERS):
            await call(PAYLOAD, timeout=10)

    expected_spans = server.receiver.spans + CALLS
    before = cpu_seconds(server.pid)
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    if server.is_traced:
        async with asyncio.timeout(SPANS_SECONDS):
            while server.receiver.spans < expected_spans:  # noqa: ASYNC110  # the receiver is a servicer
                await asyncio.sleep(0.02)
    return (cpu_seconds(server.pid) - before) / CALLS * 1e6


def unary_rows(servers: dict[str, Measured], official: Path | str) -> list[Row]:
    """Return ours against the bare server, and the official interceptor beside it."""
    bare = servers["bare"]

    def ratio(kind: str, name: str, target: float | None, what: str) -> Row:
        server = servers[kind]
        ratios = [ours / base for ours, base in zip(server.micros, bare.micros, strict=True)]
        low, high = quartiles(ratios)
        note = (
            f"{what}; median of {ROUNDS} rounds of {CALLS} calls by {CALLERS} callers, "
            f"middle half {low:.2f} to {high:.2f}, "
            f"best against best {min(server.micros) / min(bare.micros):.2f}; CPU a call "
            f"{statistics.median(server.micros):.0f} µs, bare {statistics.median(bare.micros):.0f} µs"
        )
        return Row(name, statistics.median(ratios), "times bare", target, "max", note)

    rows = [
        ratio("tapeline", "unary_cpu_ratio_untraced", 1.25, "exporter on, nothing sampled"),
        ratio("tapeline_traced", "unary_cpu_ratio_traced", 1.6, "every call sampled and exported"),
    ]
    for kind, name in (
        ("official", "official_cpu_ratio_untraced"),
        ("official_traced", "official_cpu_ratio_traced"),
    ):
        if isinstance(official, Path):
            rows.append(ratio(kind, name, None, "opentelemetry-instrumentation-grpc"))
        else:
            rows.append(not_compared(name, "times bare", None, "max", official))
    return rows


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """Return the first and the third quartile."""
    low, _, high = statistics.quantiles(values, n=4)
    return low, high


async def measure_ticks(server: Measured, options: Options) -> list[Row]:
    """Return the ticks a second of client CPU, for each size of message."""
    rates: dict[int, list[tuple[float, float, float]]] = {size: [] for size in TICKS}
    for round_number in range(TICK_ROUNDS + 1):
        options.progress(f"ticks: round {round_number} of {TICK_ROUNDS}")
        for size, total in TICKS.items():
            rate = await read_ticks(server, size, total)
            if round_number:
                rates[size].append(rate)
    rows = []
    for size, name, target in (
        (1_000, "ticks_per_second_columnar", 1e6),
        (32, "ticks_per_second_32", None),
        (1, "ticks_per_second_single", None),
    ):
        client, wall, server_micros = max(rates[size])
        median = statistics.median(rate for rate, _, _ in rates[size])
        note = (
            f"{size} a message; best of {TICK_ROUNDS} rounds of {TICKS[size]:,} ticks, per second of client "
            f"CPU; median {median:,.0f}; by the wall clock {wall:,.0f}; "
            f"server CPU {server_micros:.2f} µs a tick"
        )
        rows.append(Row(name, client, "ticks/s", target, "min", note))
    return rows


async def read_ticks(server: Measured, size: int, total: int) -> tuple[float, float, float]:
    """Read and sum `total` ticks; return ticks a client CPU second, ticks a second, server µs a tick."""
    decode = market_pb2.TradeBatch.FromString
    stream = server.channel.unary_stream(f"/{TICK_SERVICE}/Stream", ENCODE, decode)
    sums = [0, 0, 0, 0]
    count = 0
    server_before = cpu_seconds(server.pid)
    wall_before, before = time.perf_counter(), time.process_time()
    async for batch in stream(wrappers_pb2.BytesValue(value=f"{size} {total}".encode())):
        count += batch.count
        for index, column in enumerate(COLUMNS):
            sums[index] += int(np.frombuffer(getattr(batch, column), dtype="<i8").sum())
    client, wall = time.process_time() - before, time.perf_counter() - wall_before
    server_seconds = cpu_seconds(server.pid) - server_before
    rows = range(total)
    expected = [
        sum(rows) * 1_000,
        sum(rows) + total * FIRST_PRICE_NANOS,
        sum(row % 7 + 1 for row in rows),
        total,
    ]
    if count != total or sums != expected:
        raise AssertionError(f"read {count} of {total} ticks, sums {sums}, expected {expected}")
    return total / client, total / wall, server_seconds / total * 1e6
