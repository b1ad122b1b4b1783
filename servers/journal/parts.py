"""Snapshots in parts, for state that is too large to be written down at once.

The state is lists of rows. So many rows in a row are a part of their list, and only parts
whose rows changed are written again, one at a time, while the server works. Each part has two places:
the new one is written beside the one in force, and the manifest, which comes last, switches all of them
over in one transaction. A save that is cut short therefore leaves the snapshot before it whole.

What is read back has to match the digests in the manifest, and the manifest the hash that the journal's
chain has at its sequence. Anything else is `SnapshotBroken`: the events give the state again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Protocol

import structlog

from servers.journal.journal import Journal
from servers.journal.record import Snapshot
from servers.model.errors import ResourceExhausted, TapelineError

SNAPSHOT_SHARE = 0.02
"""Share of the loop's time that writing parts may take."""
LOOK_SECONDS = 0.5
STOP_SECONDS = 2.0
"""Longest time for the last snapshot, at the stop. One that is not ready is dropped."""

_LAYOUT = 1
_DIGEST_BYTES = 16

Part = tuple[str, int]
"""The name of a list and the number of a part of it."""


class SnapshotBroken(Exception):
    """Raise for a snapshot that cannot be used: of another version, damaged, or of another journal."""


@dataclass(frozen=True, slots=True)
class Image:
    """State as of `sequence`, captured at one moment and turned into bytes later.

    Args:
        facts: what is small and written with every snapshot, as JSON values.
        counts: rows of each list.
        parts: of each part that changed since the image before, how to make its rows, as JSON values,
            out of what cannot change any more.
        changes: what the state gave as changed; it gets it back when the image is not saved.
    """

    sequence: int
    facts: Mapping[str, Any]
    counts: Mapping[str, int]
    parts: Mapping[Part, Callable[[], list[Any]]]
    changes: Any = None


@dataclass(frozen=True, slots=True)
class Kept:
    """A snapshot as it was read: all rows of each list."""

    sequence: int
    facts: Mapping[str, Any]
    rows: Mapping[str, list[Any]]


class State(Protocol):
    """What can be captured, and filled again while it is empty."""

    @property
    def sequence(self) -> int:
        """The journal's sequence that the state reflects."""
        ...

    def capture(self) -> Image:
        """Return the state with the parts that changed since the last call. Takes milliseconds at most."""
        ...

    def give_back(self, image: Image) -> None:
        """Count as changed again what an image held that was not saved."""
        ...

    def restore(self, kept: Kept) -> None:
        """Take over what was kept. Raises SnapshotBroken, and then is as empty as before."""
        ...


class PartedSnapshot:
    """The snapshot `name` in a journal.

    Args:
        version: of the rows and facts; a snapshot of another one is broken.
        part_rows: rows of a part.
    """

    def __init__(self, journal: Journal, name: str, version: int, part_rows: int) -> None:
        self._journal = journal
        self._name = name
        self._version = [_LAYOUT, version, part_rows]
        self._part_rows = part_rows
        self._parts: dict[Part, tuple[int, str]] = {}

    def load(self) -> Kept | None:
        """Return what was saved last; None when nothing was. Raises SnapshotBroken."""
        kept = self._journal.load_snapshot(self._name)
        if kept is None:
            return None
        try:
            return self._load(json.loads(_opened(kept.payload)))
        except (ValueError, KeyError, TypeError) as error:
            raise SnapshotBroken(f"the manifest is damaged: {error!r}") from error

    def _load(self, manifest: dict[str, Any]) -> Kept:
        if manifest["version"] != self._version:
            raise SnapshotBroken(f"it has version {manifest['version']}, this program {self._version}")
        sequence = manifest["sequence"]
        if self._hash_at(sequence) != manifest["hash"]:
            raise SnapshotBroken(f"it does not belong to this journal's record {sequence}")
        parts: dict[Part, tuple[int, str]] = {}
        rows: dict[str, list[Any]] = {}
        for section, (count, places) in manifest["sections"].items():
            found = rows[section] = []
            for number, (place, digest) in enumerate(places):
                parts[section, number] = place, digest
                found += self._load_part((section, number), place, digest)
            if len(found) != count:
                raise SnapshotBroken(f"{section} has {len(found)} rows, not {count}")
        self._parts = parts
        return Kept(sequence, manifest["facts"], rows)

    def _load_part(self, part: Part, place: int, digest: str) -> list[Any]:
        kept = self._journal.load_snapshot(self._key(part, place))
        if kept is None or _digest(kept.payload) != digest:
            raise SnapshotBroken(f"part {part[1]} of {part[0]} is missing or damaged")
        rows: list[Any] = json.loads(kept.payload)
        return rows

    def _hash_at(self, sequence: int) -> str:
        found = self._journal.page(sequence - 1, 1) if sequence > 0 else []
        return found[0].hash.hex() if found else ""

    async def save(self, image: Image, share: float = SNAPSHOT_SHARE) -> None:
        """Write an image down, part by part, and put it in force.

        `share` is the part of the loop's time that it may take; 1 for no pauses. Raises as
        `Journal.append` does; then the snapshot before stays in force.
        """
        loop = asyncio.get_running_loop()
        parts = dict(self._parts)
        for part, rows in image.parts.items():
            began = loop.time()
            payload = json.dumps(rows(), separators=(",", ":")).encode()
            digest = _digest(payload)
            took_seconds = loop.time() - began
            place = 1 - parts[part][0] if part in parts else 0
            parts[part] = place, digest
            await self._journal.append(
                (), snapshots={self._key(part, place): Snapshot(image.sequence, payload)}
            )
            if share < 1:
                await asyncio.sleep(took_seconds / share)
        manifest = {
            "version": self._version,
            "sequence": image.sequence,
            "hash": self._hash_at(image.sequence),
            "facts": image.facts,
            "sections": {
                section: [count, [parts[section, number] for number in range(-(-count // self._part_rows))]]
                for section, count in image.counts.items()
            },
        }
        payload = _sealed(json.dumps(manifest, separators=(",", ":")).encode())
        await self._journal.save_snapshot(self._name, image.sequence, payload)
        self._parts = parts

    def _key(self, part: Part, place: int) -> str:
        return f"{self._name}/{part[0]}/{part[1]}/{place}"


class SnapshotKeeper:
    """Restores a state, saves it again and again, and once more at the stop.

    Args:
        events: how many events have to come before the next snapshot is worth its while.
    """

    def __init__(
        self,
        snapshot: PartedSnapshot,
        state: State,
        events: int,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._snapshot = snapshot
        self._state = state
        self._events = events
        self._log = log
        self.saved_sequence = 0

    def restore(self) -> int:
        """Fill the state, which is empty, from the last snapshot; return its sequence, 0 without one.

        One that cannot be used is logged and ignored.
        """
        try:
            kept = self._snapshot.load()
            if kept is not None:
                self._state.restore(kept)
                self.saved_sequence = kept.sequence
        except SnapshotBroken as error:
            self._log.warning("the snapshot is ignored, everything is replayed", error=str(error))
        return self.saved_sequence

    async def run(self) -> None:
        """Save for ever. What this raises must end the process."""
        # A state that was replayed has changed in all its parts: they are captured before the first call.
        is_due = self._is_due()
        while True:
            if is_due:
                try:
                    await self._save(SNAPSHOT_SHARE)
                except ResourceExhausted as error:
                    self._log.warning("no snapshot", error=error.message)
            await asyncio.sleep(LOOK_SECONDS)
            is_due = self._is_due()

    async def close(self) -> None:
        """Save what has changed, unless that takes too long."""
        if self._state.sequence <= self.saved_sequence:
            return
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._save(1.0)
        except (TimeoutError, TapelineError) as error:
            self._log.warning("no snapshot at the stop", error=repr(error))

    def _is_due(self) -> bool:
        return self._state.sequence - self.saved_sequence >= self._events

    async def _save(self, share: float) -> None:
        image = self._state.capture()
        try:
            await self._snapshot.save(image, share)
        except BaseException:
            self._state.give_back(image)
            raise
        self.saved_sequence = image.sequence


def _digest(payload: bytes) -> str:
    return blake2b(payload, digest_size=_DIGEST_BYTES).hexdigest()


def _sealed(payload: bytes) -> bytes:
    return _digest(payload).encode() + payload


def _opened(sealed: bytes) -> bytes:
    digest, payload = sealed[: 2 * _DIGEST_BYTES], sealed[2 * _DIGEST_BYTES :]
    if _digest(payload).encode() != digest:
        raise ValueError("the digest does not match")
    return payload
