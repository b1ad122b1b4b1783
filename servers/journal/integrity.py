"""Whether what a store holds is what was written: read from the disk, against checksums, chain and head."""

from __future__ import annotations

from typing import Literal

from servers.journal.record import Head, corrupt, verify
from servers.journal.store import Store

PAGE_RECORDS = 512
TAIL_CHECK_RECORDS = 1_024

Verification = Literal["tail", "full"]


def head_at(store: Store, sequence: int) -> Head:
    """Return the head that the journal had at `sequence`.

    Raises Internal JOURNAL_CORRUPT when the record is not there.
    """
    if sequence == 0:
        return Head()
    found = store.records(sequence - 1, 1)
    if not found or found[0].sequence != sequence:
        raise corrupt(sequence, f"record {sequence} is missing")
    return Head(sequence, found[0].hash, found[0].epoch)


def check_store(store: Store, check: Verification) -> None:
    """Verify the end of the journal, or all of it, against its head."""
    head = store.head()
    first = 0 if check == "full" else max(0, head.sequence - TAIL_CHECK_RECORDS)
    last = head_at(store, first)
    while records := store.records(last.sequence, PAGE_RECORDS):
        for record in verify(records, last):
            last = Head(record.sequence, record.hash, record.epoch)
    if (last.sequence, last.hash) != (head.sequence, head.hash) or last.epoch > head.epoch:
        raise corrupt(
            last.sequence, f"the events end at {last.sequence}, the journal's head is {head.sequence}"
        )
