"""What a journal holds: entries going in, records coming out, and the chain that binds them.

Each record carries a CRC-32 of its own bytes (a flipped bit) and a SHA-256 over its bytes and the
hash of the record before it (an edit, a removal, a reordering). Both cover the payload as it is
stored; a payload is never decoded and encoded again, because protobuf encoding is not canonical.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from servers.model.errors import Internal

GENESIS = sha256(b"tapeline journal v1").digest()
"""The hash that the first record follows."""

_HEADER = struct.Struct("<qqqHI")


@dataclass(frozen=True, slots=True)
class RequestEffect:
    """The first answer to a request id, stored in the same transaction as what the request did.

    Args:
        request_id: unique in this journal; a server puts its own scope into it.
        content_hash: hash of the request's domain value; other content under the same id is refused.
        response: the first answer, as bytes.
        is_permanent: kept for ever; otherwise forgotten after 24 h.
    """

    request_id: str
    content_hash: bytes
    response: bytes = b""
    is_permanent: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One event to append.

    Args:
        kind: what the payload is, in a word of the server's choice; at most 65,535 UTF-8 bytes.
        payload: the event's bytes.
        request: the answer to remember with it.
        create_time_nanos: wall time, UTC; the journal's clock gives it when it is None.
    """

    kind: str
    payload: bytes
    request: RequestEffect | None = None
    create_time_nanos: int | None = None


class Record(NamedTuple):
    """One event as it is stored. `sequence` counts from 1 without a gap."""

    sequence: int
    epoch: int
    kind: str
    create_time_nanos: int
    payload: bytes
    crc: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a journal: the last sequence, its hash, and the epoch of the last writer."""

    sequence: int = 0
    hash: bytes = GENESIS
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """State as of `sequence`. It may be thrown away: the events give it again."""

    sequence: int
    payload: bytes


def _covered(sequence: int, epoch: int, kind: str, create_time_nanos: int, payload: bytes) -> bytes:
    word = kind.encode()
    return _HEADER.pack(sequence, epoch, create_time_nanos, len(word), len(payload)) + word + payload


def seal_all(head: Head, entries: Iterable[Entry], now_nanos: int) -> list[Record]:
    """Return the records that follow `head`, in order."""
    records: list[Record] = []
    sequence, previous, epoch = head.sequence, head.hash, head.epoch
    pack, crc32, digest = _HEADER.pack, zlib.crc32, sha256
    for entry in entries:
        sequence += 1
        time_nanos = now_nanos if entry.create_time_nanos is None else entry.create_time_nanos
        word, payload = entry.kind.encode(), entry.payload
        covered = pack(sequence, epoch, time_nanos, len(word), len(payload)) + word + payload
        previous = digest(previous + covered).digest()
        records.append(Record(sequence, epoch, entry.kind, time_nanos, payload, crc32(covered), previous))
    return records


def verify(records: Iterable[Record], after: Head) -> Iterator[Record]:
    """Yield `records` as long as each one follows the one before it, beginning at `after`.

    Raises Internal JOURNAL_CORRUPT at the first record whose sequence, CRC or hash does not hold, or
    whose epoch is older than the one before it.
    """
    sequence, previous, epoch = after.sequence, after.hash, 0
    for record in records:
        sequence += 1
        covered = _covered(
            record.sequence, record.epoch, record.kind, record.create_time_nanos, record.payload
        )
        if record.sequence != sequence:
            raise corrupt(sequence, f"record {sequence} is missing: {record.sequence} stands in its place")
        if zlib.crc32(covered) != record.crc:
            raise corrupt(sequence, f"record {sequence} does not match its checksum")
        previous = sha256(previous + covered).digest()
        if previous != record.hash:
            raise corrupt(sequence, f"record {sequence} does not follow the one before it in the hash chain")
        if record.epoch < epoch:
            raise corrupt(sequence, f"record {sequence} was written by a writer that had been replaced")
        epoch = record.epoch
        yield record


def corrupt(sequence: int, message: str) -> Internal:
    """Return the error of a journal whose checks do not hold at `sequence`."""
    return Internal("JOURNAL_CORRUPT", message, sequence=sequence)
