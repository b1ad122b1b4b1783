"""The real execution server over gRPC, with a real journal, against practice peers over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tapeline.execution.v1 import execution_pb2
from tapeline.execution.v1 import execution_service_pb2 as pb
from tapeline.execution.v1.execution_service_pb2_grpc import ExecutionServiceStub
from tapeline.risk.v1 import risk_service_pb2
from tapeline.trading.v1 import side_pb2

from servers.execution.__main__ import build
from servers.execution.adapters.memory import PracticeVenue, Step
from servers.execution.settings import ExecutionSettings
from servers.model.nanos import NANO
from servers.model.order import Rejection
from servers.runtime.server import make_context, start_server
from servers.runtime.status import reason_of
from tests.integration.execution.peers import serve


class Mesh:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.venue = PracticeVenue(lambda now: Step(), step_nanos=2 * NANO)

    async def begin(self) -> None:
        self.peers, self.addresses, self.orders, self.risk = await serve(self.venue)
        await self.start_execution()

    async def start_execution(self) -> None:
        settings = ExecutionSettings(
            data_dir=self.folder, peers=self.addresses, log_level="error", drain_notice_seconds=0
        )
        context = await make_context("execution", settings)
        self.server = await start_server(settings, context, await build(settings, context))
        self.channel = grpc.aio.insecure_channel(self.server.address)
        self.stub = ExecutionServiceStub(self.channel)

    async def stop_execution(self) -> None:
        await self.channel.close(None)
        await self.server.stop()

    async def end(self) -> None:
        await self.stop_execution()
        await self.peers.stop(None)

    async def start(self, quantity: int = 5_000, request_id: str = "r1", **asked: object) -> Any:
        parameters = execution_pb2.ExecutionParameters(
            account="demo", symbol="ACME", side=side_pb2.SIDE_BUY, quantity_nanos=quantity * NANO,
            algorithm=execution_pb2.ALGORITHM_STATIC_VWAP, horizon_nanos=300 * NANO,
        )  # fmt: skip
        for name, value in asked.items():
            setattr(parameters, name, value)
        response = await self.stub.StartExecution(
            pb.StartExecutionRequest(request_id=request_id, parameters=parameters)
        )
        return response.execution

    async def run(self, seconds: int) -> None:
        ends = self.venue.now_nanos + seconds * NANO
        async with asyncio.timeout(30):
            while self.venue.now_nanos < ends:
                self.venue.advance()
                while not self.venue.feeds:  # noqa: ASYNC110  # the server subscribes over gRPC
                    await asyncio.sleep(0.005)
                for feed in list(self.venue.feeds):
                    while feed in self.venue.feeds and feed.acknowledged_nanos < self.venue.now_nanos:
                        feed.acknowledged.clear()
                        await asyncio.wait({asyncio.ensure_future(feed.acknowledged.wait())}, timeout=0.1)


@pytest.fixture
async def mesh(tmp_path: Any) -> AsyncIterator[Mesh]:
    mesh = Mesh(tmp_path)
    await mesh.begin()
    yield mesh
    await mesh.end()


async def test_a_parent_goes_from_command_to_report_across_a_restart_of_the_server(mesh: Any) -> None:
    execution = await mesh.start()
    assert execution.state == execution_pb2.EXECUTION_STATE_PENDING
    assert execution.parameters.max_participation_rate == 0.1
    await mesh.run(60 + 150)
    await mesh.stop_execution()
    await mesh.start_execution()
    stream = mesh.stub.StreamExecution(pb.StreamExecutionRequest(execution_id=execution.execution_id))
    messages = aiter(stream)
    first = await anext(messages)
    assert first.execution.state == execution_pb2.EXECUTION_STATE_RUNNING
    assert 0 < first.execution.filled_quantity_nanos < 5_000 * NANO
    await mesh.run(160)
    *_, last = [message async for message in messages]
    report = last.report
    assert report.execution.state == execution_pb2.EXECUTION_STATE_FILLED
    assert report.execution.filled_quantity_nanos == 5_000 * NANO
    assert report.eligibility_rule == "all prints"
    assert report.own_fills_in_benchmark
    assert {benchmark.name for benchmark in report.benchmarks} >= {
        "decision",
        "arrival",
        "interval_vwap",
        "twap",
    }
    got = await mesh.stub.GetExecution(pb.GetExecutionRequest(execution_id=execution.execution_id))
    assert got.report.SerializeToString() == report.SerializeToString()
    filled = sum(fact.fill.quantity_nanos for fact in mesh.venue.facts if fact.fill is not None)
    assert filled == 5_000 * NANO


async def test_events_come_by_page_and_by_stream_with_the_same_sequences(mesh: Any) -> None:
    execution = await mesh.start(500)
    await mesh.run(60 + 310)
    listed, token = [], ""
    while True:
        page = await mesh.stub.ListExecutionEvents(
            pb.ListExecutionEventsRequest(execution_id=execution.execution_id, page_size=3, page_token=token)
        )
        listed += page.events
        token = page.next_page_token
        if not token:
            break
    assert listed[0].kind == execution_pb2.EXECUTION_EVENT_KIND_STARTED
    assert listed[0].unsent_quantity_nanos == 500 * NANO
    assert listed[-1].kind == execution_pb2.EXECUTION_EVENT_KIND_FINISHED
    assert listed[-1].unsent_quantity_nanos == 0
    streamed = []
    async for message in mesh.stub.StreamExecutionEvents(
        pb.StreamExecutionEventsRequest(resume_after_sequence=1)
    ):
        streamed += message.events
        if message.sequence_reached == page.last_sequence:
            break
    assert [event.sequence for event in streamed] == [event.sequence for event in listed[1:]]


async def test_pause_resume_cancel_and_list_over_the_wire(mesh: Any) -> None:
    execution = await mesh.start()
    other = await mesh.start(100, "r2")
    await mesh.run(60 + 20)
    execution_id = execution.execution_id
    paused = await mesh.stub.PauseExecution(
        pb.PauseExecutionRequest(request_id="p", execution_id=execution_id)
    )
    assert paused.execution.state == execution_pb2.EXECUTION_STATE_PAUSED
    await mesh.stub.ResumeExecution(pb.ResumeExecutionRequest(request_id="q", execution_id=execution_id))
    await mesh.run(10)
    await mesh.stub.CancelExecution(pb.CancelExecutionRequest(request_id="c", execution_id=execution_id))
    await mesh.run(6)
    running = await mesh.stub.ListExecutions(pb.ListExecutionsRequest(running_only=True))
    assert [item.execution_id for item in running.executions] == [other.execution_id]
    page = await mesh.stub.ListExecutions(pb.ListExecutionsRequest(account="demo", page_size=1))
    rest = await mesh.stub.ListExecutions(
        pb.ListExecutionsRequest(page_size=1, page_token=page.next_page_token)
    )
    assert {page.executions[0].execution_id, rest.executions[0].execution_id} == {
        execution_id, other.execution_id,
    }  # fmt: skip


async def test_the_kill_switch_of_risk_stops_a_parent(mesh: Any) -> None:
    execution = await mesh.start()
    await mesh.run(60 + 20)
    mesh.risk.switches.put_nowait(risk_service_pb2.KillSwitch(account="demo", is_on=True, reason="test"))
    async for message in mesh.stub.StreamExecution(
        pb.StreamExecutionRequest(execution_id=execution.execution_id)
    ):
        last = message
    assert last.execution.state == execution_pb2.EXECUTION_STATE_CANCELLED
    assert last.report.residual_reason == "KILL_SWITCH"


async def test_a_broken_limit_is_answered_as_a_rejected_execution(mesh: Any) -> None:
    mesh.risk.rejection = Rejection("GROSS_EXPOSURE_ABOVE_LIMIT", "too much", "max_gross_exposure", "2", "1")
    execution = await mesh.start()
    assert execution.state == execution_pb2.EXECUTION_STATE_REJECTED
    assert execution.rejection.limit == "max_gross_exposure"


@pytest.mark.parametrize(
    ("method", "request_message", "reason"),
    [
        ("StartExecution", pb.StartExecutionRequest(), "REQUEST_ID_MISSING"),
        ("StartExecution", pb.StartExecutionRequest(request_id="r"), "FIELD_MISSING"),
        (
            "StartExecution",
            pb.StartExecutionRequest(request_id="r", parameters=execution_pb2.ExecutionParameters()),
            "ENUM_UNSPECIFIED",
        ),
        ("GetExecution", pb.GetExecutionRequest(), "FIELD_MISSING"),
        ("GetExecution", pb.GetExecutionRequest(execution_id="x"), "EXECUTION_NOT_FOUND"),
        (
            "CancelExecution",
            pb.CancelExecutionRequest(request_id="r", execution_id="x"),
            "EXECUTION_NOT_FOUND",
        ),
        ("ListExecutions", pb.ListExecutionsRequest(page_size=-1), "PAGE_SIZE_INVALID"),
        ("ListExecutions", pb.ListExecutionsRequest(page_token="x"), "PAGE_TOKEN_INVALID"),
        ("ListExecutionEvents", pb.ListExecutionEventsRequest(page_token="x"), "PAGE_TOKEN_INVALID"),
        ("ListExecutionEvents", pb.ListExecutionEventsRequest(after_sequence=-1), "VALUE_OUT_OF_RANGE"),
        ("ListExecutionEvents", pb.ListExecutionEventsRequest(after_sequence=99), "SEQUENCE_AHEAD"),
    ],
)
async def test_a_request_that_can_never_succeed_is_refused_with_its_reason(
    mesh: Any, method: Any, request_message: Any, reason: Any
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await getattr(mesh.stub, method)(request_message)
    assert reason_of(refusal.value) == reason


async def test_non_finite_and_unknown_values_are_refused(mesh: Any) -> None:
    for field, value, reason in (
        ("max_market_impact", float("nan"), "VALUE_OUT_OF_RANGE"),
        ("max_participation_rate", float("inf"), "VALUE_OUT_OF_RANGE"),
        ("completion_rule", 77, "ENUM_UNSPECIFIED"),
        ("algorithm", 77, "ENUM_UNSPECIFIED"),
        ("symbol", "NOSUCH", "SYMBOL_UNKNOWN"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await mesh.start(**{field: value})
        assert reason_of(refusal.value) == reason
