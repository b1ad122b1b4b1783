"""The durable event journal: a library that every server with state uses.

`Journal` is what servers use; `SqliteStore` and `MemoryStore` are the places it can lie.
"""

from servers.journal.journal import Journal
from servers.journal.memory import MemoryDisk, MemoryStore
from servers.journal.record import Entry, Head, Record, RequestEffect, Snapshot
from servers.journal.sqlite import SqliteStore
from servers.journal.store import Store

__all__ = [
    "Entry",
    "Head",
    "Journal",
    "MemoryDisk",
    "MemoryStore",
    "Record",
    "RequestEffect",
    "Snapshot",
    "SqliteStore",
    "Store",
]
