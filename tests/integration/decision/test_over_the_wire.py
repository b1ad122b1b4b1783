"""Approval, kill switch, restart, lists and streams of the decision server, between the real servers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tapeline.decision.v1 import decision_pb2
from tapeline.decision.v1 import decision_service_pb2 as pb
from tapeline.execution.v1 import execution_service_pb2
from tapeline.risk.v1 import risk_service_pb2

from servers.model.nanos import NANO
from servers.runtime.status import reason_of
from tests.integration.decision.trading_mesh import ACCOUNT, TradingMesh


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[TradingMesh]:
    made = TradingMesh(tmp_path, mode="approval")
    await made.begin()
    yield made
    await made.end()


async def waiting(mesh: Any) -> Any:
    """Return the decision that waits, once there is one."""

    async def first() -> Any:
        found = await mesh.decisions(pending_only=True)
        return found[0] if found else None

    return await mesh.until(first)


async def in_state(mesh: Any, decision_id: str, state: Any) -> Any:
    async def reached() -> Any:
        found = [one for one in await mesh.decisions() if one.decision_id == decision_id]
        return found[0] if found and found[0].state == state else None

    return await mesh.until(reached)


async def test_a_person_approves_and_a_restart_sends_nothing_twice(mesh: Any) -> None:
    await mesh.until_open()
    await mesh.signal(half_life_nanos=7_200 * NANO, horizon_nanos=7_200 * NANO)  # time for two restarts
    decision = await waiting(mesh)
    assert decision.execution_id == ""
    await mesh.stop("decision")
    await mesh.start("decision")
    await mesh.until_quoted()
    approve = pb.ApproveRequest(request_id="a1", decision_id=decision.decision_id)
    approved = await mesh.decision.Approve(approve)
    assert approved.decision.state == decision_pb2.DECISION_STATE_STARTED
    await mesh.stop("decision")
    await mesh.start("decision")
    again = await mesh.decision.Approve(approve)
    assert again.decision.decision_id == decision.decision_id
    done = await in_state(mesh, decision.decision_id, decision_pb2.DECISION_STATE_DONE)
    assert done.execution_id == approved.decision.execution_id
    assert done.filled_quantity_nanos > 0
    listed = await mesh.execution.ListExecutions(execution_service_pb2.ListExecutionsRequest(account=ACCOUNT))
    by_id = [one.execution_id for one in listed.executions if one.execution_id == done.execution_id]
    assert len(by_id) == 1
    mine = [one for one in await mesh.decisions(orders_only=True) if one.execution_id]
    assert len(listed.executions) == len(mine)


async def test_the_kill_switch_of_risk_holds_what_waits(mesh: Any) -> None:
    await mesh.until_open()
    await mesh.signal()
    decision = await waiting(mesh)
    await mesh.risk.SetKillSwitch(
        risk_service_pb2.SetKillSwitchRequest(request_id="k1", account=ACCOUNT, is_on=True, reason="test")
    )

    async def is_killed() -> bool:
        return bool((await mesh.decision.GetMode(pb.GetModeRequest())).is_killed)

    await mesh.until(is_killed)
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await mesh.decision.Approve(pb.ApproveRequest(request_id="a1", decision_id=decision.decision_id))
    assert reason_of(refusal.value) == "KILL_SWITCH_ON"
    refused = await mesh.decision.Reject(pb.RejectRequest(request_id="r1", decision_id=decision.decision_id))
    assert refused.decision.state == decision_pb2.DECISION_STATE_REJECTED


async def test_events_stream_from_any_sequence_and_lists_page(mesh: Any) -> None:
    await mesh.until_open()
    change = await mesh.decision.SetMode(
        pb.SetModeRequest(request_id="m1", mode=decision_pb2.MODE_APPROVAL, reason="to begin with")
    )
    assert change.mode_change.reason == "to begin with"
    mode = await mesh.decision.GetMode(pb.GetModeRequest())
    assert (mode.mode_change, mode.account) == (change.mode_change, ACCOUNT)
    for number in range(3):
        await mesh.decision.Propose(pb.ProposeRequest(request_id=f"p{number}", symbol="BOLT"))
    events: list[Any] = []
    async for message in mesh.decision.StreamDecisions(pb.StreamDecisionsRequest(resume_after_sequence=0)):
        events += message.events
        if len(events) >= 4:
            break
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert events[0].kind == decision_pb2.DECISION_EVENT_KIND_MODE_SET
    assert events[-1].decision.reason_code == "NO_SIGNAL"
    async for message in mesh.decision.StreamDecisions(pb.StreamDecisionsRequest(resume_after_sequence=3)):
        if message.events:
            assert message.events[0] == events[3]
            break
    async for message in mesh.decision.StreamDecisions(
        pb.StreamDecisionsRequest(resume_after_sequence=len(events))
    ):
        assert message.sequence_reached == len(events)
        break
    listed: list[str] = []
    token = ""
    while True:
        page = await mesh.decision.ListDecisions(
            pb.ListDecisionsRequest(symbol="BOLT", page_size=2, page_token=token)
        )
        listed += [one.decision_id for one in page.decisions]
        token = page.next_page_token
        if not token:
            break
    assert listed == sorted(listed, reverse=True)
    assert len(listed) == 3
    performance = await mesh.decision.GetPerformance(pb.GetPerformanceRequest())
    assert performance.decision_count == 3
    assert dict(performance.declined_counts) == {"NO_SIGNAL": 3}
    assert [one.strategy for one in performance.performances] == ["decided", "decided_on_paper", "do_nothing"]
    assert all(one.net_profit.units == 0 for one in performance.performances)
    await mesh.stop("portfolio")
    without = await mesh.decision.GetPerformance(pb.GetPerformanceRequest())
    assert [one.strategy for one in without.performances] == ["decided", "decided_on_paper"]


REFUSALS = (
    ("Propose", pb.ProposeRequest(symbol="ACME"), "REQUEST_ID_MISSING"),
    ("Propose", pb.ProposeRequest(request_id="r"), "FIELD_MISSING"),
    ("Propose", pb.ProposeRequest(request_id="r", symbol="NONE"), "SYMBOL_UNKNOWN"),
    ("Approve", pb.ApproveRequest(request_id="r"), "FIELD_MISSING"),
    ("Approve", pb.ApproveRequest(request_id="r", decision_id="x"), "DECISION_NOT_FOUND"),
    ("Reject", pb.RejectRequest(decision_id="x"), "REQUEST_ID_MISSING"),
    ("SetMode", pb.SetModeRequest(request_id="r", reason="x"), "ENUM_UNSPECIFIED"),
    ("SetMode", pb.SetModeRequest(request_id="r", mode=decision_pb2.MODE_APPROVAL), "FIELD_MISSING"),
    ("ListDecisions", pb.ListDecisionsRequest(page_size=-1), "PAGE_SIZE_INVALID"),
    ("ListDecisions", pb.ListDecisionsRequest(page_token="x"), "PAGE_TOKEN_INVALID"),
    ("ListDecisions", pb.ListDecisionsRequest(symbol="a b"), "FIELD_INVALID"),
)


async def test_what_can_never_be_right_is_refused_with_its_reason(mesh: Any) -> None:
    await mesh.until_open()
    for method, message, reason in REFUSALS:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await getattr(mesh.decision, method)(message)
        assert reason_of(refusal.value) == reason, method
    for after, reason in ((99, "SEQUENCE_AHEAD"), (-1, "VALUE_OUT_OF_RANGE")):
        stream = mesh.decision.StreamDecisions(pb.StreamDecisionsRequest(resume_after_sequence=after))
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await anext(aiter(stream))
        assert reason_of(refusal.value) == reason
