"""The execution server: parent orders started and cancelled, and what becomes of them."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from typing import Any

import grpc
from tapeline.execution.v1 import execution_pb2, execution_service_pb2_grpc
from tapeline.execution.v1 import execution_service_pb2 as pb

from servers.decision.domain.decision import Decision
from servers.decision.ports import ExecutionFact, Log, Started
from servers.model.errors import InvalidInput
from servers.model.nanos import Money
from servers.model.order import Side
from servers.runtime.channels import Channels
from servers.runtime.follow import Follower
from servers.runtime.status import from_rpc_error
from servers.wire.money import money_from_wire
from servers.wire.trading import rejection_from_wire, side_to_wire

_OVER = frozenset(
    {
        execution_pb2.EXECUTION_STATE_FILLED,
        execution_pb2.EXECUTION_STATE_DONE,
        execution_pb2.EXECUTION_STATE_CANCELLED,
        execution_pb2.EXECUTION_STATE_REJECTED,
    }
)
_NOTHING_TO_CANCEL = frozenset({"EXECUTION_FINAL", "EXECUTION_STATE"})


class GrpcExecutions:
    """`Executions` over the execution server's channel.

    Everything that StartExecution is asked for comes from the decision as it is journalled, so that a repeat
    asks for the same. The end is a time, not a length: one that is sent too late is refused.
    """

    def __init__(self, channels: Channels) -> None:
        self._stub = execution_service_pb2_grpc.ExecutionServiceStub(channels.channel("execution"))

    async def start(self, decision: Decision) -> Started:
        request = pb.StartExecutionRequest(
            request_id=decision.decision_id, parameters=parameters_of(decision)
        )
        try:
            response = await self._stub.StartExecution(request)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        execution = response.execution
        is_refused = execution.HasField("rejection")
        rejection = rejection_from_wire(execution.rejection) if is_refused else None
        return Started(execution.execution_id, rejection)

    async def cancel(self, request_id: str, execution_id: str) -> None:
        request = pb.CancelExecutionRequest(request_id=request_id, execution_id=execution_id)
        try:
            await self._stub.CancelExecution(request)
        except grpc.aio.AioRpcError as error:
            refusal = from_rpc_error(error)
            if refusal.reason not in _NOTHING_TO_CANCEL:
                raise refusal from error


class ExecutionsFeed:
    """Events of parent orders, from where the journal stands."""

    def __init__(
        self,
        channels: Channels,
        after_sequence: Callable[[], int],
        take: Callable[[Sequence[ExecutionFact], int], Awaitable[None]],
        log: Log,
    ) -> None:
        self._stub = execution_service_pb2_grpc.ExecutionServiceStub(channels.channel("execution"))
        self._after = after_sequence
        self._take_facts = take
        self.follower = Follower("execution", self._subscribe, self._take, log)

    async def _subscribe(self) -> AsyncIterable[Any]:
        request = pb.StreamExecutionEventsRequest(resume_after_sequence=self._after())
        stream: AsyncIterable[Any] = self._stub.StreamExecutionEvents(request)
        return stream

    async def _take(self, message: pb.StreamExecutionEventsResponse) -> None:
        await self._take_facts([fact_from_wire(event) for event in message.events], message.sequence_reached)


def parameters_of(decision: Decision) -> execution_pb2.ExecutionParameters:
    """Return what a decision asks execution for. Raises InvalidInput for an algorithm that nobody knows."""
    name = f"ALGORITHM_{decision.algorithm.upper()}"
    if name not in execution_pb2.Algorithm.keys():  # noqa: SIM118  # an enum wrapper is no mapping
        raise InvalidInput("FIELD_INVALID", f"no algorithm {decision.algorithm}", field="algorithm")
    return execution_pb2.ExecutionParameters(
        account=decision.account,
        symbol=decision.symbol,
        side=side_to_wire(decision.side or Side.BUY),
        quantity_nanos=decision.quantity_nanos,
        algorithm=execution_pb2.Algorithm.Value(name),
        end_time_nanos=decision.expire_time_nanos,
        decision_price_nanos=decision.inputs.mid_price_nanos,
        decision_time_nanos=decision.event_time_nanos,
    )


def fact_from_wire(event: execution_pb2.ExecutionEvent) -> ExecutionFact:
    """Return what an event says of its parent order."""
    execution = event.execution
    fees: Money | None = None
    for sign, fills in ((1, event.fills), (-1, event.busted_fills)):
        for fill in fills:
            if fill.HasField("fee"):
                fee = money_from_wire(fill.fee, "fee")
                fees = Money(fee.currency_code, sign * fee.attos + (fees.attos if fees else 0))
    return ExecutionFact(
        execution.execution_id,
        event.event_time_nanos,
        execution.state in _OVER,
        execution.filled_quantity_nanos,
        execution.average_price_nanos,
        fees,
    )
