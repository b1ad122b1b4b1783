"""What happens to an order, as spans under the trace that it came with."""

from __future__ import annotations

from collections.abc import Sequence

from servers.orders.domain import EventKind, OrderEvent, OrderRecord
from servers.runtime.tracing import INTERNAL, Tracer, is_sampled, is_traceparent


class OrderSpans:
    """Emits one span for each committed event of a sampled order, but its acceptance: that is the call's."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def committed(self, events: Sequence[OrderEvent], records: Sequence[OrderRecord]) -> None:
        """Take the events of one commit."""
        for event, record in zip(events, records, strict=True):
            parent = record.traceparent
            if event.kind is EventKind.ACCEPTED or not is_traceparent(parent) or not is_sampled(parent):
                continue
            span = self._tracer.begin(f"order {event.kind.name.lower()}", INTERNAL, parent)
            span.set(
                client_order_id=event.client_order_id, state=record.state.name, sequence=record.last_sequence
            )
            if event.fill is not None:
                span.set(
                    quantity_nanos=event.fill.quantity_nanos,
                    price_nanos=event.fill.price_nanos,
                    venue_execution_id=event.fill.venue_execution_id,
                )
            span.end()
