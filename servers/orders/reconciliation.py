"""The venue's reports, taken in for ever, and what has to be settled with it after a start."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import structlog

from servers.model.errors import OutOfRange, ResourceExhausted, Unavailable
from servers.orders.domain import EventKind, OrderKey
from servers.orders.engine import OrderEngine
from servers.orders.outbox import REQUESTS_AT_ONCE, Message, Outbox
from servers.orders.ports import Venue

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 0.5
LOST_PAUSE_SECONDS = 10.0
"""Between two lines of the log that say that the venue lost its reports."""

T = TypeVar("T")


class VenueReader:
    """Follows the venue's reports from where the journal stands.

    A venue that has fewer reports than were taken in is not the one that we knew: its later ones would be
    counted wrong and fills be lost between. Then no order is accepted and no report taken in any more, until
    journals that fit are put back and the process starts anew.
    """

    def __init__(
        self,
        engine: OrderEngine,
        venue: Venue,
        position: int,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._engine = engine
        self._venue = venue
        self._log = log
        self._position = position
        self._moved = asyncio.Event()

    @property
    def position(self) -> int:
        """The venue's sequence up to which its reports are in the book."""
        return self._position

    async def run(self) -> None:
        """Take in reports for ever. What this raises must end the process."""
        pause_seconds = FIRST_PAUSE_SECONDS
        while True:
            try:
                async for page in self._venue.reports(self._position):
                    pause_seconds = FIRST_PAUSE_SECONDS
                    if page.reports:
                        await self._engine.take_reports(page)
                    self._position = page.sequence_reached
                    self._moved.set()
            except Unavailable as error:
                self._log.info("venue's reports ended", position=self._position, error=error.message)
            except ResourceExhausted as error:
                self._log.error("reports wait for the journal", position=self._position, error=error.message)
            except OutOfRange as error:
                self._engine.is_accepting = False
                while True:
                    self._log.error("venue lost its reports", position=self._position, error=error.message)
                    await asyncio.sleep(LOST_PAUSE_SECONDS)
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)

    async def reached(self, sequence: int) -> None:
        """Wait until the reports up to `sequence` are in the book."""
        while self._position < sequence:
            self._moved.clear()
            await self._moved.wait()


async def reconcile(
    engine: OrderEngine,
    venue: Venue,
    reader: VenueReader,
    outbox: Outbox,
    log: structlog.typing.FilteringBoundLogger,
) -> None:
    """Make book and venue agree, open the outbox, and let the engine accept orders.

    First everything that the venue has reported is taken in. Then it is asked about each order that it
    never reported; those that never entered are sent again, and so are open cancels and replaces, which
    it knows by their request ids. With a venue that has fewer reports than the journal took in this never
    ends, and nothing is accepted (see VenueReader).
    """
    await reader.reached(await _patiently(partial(_known_sequence, venue, reader.position)))
    open_keys = [record.key for record in engine.book.working() if not record.is_confirmed]
    absent: set[OrderKey] = set()
    for start in range(0, len(open_keys), REQUESTS_AT_ONCE):
        some = open_keys[start : start + REQUESTS_AT_ONCE]
        for key, is_absent in zip(
            some,
            await asyncio.gather(*(_patiently(partial(_settle, engine, venue, key)) for key in some)),
            strict=True,
        ):
            if is_absent:
                absent.add(key)
    # From here to `open` nothing waits, so that no commit falls between the two.
    messages: list[Message] = []
    for record in engine.book.working():
        if record.key in absent and not record.is_confirmed:
            messages.append(Message(EventKind.ACCEPTED, record.key))
        if record.replace_request_id:
            messages.append(
                Message(
                    EventKind.REPLACE_REQUESTED,
                    record.key,
                    record.replace_request_id,
                    record.requested_terms,
                )
            )
        if record.cancel_request_id:
            messages.append(Message(EventKind.CANCEL_REQUESTED, record.key, record.cancel_request_id))
    outbox.open(messages)
    engine.is_accepting = True
    log.info(
        "reconciled with the venue",
        orders=engine.book.order_count,
        working=engine.book.working_count,
        resent=len(messages),
        report_sequence=reader.position,
    )


async def _known_sequence(venue: Venue, taken_in: int) -> int:
    """Return how many reports the venue has. Raises Unavailable while they are fewer than were taken in."""
    sequence = await venue.last_report_sequence()
    if sequence < taken_in:
        raise Unavailable("PEER_UNAVAILABLE", f"the venue has {sequence} reports of {taken_in} taken in")
    return sequence


async def _settle(engine: OrderEngine, venue: Venue, key: OrderKey) -> bool:
    """Ask the venue about an order and note its word. Return whether it never entered."""
    order = await venue.order(key)
    if order is None:
        return True
    await engine.confirm(key, order.venue_order_id)
    return False


async def _patiently(ask: Callable[[], Awaitable[T]]) -> T:
    pause_seconds = FIRST_PAUSE_SECONDS
    while True:
        try:
            return await ask()
        except (Unavailable, ResourceExhausted):
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)
