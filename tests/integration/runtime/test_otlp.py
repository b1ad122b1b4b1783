"""Spans reach a real OTLP receiver, encoded as OpenTelemetry's own protocol."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2

from servers.local.certificates import LocalAuthority
from servers.runtime.otlp import OtlpSpanExport, encode_spans
from servers.runtime.security import CertificateFolder
from servers.runtime.telemetry import Telemetry
from servers.runtime.tracing import Span, Tracer


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self) -> None:
        self.spans: list[tuple[str, trace_pb2.Span]] = []
        self.callers: set[str] = set()
        self.taken = asyncio.Event()

    async def Export(self, request: Any, context: Any) -> Any:
        self.callers.add(context.peer())
        for group in request.resource_spans:
            [service] = [pair.value.string_value for pair in group.resource.attributes]
            self.spans += [(service, span) for scope in group.scope_spans for span in scope.spans]
        self.taken.set()
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture
async def receiver() -> Any:
    server, receiver = grpc.aio.server(), Receiver()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, server)
    receiver.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"  # type: ignore[attr-defined]
    await server.start()
    yield receiver
    await server.stop(None)


async def test_the_spans_of_a_call_arrive_by_the_time_the_server_has_stopped(
    harness: Any, receiver: Any
) -> None:
    running, component = await harness.serve(otlp_endpoint=receiver.endpoint)

    async def work(_: Any) -> None:
        with running.context.telemetry.tracer.start_span("work", account="A1"):
            pass

    component.act = work
    with Tracer(lambda span: None).start_span("test") as root:
        await harness.stub(running, Tracer(lambda span: None)).Echo(harness.echo.Request(text="a"))
    await running.stop()
    spans = {span.name: span for _, span in receiver.spans}
    served, worked = spans["tapeline.testing.v1.EchoService/Echo"], spans["work"]
    assert {service for service, _ in receiver.spans} == {"echo"}
    assert worked.parent_span_id == served.span_id
    assert worked.trace_id == served.trace_id == bytes.fromhex(root.trace_id)
    assert served.kind == trace_pb2.Span.SPAN_KIND_SERVER
    assert served.parent_span_id
    assert [(pair.key, pair.value.string_value) for pair in worked.attributes] == [("account", "A1")]


async def test_exemplars_name_the_trace_of_a_sampled_call(harness: Any, receiver: Any) -> None:
    running, _ = await harness.serve(otlp_endpoint=receiver.endpoint)
    await harness.stub(running).Echo(harness.echo.Request(text="a"))
    figures = running.context.telemetry.calls.served("tapeline.testing.v1.EchoService", "Echo")
    await running.stop()
    sent = {span.trace_id.hex() for _, span in receiver.spans}
    assert {seen[0] for seen in figures.exemplars if seen is not None} <= sent
    assert any(figures.exemplars)


async def test_nothing_is_exported_at_a_sampling_ratio_of_zero(harness: Any, receiver: Any) -> None:
    running, _ = await harness.serve(otlp_endpoint=receiver.endpoint, trace_sample_ratio=0.0)
    await harness.stub(running).Echo(harness.echo.Request(text="a"))
    await running.stop()
    assert receiver.spans == []


def test_every_part_of_a_span_is_encoded() -> None:
    finished: list[Span] = []
    other = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
    span = Tracer(finished.append).start_span("work", "", links=[other])
    span.set(name="a", count=3, ratio=0.5, is_last=True)
    span.event("sent", child_id="c-1")
    span.fail("broken")
    span.end()
    [group] = encode_spans("orders", finished).resource_spans
    [encoded] = group.scope_spans[0].spans
    values = {
        pair.key: getattr(pair.value, str(pair.value.WhichOneof("value"))) for pair in encoded.attributes
    }
    assert values == {"name": "a", "count": 3, "ratio": 0.5, "is_last": True}
    assert encoded.parent_span_id == b""
    assert (encoded.events[0].name, encoded.events[0].attributes[0].key) == ("sent", "child_id")
    assert (encoded.links[0].trace_id.hex(), encoded.links[0].span_id.hex()) == ("ab" * 16, "cd" * 8)
    assert (encoded.status.code, encoded.status.message) == (trace_pb2.Status.STATUS_CODE_ERROR, "broken")
    assert span.start_nanos == encoded.start_time_unix_nano <= encoded.end_time_unix_nano


def test_a_receiver_that_is_down_does_not_hold_up_the_end(free_port: int) -> None:
    export = OtlpSpanExport("orders", f"http://127.0.0.1:{free_port}")
    tracer = Tracer(export.add)
    tracer.start_span("work").end()
    export.close(1.0)
    tracer.start_span("too late").end()


def test_spans_above_the_queue_are_dropped_and_counted(free_port: int) -> None:
    export = OtlpSpanExport("orders", f"http://127.0.0.1:{free_port}", queue_spans=3)
    telemetry = Telemetry("orders", export=export)
    for _ in range(20):
        telemetry.tracer.start_span("work").end()
    dropped = telemetry.registry.get_sample_value("tapeline_spans_dropped_total")
    export.close(1.0)
    assert dropped is not None
    # One batch may have left the queue, on its way to a receiver that is not there.
    assert 20 - 2 * 3 <= dropped <= 20 - 3


async def test_spans_go_to_a_receiver_with_tls_and_follow_new_certificates(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    authority = LocalAuthority.make(tmp_path / "tls", now)
    authority.issue(tmp_path / "tls", ["receiver", "sender"], now)
    server, receiver = grpc.aio.server(), Receiver()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, server)
    credentials = CertificateFolder(tmp_path / "tls" / "receiver").server_credentials()
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    certificates = CertificateFolder(tmp_path / "tls" / "sender")
    export = OtlpSpanExport("echo", f"https://127.0.0.1:{port}", certificates=certificates)
    tracer = Tracer(export.add)

    with tracer.start_span("first"):
        pass
    async with asyncio.timeout(10):
        await receiver.taken.wait()
    # Of another authority, on both sides: only who has read the new files gets a new connection.
    successor = LocalAuthority.make(tmp_path / "tls", now)
    successor.issue(tmp_path / "tls", ["receiver", "sender"], now)
    with tracer.start_span("second"):
        pass
    await asyncio.to_thread(export.close, 5.0)
    assert [span.name for _, span in receiver.spans] == ["first", "second"]
    assert len(receiver.callers) == 2
    await server.stop(None)
