"""A venue that is killed while it trades: no report is lost, none comes twice, time and tape go on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grpc
from tapeline.exchange.v1 import exchange_service_pb2 as pb
from tapeline.exchange.v1 import exchange_service_pb2_grpc

from servers.local.free_ports import free_ports
from tests.integration.exchange.exchange_client import Client, eventually

ROOT = Path(__file__).resolve().parents[3]
KILLS = 3


def launch(folder: Path, port: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "servers.exchange", "--port", str(port), "--metrics-port", "0"]
    command += ["--data-dir", str(folder), "--speed", "300", "--date", "2026-11-23", "--symbols", "ACME"]
    return subprocess.Popen(
        [*command, "--log-level", "error", "--parent-pid", str(os.getpid())],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
    )


async def serving(port: int) -> tuple[grpc.aio.Channel, Client]:
    """Return a channel and a client of a venue that has restored its state."""
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
    stub = exchange_service_pb2_grpc.ExchangeServiceStub(channel)
    ends = time.monotonic() + 30
    while True:
        try:
            await stub.GetSession(pb.GetSessionRequest(), timeout=5)
        except grpc.aio.AioRpcError as error:
            if time.monotonic() > ends:
                raise TimeoutError("the venue does not answer") from error
            await asyncio.sleep(0.05)
        else:
            return channel, Client(stub)


async def printing(client: Client) -> None:
    await eventually(lambda: len(client.of("trades")) > 3, 30)


async def test_killing_the_venue_loses_and_doubles_nothing(tmp_path: Path) -> None:
    chance = random.Random(7)
    seen: list[Any] = []
    prints: dict[int, bytes] = {}
    acknowledged: dict[str, Any] = {}
    reached = 0
    for round_number in range(KILLS):
        port = free_ports(1)[0]
        process = launch(tmp_path, port)
        try:
            channel, client = await serving(port)
            session = await client.stub.GetSession(pb.GetSessionRequest())
            assert session.time.event_time_nanos >= reached
            for name, report in acknowledged.items():
                key = pb.GetOrderRequest(account="A", client_order_id=name)
                assert (await client.stub.GetOrder(key)).order.venue_order_id == report.venue_order_id
            reports = asyncio.create_task(client.follow_reports(after=len(seen)))
            market = asyncio.create_task(client.follow_market(pace=True, resume_after_sequence={"ACME": 0}))
            await printing(client)
            for number in range(chance.randint(3, 12)):
                name = f"k{round_number}-{number}"
                limit: dict[str, Any] = (
                    {"order_type": 2, "limit_price_nanos": 45_000_000_000} if number % 3 == 0 else {}
                )
                with contextlib.suppress(grpc.aio.AioRpcError):
                    acknowledged[name] = await client.submit(
                        side=1 + number % 2, client_order_id=name, **limit
                    )
            sending = asyncio.gather(
                *(client.submit(shares=2_000, client_order_id=f"last{round_number}-{n}") for n in range(8)),
                return_exceptions=True,
            )
            await asyncio.sleep(chance.random() * 0.02)  # somewhere inside matching, commit or report
        finally:
            process.kill()
            process.wait()
        for answer in await sending:
            if not isinstance(answer, BaseException):
                acknowledged[answer.client_order_id] = answer
        await asyncio.gather(reports, market, return_exceptions=True)
        seen.extend(client.reports)
        reached = max(event.event_time_nanos for event in client.of("time"))
        for batch in client.of("trades"):
            for row in range(batch.count):
                content = batch.price_nanos[8 * row : 8 * row + 8] + batch.size_nanos[8 * row : 8 * row + 8]
                assert prints.setdefault(batch.first_sequence + row, content) == content
        await channel.close(None)

    process = launch(tmp_path, port := free_ports(1)[0])
    try:
        channel, client = await serving(port)
        kept = list((await client.stub.ListExecutions(pb.ListExecutionsRequest(page_size=1_000))).reports)
        orders = {report.client_order_id: report for report in kept}
        final = [
            (await client.stub.GetOrder(pb.GetOrderRequest(account="A", client_order_id=name))).order
            for name in orders
        ]
        await channel.close(None)
    finally:
        process.kill()
        process.wait()
    assert [report.sequence for report in seen] == list(range(1, len(seen) + 1))
    assert kept[: len(seen)] == seen
    assert set(acknowledged) <= set(orders)
    assert sorted(prints) == list(range(1, len(prints) + 1))
    fills = [report.fill for report in kept if report.HasField("fill")]
    assert len({fill.venue_execution_id for fill in fills}) == len(fills) > 0
    for order in final:
        filled = sum(fill.quantity_nanos for fill in fills if fill.client_order_id == order.client_order_id)
        assert filled == order.filled_quantity_nanos <= order.terms.quantity_nanos
        assert order.leaves_quantity_nanos == 0
