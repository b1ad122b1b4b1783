"""A real server on a real port: answers, refusals, limits, health, and how it goes down."""

import asyncio
import os
from typing import Any

import grpc
import pytest
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from servers.runtime.component import Registration
from servers.runtime.process import PortTaken
from servers.runtime.status import error_info, reason_of

CODE = grpc.StatusCode


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def read_all(stream: Any) -> list[str]:
    return [response.text async for response in stream]


async def scrape(port: int, accept: str = "", path: str = "/metrics", method: str = "GET") -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: here\r\nAccept: {accept}\r\n\r\n".encode())
    text = (await reader.read()).decode()
    writer.close()
    return text


async def test_all_four_kinds_of_call_are_answered(harness: Any) -> None:
    running, _ = await harness.serve()
    stub, request = harness.stub(running), harness.echo.Request
    assert (await stub.Echo(request(text="a"))).text == "a"
    assert (await stub.Cancel(request(text="b"))).text == "cancelled b"
    assert await read_all(stub.Repeat(request(text="c", count=2))) == ["cc", "cc"]
    sent = [request(text="d"), request(text="e")]
    assert (await stub.Join(iter(sent))).text == "d e"
    assert await read_all(stub.Chat(iter(sent))) == ["d", "e"]


@pytest.mark.parametrize("method", ["Echo", "Repeat", "Chat"])
async def test_a_refusal_arrives_with_its_reason_whatever_the_kind_of_call(harness: Any, method: str) -> None:
    running, _ = await harness.serve()
    stub, request = harness.stub(running), harness.echo.Request(text="missing", count=1)
    call = getattr(stub, method)(iter([request]) if method == "Chat" else request)
    error = await refused(call if method == "Echo" else read_all(call))
    info = error_info(error)
    assert info is not None
    assert (error.code(), error.details(), info.reason) == (CODE.NOT_FOUND, "no order 7", "ORDER_NOT_FOUND")
    assert (info.domain, dict(info.metadata)) == ("tapeline", {"order_id": "7"})


async def test_a_bug_tells_the_caller_its_trace_and_the_log_the_rest(harness: Any) -> None:
    running, _ = await harness.serve()
    error = await refused(harness.stub(running).Echo(harness.echo.Request(text="bug")))
    info = error_info(error)
    assert info is not None
    assert (error.code(), info.reason) == (CODE.INTERNAL, "BUG")
    assert "secret" not in str(error)
    [line] = [line for line in harness.log_lines() if line["event"] == "call failed"]
    assert line["trace_id"] == info.metadata["trace_id"]
    assert "secret detail" in line["exception"]
    assert line["method"] == "/tapeline.testing.v1.EchoService/Echo"


async def test_a_servicer_may_abort_as_grpc_does_it(harness: Any) -> None:
    running, _ = await harness.serve()
    error = await refused(harness.stub(running).Echo(harness.echo.Request(text="abort")))
    assert (error.code(), error.details()) == (CODE.DATA_LOSS, "as grpc does it")
    assert 'code="DATA_LOSS"' in await scrape(running.metrics_port)


@pytest.mark.parametrize(
    ("size", "fill", "code", "reason"),
    [
        (2, b"\xff", CODE.INVALID_ARGUMENT, "MALFORMED_MESSAGE"),
        (5 << 20, b"\x00", CODE.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE"),
    ],
)
@pytest.mark.parametrize("kind", ["unary_unary", "unary_stream", "stream_unary", "stream_stream"])
async def test_hostile_bytes_are_refused_with_a_reason(
    harness: Any, kind: str, size: int, fill: bytes, code: grpc.StatusCode, reason: str
) -> None:
    running, _ = await harness.serve()
    method = {
        "unary_unary": "Echo",
        "unary_stream": "Repeat",
        "stream_unary": "Join",
        "stream_stream": "Chat",
    }
    channel = harness.channels(peers={"echo": running.address}).channel("echo")
    call = getattr(channel, kind)(f"/tapeline.testing.v1.EchoService/{method[kind]}")
    message = fill * size
    answer = call(iter([message]) if kind.startswith("stream") else message)

    async def drain() -> list[bytes]:
        return [part async for part in answer]

    error = await refused(drain() if kind.endswith("stream") else answer)
    assert (error.code(), reason_of(error)) == (code, reason)
    stub = harness.stub(running)
    assert (await stub.Echo(harness.echo.Request(text="still here"))).text == "still here"


async def test_calls_above_the_limit_are_refused_and_exempt_ones_pass(harness: Any, eventually: Any) -> None:
    running, component = await harness.serve(concurrency_initial=3, concurrency_least=1)
    stub, request = harness.stub(running), harness.echo.Request
    waiting = [asyncio.ensure_future(stub.Echo(request(text="wait"))) for _ in range(3)]
    await eventually(lambda: len(component.calls) == 3)
    error = await refused(stub.Echo(request(text="one too many")))
    assert (error.code(), reason_of(error)) == (CODE.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert (await stub.Cancel(request(text="o-1"))).text == "cancelled o-1"
    component.release.set()
    assert [answer.text for answer in await asyncio.gather(*waiting)] == ["wait"] * 3
    assert (await stub.Echo(request(text="again"))).text == "again"


async def test_streams_have_a_limit_of_their_own(harness: Any) -> None:
    running, component = await harness.serve(max_streams=1)
    stub, request = harness.stub(running), harness.echo.Request
    first = stub.Repeat(request(text="endless"))
    await component.entered.wait()
    error = await refused(read_all(stub.Repeat(request(text="x", count=1))))
    assert reason_of(error) == "OVERLOADED"
    component.release.set()
    assert await read_all(first) == []


async def test_a_caller_that_leaves_ends_its_stream(harness: Any, eventually: Any) -> None:
    running, component = await harness.serve()
    stream = harness.stub(running).Repeat(harness.echo.Request(text="endless"))
    await component.entered.wait()
    stream.cancel()
    await eventually(lambda: component.closed_streams == 1)
    await eventually(lambda: running.context.telemetry.registry.get_sample_value(
        "tapeline_rpc_server_calls_total",
        {"service": "tapeline.testing.v1.EchoService", "method": "Repeat", "code": "CANCELLED", "reason": ""},
    ) == 1)  # fmt: skip


async def test_before_its_state_is_restored_a_server_listens_and_is_not_ready(
    harness: Any, free_port: int
) -> None:
    component = harness.component()
    component.may_start.clear()
    starting = asyncio.ensure_future(harness.serve(component, port=free_port, metrics_port=0))
    await component.started.wait()
    address = f"127.0.0.1:{free_port}"
    assert await health_of(address) == health_pb2.HealthCheckResponse.NOT_SERVING
    async with grpc.aio.insecure_channel(address) as channel:
        error = await refused(harness.echo.Stub(channel).Echo(harness.echo.Request(text="a")))
    assert (error.code(), reason_of(error)) == (CODE.UNAVAILABLE, "NOT_READY")
    component.may_start.set()
    await starting
    assert await health_of(address) == health_pb2.HealthCheckResponse.SERVING
    assert (
        await health_of(address, "tapeline.testing.v1.EchoService") == health_pb2.HealthCheckResponse.SERVING
    )
    assert (await refused(health_of(address, "no.such.Service"))).code() is CODE.NOT_FOUND


async def test_a_start_that_fails_leaves_nothing_open(harness: Any, free_port: int) -> None:
    component = harness.component()

    async def fail() -> None:
        raise OSError("no such disk")

    component.start = fail
    with pytest.raises(OSError, match="no such disk"):
        await harness.serve(component, port=free_port, metrics_port=0)
    assert not component.stopped
    running, _ = await harness.serve(port=free_port, metrics_port=0)
    assert running.port == free_port


async def test_a_taken_port_names_its_owner_also_for_metrics(harness: Any) -> None:
    running, _ = await harness.serve()
    with pytest.raises(
        PortTaken, match=f"gRPC address 127.0.0.1:{running.port} is taken by pid {os.getpid()}"
    ):
        await harness.serve(port=running.port, metrics_port=0)
    with pytest.raises(PortTaken, match=f"metrics address 127.0.0.1:{running.metrics_port} is taken by pid"):
        await harness.serve(metrics_port=running.metrics_port)


async def test_going_down_it_tells_health_finishes_calls_and_cuts_streams(
    harness: Any, eventually: Any
) -> None:
    running, component = await harness.serve(drain_seconds=20.0)
    stub, request = harness.stub(running), harness.echo.Request
    watched: list[int] = []

    async def watch() -> None:
        async with grpc.aio.insecure_channel(running.address) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            async for change in stub.Watch(health_pb2.HealthCheckRequest()):
                watched.append(change.status)  # noqa: PERF401  # looked at while it grows

    watching = asyncio.ensure_future(watch())
    call = asyncio.ensure_future(stub.Echo(request(text="wait"), timeout=20))
    stream = asyncio.ensure_future(read_all(stub.Repeat(request(text="endless"))))
    await eventually(lambda: component.calls == ["Echo"] and watched and component.entered.is_set())
    await eventually(lambda: len(running._serving.streams) == 1)
    async with grpc.aio.insecure_channel(running.address) as direct:
        await direct.channel_ready()
        stopping = asyncio.ensure_future(running.stop())
        error = await refused(stream)
        assert (error.code(), reason_of(error)) == (CODE.UNAVAILABLE, "SHUTTING_DOWN")
        late = await refused(harness.echo.Stub(direct).Echo(request(text="late")))
        assert (late.code(), reason_of(late)) == (CODE.UNAVAILABLE, "SHUTTING_DOWN")
        assert not component.stopped
        component.release.set()
        assert (await call).text == "wait"
        await stopping
    assert component.stopped
    assert component.closed_streams == 1
    await refused(watching)
    serving = health_pb2.HealthCheckResponse
    assert watched == [serving.SERVING, serving.NOT_SERVING]
    with pytest.raises(OSError, match="Connect"):
        await asyncio.open_connection("127.0.0.1", running.metrics_port)


async def test_a_call_that_does_not_finish_is_dropped_when_the_drain_is_over(harness: Any) -> None:
    running, component = await harness.serve(drain_seconds=0.1)
    call = asyncio.ensure_future(harness.stub(running).Echo(harness.echo.Request(text="wait")))
    await component.entered.wait()
    await running.stop()
    assert component.stopped
    assert (await refused(call)).code() in (CODE.UNAVAILABLE, CODE.CANCELLED)


async def test_a_fatal_background_error_is_reported_and_turns_health(harness: Any) -> None:
    running, _ = await harness.serve()
    running.context.fail(OSError("disk full"))
    running.context.fail(OSError("again"))
    assert str(await running.failure) == "disk full"
    assert await health_of(running.address) == health_pb2.HealthCheckResponse.NOT_SERVING
    assert [line["level"] for line in harness.log_lines() if "fatal" in line["event"]] == ["critical"] * 2


async def test_reflection_and_channelz_answer(harness: Any) -> None:
    running, _ = await harness.serve()
    async with grpc.aio.insecure_channel(running.address) as channel:
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        [answer] = [part async for part in reflection.ServerReflectionInfo(iter([asked]))]
        names = [service.name for service in answer.list_services_response.service]
        assert "tapeline.testing.v1.EchoService" in names
        channelz = channelz_pb2_grpc.ChannelzStub(channel)
        assert (await channelz.GetServers(channelz_pb2.GetServersRequest())).server


async def test_metrics_are_scraped_in_both_formats(harness: Any) -> None:
    running, _ = await harness.serve()
    stub, request = harness.stub(running), harness.echo.Request
    await stub.Echo(request(text="a"))
    await refused(stub.Echo(request(text="missing")))
    classic = await scrape(running.metrics_port)
    labels = 'method="Echo",reason="ORDER_NOT_FOUND",service="tapeline.testing.v1.EchoService"'
    assert f'tapeline_rpc_server_calls_total{{code="NOT_FOUND",{labels}}} 1.0' in classic
    assert "tapeline_rpc_server_concurrency_limit 512.0" in classic
    assert (await scrape(running.metrics_port, "application/openmetrics-text")).endswith("# EOF\n")
    assert " 404 " in await scrape(running.metrics_port, path="/")
    assert " 405 " in await scrape(running.metrics_port, method="POST")
    head = await scrape(running.metrics_port, method="HEAD")
    assert head.startswith("HTTP/1.1 200")
    assert head.endswith("\r\n\r\n")


async def test_roles_for_a_method_that_does_not_exist_are_refused_at_registration(harness: Any) -> None:
    component = harness.component()
    component.registrations = lambda: [Registration(harness.echo.add, component, {"Ekko": frozenset()})]
    with pytest.raises(ValueError, match="no such method: Ekko; there are Cancel, Chat, Echo"):
        await harness.serve(component)


async def test_a_stream_that_would_block_the_loop_is_refused_at_registration(harness: Any) -> None:
    component = harness.component()
    component.Repeat = lambda request, context: iter(())
    with pytest.raises(TypeError, match="Repeat must be an `async def`"):
        await harness.serve(component)


async def health_of(address: str, service: str = "") -> int:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
        return int(answer.status)
