"""The running risk server: restores its state, follows its peers, says when it is ready."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence

import grpc

from servers.journal import Journal
from servers.model.clock import NANOS_PER_SECOND
from servers.model.errors import TapelineError
from servers.risk.adapters.journal import JournalControls
from servers.risk.adapters.limits_file import load_limits_file
from servers.risk.adapters.peers import AdjustmentsFeed, ExecutionsFeed, MarketFeed, OrdersFeed
from servers.risk.books import Books
from servers.risk.controls import Controls
from servers.risk.domain.market import Market
from servers.risk.engine import RiskEngine
from servers.risk.metrics import RiskCollector
from servers.risk.service import RiskService, registration
from servers.risk.settings import RiskSettings
from servers.risk.snapshot import books_to_bytes, restore_books
from servers.runtime.component import Context, Registration
from servers.runtime.follow import Follower

SWEEP_SECONDS = 1.0
VOLUMES_SECONDS = 60.0
SNAPSHOT_SHARE = 0.003
"""Share of wall time that snapshots may take from checks."""


class RiskServer:
    """Risk without its transport."""

    def __init__(self, settings: RiskSettings, context: Context) -> None:
        self._settings = settings
        self._context = context
        clock, log = context.wall_clock, context.telemetry.log
        self.market = Market(round(settings.feed_silence_seconds * NANOS_PER_SECOND))
        self.books = Books(self.market)
        self.controls = Controls(load_limits_file(settings.limits_file))
        self.engine = RiskEngine(self.market, self.books, self.controls, clock)
        channels = context.channels
        self._orders = OrdersFeed(channels, self.books, self.engine.rates, clock, log)
        self._adjustments = AdjustmentsFeed(channels, self.books, log)
        self._market_feed = MarketFeed(channels, self.market, self.books, clock, log)
        self._executions = ExecutionsFeed(channels, self.books, clock, log)
        self._collector = RiskCollector(self.engine)
        self._service = RiskService(self.engine, self.controls, self._market_feed, clock)
        self._journal: Journal | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def registrations(self) -> Sequence[Registration]:
        return [registration(self._service)]

    async def start(self) -> None:
        """Restore limits, switches and books, then follow; SERVING comes when all is caught up."""
        context, settings = self._context, self._settings
        context.health.set_serving(False)
        context.telemetry.registry.register(self._collector)
        path = settings.data_dir / "risk.journal"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._journal = await Journal.open(
            path, writer="risk", clock=context.wall_clock, on_failure=context.fail
        )
        store = JournalControls(self._journal)
        limits, switches = await store.load()
        for one in limits:
            self.controls.set_limits(one)
        for switch in switches:
            self.controls.set_kill_switch(switch)
        self.controls.sequence = self._journal.last_sequence
        saved = store.load_books()
        if saved is not None:
            restore_books(self.books, saved)
        self._service.store = store
        for follower in self._followers():
            self._run(follower.run())
        self._run(self._become_ready(is_restart=self._journal.epoch > 1))
        self._run(self._sweep())
        self._run(self._load_volumes())
        self._run(self._save(store))

    async def stop(self) -> None:
        """Stop following, save the books, close the journal."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._journal is not None:
            await self._save_books(JournalControls(self._journal), books_to_bytes(self.books))
            await self._journal.close()

    def caught_up_with(self, source: str) -> bool:
        """Return whether everything that a peer had to tell at the start has been taken in."""
        return any(one.caught_up.is_set() for one in self._followers() if one.name == source)

    def _followers(self) -> list[Follower]:
        followers = [self._orders.follower, self._adjustments.follower, self._market_feed.follower]
        if self._settings.follow_execution:
            followers.append(self._executions.follower)
        return followers

    def _run(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(coroutine)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._context.fail(error)

    async def _become_ready(self, *, is_restart: bool) -> None:
        for follower in self._followers():
            await follower.caught_up.wait()
        if is_restart:
            # What the process before approved may still be on its way into the order journal.
            await asyncio.sleep(self._settings.settle_seconds)
        self._service.is_ready = True
        self._context.health.set_serving(True)

    async def _sweep(self) -> None:
        wait_nanos = round(self._settings.reservation_timeout_seconds * NANOS_PER_SECOND)
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            gone = self.engine.expire(
                self._orders.heard_at_nanos, self._executions.heard_at_nanos, wait_nanos
            )
            self._collector.expired += len(gone)
            if gone:
                self._context.telemetry.log.warning(
                    "reservations released: nothing followed the check", count=len(gone), ids=gone[:10]
                )

    async def _load_volumes(self) -> None:
        await self._market_feed.follower.caught_up.wait()
        while True:
            for symbol in self.engine.symbols_with_participation():
                try:
                    await self._market_feed.load_median_volume(symbol)
                except (grpc.aio.AioRpcError, TapelineError):
                    break
            await self.controls.wait_for_limits(VOLUMES_SECONDS)

    async def _save(self, store: JournalControls) -> None:
        await asyncio.gather(*(follower.caught_up.wait() for follower in self._followers()))
        saved = (0, 0, 0)
        loop = asyncio.get_running_loop()
        took_seconds = 0.0
        while True:
            # Checks wait while the books are written down: with many open orders, that is done less often.
            await asyncio.sleep(max(self._settings.snapshot_seconds, took_seconds / SNAPSHOT_SHARE))
            reached = (
                self.books.orders_sequence,
                self.books.executions_sequence,
                self.books.adjustments_sequence,
            )
            if reached != saved:
                saved = reached
                began = loop.time()
                payload = books_to_bytes(self.books)
                took_seconds = loop.time() - began
                await self._save_books(store, payload)

    async def _save_books(self, store: JournalControls, payload: bytes) -> None:
        positions = {
            "orders": self.books.orders_sequence,
            "executions": self.books.executions_sequence,
            "adjustments": self.books.adjustments_sequence,
        }
        await store.save_books(payload, positions)
