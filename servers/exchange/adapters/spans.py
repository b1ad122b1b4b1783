"""What the venue reports of an order, as spans under the trace that came with it."""

from __future__ import annotations

from collections.abc import Sequence

from servers.exchange.domain import Report
from servers.runtime.tracing import INTERNAL, Tracer, is_sampled, is_traceparent


class ReportSpans:
    """Emits one span for each committed report of a sampled order."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def committed(self, reports: Sequence[Report]) -> None:
        """Take the reports of one commit."""
        for report in reports:
            parent = report.traceparent
            if not is_traceparent(parent) or not is_sampled(parent):
                continue
            span = self._tracer.begin(f"venue {report.kind.name.lower()}", INTERNAL, parent)
            span.set(client_order_id=report.client_order_id, sequence=report.sequence)
            if report.fill is not None:
                span.set(
                    quantity_nanos=report.fill.quantity_nanos,
                    price_nanos=report.fill.price_nanos,
                    liquidity=report.fill.liquidity.name.lower(),
                    venue_execution_id=report.fill.venue_execution_id,
                )
            span.end()
