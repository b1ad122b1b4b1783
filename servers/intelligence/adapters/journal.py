"""Changes of the roll-out and its evidence in `servers.journal`. Payloads are the contract's own messages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

from tapeline.intelligence.v1 import rollout_pb2

from servers.intelligence import wire
from servers.intelligence.domain.rollout import Change, Event
from servers.journal import Entry, Journal, RequestEffect, Snapshot
from servers.model.errors import AlreadyExists

EVENT = "rollout"
_TRIAL = "trial"


class JournalRollout:
    """`RolloutJournal` over one journal; the sequence of a change is that of its record."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    @property
    def last_sequence(self) -> int:
        return self._journal.last_sequence

    async def load(self) -> Sequence[Event]:
        return [_event(record.payload, record.sequence) async for record in self._journal.read()]

    def page(self, after_sequence: int, count: int) -> Sequence[Event]:
        records = self._journal.page(after_sequence, count)
        return [_event(record.payload, record.sequence) for record in records]

    def first_answer(self, request_id: str, change: Change) -> bytes | None:
        effect = self._journal.request(request_id)
        if effect is None:
            return None
        if effect.content_hash != _content_hash(change):
            raise AlreadyExists("REQUEST_ID_REUSED", request_id=request_id)
        return effect.response

    async def save(self, event: Event) -> None:
        await self._journal.append([_entry(event)])

    async def save_asked(self, request_id: str, change: Change, event: Event | None, answer: bytes) -> None:
        if event is None:
            return  # it is so already: a repeat finds it so again, and nothing has to be remembered
        effect = RequestEffect(request_id, _content_hash(change), answer)
        await self._journal.append([replace(_entry(event), request=effect)])

    async def save_trial(self, experiment: str, state: Mapping[str, Any]) -> None:
        payload = json.dumps({"experiment": experiment, **state}).encode()
        snapshot = Snapshot(self._journal.last_sequence, payload)
        await self._journal.append((), snapshots={_TRIAL: snapshot})

    def load_trial(self, experiment: str) -> dict[str, Any] | None:
        snapshot = self._journal.load_snapshot(_TRIAL)
        if snapshot is None:
            return None
        state: dict[str, Any] = json.loads(snapshot.payload)
        return state if state.get("experiment") == experiment else None


def _entry(event: Event) -> Entry:
    return Entry(
        EVENT,
        wire.event_to_wire(event).SerializeToString(deterministic=True),
        create_time_nanos=event.create_time_nanos,
    )


def _event(payload: bytes, sequence: int) -> Event:
    return wire.event_from_wire(rollout_pb2.RolloutEvent.FromString(payload), sequence)


def _content_hash(change: Change) -> bytes:
    return sha256(repr(change).encode()).digest()
