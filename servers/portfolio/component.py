"""The running portfolio server: restores the ledger, follows orders and market_data."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine, Sequence

from servers.journal import Journal
from servers.journal.parts import PartedSnapshot, SnapshotKeeper
from servers.portfolio.adapters.journal import JournalLedger
from servers.portfolio.adapters.peers import MarketFeed, OrdersFeed
from servers.portfolio.engine import PortfolioEngine
from servers.portfolio.metrics import PortfolioCollector
from servers.portfolio.service import PortfolioService, registration
from servers.portfolio.settings import PortfolioSettings
from servers.portfolio.snapshot import NAME, PART_ROWS, VERSION, LedgerState
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
        self._keeper = SnapshotKeeper(
            PartedSnapshot(journal, NAME, VERSION, PART_ROWS),
            LedgerState(self.engine),
            settings.snapshot_events,
            telemetry.log,
        )
        self.restored_sequence = 0
        self._tasks: list[asyncio.Task[None]] = []

    def registrations(self) -> Sequence[Registration]:
        return [registration(self._service)]

    async def start(self) -> None:
        """Restore positions and cash, then follow from where they stand."""
        self._context.telemetry.registry.register(PortfolioCollector(self.engine))
        gc.disable()
        self.restored_sequence = self._keeper.restore()
        await self.engine.restore()
        _spare_the_collector()
        self._context.telemetry.log.info(
            "replayed",
            records=self._journal.last_sequence,
            snapshot=self.restored_sequence,
            epoch=self._journal.epoch,
        )
        self._run(self._orders.follower.run())
        self._run(self._market.follower.run())
        self._run(self._save_sequence())
        self._run(self._keeper.run())

    async def stop(self) -> None:
        """Stop following, save a snapshot, close the journal."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._keeper.close()
        await self._journal.close()

    @property
    def saved_sequence(self) -> int:
        """The journal's sequence that the snapshot in force reflects."""
        return self._keeper.saved_sequence

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


def _spare_the_collector() -> None:
    """Keep Python's cycle collector away from the ledger, which has no cycles and lives for ever.

    While hundreds of thousands of lines are restored it would look through all of them again and again;
    that takes most of the time.
    """
    gc.enable()
    gc.collect()
    gc.freeze()
