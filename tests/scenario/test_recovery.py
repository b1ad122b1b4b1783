"""Any server may die at any moment: the mesh recovers, and no order or fill is lost or doubled."""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import psutil
import pytest
from tapeline.exchange.v1 import exchange_service_pb2, report_pb2
from tapeline.execution.v1 import execution_pb2, execution_service_pb2
from tapeline.orders.v1 import orders_service_pb2
from tapeline.portfolio.v1 import portfolio_service_pb2
from tapeline.trading.v1 import fill_pb2, order_pb2, side_pb2

from servers.local.client import MeshClient
from servers.local.executing import follow, is_final, release, start
from servers.local.health import health_of
from servers.local.parent_order import ParentOrder
from tests.scenario.conftest import SESSION_DATE, RunningMesh, StartMesh, eventually

ACCOUNT = "demo"
SERVERS = ("exchange", "market_data", "orders", "risk", "portfolio", "execution")
INSIDE = (
    ("orders", "commit"),
    ("orders", "committed"),
    ("orders", "send"),
    ("orders", "report"),
    ("execution", "commit"),
    ("execution", "send"),
    ("exchange", "commit"),
    ("exchange", "committed"),
)
KILLS = 20
SERVING_SECONDS = 5.0


class Killer:
    """Kills servers of a mesh and watches them come back."""

    def __init__(self, mesh: RunningMesh, plan_path: Path, rng: random.Random) -> None:
        self._mesh = mesh
        self._plan_path = plan_path
        self._rng = rng
        self.slowest_seconds = 0.0

    async def kill(self, server: str, point: str) -> None:
        """SIGKILL a server, now or when it comes to `point`, and wait until all serve again."""
        pid = self._mesh.mesh.servers[server].pid
        if point:
            plan = {
                "id": self._rng.random(),
                "server": server,
                "point": point,
                "after": self._rng.randint(1, 5),
            }
            self._plan_path.write_text(json.dumps(plan))
        else:
            os.kill(pid, 9)

        async def is_gone() -> bool:
            return self._mesh.mesh.servers[server].pid != pid and not psutil.pid_exists(pid)

        await eventually(is_gone, 30.0, self._mesh.log)
        died_at = time.monotonic()
        places = self._mesh.mesh.servers.values()

        async def all_serve() -> bool:
            return all([await health_of(place.address) == "SERVING" for place in places])

        await eventually(all_serve, 30.0, self._mesh.log)
        self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - died_at)


async def venue_reports(client: MeshClient) -> list[report_pb2.ExecutionReport]:
    """Return the exchange's own list of execution reports."""
    reports: list[report_pb2.ExecutionReport] = []
    token = ""
    while True:
        page = await client.exchange.ListExecutions(
            exchange_service_pb2.ListExecutionsRequest(account=ACCOUNT, page_size=1000, page_token=token)
        )
        reports.extend(page.reports)
        token = page.next_page_token
        if not token:
            return reports


async def booked_fills(client: MeshClient) -> AsyncIterator[fill_pb2.Fill]:
    """Yield the fills that orders has booked."""
    token = ""
    while True:
        page = await client.orders.ListFills(
            orders_service_pb2.ListFillsRequest(account=ACCOUNT, page_size=1000, page_token=token)
        )
        for fill in page.fills:
            yield fill
        token = page.next_page_token
        if not token:
            return


@pytest.mark.timeout(600)
async def test_twenty_kills_lose_and_double_nothing(start_mesh: StartMesh, tmp_path: Path) -> None:
    rng = random.Random(20)
    plan_path = tmp_path / "crash.json"
    crash_folder = str(Path(__file__).parent / "crash")
    mesh = start_mesh(
        "--trading-only",
        "--speed",
        "100",
        "--date",
        SESSION_DATE,
        environment={"CRASH_PLAN": str(plan_path), "PYTHONPATH": os.pathsep.join([crash_folder, *_paths()])},
    )
    await mesh.wait_ready()
    kills = [(server, "") for server in SERVERS * 2] + list(INSIDE)
    assert len(kills) == KILLS
    rng.shuffle(kills)
    async with MeshClient(mesh.mesh) as client:
        execution = await start(client, ParentOrder("BUY", "40000", "ACME", "vwap", ACCOUNT, "09:30", "4h"))
        await release(client)

        async def has_filled() -> bool:
            return bool([fill async for fill in booked_fills(client)])

        await eventually(has_filled, 60.0, mesh.log)
        killer = Killer(mesh, plan_path, rng)
        for server, point in kills:
            await killer.kill(server, point)
        standing = await client.execution.GetExecution(
            execution_service_pb2.GetExecutionRequest(execution_id=execution.execution_id)
        )
        assert not is_final(standing.execution), "the parent was over before the last kill"
        await client.exchange.ControlSession(
            exchange_service_pb2.ControlSessionRequest(
                request_id="hurry", action=exchange_service_pb2.SESSION_ACTION_SET_SPEED, speed=1_000.0
            )
        )
        report = await follow(client, execution.execution_id, lambda _: None)
        await _check_books(client, report)
    assert killer.slowest_seconds < SERVING_SECONDS, f"slowest recovery {killer.slowest_seconds:.1f} s"


async def _check_books(client: MeshClient, report: execution_pb2.ExecutionReport) -> None:
    """Compare what the exchange, orders, portfolio and execution say was done."""
    reports = await venue_reports(client)
    fills = [item.fill for item in reports if item.kind == report_pb2.REPORT_KIND_FILL]
    traded = sum(fill.quantity_nanos * (1 if fill.side == side_pb2.SIDE_BUY else -1) for fill in fills)
    accepted = Counter(
        item.client_order_id for item in reports if item.kind == report_pb2.REPORT_KIND_ACCEPTED
    )
    assert [item.sequence for item in reports] == sorted({item.sequence for item in reports})
    assert max(accepted.values()) == 1, "an order was entered twice"
    assert max(Counter(fill.venue_execution_id for fill in fills).values()) == 1

    async def booked() -> bool:
        return {fill.venue_execution_id async for fill in booked_fills(client)} == {
            fill.venue_execution_id for fill in fills
        }

    await eventually(booked, 10.0)

    async def positioned() -> bool:
        try:
            portfolio = await client.portfolio.GetPortfolio(
                portfolio_service_pb2.GetPortfolioRequest(account=ACCOUNT)
            )
        except grpc.aio.AioRpcError:
            return False
        return sum(position.quantity_nanos for position in portfolio.positions) == traded

    await eventually(positioned, 10.0)
    done = report.execution
    assert done.filled_quantity_nanos == traded
    assert done.state == execution_pb2.EXECUTION_STATE_FILLED, report
    orders = await client.orders.ListOrders(
        orders_service_pb2.ListOrdersRequest(account=ACCOUNT, working_only=True, page_size=1000)
    )
    assert not orders.orders, "an order is still working"
    unknown = order_pb2.ORDER_STATE_UNKNOWN
    every = await client.orders.ListOrders(
        orders_service_pb2.ListOrdersRequest(account=ACCOUNT, page_size=1000)
    )
    assert all(order.state != unknown for order in every.orders)


def _paths() -> list[str]:
    root = Path(__file__).parents[2]
    return [str(root), str(root / "protos")]
