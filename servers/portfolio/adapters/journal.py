"""Fills and adjustments in `servers.journal`, with the sequence reached in the same transaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from hashlib import sha256

from tapeline.orders.v1 import order_event_pb2
from tapeline.portfolio.v1 import position_pb2

from servers.journal import Entry, Journal, Record, RequestEffect
from servers.model.errors import AlreadyExists
from servers.portfolio import wire
from servers.portfolio.domain.adjustments import Adjustment
from servers.portfolio.ports import FillFact
from servers.wire.trading import fill_to_wire

FILL, ADJUSTMENT = "fill", "adjustment"
ORDERS = "orders"


class JournalLedger:
    """`LedgerJournal` over one journal: order events with a fill, and adjustments.

    The sequence of an adjustment is that of its record, so it ascends and has gaps where fills lie.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._orders_sequence = journal.position(ORDERS)
        # One append at a time, so that the sequence of an adjustment is known before it is stored.
        self._writing = asyncio.Lock()

    @property
    def orders_sequence(self) -> int:
        return self._orders_sequence

    async def load(self, after_sequence: int) -> AsyncIterator[tuple[int, FillFact | Adjustment]]:
        async for record in self.journal.read(after_sequence):
            if record.kind == ADJUSTMENT:
                yield record.sequence, adjustment_of(record)
            elif record.kind == FILL:
                fact = wire.fill_fact_from_wire(order_event_pb2.OrderEvent.FromString(record.payload))
                if fact is not None:
                    yield record.sequence, fact

    async def save_fills(self, facts: Sequence[FillFact], orders_sequence: int) -> int:
        entries = [Entry(FILL, _event(fact).SerializeToString(deterministic=True)) for fact in facts]
        async with self._writing:
            await self.journal.append(entries, positions={ORDERS: orders_sequence})
            self._orders_sequence = orders_sequence
            return self.journal.last_sequence

    def first_answer(self, request_id: str, adjustment: Adjustment) -> Adjustment | None:
        effect = self.journal.request(request_id)
        if effect is None:
            return None
        if effect.content_hash != _content_hash(adjustment):
            raise AlreadyExists("REQUEST_ID_REUSED", request_id=request_id)
        return wire.adjustment_from_wire(position_pb2.Adjustment.FromString(effect.response))

    async def save_adjustment(self, request_id: str, asked: Adjustment, adjustment: Adjustment) -> Adjustment:
        async with self._writing:
            stored = replace(adjustment, sequence=self.journal.last_sequence + 1)
            payload = wire.adjustment_to_wire(stored).SerializeToString(deterministic=True)
            effect = RequestEffect(request_id, _content_hash(asked), payload, is_permanent=True)
            await self.journal.append([Entry(ADJUSTMENT, payload, effect)])
        return stored


def adjustment_of(record: Record) -> Adjustment:
    """Return the adjustment that a record keeps."""
    return wire.adjustment_from_wire(position_pb2.Adjustment.FromString(record.payload))


def _event(fact: FillFact) -> order_event_pb2.OrderEvent:
    if fact.corrected is not None:
        kind = order_event_pb2.ORDER_EVENT_KIND_CORRECTED
    elif fact.is_bust:
        kind = order_event_pb2.ORDER_EVENT_KIND_BUSTED
    else:
        kind = order_event_pb2.ORDER_EVENT_KIND_FILLED
    event = order_event_pb2.OrderEvent(sequence=fact.sequence, kind=kind, fill=fill_to_wire(fact.fill))
    if fact.corrected is not None:
        event.corrected_fill.CopyFrom(fill_to_wire(fact.corrected))
    return event


def _content_hash(adjustment: Adjustment) -> bytes:
    return sha256(repr(adjustment).encode()).digest()
