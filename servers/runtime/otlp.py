"""Sends finished spans to an OTLP collector, in batches, off the event loop.

OpenTelemetry's batch processor and gRPC exporter do the queueing, the retries and the back-off; only the
encoding is ours, straight from our spans (5 µs a span where the SDK's own spans take some 60).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace import SpanContext, TraceFlags

from servers.runtime.security import CertificateFolder
from servers.runtime.tracing import AttributeValue, Span

QUEUE_SPANS = 20_000
BATCH_SPANS = 512
DELAY_MILLIS = 500
CALL_TIMEOUT_SECONDS = 2.0


class _Finished:
    # What the batch processor wants to see of a span before it queues it.
    __slots__ = ("span",)
    context = SpanContext(1, 1, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))

    def __init__(self, span: Span) -> None:
        self.span = span


class OtlpSpanExport:
    """A queue of finished spans and the thread that sends them.

    Args:
        server: becomes `service.name`.
        endpoint: `http://host:port` of an OTLP gRPC receiver, `https://host:port` of one with TLS.
        queue_spans: how many may wait; further ones are dropped and counted in `dropped`.
        certificates: the own key pair and the authority of a receiver with TLS.
    """

    def __init__(
        self,
        server: str,
        endpoint: str,
        queue_spans: int = QUEUE_SPANS,
        certificates: CertificateFolder | None = None,
    ) -> None:
        self._exporter = _Exporter(server, endpoint, certificates)
        self._queue_spans = queue_spans
        self._processor = BatchSpanProcessor(
            self._exporter,
            max_queue_size=queue_spans,
            max_export_batch_size=min(BATCH_SPANS, queue_spans),
            schedule_delay_millis=DELAY_MILLIS,
        )
        self._queued = 0
        self.dropped = 0

    def add(self, span: Span) -> None:
        """Queue one finished span, or drop it when the queue is full."""
        if self._queued - self._exporter.taken >= self._queue_spans:
            self.dropped += 1
            return
        self._queued += 1
        self._processor.on_end(cast(ReadableSpan, _Finished(span)))

    def close(self, timeout_seconds: float) -> None:
        """Send what is queued and stop."""
        self._processor._batch_processor.shutdown(round(timeout_seconds * 1000))


class _Exporter(OTLPSpanExporter):
    def __init__(self, server: str, endpoint: str, certificates: CertificateFolder | None) -> None:
        self._certificates = certificates if endpoint.startswith("https://") else None
        credentials = None if self._certificates is None else self._certificates.channel_credentials()
        super().__init__(endpoint=endpoint, credentials=credentials, timeout=CALL_TIMEOUT_SECONDS)
        self._pair = None if self._certificates is None else self._certificates.pair
        self._server = server
        self.taken = 0

    def export(self, spans: Sequence[Any]) -> SpanExportResult:
        self.taken += len(spans)
        self._follow_certificates()
        return super().export(spans)

    def _follow_certificates(self) -> None:
        # In the exporter's own thread. Others read the folder too, so the pair tells, not `refresh`.
        if self._certificates is None:
            return
        self._certificates.refresh()
        if self._certificates.pair is self._pair:
            return
        self._pair = self._certificates.pair
        self._credentials = self._certificates.channel_credentials()
        cast(Any, self._channel).close()
        cast(Any, self)._initialize_channel_and_stub()

    def _translate_data(self, data: Sequence[Any]) -> ExportTraceServiceRequest:
        return encode_spans(self._server, [finished.span for finished in data])


def encode_spans(server: str, spans: Sequence[Span]) -> ExportTraceServiceRequest:
    """Return the export request of finished spans of `server`."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add(resource=Resource(attributes=_attributes({"service.name": server})))
    scope = group.scope_spans.add(scope=InstrumentationScope(name="tapeline"))
    scope.spans.extend([_encode_span(span) for span in spans])
    return request


def _encode_span(span: Span) -> trace_pb2.Span:
    traceparent = span.traceparent
    encoded = trace_pb2.Span(
        trace_id=bytes.fromhex(traceparent[3:35]),
        span_id=bytes.fromhex(traceparent[36:52]),
        name=span.name,
        kind=span.kind,  # type: ignore[arg-type]  # our numbers are OTLP's
        start_time_unix_nano=span.start_nanos,
        end_time_unix_nano=span.end_nanos,
        flags=1,
    )
    if span.parent:
        encoded.parent_span_id = bytes.fromhex(span.parent[36:52])
    if span.attributes:
        encoded.attributes.extend(_attributes(span.attributes))
    for at_nanos, name, attributes in span.events:
        encoded.events.add(time_unix_nano=at_nanos, name=name, attributes=_attributes(attributes))
    for link in span.links:
        encoded.links.add(trace_id=bytes.fromhex(link[3:35]), span_id=bytes.fromhex(link[36:52]))
    if span.error is not None:
        encoded.status.code = trace_pb2.Status.STATUS_CODE_ERROR
        encoded.status.message = span.error
    return encoded


def _attributes(values: dict[str, AttributeValue]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_value(value)) for key, value in values.items()]


def _value(value: AttributeValue) -> AnyValue:
    if isinstance(value, str):
        return AnyValue(string_value=value)
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    return AnyValue(double_value=value)
