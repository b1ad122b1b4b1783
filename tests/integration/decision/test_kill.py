"""A decision server that is killed while it trades starts no parent order twice and forgets none."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator
from itertools import cycle
from pathlib import Path
from typing import Any

import grpc
import pytest
from tapeline.decision.v1 import decision_pb2
from tapeline.decision.v1 import decision_service_pb2 as pb
from tapeline.execution.v1 import execution_service_pb2
from tapeline.portfolio.v1 import portfolio_service_pb2
from tapeline.trading.v1 import side_pb2

from tests.integration.decision.trading_mesh import ACCOUNT, TradingMesh

ROOT = Path(__file__).resolve().parents[3]
CRASH_FOLDER = ROOT / "tests" / "scenario" / "crash"
POINTS = ("", "commit", "committed", "send", "", "committed")
"""Where it is killed: anywhere, inside a commit, after it, after execution took the parent and before that is
known."""
ON_ITS_WAY = (decision_pb2.DECISION_STATE_APPROVED, decision_pb2.DECISION_STATE_STARTED)

pytestmark = pytest.mark.processes


class KillableMesh(TradingMesh):
    """A trading mesh whose decision server is a process of its own."""

    process: subprocess.Popen[bytes] | None = None

    @property
    def plan_path(self) -> Path:
        return self.folder / "crash.json"

    async def start(self, name: str) -> None:
        if name != "decision":
            await super().start(name)
            return
        settings = {
            "port": self.places[name].rpartition(":")[2],
            "metrics_port": "0",
            "data_dir": str(self.folder / name),
            "peers": ",".join(f"{peer}={address}" for peer, address in self.places.items()),
            "log_level": "error",
            "mode": "autopilot",
            "retry_seconds": "0.1",
            "longest_horizon_seconds": "240",
            "cool_down_seconds": "60",
            "parent_pid": str(os.getpid()),
        }
        environment = {f"TAPELINE_DECISION_{field.upper()}": text for field, text in settings.items()}
        path = os.pathsep.join(map(str, (CRASH_FOLDER, ROOT, ROOT / "protos")))
        self.process = subprocess.Popen(  # noqa: ASYNC220  # quick, and nothing else waits
            [sys.executable, "-m", "servers.decision"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **environment, "PYTHONPATH": path, "CRASH_PLAN": str(self.plan_path)},
        )

    async def ended(self) -> int:
        """Wait until the process is gone and return how it ended."""
        process = self.process
        assert process is not None
        code: int = await asyncio.get_running_loop().run_in_executor(None, process.wait, 60)
        return code

    async def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        await super().end()


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[KillableMesh]:
    made = KillableMesh(tmp_path)
    await made.begin()
    yield made
    await made.end()


async def test_no_kill_starts_a_parent_twice_or_forgets_one(mesh: Any) -> None:
    chance = random.Random(5)
    views = cycle([("ACME", 60.0), ("BOLT", 60.0), ("ACME", -60.0), ("BOLT", -60.0)])

    async def signals() -> None:
        """Change what is thought of two symbols for as long as the test lasts."""
        while True:
            symbol, bps = next(views)
            await mesh.signal(symbol, bps)
            await asyncio.sleep(0.3)

    await mesh.until(mesh.would)
    saying = asyncio.create_task(signals())
    try:
        for number, point in enumerate(POINTS):
            before = len(await all_decisions(mesh))

            async def has_decided(before: int = before) -> bool:
                return len(await all_decisions(mesh)) > before

            await mesh.until(has_decided)
            if point:
                plan = {"id": number, "server": "decision", "point": point, "after": chance.randint(1, 2)}
                mesh.plan_path.write_text(json.dumps(plan))
            else:
                mesh.process.kill()
            assert await mesh.ended() == -9
            await mesh.start("decision")
            await mesh.until(mesh.would)
    finally:
        saying.cancel()
        await asyncio.gather(saying, return_exceptions=True)
    await mesh.decision.SetMode(
        pb.SetModeRequest(request_id="end", mode=decision_pb2.MODE_APPROVAL, reason="the test is over")
    )

    async def all_over() -> Any:
        found = await all_decisions(mesh)
        return found if found and not any(one.state in ON_ITS_WAY for one in found) else None

    decisions = await mesh.until(all_over, 90)
    started = [one for one in decisions if one.execution_id]
    parents = await mesh.execution.ListExecutions(
        execution_service_pb2.ListExecutionsRequest(account=ACCOUNT, page_size=1000)
    )
    assert len(started) >= 2
    assert len({one.execution_id for one in started}) == len(started)
    assert {one.execution_id for one in started} == {one.execution_id for one in parents.executions}
    filled = {one.execution_id: one.filled_quantity_nanos for one in parents.executions}
    assert {one.execution_id: one.filled_quantity_nanos for one in started} == filled
    portfolio = await mesh.portfolio.GetPortfolio(portfolio_service_pb2.GetPortfolioRequest(account=ACCOUNT))
    for symbol in ("ACME", "BOLT"):
        held = sum(one.quantity_nanos for one in portfolio.positions if one.symbol == symbol)
        mine = [one for one in started if one.symbol == symbol]
        assert held == sum(
            one.filled_quantity_nanos * (1 if one.side == side_pb2.SIDE_BUY else -1) for one in mine
        )


async def all_decisions(mesh: Any) -> list[Any]:
    """Return every decision that led or may lead to an order; none while the server is away."""
    try:
        return await mesh.decisions(orders_only=True, page_size=1000)  # type: ignore[no-any-return]
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        return []
