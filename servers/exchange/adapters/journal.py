"""The order log in the durable journal: entries and reports as protobuf bytes, the clock as a snapshot."""

from __future__ import annotations

import asyncio
from array import array
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any

from tapeline.exchange.v1 import exchange_service_pb2 as pb
from tapeline.exchange.v1 import report_pb2

from servers.exchange import wire
from servers.exchange.domain import NewOrder, Report
from servers.journal import Entry, Journal, RequestEffect
from servers.model.errors import OutOfRange

if TYPE_CHECKING:
    from servers.exchange.engine import ExchangeEngine

ENTRY, REPORT = "entry", "report"
CLOCK = "clock"
TAIL_REPORTS = 20_000
PAGE = 500
_NUMBER_BYTES = 8

ReportMessage = report_pb2.ExecutionReport


class DurableOrderLog:
    """`servers.exchange.ports.OrderLog`, and the reads that the service offers.

    Args:
        committed: called with the reports of each commit, once they are synced.
    """

    def __init__(
        self, journal: Journal, committed: Callable[[Sequence[Report]], None] = lambda _reports: None
    ) -> None:
        self._journal = journal
        self._committed = committed
        self._places = array("q")  # journal sequence of each report, in the order of reports
        self._tail: deque[ReportMessage] = deque(maxlen=TAIL_REPORTS)
        self._changed = asyncio.Event()
        self._is_closed = False

    @property
    def last_sequence(self) -> int:
        return len(self._places)

    # -- restart
    async def replay(self, engine: ExchangeEngine) -> None:
        """Give the engine everything that was kept."""
        async for record in self._journal.read():
            if record.kind == ENTRY:
                number = int.from_bytes(record.payload[:_NUMBER_BYTES], "little")
                entry = wire.entry_from_wire(pb.OrderEntry.FromString(record.payload[_NUMBER_BYTES:]))
                engine.restore_entry(number, entry)
            elif record.kind == REPORT:
                message = ReportMessage.FromString(record.payload)
                self._places.append(record.sequence)
                self._tail.append(message)
                engine.restore_report(wire.report_from_wire(message))

    # -- writing
    async def commit(
        self, entries: Sequence[tuple[int, NewOrder]], reports: Sequence[Report], content_hash: bytes
    ) -> None:
        messages = [wire.report_to_wire(report) for report in reports]
        kept = [
            Entry(
                ENTRY,
                number.to_bytes(_NUMBER_BYTES, "little") + wire.entry_to_wire(entry).SerializeToString(),
            )
            for number, entry in entries
        ]
        for message in messages:
            payload = message.SerializeToString()
            effect = None
            if message.request_id:
                name = _request_name(message.account, message.request_id)
                effect = RequestEffect(name, content_hash, payload)
            kept.append(Entry(REPORT, payload, effect))
        sequences = await self._journal.append(kept)
        await self.wait_for(reports[0].sequence - 1)
        self._places.extend(sequences[len(entries) :])
        self._tail.extend(messages)
        self._committed(reports)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def request(self, account: str, request_id: str) -> tuple[bytes, Report] | None:
        effect = self._journal.request(_request_name(account, request_id))
        if effect is None:
            return None
        return effect.content_hash, wire.report_from_wire(ReportMessage.FromString(effect.response))

    async def wait_for(self, sequence: int) -> None:
        while self.last_sequence < sequence:
            await self._changed.wait()

    async def keep_clock(self, state: dict[str, Any]) -> None:
        """Keep the venue's clock and prices, in place of the ones before."""
        await self._journal.save_snapshot(CLOCK, self._journal.last_sequence, wire.clock_to_payload(state))

    def clock(self) -> dict[str, Any] | None:
        """Return the clock as it was kept, or None in a new journal."""
        snapshot = self._journal.load_snapshot(CLOCK)
        return None if snapshot is None else wire.clock_from_payload(snapshot.payload)

    # -- reading
    def report(self, sequence: int) -> Report:
        return wire.report_from_wire(self.page(sequence - 1, 1)[0])

    def page(self, after_sequence: int, limit: int = PAGE) -> list[ReportMessage]:
        """Return up to `limit` committed reports above `after_sequence`.

        Raises OutOfRange SEQUENCE_AHEAD above the last one.
        """
        last = self.last_sequence
        if after_sequence > last:
            raise OutOfRange("SEQUENCE_AHEAD", last_sequence=last)
        first_in_tail = last - len(self._tail) + 1
        end = min(after_sequence + limit, last)
        if after_sequence + 1 >= first_in_tail:
            start = after_sequence + 1 - first_in_tail
            return [self._tail[index] for index in range(start, start + end - after_sequence)]
        return [
            ReportMessage.FromString(self._journal.page(place - 1, 1)[0].payload)
            for place in self._places[after_sequence:end]
        ]

    async def follow(
        self, after_sequence: int, wait_seconds: float
    ) -> AsyncIterator[tuple[list[ReportMessage], int]]:
        """Yield reports and the sequence reached; an empty list after `wait_seconds` without one."""
        sequence = after_sequence
        while True:
            reports = self.page(sequence)
            if reports:
                sequence = reports[-1].sequence
                yield reports, sequence
                continue
            if self._is_closed:
                return
            try:
                async with asyncio.timeout(wait_seconds):
                    await self._changed.wait()
            except TimeoutError:
                yield [], sequence

    def close(self) -> None:
        """End the streams of reports."""
        self._is_closed = True
        self._changed.set()


def _request_name(account: str, request_id: str) -> str:
    return f"order/{account}/{request_id}"
