"""A parent order's world in one process: practice market, memory journal, the real loops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest
import structlog

from servers.execution.adapters.journal import DurableExecutionJournal
from servers.execution.adapters.memory import (
    PracticeMarket,
    PracticeOrders,
    PracticeRisk,
    PracticeVenue,
    Step,
)
from servers.execution.adapters.spans import ParentSpans
from servers.execution.book import ParentBook
from servers.execution.booking import FactBooking
from servers.execution.conducting import Conductor
from servers.execution.domain.events import ExecutionState
from servers.execution.domain.parameters import Parameters
from servers.execution.domain.placing import Tuning
from servers.execution.engine import ExecutionEngine
from servers.execution.following import Follower, Timing
from servers.execution.ports import VolumeCurve
from servers.journal import Journal, MemoryDisk, MemoryStore
from servers.model.clock import WallClock
from servers.model.nanos import NANO
from servers.runtime.tracing import Tracer


def ordinary(now_nanos: int) -> Step:
    """A market that stands still: 1,000 shares a second at 29.99 and 30.01."""
    return Step()


@dataclass
class World:
    """One execution server over a practice venue; `restart` kills and rebuilds the server alone."""

    venue: PracticeVenue
    curve: VolumeCurve = field(default_factory=VolumeCurve)
    tuning: Tuning = field(default_factory=Tuning)
    disk: MemoryDisk = field(default_factory=MemoryDisk)
    failures: list[BaseException] = field(default_factory=list)
    ids: int = 0

    def __post_init__(self) -> None:
        self.market = PracticeMarket(self.venue, self.curve)
        self.orders = PracticeOrders(self.venue)
        self.risk = PracticeRisk()

    async def begin(self) -> None:
        self.journal = await Journal.open(
            MemoryStore(self.disk), writer="execution", clock=WallClock(), on_failure=self.failures.append
        )
        self.durable = DurableExecutionJournal(self.journal, WallClock())
        self.book = ParentBook(self.durable, self.tuning)
        self.engine = ExecutionEngine(
            self.book, market=self.market, risk=self.risk, clock=WallClock(), new_id=self._id
        )
        conductor = Conductor(self.book, self.market, self.orders, ParentSpans(Tracer()))
        self.follower = Follower(
            self.engine,
            conductor,
            FactBooking(self.book),
            market=self.market,
            orders=self.orders,
            risk=self.risk,
            log=structlog.get_logger(),
            fail=self.failures.append,
            timing=Timing(silent_tick_seconds=0.2, repeat_acknowledgement_seconds=0.1),
        )
        await self.engine.restore()
        self.follower.start()

    async def end(self) -> None:
        await self.follower.stop()
        await self.journal.close()

    async def restart(self) -> None:
        await self.end()
        await self.begin()

    def _id(self) -> str:
        self.ids += 1
        return f"01TEST{self.ids:020d}"

    async def start(self, parameters: Parameters, request_id: str = "r1") -> str:
        view = await self.engine.start(request_id, parameters, "")
        await self.follower.subscribed(parameters.symbol)
        return view.execution_id

    async def run(self, seconds: float) -> None:
        """Let the market run so many market seconds, waiting after each step as the venue does."""
        ends = self.venue.now_nanos + round(seconds * NANO)
        while self.venue.now_nanos < ends:
            self.venue.advance()
            await self.worked_through()

    async def worked_through(self) -> None:
        await self.until(lambda: self.book.is_idle or bool(self.venue.feeds))
        for feed in list(self.venue.feeds):
            while feed.acknowledged_nanos < self.venue.now_nanos and feed in self.venue.feeds:
                feed.acknowledged.clear()
                if feed.acknowledged_nanos < self.venue.now_nanos:
                    await asyncio.wait_for(feed.acknowledged.wait(), 10)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110  # any state of the engine may be the condition
                await asyncio.sleep(0.001)

    def state(self, execution_id: str) -> ExecutionState:
        return self.book.parents[execution_id].state


@pytest.fixture
async def make_world() -> AsyncIterator[Callable[..., object]]:
    worlds: list[World] = []

    async def make(script: Callable[[int], Step] = ordinary, **given: object) -> World:
        venue_fields = {key: given.pop(key) for key in ("own_on_tape", "step_nanos") if key in given}
        world = World(PracticeVenue(script, **venue_fields), **given)  # type: ignore[arg-type]
        await world.begin()
        worlds.append(world)
        return world

    yield make
    for world in worlds:
        await world.end()
        assert not world.failures
