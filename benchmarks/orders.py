"""Acknowledged orders a second and their p99 with the journal synced, beside the disk's raw sync rate.

Orders, risk, portfolio, exchange, market data and the trace receiver run as processes of their own, set up as
`tapeline up` sets them up; they and this client share two cores. An order is a resting buy of one share that
risk checks, the journal syncs and the exchange takes. Throughput comes from 32 callers in a closed loop, one
order a call or baskets of 256; latency from an open loop of 200 orders a second, counted from the moment
an order was due. After each phase all of its orders have to be on the exchange's own list before the next.
"""

from __future__ import annotations

import asyncio
import os
import resource
import statistics
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import uvloop
from tapeline.exchange.v1 import exchange_service_pb2, exchange_service_pb2_grpc, report_pb2
from tapeline.orders.v1 import orders_service_pb2, orders_service_pb2_grpc
from tapeline.trading.v1 import order_pb2, side_pb2

from benchmarks._orders_mesh import market_is_open, running
from benchmarks.report import Options, Row

CALLERS = 32
BASKET = 256
PHASE_SECONDS = 6.0
WARM_SECONDS = 2.0
RATE_PER_SECOND = 200
LATENCY_SECONDS = 15.0
ARRIVAL_SECONDS = 120.0
CALL_SECONDS = 30.0
RETRY_SECONDS = 0.02
_RETRIED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
NANO = 1_000_000_000
ACCOUNT = "demo"
PRICE_NANOS = 46 * NANO
SCRATCH = Path(".tapeline") / "benchmarks"
"""On the disk of the working copy: a temporary folder may lie in memory, where a sync costs nothing."""
SYNCS = 400
SYNC_BYTES = 8_192


def run(options: Options) -> list[Row]:
    """Measure on two cores and return the rows."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, set(cores[:2]))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_measure(options, len(cores[:2])))
    finally:
        os.sched_setaffinity(0, set(cores))


@dataclass
class _Desk:
    """The client: what it was acknowledged, and what the exchange says it has."""

    orders: orders_service_pb2_grpc.OrdersServiceAsyncStub
    exchange: exchange_service_pb2_grpc.ExchangeServiceAsyncStub
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    made: int = 0
    acknowledged: set[str] = field(default_factory=set)
    refused: int = 0
    retries: int = 0
    arrived: set[str] = field(default_factory=set)
    report_sequence: int = 0

    def new_order(self) -> orders_service_pb2.NewOrder:
        self.made += 1
        return orders_service_pb2.NewOrder(
            client_order_id=f"{self.run_id}-{self.made}",
            account=ACCOUNT,
            terms=order_pb2.OrderTerms(
                symbol="ACME",
                side=side_pb2.SIDE_BUY,
                order_type=order_pb2.ORDER_TYPE_LIMIT,
                time_in_force=order_pb2.TIME_IN_FORCE_DAY,
                quantity_nanos=NANO,
                limit_price_nanos=PRICE_NANOS,
            ),
        )

    def note(self, order: order_pb2.Order) -> None:
        if order.state == order_pb2.ORDER_STATE_PENDING_NEW:
            self.acknowledged.add(order.client_order_id)
        else:
            self.refused += 1

    async def submit_one(self) -> int:
        request = orders_service_pb2.SubmitOrderRequest(order=self.new_order())
        response = await self._answered(self.orders.SubmitOrder, request)
        self.note(response.order)
        return 1

    async def submit_basket(self) -> int:
        request = orders_service_pb2.SubmitOrdersRequest(orders=[self.new_order() for _ in range(BASKET)])
        response = await self._answered(self.orders.SubmitOrders, request)
        for order in response.orders:
            self.note(order)
        return BASKET

    async def _answered(self, call: Callable[..., Awaitable[Any]], request: Any) -> Any:
        """Call until there is an answer, under the same ids; what is refused for load is sent again."""
        ends = time.monotonic() + CALL_SECONDS
        while True:
            try:
                return await call(request, timeout=CALL_SECONDS)
            except grpc.aio.AioRpcError as error:
                if error.code() not in _RETRIED or time.monotonic() > ends:
                    raise
            self.retries += 1
            await asyncio.sleep(RETRY_SECONDS)

    async def all_arrived(self) -> None:
        """Wait until the exchange lists every acknowledged order."""
        ends = time.monotonic() + ARRIVAL_SECONDS
        while True:
            request = exchange_service_pb2.ListExecutionsRequest(
                account=ACCOUNT, after_sequence=self.report_sequence, page_size=1_000
            )
            page = await self.exchange.ListExecutions(request, timeout=CALL_SECONDS)
            for report in page.reports:
                if report.kind == report_pb2.REPORT_KIND_ACCEPTED:
                    self.arrived.add(report.client_order_id)
                self.report_sequence = report.sequence
            if self.acknowledged <= self.arrived:
                return
            if time.monotonic() > ends:
                missing = len(self.acknowledged - self.arrived)
                raise RuntimeError(f"{missing} acknowledged orders did not reach the exchange")
            if not page.reports:
                await asyncio.sleep(0.2)


async def _measure(options: Options, cores: int) -> list[Row]:
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="orders-", dir=SCRATCH) as name:
        folder = Path(name)
        syncs = _raw_syncs(folder)
        options.progress(f"the disk syncs {syncs:,.0f} times a second; starting the servers")
        async with running(folder) as places:
            await market_is_open(places["exchange"].address)
            async with (
                grpc.aio.insecure_channel(places["orders"].address) as orders,
                grpc.aio.insecure_channel(places["exchange"].address) as exchange,
            ):
                desk = _Desk(
                    orders_service_pb2_grpc.OrdersServiceStub(orders),
                    exchange_service_pb2_grpc.ExchangeServiceStub(exchange),
                )
                await _accepting(desk)
                await _closed_loop(desk.submit_one, WARM_SECONDS)
                await desk.all_arrived()
                latencies = await _open_loop(desk)
                await desk.all_arrived()
                options.progress(f"latency measured; {CALLERS} callers, one order a call")
                cpu = _cpu_seconds()
                single = await _closed_loop(desk.submit_one, PHASE_SECONDS)
                client_share = (_cpu_seconds() - cpu) / PHASE_SECONDS
                await desk.all_arrived()
                options.progress(f"{CALLERS} callers, baskets of {BASKET}")
                basket = await _closed_loop(desk.submit_basket, PHASE_SECONDS)
                started = time.monotonic()
                await desk.all_arrived()
                drained_seconds = time.monotonic() - started
                refused, total, retries = desk.refused, len(desk.acknowledged), desk.retries
    p50, p99 = (1e3 * statistics.quantiles(latencies, n=100)[place] for place in (49, 98))
    arrived = f"{total:,} acknowledged, all on the exchange's list"
    broken = f"; {refused} refused by risk" if refused else ""
    broken += f"; {retries} calls sent again" if retries else ""
    return [
        Row(
            "acks_per_second",
            single,
            "1/s",
            600,
            "min",
            f"{CALLERS} callers, {cores} cores; client {client_share:.0%} of a core{broken}",
        ),
        Row(
            "acks_per_second_basket",
            basket,
            "1/s",
            5_000,
            "min",
            f"baskets of {BASKET}; {arrived} {drained_seconds:.1f} s after the last",
        ),
        Row(
            "ack_p99_ms_at_200",
            p99,
            "ms",
            25,
            "max",
            f"open loop, {RATE_PER_SECOND}/s for {LATENCY_SECONDS:.0f} s; median {p50:.1f} ms",
        ),
        Row(
            "raw_fsyncs_per_second",
            syncs,
            "1/s",
            None,
            "min",
            f"fdatasync after each {SYNC_BYTES} bytes, same disk",
        ),
    ]


def _raw_syncs(folder: Path) -> float:
    """Return how often a second the disk under `folder` syncs an appended block."""
    block = os.urandom(SYNC_BYTES)
    path = folder / "raw"
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        started = time.perf_counter()
        for _ in range(SYNCS):
            os.write(descriptor, block)
            os.fdatasync(descriptor)
        return SYNCS / (time.perf_counter() - started)
    finally:
        os.close(descriptor)
        path.unlink()


async def _accepting(desk: _Desk) -> None:
    """Wait until orders, risk and the venue have found each other: until one order is approved."""
    ends = time.monotonic() + ARRIVAL_SECONDS
    while not desk.acknowledged:
        try:
            await desk.submit_one()
        except grpc.aio.AioRpcError as error:
            last = f"{error.code().name}: {error.details()}"
        else:
            last = "risk refuses"
        if time.monotonic() > ends:
            raise RuntimeError(f"orders are not accepted: {last}")
        await asyncio.sleep(0.2)
    desk.refused = desk.retries = 0


async def _closed_loop(submit: Callable[[], Awaitable[int]], seconds: float) -> float:
    """Return orders acknowledged a second by callers that each wait for their answer."""
    started = time.perf_counter()
    ends = started + seconds
    acknowledged = 0

    async def caller() -> None:
        nonlocal acknowledged
        while time.perf_counter() < ends:
            count = await submit()
            acknowledged += count

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return acknowledged / (time.perf_counter() - started)


async def _open_loop(desk: _Desk) -> list[float]:
    """Return the latency of each order in seconds, from when it was due to its acknowledgement."""
    latencies: list[float] = []

    async def one(due: float) -> None:
        await desk.submit_one()
        latencies.append(time.perf_counter() - due)

    calls: list[asyncio.Task[None]] = []
    started = time.perf_counter()
    for number in range(round(RATE_PER_SECOND * LATENCY_SECONDS)):
        due = started + number / RATE_PER_SECOND
        wait = due - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        calls.append(asyncio.create_task(one(due)))
    await asyncio.gather(*calls)
    return latencies


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
