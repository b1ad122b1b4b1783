"""The gRPC edge of execution."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import grpc
from tapeline.execution.v1 import execution_service_pb2 as pb
from tapeline.execution.v1 import execution_service_pb2_grpc

from servers.execution import wire
from servers.execution.adapters.backtests import Backtests
from servers.execution.adapters.comparisons import comparison_to_wire
from servers.execution.adapters.journal import DurableExecutionJournal
from servers.execution.changes import Changes
from servers.execution.comparing import compare_parents
from servers.execution.engine import ExecutionEngine
from servers.execution.following import Follower
from servers.model.errors import InvalidInput
from servers.model.order import check_request_id
from servers.runtime.tracing import current_traceparent

UPDATE_SECONDS = 0.1
HEARTBEAT_SECONDS = 0.5
_MAX_PAGE = 1_000
_SEQUENCE = re.compile(r"[0-9]{1,18}")

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class ExecutionService(execution_service_pb2_grpc.ExecutionServiceServicer):
    """Answers calls; all decisions are the engine's."""

    def __init__(
        self,
        engine: ExecutionEngine,
        follower: Follower,
        journal: DurableExecutionJournal,
        changes: Changes,
        backtests: Backtests,
    ) -> None:
        self._engine = engine
        self._follower = follower
        self._journal = journal
        self._changes = changes
        self._backtests = backtests

    async def StartExecution(
        self, request: pb.StartExecutionRequest, context: Context
    ) -> pb.StartExecutionResponse:
        request_id = check_request_id(request.request_id)
        if not request.HasField("parameters"):
            raise InvalidInput("FIELD_MISSING", "parameters are missing", field="parameters")
        parameters = wire.parameters_from_wire(request.parameters)
        view = await self._engine.start(request_id, parameters, current_traceparent())
        await self._follower.subscribed(view.parameters.symbol)
        return pb.StartExecutionResponse(execution=wire.execution_to_wire(view))

    async def PauseExecution(
        self, request: pb.PauseExecutionRequest, context: Context
    ) -> pb.PauseExecutionResponse:
        view = await self._engine.pause(check_request_id(request.request_id), _id(request.execution_id))
        await self._follower.tick()
        return pb.PauseExecutionResponse(execution=wire.execution_to_wire(view))

    async def ResumeExecution(
        self, request: pb.ResumeExecutionRequest, context: Context
    ) -> pb.ResumeExecutionResponse:
        view = await self._engine.resume(check_request_id(request.request_id), _id(request.execution_id))
        return pb.ResumeExecutionResponse(execution=wire.execution_to_wire(view))

    async def CancelExecution(
        self, request: pb.CancelExecutionRequest, context: Context
    ) -> pb.CancelExecutionResponse:
        view = await self._engine.cancel(check_request_id(request.request_id), _id(request.execution_id))
        await self._follower.tick()
        return pb.CancelExecutionResponse(execution=wire.execution_to_wire(view))

    async def GetExecution(
        self, request: pb.GetExecutionRequest, context: Context
    ) -> pb.GetExecutionResponse:
        execution_id = _id(request.execution_id)
        view = self._engine.book.view(execution_id)
        report = self._engine.book.parents[execution_id].report
        return pb.GetExecutionResponse(
            execution=wire.execution_to_wire(view),
            report=None if report is None else wire.report_to_wire(report, view),
        )

    async def ListExecutions(
        self, request: pb.ListExecutionsRequest, context: Context
    ) -> pb.ListExecutionsResponse:
        size = _page_size(request.page_size, 100)
        before = request.page_token
        if before and before not in self._engine.book.parents:
            raise InvalidInput("PAGE_TOKEN_INVALID", field="page_token")
        found = [
            key
            for key, parent in sorted(self._engine.book.parents.items(), reverse=True)
            if (not before or key < before)
            and (not request.account or parent.parameters.account == request.account)
            and not (request.running_only and parent.state.is_final)
        ]
        page = found[:size]
        return pb.ListExecutionsResponse(
            executions=[wire.execution_to_wire(self._engine.book.view(key)) for key in page],
            next_page_token=page[-1] if len(found) > size else "",
        )

    async def ListExecutionEvents(
        self, request: pb.ListExecutionEventsRequest, context: Context
    ) -> pb.ListExecutionEventsResponse:
        size = _page_size(request.page_size, 200)
        if request.after_sequence < 0:
            raise InvalidInput("VALUE_OUT_OF_RANGE", field="after_sequence")
        after = request.after_sequence
        if request.page_token:
            if (
                not request.page_token.isascii()
                or not request.page_token.isdigit()
                or len(request.page_token) > 18
            ):
                raise InvalidInput("PAGE_TOKEN_INVALID", field="page_token")
            after = int(request.page_token)
        events, reached = await self._journal.page(after, size, request.execution_id)
        last = self._journal.last_sequence
        return pb.ListExecutionEventsResponse(
            events=events, next_page_token=str(reached) if reached < last else "", last_sequence=last
        )

    async def StreamExecution(
        self, request: pb.StreamExecutionRequest, context: Context
    ) -> AsyncIterator[pb.StreamExecutionResponse]:
        execution_id = _id(request.execution_id)
        self._engine.book.view(execution_id)
        with self._changes.watch(execution_id) as watch:
            conflated = 0
            while True:
                view = self._engine.book.view(execution_id)
                parent = self._engine.book.parents[execution_id]
                report = parent.report
                yield pb.StreamExecutionResponse(
                    execution=wire.execution_to_wire(view),
                    report=None if report is None else wire.report_to_wire(report, view),
                    conflated_count=conflated,
                )
                if parent.is_over:
                    return
                await watch.changed()
                await asyncio.sleep(UPDATE_SECONDS)
                conflated += max(watch.take() - 1, 0)

    async def StreamExecutionEvents(
        self, request: pb.StreamExecutionEventsRequest, context: Context
    ) -> AsyncIterator[pb.StreamExecutionEventsResponse]:
        after = request.resume_after_sequence
        if after < 0:
            raise InvalidInput("VALUE_OUT_OF_RANGE", field="resume_after_sequence")
        yield pb.StreamExecutionEventsResponse(sequence_reached=after)
        async for events, reached in self._journal.follow(after, HEARTBEAT_SECONDS):
            yield pb.StreamExecutionEventsResponse(events=events, sequence_reached=reached)

    async def RunBacktest(self, request: pb.RunBacktestRequest, context: Context) -> pb.RunBacktestResponse:
        return pb.RunBacktestResponse(result_json=await self._backtests.run(request))

    async def GetComparison(
        self, request: pb.GetComparisonRequest, context: Context
    ) -> pb.GetComparisonResponse:
        parents = list(self._engine.book.parents.values())
        comparison = await asyncio.to_thread(
            compare_parents,
            parents,
            self._engine.experiments,
            self._engine.book.tuning.impact,
            request.experiment,
            request.account,
            request.symbol,
        )
        return pb.GetComparisonResponse(comparison=comparison_to_wire(comparison))


def _id(execution_id: str) -> str:
    if not execution_id:
        raise InvalidInput("FIELD_MISSING", "execution_id is empty", field="execution_id")
    return execution_id


def _page_size(size: int, default: int) -> int:
    if not 0 <= size <= _MAX_PAGE:
        raise InvalidInput(
            "PAGE_SIZE_INVALID", f"page_size {size} is outside 0 to {_MAX_PAGE}", field="page_size"
        )
    return size or default
