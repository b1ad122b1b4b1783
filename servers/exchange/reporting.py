"""Making reports: their sequence, their commits, and the first answers to requests."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from servers.exchange.domain import NewOrder, Report, ReportKind, VenueOrder
from servers.exchange.ports import OrderLog
from servers.model.errors import AlreadyExists
from servers.model.order import Fill, Rejection

_KEPT_REQUESTS = 10_000


@dataclass
class Batch:
    """Entries and reports that are committed together; the hash of the request that they answer."""

    entries: list[tuple[int, NewOrder]] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    content_hash: bytes = b""


def content_hash_of(*content: object) -> bytes:
    """Return the hash of what a request asks for."""
    return hashlib.sha256(repr(content).encode()).digest()


class Reporter:
    """Numbers reports and hands them to the log."""

    def __init__(self, log: OrderLog) -> None:
        self.now_nanos = 0
        self.last_sequence = log.last_sequence
        self._log = log
        self._requests: dict[tuple[str, str], tuple[bytes, Report]] = {}

    def add(
        self,
        batch: Batch,
        order: VenueOrder,
        kind: ReportKind,
        *,
        fill: Fill | None = None,
        corrected_fill: Fill | None = None,
        rejection: Rejection | None = None,
        reason: str = "",
        request_id: str = "",
        time_nanos: int = 0,
    ) -> Report:
        """Report one fact of an order as it stands, at `time_nanos` or now."""
        self.last_sequence += 1
        order.last_sequence = self.last_sequence
        report = Report(
            sequence=self.last_sequence,
            kind=kind,
            account=order.entry.account,
            client_order_id=order.entry.client_order_id,
            venue_order_id=order.venue_order_id,
            terms=order.terms,
            filled_quantity_nanos=order.filled_quantity_nanos,
            leaves_quantity_nanos=order.leaves_quantity_nanos,
            event_time_nanos=time_nanos or self.now_nanos,
            fill=fill,
            corrected_fill=corrected_fill,
            rejection=rejection,
            reason=reason,
            request_id=request_id,
            traceparent=order.entry.traceparent,
        )
        batch.reports.append(report)
        return report

    async def commit(self, batch: Batch) -> None:
        """Return when the batch is synced. The order of calls is the order of commits."""
        if not batch.reports:
            return
        for report in batch.reports:
            if report.request_id:
                self._requests[report.account, report.request_id] = batch.content_hash, report
                if len(self._requests) > _KEPT_REQUESTS:
                    del self._requests[next(iter(self._requests))]
        await self._log.commit(batch.entries, batch.reports, batch.content_hash)

    async def repeated(self, account: str, request_id: str, content_hash: bytes) -> Report | None:
        """Return the first answer to a request that came before; raises AlreadyExists for other content."""
        kept = self._requests.get((account, request_id)) or self._log.request(account, request_id)
        if kept is None:
            return None
        if kept[0] != content_hash:
            raise AlreadyExists("REQUEST_ID_REUSED", request_id=request_id)
        await self._log.wait_for(kept[1].sequence)
        return kept[1]
