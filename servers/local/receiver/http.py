"""The HTTP edge of the receiver: OTLP over HTTP (`POST /v1/traces`), as protobuf or JSON.

Triton sends its spans this way and no other.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from aiohttp import web
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from servers.local.mesh import TRACES_PATH
from servers.local.receiver.service import spans_from_wire
from servers.local.receiver.store import SpanStore
from servers.runtime.process import PortTaken

PROTOBUF, JSON = "application/x-protobuf", "application/json"
MOST_BYTES = 4 << 20
"""Of one request, unpacked where it came with gzip."""

_IDS = ("traceId", "spanId", "parentSpanId")


class HttpListener:
    """Takes spans over HTTP until it is closed.

    What is wrong is answered as OTLP says: 400 for a body that cannot be read, 413 for one above
    `MOST_BYTES`, 415 for a type that is neither protobuf nor JSON.
    """

    def __init__(self, store: SpanStore) -> None:
        self._store = store
        application = web.Application(client_max_size=MOST_BYTES)
        application.router.add_post(TRACES_PATH, self._export)
        self._runner = web.AppRunner(application, access_log=None)

    async def open(self, host: str, port: int) -> int:
        """Listen and return the port. Raises PortTaken."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise PortTaken(host, port, "OTLP/HTTP address") from error
        return int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _export(self, request: web.Request) -> web.Response:
        kind = request.content_type
        if kind not in (PROTOBUF, JSON):
            raise web.HTTPUnsupportedMediaType(text=f"takes {PROTOBUF} or {JSON}, not {kind}\n")
        body = await request.read()
        try:
            message = export_from_json(body) if kind == JSON else _export_from_protobuf(body)
            spans = spans_from_wire(message)
        except ValueError as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from error
        self._store.add(spans)
        # An answer that says nothing: all spans were taken.
        return web.Response(body=b"{}" if kind == JSON else b"", content_type=kind)


def export_from_json(body: bytes) -> trace_service_pb2.ExportTraceServiceRequest:
    """Return an export request from OTLP's JSON, which writes ids in hexadecimal. Raises ValueError."""
    try:
        content = json.loads(body)
        for span in _spans(content):
            for name in _IDS:
                if name in span:
                    span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
        request = trace_service_pb2.ExportTraceServiceRequest()
        json_format.ParseDict(content, request, ignore_unknown_fields=True)
    except (ValueError, TypeError, AttributeError, json_format.ParseError) as error:
        raise ValueError(f"no OTLP request in JSON: {error}") from error
    return request


def _spans(content: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        span
        for resource in content.get("resourceSpans", ())
        for scope in resource.get("scopeSpans", ())
        for span in scope.get("spans", ())
    ]


def _export_from_protobuf(body: bytes) -> trace_service_pb2.ExportTraceServiceRequest:
    try:
        return trace_service_pb2.ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise ValueError(f"no OTLP request in protobuf: {error}") from error
