"""Limits, kill switches and snapshots of the books in `servers.journal`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256

from google.protobuf.message import Message
from tapeline.risk.v1 import limits_pb2, risk_service_pb2

from servers.journal import Entry, Journal, RequestEffect, Snapshot
from servers.model.errors import AlreadyExists
from servers.risk import wire
from servers.risk.domain.limits import KillSwitch, Limits

LIMITS = "limits"
KILL_SWITCH = "kill_switch"
_BOOKS = "books"


class JournalControls:
    """`ControlJournal` and `SnapshotStore` over one journal. Payloads are risk's own messages."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def load(self) -> tuple[Sequence[Limits], Sequence[KillSwitch]]:
        limits: list[Limits] = []
        switches: list[KillSwitch] = []
        async for record in self._journal.read():
            if record.kind == LIMITS:
                limits.append(wire.limits_from_wire(limits_pb2.Limits.FromString(record.payload)))
            elif record.kind == KILL_SWITCH:
                message = risk_service_pb2.KillSwitch.FromString(record.payload)
                switches.append(wire.kill_switch_from_wire(message))
        return limits, switches

    @property
    def last_sequence(self) -> int:
        """The sequence of the last change."""
        return self._journal.last_sequence

    def first_limits(self, request_id: str, limits: Limits) -> Limits | None:
        effect = self._first(LIMITS, request_id, _content_of_limits(limits))
        if effect is None:
            return None
        return wire.limits_from_wire(limits_pb2.Limits.FromString(effect.response))

    def first_kill_switch(self, request_id: str, switch: KillSwitch) -> KillSwitch | None:
        effect = self._first(KILL_SWITCH, request_id, _content_of_switch(switch))
        if effect is None:
            return None
        return wire.kill_switch_from_wire(risk_service_pb2.KillSwitch.FromString(effect.response))

    async def save_limits(self, request_id: str, limits: Limits) -> int:
        return await self._save(LIMITS, request_id, _content_of_limits(limits), wire.limits_to_wire(limits))

    async def save_kill_switch(self, request_id: str, switch: KillSwitch) -> int:
        message = wire.kill_switch_to_wire(switch)
        return await self._save(KILL_SWITCH, request_id, _content_of_switch(switch), message)

    def load_books(self) -> bytes | None:
        snapshot = self._journal.load_snapshot(_BOOKS)
        return None if snapshot is None else snapshot.payload

    async def save_books(self, payload: bytes, positions: Mapping[str, int]) -> None:
        snapshot = Snapshot(self._journal.last_sequence, payload)
        await self._journal.append((), positions=positions, snapshots={_BOOKS: snapshot})

    def _first(self, kind: str, request_id: str, content_hash: bytes) -> RequestEffect | None:
        effect = self._journal.request(f"{kind}/{request_id}")
        if effect is not None and effect.content_hash != content_hash:
            raise AlreadyExists("REQUEST_ID_REUSED", request_id=request_id)
        return effect

    async def _save(self, kind: str, request_id: str, content_hash: bytes, message: Message) -> int:
        payload = message.SerializeToString(deterministic=True)
        effect = RequestEffect(f"{kind}/{request_id}", content_hash, payload)
        return (await self._journal.append([Entry(kind, payload, effect)]))[0]


def _content_of_limits(limits: Limits) -> bytes:
    return sha256(repr(limits).encode()).digest()


def _content_of_switch(switch: KillSwitch) -> bytes:
    # Who asks and when is not what is asked for.
    return sha256(repr((switch.account, switch.is_on, switch.reason)).encode()).digest()
