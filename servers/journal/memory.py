"""A journal in memory: for tests, and for state that need not outlive the process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from servers.journal.record import Head, Record, RequestEffect, Snapshot
from servers.journal.store import StoreFenced, StoreFull


@dataclass
class MemoryDisk:
    """What several `MemoryStore`s share, as processes share a file.

    Args:
        capacity_bytes: payload bytes that fit; a commit above it fails with StoreFull.
        failing_commits: errors that the next commits raise instead of committing, in order.
    """

    capacity_bytes: int | None = None
    failing_commits: list[BaseException] = field(default_factory=list)
    head: Head = field(default_factory=Head)
    records: list[Record] = field(default_factory=list)
    requests: dict[str, tuple[RequestEffect, int]] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    commits: int = 0


@dataclass(frozen=True, slots=True)
class _Transaction:
    head: Head
    records: Sequence[Record]
    requests: Sequence[tuple[RequestEffect, int]]
    positions: Mapping[str, int]
    snapshots: Mapping[str, Snapshot]
    forget_before_nanos: int


class MemoryStore:
    """A `Store` over a `MemoryDisk`."""

    def __init__(self, disk: MemoryDisk | None = None) -> None:
        self.disk = disk or MemoryDisk()
        self._staged: _Transaction | None = None
        self._forget_before_nanos = 0

    def take_epoch(self, writer: str) -> Head:
        head = self.disk.head
        self.disk.head = Head(head.sequence, head.hash, head.epoch + 1)
        return self.disk.head

    def stage(
        self,
        head: Head,
        records: Sequence[Record],
        requests: Sequence[tuple[RequestEffect, int]],
        positions: Mapping[str, int],
        snapshots: Mapping[str, Snapshot],
    ) -> None:
        if self.disk.head.epoch != head.epoch:
            raise StoreFenced(f"epoch {self.disk.head.epoch} has replaced {head.epoch}")
        self._staged = _Transaction(
            head, records, requests, dict(positions), dict(snapshots), self._forget_before_nanos
        )
        self._forget_before_nanos = 0

    def commit(self) -> None:
        disk, staged = self.disk, self._staged
        if staged is None:
            raise RuntimeError("nothing is staged")
        self._staged = None
        if disk.failing_commits:
            raise disk.failing_commits.pop(0)
        size = sum(len(record.payload) for record in (*disk.records, *staged.records))
        if disk.capacity_bytes is not None and size > disk.capacity_bytes:
            raise StoreFull(f"{size} bytes do not fit into {disk.capacity_bytes}")
        disk.requests = {
            key: (effect, time_nanos)
            for key, (effect, time_nanos) in disk.requests.items()
            if effect.is_permanent or time_nanos >= staged.forget_before_nanos
        }
        disk.records.extend(staged.records)
        disk.requests.update({effect.request_id: (effect, at) for effect, at in staged.requests})
        disk.positions.update(staged.positions)
        disk.snapshots.update(staged.snapshots)
        disk.head = staged.head
        disk.commits += 1

    def rollback(self) -> None:
        self._staged = None

    def head(self) -> Head:
        return self.disk.head

    def records(self, after_sequence: int, limit: int) -> list[Record]:
        return self.disk.records[after_sequence : after_sequence + limit]

    def request(self, request_id: str) -> tuple[RequestEffect, int] | None:
        return self.disk.requests.get(request_id)

    def forget_requests(self, before_nanos: int) -> None:
        self._forget_before_nanos = before_nanos

    def position(self, source: str) -> int:
        return self.disk.positions.get(source, 0)

    def snapshot(self, name: str) -> Snapshot | None:
        return self.disk.snapshots.get(name)

    def checkpoint(self) -> int:
        return 0

    def close(self) -> None:
        self._staged = None
