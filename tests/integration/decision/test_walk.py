"""From a signal to a filled parent order, through the real servers."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tapeline.decision.v1 import decision_pb2
from tapeline.decision.v1 import decision_service_pb2 as pb
from tapeline.execution.v1 import execution_service_pb2

from servers.local.pipeline_screen import show_pipeline
from tests.integration.decision.trading_mesh import ACCOUNT, TRACE, TradingMesh


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[TradingMesh]:
    made = TradingMesh(tmp_path)
    await made.begin()
    yield made
    await made.end()


async def test_the_screen_follows_the_way_from_signal_to_fill_and_misses_no_server_that_is_away(
    mesh: Any,
) -> None:
    await mesh.until_open()
    out = io.StringIO()
    console = Console(file=out, width=200)
    async with asyncio.timeout(60):
        saying = asyncio.create_task(mesh.signal())
        seen = await show_pipeline(
            mesh.channels.__getitem__, console, "America/New_York", lambda pipeline: bool(pipeline.filled)
        )
    await saying
    assert seen.filled[0].inputs.post_ids
    assert "ACME" in seen.signals
    assert "STARTED: Buy" in out.getvalue()


async def test_a_signal_becomes_a_filled_parent_order_with_its_why(mesh: Any) -> None:
    await mesh.until_open()
    signal = await mesh.signal()

    async def done() -> Any:
        found = await mesh.decisions(orders_only=True)
        return found[-1] if found and found[-1].state == decision_pb2.DECISION_STATE_DONE else None

    decision = await mesh.until(done)
    assert decision.action == decision_pb2.ACTION_OPEN
    assert decision.inputs.signal_id == signal.signal_id
    assert list(decision.inputs.post_ids) == ["p1", "p2", "p3"]
    assert 0 < decision.filled_quantity_nanos <= decision.quantity_nanos
    assert decision.edge_bps > 1.25 * decision.cost.total_bps > 0
    assert "Buy" in decision.reason
    assert "3 posts by 3 authors in 2 sources" in decision.reason
    assert decision.traceparent[3:35] == TRACE[3:35]
    got = await mesh.execution.GetExecution(
        execution_service_pb2.GetExecutionRequest(execution_id=decision.execution_id)
    )
    assert got.execution.parameters.account == ACCOUNT
    assert got.execution.parameters.decision_price_nanos == decision.inputs.mid_price_nanos
    assert got.execution.traceparent[3:35] == TRACE[3:35]
    performance = await mesh.decision.GetPerformance(pb.GetPerformanceRequest())
    by_name = {one.strategy: one for one in performance.performances}
    assert by_name["decided"].order_count >= 1
    assert by_name["decided"].turnover.units > 0
    assert set(by_name) == {"decided", "decided_on_paper", "do_nothing"}
