"""An order log in memory: the same promises as the durable one, for as long as the process lives."""

from __future__ import annotations

from collections.abc import Sequence

from servers.exchange.domain import NewOrder, Report


class MemoryOrderLog:
    """`servers.exchange.ports.OrderLog` without a disk."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, NewOrder]] = []
        self.reports: list[Report] = []
        self._requests: dict[tuple[str, str], tuple[bytes, Report]] = {}

    @property
    def last_sequence(self) -> int:
        return len(self.reports)

    async def commit(
        self, entries: Sequence[tuple[int, NewOrder]], reports: Sequence[Report], content_hash: bytes
    ) -> None:
        self.entries.extend(entries)
        self.reports.extend(reports)
        for report in reports:
            if report.request_id:
                self._requests[report.account, report.request_id] = content_hash, report

    def request(self, account: str, request_id: str) -> tuple[bytes, Report] | None:
        return self._requests.get((account, request_id))

    async def wait_for(self, sequence: int) -> None:
        if sequence > self.last_sequence:
            raise LookupError(f"nothing commits report {sequence}")

    def report(self, sequence: int) -> Report:
        return self.reports[sequence - 1]
