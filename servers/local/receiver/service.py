"""The gRPC edge of the receiver: OTLP's TraceService."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from servers.local.receiver.store import Span, SpanStore
from servers.model.errors import InvalidInput

LATEST_NANOS = (1 << 63) - 1


class TraceService(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes spans from every server of the mesh."""

    def __init__(self, store: SpanStore) -> None:
        self._store = store

    async def Export(
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: Any
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        try:
            spans = spans_from_wire(request)
        except ValueError as error:
            raise InvalidInput("FIELD_INVALID", str(error)) from error
        self._store.add(spans)
        return trace_service_pb2.ExportTraceServiceResponse()


def spans_from_wire(request: trace_service_pb2.ExportTraceServiceRequest) -> list[Span]:
    """Return the spans of an export request. Raises ValueError for a time that no store can hold."""
    spans = list(_spans(request))
    for span in spans:
        if max(span.start_nanos, span.end_nanos) > LATEST_NANOS:
            raise ValueError(f"span {span.span_id} of {span.service or 'no service'} is after the year 2262")
    return spans


def _spans(request: trace_service_pb2.ExportTraceServiceRequest) -> Iterator[Span]:
    for resource_spans in request.resource_spans:
        resource = {item.key: _text(item.value) for item in resource_spans.resource.attributes}
        service = resource.get("service.name", "")
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield Span(
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_span_id=span.parent_span_id.hex(),
                    service=service,
                    name=span.name,
                    start_nanos=span.start_time_unix_nano,
                    end_nanos=span.end_time_unix_nano,
                    is_error=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
                    attributes={item.key: _text(item.value) for item in span.attributes},
                )


def _text(value: common_pb2.AnyValue) -> str:
    kind = value.WhichOneof("value")
    if kind is None:
        return ""
    if kind == "array_value":
        return ", ".join(_text(item) for item in value.array_value.values)
    return str(getattr(value, kind))
