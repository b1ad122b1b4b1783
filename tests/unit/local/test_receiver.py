"""Spans come in over HTTP, as protobuf and as JSON, and what is no request is answered with why."""

import gzip
import io
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from servers.local.mesh import TRACES_PATH
from servers.local.receiver.http import JSON, MOST_BYTES, PROTOBUF, HttpListener, export_from_json
from servers.local.receiver.store import Span, SpanStore
from servers.runtime.process import PortTaken

TRACE, SPAN, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7"
EXPECTED = Span(TRACE, SPAN, PARENT, "triton", "InferRequest", 5, 9, True, {"batch": "8", "names": "a, b"})


def in_json() -> bytes:
    """Return a request as exporters write it: ids in hexadecimal, 64-bit numbers as text."""
    span = {
        "traceId": TRACE,
        "spanId": SPAN,
        "parentSpanId": PARENT,
        "name": "InferRequest",
        "startTimeUnixNano": "5",
        "endTimeUnixNano": "9",
        "status": {"code": 2},
        "attributes": [
            {"key": "batch", "value": {"intValue": "8"}},
            {
                "key": "names",
                "value": {"arrayValue": {"values": [{"stringValue": "a"}, {"stringValue": "b"}]}},
            },
        ],
        "somethingNewer": {},
    }
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "triton"}}]}
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}).encode()


class Receiver:
    """A listener over a store, and a client of it."""

    def __init__(self, store: SpanStore, url: str, client: aiohttp.ClientSession) -> None:
        self.store = store
        self.url = url
        self._client = client

    async def post(self, body: bytes, kind: str, **headers: str) -> tuple[int, bytes]:
        sent = {"Content-Type": kind, **headers}
        async with self._client.post(self.url, data=io.BytesIO(body), headers=sent) as answer:
            return answer.status, await answer.read()


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[Receiver]:
    store = SpanStore(tmp_path / "traces.db")
    listener = HttpListener(store)
    port = await listener.open("127.0.0.1", 0)
    async with aiohttp.ClientSession() as client:
        yield Receiver(store, f"http://127.0.0.1:{port}{TRACES_PATH}", client)
    await listener.close()
    store.close()


async def test_json_and_protobuf_say_the_same(receiver: Receiver) -> None:
    assert await receiver.post(in_json(), f"{JSON}; charset=utf-8") == (200, b"{}")
    assert receiver.store.of_trace(TRACE) == [EXPECTED]
    message = export_from_json(in_json())
    message.resource_spans[0].scope_spans[0].spans[0].name = "again"
    status, answer = await receiver.post(message.SerializeToString(), PROTOBUF)
    assert (status, answer) == (200, trace_service_pb2.ExportTraceServiceResponse().SerializeToString())
    assert [span.name for span in receiver.store.of_trace(TRACE)] == ["again"]


async def test_a_packed_body_is_unpacked(receiver: Receiver) -> None:
    packed = gzip.compress(in_json())
    assert await receiver.post(packed, JSON, **{"Content-Encoding": "gzip"}) == (200, b"{}")
    assert receiver.store.of_trace(TRACE) == [EXPECTED]


@pytest.mark.parametrize(
    ("body", "kind", "status", "said"),
    [
        (b"{", JSON, 400, b"no OTLP request in JSON"),
        (b"[]", JSON, 400, b"no OTLP request in JSON"),
        (in_json().replace(TRACE.encode(), b"not hexadecimal"), JSON, 400, b"no OTLP request in JSON"),
        (in_json().replace(b'"5"', b'"soon"'), JSON, 400, b"no OTLP request in JSON"),
        (in_json().replace(b'"9"', b'"9223372036854775808"'), JSON, 400, b"is after the year 2262"),
        (b"\xff\xff", PROTOBUF, 400, b"no OTLP request in protobuf"),
        (b"{}", "text/plain", 415, b"not text/plain"),
        (b" " * (MOST_BYTES + 1), JSON, 413, b""),
        (gzip.compress(b" " * (MOST_BYTES + 1)), JSON, 413, b""),
    ],
    ids=["cut", "list", "id", "number", "time", "protobuf", "type", "long", "long when unpacked"],
)
async def test_what_is_no_request_is_refused_and_nothing_is_kept(
    receiver: Receiver, body: bytes, kind: str, status: int, said: bytes
) -> None:
    headers: dict[str, Any] = {"Content-Encoding": "gzip"} if body.startswith(b"\x1f\x8b") else {}
    answered, text = await receiver.post(body, kind, **headers)
    assert (answered, said in text) == (status, True), text
    assert receiver.store.of_trace(TRACE) == []


def test_what_cannot_be_kept_leaves_nothing_half_done(tmp_path: Path) -> None:
    store = SpanStore(tmp_path / "traces.db")
    with pytest.raises(OverflowError):
        store.add([EXPECTED, replace(EXPECTED, span_id="far", end_nanos=1 << 63)])
    assert store.of_trace(TRACE) == []
    assert store.add([EXPECTED]) == 1
    assert store.of_trace(TRACE) == [EXPECTED]
    store.close()


async def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    store = SpanStore(tmp_path / "traces.db")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(PortTaken, match=str(port)):
            await HttpListener(store).open("127.0.0.1", port)
    store.close()
