"""The execution journal over `servers.journal`: an event's payload is its protobuf bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from tapeline.execution.v1 import execution_pb2

from servers.execution import wire
from servers.execution.domain.events import Event
from servers.execution.ports import Effect, KeptAnswer, Recorded
from servers.journal import Entry, Journal, Record, RequestEffect
from servers.model.clock import Clock
from servers.model.errors import OutOfRange

ORDERS = "orders"


class DurableExecutionJournal:
    """An `ExecutionJournal` in a `Journal`."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock

    @property
    def epoch(self) -> int:
        return self._journal.epoch

    async def append(
        self, records: Sequence[Recorded], orders_sequence: int | None = None, effect: Effect | None = None
    ) -> None:
        now = self._clock.now_nanos()
        reached = self.orders_sequence() if orders_sequence is None else orders_sequence
        kept = None
        if effect is not None:
            response = wire.execution_to_wire(effect.execution).SerializeToString()
            kept = RequestEffect(effect.request_id, effect.content_hash, response, effect.is_permanent)
        entries = []
        for number, (event, view, unsent) in enumerate(records, start=1):
            payload = wire.event_to_wire(event, view, unsent, reached, now).SerializeToString()
            entries.append(
                Entry(event.kind.name.lower(), payload, kept if number == len(records) else None, now)
            )
        positions = {} if orders_sequence is None else {ORDERS: orders_sequence}
        await self._journal.append(entries, positions=positions)

    async def replay(self) -> AsyncIterator[Event]:
        async for record in self._journal.read():
            yield wire.event_from_wire(execution_pb2.ExecutionEvent.FromString(record.payload))

    def answer(self, request_id: str) -> KeptAnswer | None:
        effect = self._journal.request(request_id)
        if effect is None:
            return None
        view = wire.execution_from_wire(execution_pb2.Execution.FromString(effect.response))
        return KeptAnswer(effect.content_hash, view)

    def orders_sequence(self) -> int:
        return self._journal.position(ORDERS)

    # -- For readers of events ----------------------------------------------------------------------

    @property
    def last_sequence(self) -> int:
        """The sequence of the last event."""
        return self._journal.last_sequence

    async def page(
        self, after_sequence: int, limit: int, execution_id: str = ""
    ) -> tuple[list[execution_pb2.ExecutionEvent], int]:
        """Return up to `limit` events above a sequence, of one parent or all, and the sequence reached.

        Raises OutOfRange SEQUENCE_AHEAD above the last sequence.
        """
        if after_sequence > self._journal.last_sequence:
            raise OutOfRange("SEQUENCE_AHEAD", last_sequence=self._journal.last_sequence)
        events: list[execution_pb2.ExecutionEvent] = []
        reached = after_sequence
        while len(events) < limit:
            records = self._journal.page(reached, limit)
            if not records:
                break
            for record in records:
                event = _event(record)
                reached = record.sequence
                if not execution_id or event.execution.execution_id == execution_id:
                    events.append(event)
                    if len(events) == limit:
                        break
            await asyncio.sleep(0)
        return events, reached

    async def follow(
        self, after_sequence: int, heartbeat_seconds: float
    ) -> AsyncIterator[tuple[list[execution_pb2.ExecutionEvent], int]]:
        """Yield events above a sequence and the sequence reached, then new ones; none is a heartbeat."""
        reached = after_sequence
        async for records in self._journal.follow_groups(after_sequence, wait_seconds=heartbeat_seconds):
            if records:
                reached = records[-1].sequence
            yield [_event(record) for record in records], reached


def _event(record: Record) -> execution_pb2.ExecutionEvent:
    event = execution_pb2.ExecutionEvent.FromString(record.payload)
    event.sequence = record.sequence
    return event
