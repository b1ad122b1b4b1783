"""What was acknowledged and has to reach the venue, in the order of the journal.

Every message may be sent again under its id, so a lost answer is no harm: the outbox asks the venue what
it holds, and sends what never entered. An order whose fate stays open is marked UNKNOWN and never failed
without the venue's word. Nothing is kept here that the journal does not have; after a restart the
outbox is filled from the book.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import structlog

from servers.model.clock import NANOS_PER_SECOND, Clock
from servers.model.errors import ResourceExhausted, Unavailable
from servers.model.order import OrderTerms, Rejection
from servers.orders.domain import EventKind, NewOrder, OrderEvent, OrderKey, OrderRecord
from servers.orders.engine import OrderEngine
from servers.orders.ports import Venue

BASKET_ORDERS = 256
REQUESTS_AT_ONCE = 32
SEND_INTERVAL_SECONDS = 0.01
"""Least time between two sends of new orders: those that follow closely share a message and the venue's
commit. The first after a pause leaves at once, and a queue with a cancel in it does not wait."""
FIRST_PAUSE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 0.5


@dataclass(slots=True)
class Message:
    """One thing to send: a new order, a cancel, or a replace with its terms."""

    kind: EventKind
    key: OrderKey
    request_id: str = ""
    terms: OrderTerms | None = None


class Outbox:
    """Sends in order; closed until `open`, so that nothing leaves before the venue and the book agree.

    Args:
        unknown_after_seconds: wall time after which an order that the venue does not answer for is UNKNOWN.
    """

    def __init__(
        self,
        engine: OrderEngine,
        venue: Venue,
        clock: Clock,
        log: structlog.typing.FilteringBoundLogger,
        unknown_after_seconds: float = 5.0,
    ) -> None:
        self._engine = engine
        self._venue = venue
        self._clock = clock
        self._log = log
        self._unknown_after_nanos = round(unknown_after_seconds * NANOS_PER_SECOND)
        self._queue: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._is_open = False
        self._sent_at = 0.0
        self._attempted_at_nanos: dict[OrderKey, int] = {}
        engine.on_commit(self._take)

    @property
    def depth(self) -> int:
        """Messages that the venue has not taken yet."""
        return len(self._queue)

    def open(self, messages: Sequence[Message]) -> None:
        """Start sending: `messages` first, then what is committed from now on."""
        self._queue.extend(messages)
        self._is_open = True
        self._wake()

    async def drained(self, timeout_seconds: float) -> bool:
        """Wait until everything is sent; return False when that takes too long."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    def _take(self, events: Sequence[OrderEvent], records: Sequence[OrderRecord]) -> None:
        if not self._is_open:
            return
        for event in events:
            if event.kind is EventKind.ACCEPTED:
                self._queue.append(Message(event.kind, event.key))
            elif event.kind is EventKind.CANCEL_REQUESTED:
                self._queue.append(Message(event.kind, event.key, event.request_id))
            elif event.kind is EventKind.REPLACE_REQUESTED:
                self._queue.append(Message(event.kind, event.key, event.request_id, event.terms))
        self._wake()

    def _wake(self) -> None:
        if self._queue:
            self._empty.clear()
            self._arrived.set()

    async def run(self) -> None:
        """Send for ever. What this raises must end the process."""
        pause_seconds = FIRST_PAUSE_SECONDS
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._queue:
                await self._pace()
                run = self._next_run()
                try:
                    await self._send(run)
                except (Unavailable, ResourceExhausted) as error:
                    self._log.warning("not sent", waiting=len(self._queue), error=error.message)
                    with contextlib.suppress(ResourceExhausted):
                        await self._mark_unknown()
                    await asyncio.sleep(pause_seconds)
                    pause_seconds = min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)
                    continue
                pause_seconds = FIRST_PAUSE_SECONDS
                for _ in run:
                    self._queue.popleft()
            self._empty.set()

    async def _pace(self) -> None:
        loop = asyncio.get_running_loop()
        wait_seconds = self._sent_at + SEND_INTERVAL_SECONDS - loop.time()
        is_short = len(self._queue) < BASKET_ORDERS
        if (
            wait_seconds > 0
            and is_short
            and all(message.kind is EventKind.ACCEPTED for message in self._queue)
        ):
            await asyncio.sleep(wait_seconds)
        self._sent_at = loop.time()

    def _next_run(self) -> list[Message]:
        """Return what goes out together: new orders as a basket, or requests of different orders."""
        kind = self._queue[0].kind
        is_new = kind is EventKind.ACCEPTED
        run: list[Message] = []
        keys: set[OrderKey] = set()
        for message in islice(self._queue, BASKET_ORDERS if is_new else REQUESTS_AT_ONCE):
            if message.kind is not kind or message.key in keys:
                break
            keys.add(message.key)
            run.append(message)
        return run

    async def _send(self, run: Sequence[Message]) -> None:
        if run[0].kind is EventKind.ACCEPTED:
            await self._send_new([message.key for message in run])
            return
        results = await asyncio.gather(
            *(self._send_request(message) for message in run), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _send_new(self, keys: Sequence[OrderKey]) -> None:
        asked = [key for key in keys if key in self._attempted_at_nanos]
        entered = await self._entered(asked) if asked else frozenset[OrderKey]()
        orders: list[NewOrder] = []
        for key in keys:
            record = self._engine.book.order(key)
            if record is None or record.is_final or record.is_confirmed or key in entered:
                self._attempted_at_nanos.pop(key, None)
            elif self._engine.switches.stop(record.account):
                # Not sent, or by the venue's own word never entered: it stays here.
                self._attempted_at_nanos.pop(key, None)
                await self._engine.drop_unsent(key)
            else:
                orders.append(NewOrder(*key, record.first_terms, record.execution_id, record.traceparent))
        if not orders:
            return
        now_nanos = self._clock.now_nanos()
        for order in orders:
            self._attempted_at_nanos.setdefault(order.key, now_nanos)
        answers = await self._venue.submit(orders)
        for order, answer in zip(orders, answers, strict=True):
            self._attempted_at_nanos.pop(order.key, None)
            if answer.rejection is not None:
                await self._engine.refuse(order.key, EventKind.REJECTED, "", answer.rejection)

    async def _entered(self, keys: Sequence[OrderKey]) -> frozenset[OrderKey]:
        """Ask the venue which of these it holds. Its word is noted."""
        entered: set[OrderKey] = set()
        for start in range(0, len(keys), REQUESTS_AT_ONCE):
            some = keys[start : start + REQUESTS_AT_ONCE]
            found = await asyncio.gather(*(self._venue.order(key) for key in some))
            for key, order in zip(some, found, strict=True):
                if order is not None:
                    entered.add(key)
                    await self._engine.confirm(key, order.venue_order_id)
        return frozenset(entered)

    async def _send_request(self, message: Message) -> None:
        record = self._engine.book.order(message.key)
        if record is None or record.is_final:
            return
        rejection: Rejection | None
        if message.kind is EventKind.CANCEL_REQUESTED:
            if record.cancel_request_id != message.request_id:
                return
            rejection = await self._venue.cancel(message.key, message.request_id)
            kind = EventKind.CANCEL_REJECTED
        else:
            if record.replace_request_id != message.request_id or message.terms is None:
                return
            rejection = await self._venue.replace(message.key, message.request_id, message.terms)
            kind = EventKind.REPLACE_REJECTED
        if rejection is not None:
            await self._engine.refuse(message.key, kind, message.request_id, rejection)

    async def _mark_unknown(self) -> None:
        late_nanos = self._clock.now_nanos() - self._unknown_after_nanos
        for key, attempted_at_nanos in list(self._attempted_at_nanos.items()):
            if attempted_at_nanos <= late_nanos:
                record = self._engine.book.order(key)
                if record is not None and not record.is_unknown:
                    self._log.error("order is unknown", account=key[0], client_order_id=key[1])
                    await self._engine.mark_unknown(key)
