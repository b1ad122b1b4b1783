"""The orders server: `python -m servers.orders`."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine, Sequence

from tapeline.orders.v1 import orders_service_pb2_grpc

from servers.journal import Journal
from servers.journal.parts import PartedSnapshot, SnapshotKeeper
from servers.model.errors import ResourceExhausted
from servers.orders.adapters.exchange import ExchangeVenue
from servers.orders.adapters.journal import DurableOrderJournal
from servers.orders.adapters.risk import GrpcRisk
from servers.orders.adapters.spans import OrderSpans
from servers.orders.book import PART_ROWS
from servers.orders.engine import OrderEngine
from servers.orders.metrics import OrderMetrics
from servers.orders.outbox import Outbox
from servers.orders.ports import Risk, Venue
from servers.orders.reconciliation import VenueReader, reconcile
from servers.orders.service import OrdersService
from servers.orders.settings import OrdersSettings
from servers.orders.snapshot import NAME, VERSION, BookState
from servers.runtime.component import Context, Registration
from servers.runtime.server import run

_PAUSE_SECONDS = 0.2

_TRADERS = frozenset({"trader", "execution", "operator"})
_READERS = frozenset({"trader", "execution", "operator", "risk", "portfolio", "reader"})
ROLES = {
    "SubmitOrder": _TRADERS,
    "SubmitOrders": _TRADERS,
    "CancelOrder": _TRADERS,
    "ReplaceOrder": _TRADERS,
    "GetOrder": _READERS,
    "ListOrders": _READERS,
    "ListFills": _READERS,
    "ListOrderEvents": _READERS,
    "StreamOrderEvents": _READERS,
}


class OrdersServer:
    """The parts of the orders server, started and stopped in order."""

    def __init__(self, settings: OrdersSettings, context: Context, risk: Risk, venue: Venue) -> None:
        self._settings = settings
        self._context = context
        self._risk = risk
        self._venue = venue
        self._journal: Journal | None = None
        self._keeper: SnapshotKeeper | None = None
        self.restored_sequence = 0
        self._outbox: Outbox | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._service = OrdersService()

    def registrations(self) -> Sequence[Registration]:
        return [
            Registration(
                orders_service_pb2_grpc.add_OrdersServiceServicer_to_server,
                self._service,
                roles=ROLES,
                exempt=frozenset({"CancelOrder"}),
            )
        ]

    async def start(self) -> None:
        settings, context = self._settings, self._context
        log, clock = context.telemetry.log, context.wall_clock
        self._journal = journal = await Journal.open(
            settings.data_dir / "orders.journal",
            writer="orders",
            clock=clock,
            on_failure=context.fail,
            check="full" if settings.check_whole_journal else "tail",
            tail_records=settings.stream_tail_events,
        )
        order_journal = DurableOrderJournal(journal, self._venue.name)
        engine = OrderEngine(order_journal, self._risk, clock)
        self._keeper = keeper = SnapshotKeeper(
            PartedSnapshot(journal, NAME, VERSION, PART_ROWS),
            BookState(engine.book),
            settings.snapshot_events,
            log,
        )
        gc.disable()
        self.restored_sequence = 0 if settings.check_whole_journal else keeper.restore()
        await engine.replay()
        _spare_the_collector()
        log.info(
            "replayed", events=journal.last_sequence, snapshot=self.restored_sequence, epoch=journal.epoch
        )
        engine.on_commit(OrderSpans(context.telemetry.tracer).committed)
        self._outbox = outbox = Outbox(engine, self._venue, clock, log, settings.unknown_after_seconds)
        reader = VenueReader(engine, self._venue, order_journal.venue_position(), log)
        self._measure(engine, outbox, reader, journal)
        self._service.serve(engine, journal)
        self._run(engine.sequencer.run(), "sequencer")
        self._run(engine.intake.run(), "intake")
        self._run(outbox.run(), "outbox")
        self._run(reader.run(), "venue reports")
        self._run(self._watch_switches(engine), "kill switches")
        self._run(keeper.run(), "snapshots")
        self._run(reconcile(engine, self._venue, reader, outbox, log), "reconciliation")

    async def stop(self) -> None:
        if self._outbox is not None and not await self._outbox.drained(self._settings.outbox_drain_seconds):
            # Nothing is lost: the journal has it, and the next start sends it.
            self._context.telemetry.log.warning("stopping with orders unsent", waiting=self._outbox.depth)
        for task in self._tasks:
            task.remove_done_callback(self._ended)
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._keeper is not None:
            await self._keeper.close()
        if self._journal is not None:
            await self._journal.close()

    def _run(self, work: Coroutine[object, object, None], name: str) -> None:
        task = asyncio.create_task(work, name=f"orders {name}")
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._context.fail(error)

    async def _watch_switches(self, engine: OrderEngine) -> None:
        async for switches in self._risk.kill_switches():
            if switches != engine.switches:
                self._context.telemetry.log.warning(
                    "kill switches changed",
                    everywhere=switches.everywhere,
                    accounts=sorted(switches.accounts),
                )
            while True:
                try:
                    await engine.stop_trading(switches)
                except ResourceExhausted as error:
                    self._context.telemetry.log.warning(
                        "kill switch waits for the journal", error=error.message
                    )
                    await asyncio.sleep(_PAUSE_SECONDS)
                else:
                    break

    def _measure(self, engine: OrderEngine, outbox: Outbox, reader: VenueReader, journal: Journal) -> None:
        def read() -> dict[str, float]:
            figures = engine.figures
            return {
                "accepted": figures.accepted,
                "rejected": figures.rejected,
                "fills": figures.fills,
                "unknown": figures.unknown,
                "overfilled": figures.overfilled,
                "foreign_reports": figures.foreign_reports,
                "commits": journal.commits,
                "events": journal.last_sequence,
                "working": engine.book.working_count,
                "outbox_depth": outbox.depth,
                "venue_report_sequence": reader.position,
                "accepting": engine.is_accepting,
            }

        OrderMetrics(self._context.telemetry.registry, read)


def _spare_the_collector() -> None:
    """Keep Python's cycle collector away from the book, which has no cycles and lives for ever.

    A full collection over a million records would stop the server for a tenth of a second and find
    nothing; the young generations are still collected.
    """
    gc.enable()
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 10, 10_000)


def build(settings: OrdersSettings, context: Context) -> OrdersServer:
    """Return the orders server over the real risk server and the real venue."""
    risk = GrpcRisk(context.channels.channel("risk"), context.telemetry.log, settings.risk_timeout_seconds)
    venue = ExchangeVenue(context.channels.channel("exchange"), context.telemetry.tracer)
    return OrdersServer(settings, context, risk, venue)


if __name__ == "__main__":
    run("orders", OrdersSettings, build)
