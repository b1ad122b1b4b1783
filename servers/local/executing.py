"""Start parent orders on a running mesh and follow them to their reports."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence

import grpc
from rich.console import Console
from rich.live import Live
from tapeline.exchange.v1 import exchange_service_pb2
from tapeline.execution.v1 import execution_pb2, execution_service_pb2
from tapeline.marketdata.v1 import market_data_service_pb2

from servers.local.client import MeshClient
from servers.local.parent_order import ParentOrder
from servers.local.screen import FINAL_STATES, progress_line, progress_table

PLAIN_LINE_SECONDS = 5.0
RECONNECT_SECONDS = 60.0


async def session_of(client: MeshClient, symbol: str) -> market_data_service_pb2.GetSessionResponse:
    """Return the session that is on, or is next, in the symbol's calendar."""
    venue = await client.exchange.GetSession(exchange_service_pb2.GetSessionRequest())
    response: market_data_service_pb2.GetSessionResponse = await client.market_data.GetSession(
        market_data_service_pb2.GetSessionRequest(symbol=symbol, date=venue.session_date)
    )
    return response


async def start(client: MeshClient, order: ParentOrder) -> execution_pb2.Execution:
    """Start a parent order under a trace of its own and return it.

    Raises ValueError for words that mean nothing, grpc.aio.AioRpcError for refusals.
    """
    session = await session_of(client, order.symbol.upper())
    parameters = order.to_parameters(session.date, session.time_zone)
    request = execution_service_pb2.StartExecutionRequest(request_id=str(uuid.uuid4()), parameters=parameters)
    with client.tracer.start_span("tapeline execute", "") as span:
        response = await client.execution.StartExecution(request)
        span.set(execution_id=response.execution.execution_id)
    execution: execution_pb2.Execution = response.execution
    return execution


async def release(client: MeshClient) -> None:
    """Let a venue that holds its clock for the first parent order run."""
    session = await client.exchange.GetSession(exchange_service_pb2.GetSessionRequest())
    if session.time.held:
        await client.exchange.ControlSession(
            exchange_service_pb2.ControlSessionRequest(
                request_id=str(uuid.uuid4()), action=exchange_service_pb2.SESSION_ACTION_RELEASE
            )
        )


async def follow(
    client: MeshClient, execution_id: str, seen: Callable[[execution_pb2.Execution], None]
) -> execution_pb2.ExecutionReport:
    """Return the report of a parent order when it is final; `seen` gets every state on the way.

    Goes on through a restart of the execution server. Raises grpc.aio.AioRpcError when it is away for
    longer than a minute, or refuses.
    """
    lost_at = 0.0
    while True:
        try:
            stream = client.execution.StreamExecution(
                execution_service_pb2.StreamExecutionRequest(execution_id=execution_id)
            )
            async for message in stream:
                lost_at = 0.0
                seen(message.execution)
                if message.HasField("report"):
                    report: execution_pb2.ExecutionReport = message.report
                    return report
                if message.execution.state == execution_pb2.EXECUTION_STATE_REJECTED:
                    return execution_pb2.ExecutionReport(execution=message.execution)
        except grpc.aio.AioRpcError as error:
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                raise
            lost_at = lost_at or time.monotonic()
            if time.monotonic() - lost_at > RECONNECT_SECONDS:
                raise
        await asyncio.sleep(0.1)


async def follow_on_screen(
    client: MeshClient, console: Console, execution_ids: Sequence[str], time_zone: str
) -> list[execution_pb2.ExecutionReport]:
    """Follow parent orders with live progress, and return their reports in the order given."""
    states: dict[str, execution_pb2.Execution] = {}
    if console.is_terminal:
        with Live(console=console, refresh_per_second=8, transient=False) as live:

            def show(execution: execution_pb2.Execution) -> None:
                states[execution.execution_id] = execution
                live.update(
                    progress_table([states[key] for key in execution_ids if key in states], time_zone)
                )

            return await _follow_all(client, execution_ids, show)
    printed: dict[str, float] = {}

    def tell(execution: execution_pb2.Execution) -> None:
        now = time.monotonic()
        is_new = states.get(execution.execution_id, execution_pb2.Execution()).state != execution.state
        states[execution.execution_id] = execution
        if is_new or now - printed.get(execution.execution_id, 0.0) >= PLAIN_LINE_SECONDS:
            printed[execution.execution_id] = now
            console.print(progress_line(execution, time_zone), highlight=False, soft_wrap=True)

    return await _follow_all(client, execution_ids, tell)


async def _follow_all(
    client: MeshClient, execution_ids: Sequence[str], seen: Callable[[execution_pb2.Execution], None]
) -> list[execution_pb2.ExecutionReport]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(follow(client, execution_id, seen)) for execution_id in execution_ids]
    return [task.result() for task in tasks]


def is_final(execution: execution_pb2.Execution) -> bool:
    """Return whether nothing more will happen to a parent order."""
    return execution.state in FINAL_STATES
