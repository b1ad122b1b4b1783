"""The decision journal over `servers.journal`: an event's payload is its protobuf bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from tapeline.decision.v1 import decision_pb2

from servers.decision import wire
from servers.decision.domain.decision import Event
from servers.decision.ports import Effect, KeptAnswer
from servers.journal import Entry, Journal, Record, RequestEffect
from servers.model.clock import Clock
from servers.model.errors import OutOfRange

EXECUTIONS = "executions"


class DurableDecisionJournal:
    """A `DecisionJournal` in a `Journal`."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock

    async def append(
        self, events: Sequence[Event], effect: Effect | None = None, executions_sequence: int | None = None
    ) -> None:
        now = self._clock.now_nanos()
        entries = []
        for number, event in enumerate(events, start=1):
            payload = wire.event_to_wire(event, now).SerializeToString()
            kept = None
            if effect is not None and number == len(events):
                kept = RequestEffect(effect.request_id, effect.content_hash, payload)
            entries.append(Entry(event.kind.name.lower(), payload, kept, now))
        positions = {} if executions_sequence is None else {EXECUTIONS: executions_sequence}
        await self._journal.append(entries, positions=positions)

    async def replay(self) -> AsyncIterator[Event]:
        async for record in self._journal.read():
            yield wire.event_from_wire(decision_pb2.DecisionEvent.FromString(record.payload))

    def answer(self, request_id: str) -> KeptAnswer | None:
        effect = self._journal.request(request_id)
        if effect is None:
            return None
        event = wire.event_from_wire(decision_pb2.DecisionEvent.FromString(effect.response))
        return KeptAnswer(effect.content_hash, event)

    @property
    def executions_sequence(self) -> int:
        return self._journal.position(EXECUTIONS)

    # -- For readers of events ----------------------------------------------------------------------

    async def follow(
        self, after_sequence: int, heartbeat_seconds: float
    ) -> AsyncIterator[tuple[list[decision_pb2.DecisionEvent], int]]:
        """Yield events above a sequence and the sequence reached, then new ones; none is a heartbeat.

        Raises OutOfRange SEQUENCE_AHEAD above the last sequence.
        """
        if after_sequence > self._journal.last_sequence:
            raise OutOfRange("SEQUENCE_AHEAD", last_sequence=self._journal.last_sequence)
        reached = after_sequence
        async for records in self._journal.follow_groups(after_sequence, wait_seconds=heartbeat_seconds):
            if records:
                reached = records[-1].sequence
            yield [_event(record) for record in records], reached


def _event(record: Record) -> decision_pb2.DecisionEvent:
    event = decision_pb2.DecisionEvent.FromString(record.payload)
    event.sequence = record.sequence
    return event
