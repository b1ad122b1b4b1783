"""The orders server without transport: engine, outbox and reader over memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest
import structlog

from servers.model.clock import ManualClock
from servers.model.nanos import NANO
from servers.model.order import OrderState, OrderTerms, OrderType, Side, TimeInForce
from servers.orders.adapters.memory import MemoryOrderJournal, MemoryRisk, MemoryVenue
from servers.orders.decisions import Cancel, Replace
from servers.orders.domain import EventKind, NewOrder, OrderRecord
from servers.orders.engine import OrderEngine
from servers.orders.outbox import Outbox
from servers.orders.reconciliation import VenueReader, reconcile

ACCOUNT = "MAIN"


def new_order(
    client_order_id: str = "one", quantity: int = 100, price: int = 50, **changes: object
) -> NewOrder:
    terms = OrderTerms("ACME", Side.BUY, OrderType.LIMIT, TimeInForce.DAY, quantity * NANO, price * NANO)
    return NewOrder(ACCOUNT, client_order_id, terms)._replace(**changes)  # type: ignore[arg-type]


def cancel(client_order_id: str = "one", request_id: str = "cancel-1") -> Cancel:
    return Cancel(ACCOUNT, client_order_id, request_id)


def replace(client_order_id: str = "one", request_id: str = "replace-1", **changes: int) -> Replace:
    return Replace(ACCOUNT, client_order_id, request_id, **changes)


async def eventually(condition: Callable[[], bool], timeout_seconds: float = 10.0) -> None:
    """Wait until `condition` holds; fail when it does not in time."""
    ends = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < ends, "did not happen in time"
        await asyncio.sleep(0.001)


@dataclass
class Desk:
    """One life of the server: what is around it outlives it."""

    journal: MemoryOrderJournal = field(default_factory=MemoryOrderJournal)
    venue: MemoryVenue = field(default_factory=MemoryVenue)
    risk: MemoryRisk = field(default_factory=MemoryRisk)
    clock: ManualClock = field(default_factory=lambda: ManualClock(1_000))
    unknown_after_seconds: float = 5.0
    failures: list[BaseException] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    engine: OrderEngine = field(init=False)
    outbox: Outbox = field(init=False)
    reader: VenueReader = field(init=False)

    async def start(self) -> Desk:
        log = structlog.wrap_logger(
            structlog.ReturnLogger(),
            processors=[lambda _, level, event: f"{level} {event}"],
            wrapper_class=structlog.make_filtering_bound_logger(0),
        )
        self.engine = OrderEngine(self.journal, self.risk, self.clock)
        await self.engine.replay()
        self.outbox = Outbox(self.engine, self.venue, self.clock, log, self.unknown_after_seconds)
        self.reader = VenueReader(self.engine, self.venue, self.journal.venue_position(), log)
        for work in (
            self.engine.sequencer.run(),
            self.engine.intake.run(),
            self.outbox.run(),
            self.reader.run(),
            self._watch(),
            reconcile(self.engine, self.venue, self.reader, self.outbox, log),
        ):
            task = asyncio.create_task(work)
            task.add_done_callback(self._ended)
            self.tasks.append(task)
        return self

    async def _watch(self) -> None:
        async for switches in self.risk.kill_switches():
            await self.engine.stop_trading(switches)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failures.append(error)

    async def kill(self) -> None:
        """End this life at once."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks.clear()

    async def restart(self) -> Desk:
        """End this life and begin the next one on the same journal and venue."""
        await self.kill()
        return await self.start()

    async def accepting(self) -> Desk:
        await eventually(lambda: self.engine.is_accepting)
        return self

    def order(self, client_order_id: str = "one") -> OrderRecord:
        record = self.engine.book.order((ACCOUNT, client_order_id))
        assert record is not None
        return record

    async def becomes(self, state: OrderState, client_order_id: str = "one") -> OrderRecord:
        await eventually(lambda: self.order(client_order_id).state is state)
        return self.order(client_order_id)

    async def submit(self, *orders: NewOrder) -> list[OrderRecord]:
        return list(await self.engine.submit(orders or [new_order()]))

    def kinds(self, client_order_id: str = "one") -> list[EventKind]:
        """Return the journalled kinds of one order's events."""
        return [event.kind for event in self.journal.events if event.client_order_id == client_order_id]


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = await (await Desk().start()).accepting()
    yield desk
    await desk.kill()
    assert desk.failures == []
