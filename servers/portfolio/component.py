"""The running portfolio server: restores the ledger, follows orders and market_data."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence

from servers.journal import Journal
from servers.portfolio.adapters.journal import JournalLedger
from servers.portfolio.adapters.peers import MarketFeed, OrdersFeed
from servers.portfolio.engine import PortfolioEngine
from servers.portfolio.metrics import PortfolioCollector
from servers.portfolio.service import PortfolioService, registration
from servers.portfolio.settings import PortfolioSettings
from servers.runtime.component import Context, Registration


class PortfolioServer:
    """Portfolio without its transport. SERVING when its own state is restored."""

    def __init__(self, settings: PortfolioSettings, context: Context, journal: Journal) -> None:
        self._settings = settings
        self._context = context
        self._journal = journal
        ledger = JournalLedger(journal)
        self.engine = PortfolioEngine(ledger)
        self._service = PortfolioService(self.engine, ledger, settings.stream_pause_seconds)
        telemetry, channels = context.telemetry, context.channels
        self._orders = OrdersFeed(channels, self.engine, telemetry.tracer, telemetry.log)
        self._market = MarketFeed(channels, self.engine, telemetry.log)
        self._tasks: list[asyncio.Task[None]] = []

    def registrations(self) -> Sequence[Registration]:
        return [registration(self._service)]

    async def start(self) -> None:
        """Restore positions and cash, then follow from where they stand."""
        self._context.telemetry.registry.register(PortfolioCollector(self.engine))
        await self.engine.restore()
        self._run(self._orders.follower.run())
        self._run(self._market.follower.run())
        self._run(self._save_sequence())

    async def stop(self) -> None:
        """Stop following and close the journal."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._journal.close()

    def _run(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(coroutine)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._context.fail(error)

    async def _save_sequence(self) -> None:
        while True:
            await asyncio.sleep(self._settings.position_save_seconds)
            await self.engine.save_sequence()
