"""The client side against real servers: deadlines, reads that are tried again, traces, breakers."""

import asyncio
from typing import Any

import grpc
import pytest

from servers.model.errors import Unavailable
from servers.runtime.call import current_call, seconds_left, spawn
from servers.runtime.settings import ServerSettings
from servers.runtime.status import reason_of
from servers.runtime.tracing import CLIENT, SERVER, Span, Tracer, current_traceparent, trace_id_of

CODE = grpc.StatusCode


class Relay:
    """Passes every Echo on to the peer `echo`, through the channels of its own context."""

    def __init__(self, harness: Any, context: Any) -> None:
        self._component = harness.component()
        self._component._answer = self._pass_on
        self._stub = harness.echo.Stub(context.channels.channel("echo"))
        self.timeout: float | None = None

    async def _pass_on(self, request: Any) -> Any:
        return await self._stub.Echo(request, timeout=self.timeout)

    def registrations(self) -> Any:
        return self._component.registrations()

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass


async def relay(harness: Any, behind: Any, **settings: Any) -> tuple[Any, Relay]:
    context = await harness.context(
        "relay", ServerSettings(peers={"echo": behind.address}, deadline_margin_seconds=0.05, **settings)
    )
    component = Relay(harness, context)
    running, _ = await harness.serve(component, context=context)
    return running, component


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_what_the_caller_has_left_travels_minus_the_margin(harness: Any) -> None:
    behind, component = await harness.serve()
    left: list[float] = []

    async def note(_: Any) -> None:
        left.append(seconds_left())

    component.act = note
    front, passing = await relay(harness, behind)
    stub, request = harness.stub(front), harness.echo.Request(text="a")
    await stub.Echo(request, timeout=3.0)
    assert 0 < left[-1] < 2.99
    passing.timeout = 1.0
    await stub.Echo(request, timeout=60.0)
    assert 0 < left[-1] < 1.1  # the wire rounds a timeout up
    assert seconds_left() == float("inf")
    assert current_call() is None


async def test_what_a_handler_leaves_running_is_not_bound_by_its_callers_deadline(harness: Any) -> None:
    running, component = await harness.serve()
    left: list[asyncio.Task[float]] = []
    may_look = asyncio.Event()

    async def look() -> float:
        assert trace_id_of(current_traceparent()) == root.trace_id
        await may_look.wait()
        return seconds_left()

    async def leave_work(_: Any) -> None:
        left.append(asyncio.create_task(look()))
        left.append(spawn(look(), "look"))
        assert seconds_left() < 10

    component.act = leave_work
    with Tracer().start_span("test") as root:
        await harness.stub(running).Echo(harness.echo.Request(text="a"), timeout=5)
    may_look.set()
    assert await asyncio.gather(*left) == [float("inf")] * 2


async def test_work_that_is_spawned_knows_nothing_of_the_call(harness: Any) -> None:
    running, component = await harness.serve()
    seen: list[Any] = []

    async def look() -> None:
        seen.append((current_call(), seconds_left()))

    async def spawn_it(_: Any) -> None:
        await spawn(look(), "look")

    component.act = spawn_it
    await harness.stub(running).Echo(harness.echo.Request(text="a"), timeout=5)
    assert seen == [(None, float("inf"))]


async def test_a_call_without_time_left_is_not_sent(harness: Any) -> None:
    behind, component = await harness.serve()
    front, _ = await relay(harness, behind)
    error = await refused(harness.stub(front).Echo(harness.echo.Request(text="a"), timeout=0.04))
    assert error.code() is CODE.DEADLINE_EXCEEDED
    assert component.calls == []


async def test_every_call_has_a_deadline(harness: Any) -> None:
    running, _ = await harness.serve()
    stub = harness.stub(running, call_timeout_seconds=0.2)
    error = await refused(stub.Echo(harness.echo.Request(text="wait")))
    assert error.code() is CODE.DEADLINE_EXCEEDED


async def test_a_refusal_of_a_server_further_back_arrives_with_its_reason(harness: Any) -> None:
    behind, _ = await harness.serve()
    front, _ = await relay(harness, behind)
    error = await refused(harness.stub(front).Echo(harness.echo.Request(text="missing")))
    assert (error.code(), reason_of(error)) == (CODE.NOT_FOUND, "ORDER_NOT_FOUND")


async def test_a_server_further_back_that_is_down_is_peer_unavailable(harness: Any) -> None:
    behind, _ = await harness.serve()
    front, _ = await relay(harness, behind)
    await behind.stop()
    error = await refused(harness.stub(front).Echo(harness.echo.Request(text="a")))
    assert (error.code(), reason_of(error)) == (CODE.UNAVAILABLE, "PEER_UNAVAILABLE")


@pytest.mark.parametrize(("method", "attempts"), [("GetEcho", 3), ("Echo", 1)])
async def test_only_reads_are_tried_again(harness: Any, method: str, attempts: int) -> None:
    running, component = await harness.serve()

    async def fail(_: Any) -> None:
        raise Unavailable("NOT_READY")

    component.act = fail
    error = await refused(getattr(harness.stub(running), method)(harness.echo.Request(text="a")))
    assert reason_of(error) == "NOT_READY"
    assert component.calls == [method] * attempts


async def test_a_read_that_succeeds_the_second_time_succeeds(harness: Any) -> None:
    running, component = await harness.serve()

    async def fail_once(_: Any) -> None:
        if len(component.calls) == 1:
            raise Unavailable("NOT_READY")

    component.act = fail_once
    assert (await harness.stub(running).GetEcho(harness.echo.Request(text="a"))).text == "a"


async def test_a_server_that_comes_back_is_found_again(harness: Any, free_port: int) -> None:
    first, _ = await harness.serve(port=free_port, metrics_port=0)
    stub, request = harness.stub(first), harness.echo.Request(text="a")
    await stub.Echo(request)
    await first.stop()
    assert (await refused(stub.Echo(request))).code() is CODE.UNAVAILABLE
    await harness.serve(port=free_port, metrics_port=0)
    async with asyncio.timeout(10):
        while True:
            try:
                assert (await stub.Echo(request)).text == "a"
                break
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.02)


async def test_a_new_channel_waits_out_no_pause_of_an_older_one(harness: Any, free_port: int) -> None:
    peers, request = {"echo": f"127.0.0.1:{free_port}"}, harness.echo.Request(text="a")
    older = harness.echo.Stub(harness.channels(peers=peers).channel("echo"))
    for _ in range(4):  # its pauses grow with each attempt that fails
        assert (await refused(older.Echo(request))).code() is CODE.UNAVAILABLE
        await asyncio.sleep(0.15)
    await harness.serve(port=free_port, metrics_port=0)
    newer = harness.echo.Stub(harness.channels(peers=peers).channel("echo"))
    assert (await newer.Echo(request)).text == "a"


async def test_a_peer_that_is_not_serving_gets_no_calls(harness: Any, eventually: Any) -> None:
    running, component = await harness.serve()
    stub, request = harness.stub(running), harness.echo.Request(text="a")
    await stub.Echo(request)
    running.context.health.set_serving(False)
    codes: list[grpc.StatusCode] = []

    async def is_refused() -> None:
        async with asyncio.timeout(10):
            while True:
                try:
                    await stub.Echo(request)
                except grpc.aio.AioRpcError as error:
                    codes.append(error.code())
                    return

    await is_refused()
    answered = len(component.calls)
    await refused(stub.Echo(request))
    assert codes == [CODE.UNAVAILABLE]
    assert len(component.calls) == answered
    running.context.health.set_serving(True)
    async with asyncio.timeout(10):
        assert (await stub.Echo(request, wait_for_ready=True)).text == "a"


async def test_after_many_failures_the_breaker_spares_a_dead_peer(harness: Any, free_port: int) -> None:
    channels = harness.channels(peers={"echo": f"127.0.0.1:{free_port}"})
    channel = channels.channel("echo")
    stub = harness.echo.Stub(channel)
    details = [(await refused(stub.Echo(harness.echo.Request()))).details() or "" for _ in range(20)]
    assert "breaker open" not in details[0]
    assert "echo does not answer: breaker open" in details


async def test_refusals_with_a_reason_never_open_the_breaker(harness: Any) -> None:
    running, _ = await harness.serve()
    stub = harness.stub(running)
    for _ in range(15):
        assert reason_of(await refused(stub.Echo(harness.echo.Request(text="missing")))) == "ORDER_NOT_FOUND"


async def test_an_unknown_peer_is_an_error_and_a_known_one_has_a_default_address(harness: Any) -> None:
    channels = harness.channels(peers={})
    with pytest.raises(KeyError, match="no address for peer 'nobody'"):
        channels.channel("nobody")
    assert channels.channel("orders").address == "127.0.0.1:8011"
    assert channels.channel("orders") is channels.channel("orders")


async def test_a_channel_can_be_waited_for_like_any_other(harness: Any) -> None:
    running, _ = await harness.serve()
    channels = harness.channels(peers={"echo": running.address})
    async with asyncio.timeout(10), channels.channel("echo") as channel:
        await channel.channel_ready()
        state = channel.get_state()
        assert state is grpc.ChannelConnectivity.READY
        await channel.wait_for_state_change(grpc.ChannelConnectivity.IDLE)


async def test_one_trace_runs_through_client_and_servers(harness: Any) -> None:
    finished: list[Span] = []
    tracer = Tracer(finished.append)
    behind, component = await harness.serve()
    front, _ = await relay(harness, behind)
    seen: list[str] = []

    async def note(_: Any) -> None:
        seen.append(current_traceparent())

    component.act = note
    with tracer.start_span("test") as root:
        await harness.stub(front, tracer).Echo(harness.echo.Request(text="a"))
    assert seen[0][3:35] == root.trace_id
    [client] = [span for span in finished if span.kind == CLIENT]
    assert client.parent == root.traceparent
    assert client.name == "tapeline.testing.v1.EchoService/Echo"


async def test_streams_carry_the_trace_and_the_callers_metadata(harness: Any) -> None:
    running, component = await harness.serve()
    seen: list[str] = []

    async def note(_: Any) -> None:
        seen.append(current_traceparent())

    component.act = note
    with Tracer(lambda span: None).start_span("test") as root:
        stream = harness.stub(running).Repeat(
            harness.echo.Request(text="a", count=1), metadata=(("x-account", "A1"),)
        )
        assert [response.text async for response in stream] == ["a"]
    assert seen[0][3:35] == root.trace_id


async def test_a_served_call_of_a_sampled_trace_is_a_server_span_with_its_refusal(harness: Any) -> None:
    finished: list[Span] = []
    running, _ = await harness.serve()
    running.context.telemetry.tracer._export = finished.append
    with Tracer(lambda span: None).start_span("test") as root:
        stub = harness.stub(running, Tracer(lambda span: None))
        await stub.Echo(harness.echo.Request(text="a"))
        await refused(stub.Echo(harness.echo.Request(text="missing")))
        await refused(stub.Echo(harness.echo.Request(text="bug")))
    good, refusal, bug = finished
    assert {span.kind for span in finished} == {SERVER}
    assert {span.trace_id for span in finished} == {root.trace_id}
    assert (good.error, refusal.error, bug.error) == (None, None, "BUG")
    assert refusal.attributes == {"rpc.grpc.status_code": 5, "tapeline.reason": "ORDER_NOT_FOUND"}
