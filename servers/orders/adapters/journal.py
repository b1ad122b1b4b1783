"""The order journal over `servers.journal`: an event's payload is its protobuf bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

from tapeline.orders.v1 import order_event_pb2

from servers.journal import Entry, Journal, RequestEffect
from servers.orders import wire
from servers.orders.domain import OrderEvent, OrderRecord
from servers.orders.ports import KeptAnswer, RequestKey

EVENT_KIND = "order"


class DurableOrderJournal:
    """An `OrderJournal` in a `Journal`.

    Args:
        venue: the venue's name, under which its position is kept.
    """

    def __init__(self, journal: Journal, venue: str) -> None:
        self._journal = journal
        self._source = f"venue/{venue}"

    @property
    def last_sequence(self) -> int:
        return self._journal.last_sequence

    async def append(
        self,
        events: Sequence[OrderEvent],
        records: Sequence[OrderRecord],
        answers: Mapping[RequestKey, KeptAnswer],
        venue_position: int,
    ) -> None:
        effects = {
            key: RequestEffect(_request_id(key), kept.content_hash, wire.answer_to_bytes(kept.answer))
            for key, kept in answers.items()
        }
        entries = [
            Entry(
                EVENT_KIND,
                wire.event_to_wire(event, record).SerializeToString(),
                effects.pop(RequestKey(event.account, event.request_id), None) if effects else None,
                event.create_time_nanos,
            )
            for event, record in zip(events, records, strict=True)
        ]
        positions = {self._source: venue_position} if venue_position else {}
        await self._journal.append(entries, positions=positions)

    async def replay(self, after_sequence: int) -> AsyncIterator[tuple[OrderEvent, int]]:
        async for record in self._journal.read(after_sequence):
            message = order_event_pb2.OrderEvent.FromString(record.payload)
            yield wire.event_from_wire(message), record.sequence

    def answer(self, key: RequestKey) -> KeptAnswer | None:
        effect = self._journal.request(_request_id(key))
        if effect is None:
            return None
        return KeptAnswer(effect.content_hash, wire.answer_from_bytes(effect.response))

    def venue_position(self) -> int:
        return self._journal.position(self._source)


def _request_id(key: RequestKey) -> str:
    return f"{key.account}/{key.request_id}"
