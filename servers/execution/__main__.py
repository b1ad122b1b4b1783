"""The execution server: `python -m servers.execution`."""

from __future__ import annotations

from collections.abc import Sequence

from tapeline.execution.v1.execution_service_pb2_grpc import add_ExecutionServiceServicer_to_server
from ulid import ULID

from servers.execution.adapters.backtests import Backtests
from servers.execution.adapters.journal import DurableExecutionJournal
from servers.execution.adapters.market import GrpcMarket
from servers.execution.adapters.orders import GrpcOrders
from servers.execution.adapters.risk import GrpcRisk
from servers.execution.adapters.spans import ParentSpans
from servers.execution.book import ParentBook
from servers.execution.booking import FactBooking
from servers.execution.changes import Changes
from servers.execution.conducting import Conductor
from servers.execution.engine import ExecutionEngine
from servers.execution.following import Follower
from servers.execution.metrics import ExecutionCollector
from servers.execution.service import ExecutionService
from servers.execution.settings import ExecutionSettings
from servers.journal import Journal
from servers.runtime.component import Context, Registration
from servers.runtime.server import run

_TRADERS = frozenset({"trader", "decision", "operator"})
_READERS = _TRADERS | {"risk", "portfolio", "reader"}
ROLES = {
    "StartExecution": _TRADERS,
    "PauseExecution": _TRADERS,
    "ResumeExecution": _TRADERS,
    "CancelExecution": _TRADERS,
    "GetExecution": _READERS,
    "ListExecutions": _READERS,
    "ListExecutionEvents": _READERS,
    "StreamExecution": _READERS,
    "StreamExecutionEvents": _READERS,
    "RunBacktest": _READERS,
    "GetComparison": _READERS,
}


class ExecutionComponent:
    """The execution server without its transport."""

    def __init__(
        self, engine: ExecutionEngine, follower: Follower, journal: Journal, service: ExecutionService
    ) -> None:
        self._engine = engine
        self._follower = follower
        self._journal = journal
        self._service = service

    def registrations(self) -> Sequence[Registration]:
        """Return the execution service."""
        return [
            Registration(
                add_ExecutionServiceServicer_to_server,
                self._service,
                ROLES,
                frozenset(("CancelExecution", "PauseExecution")),
            )
        ]

    async def start(self) -> None:
        """Fold the journal and begin to follow market, orders and risk."""
        await self._engine.restore()
        self._follower.start()

    async def stop(self) -> None:
        """Stop following; parents stay journalled and go on at the next start."""
        await self._follower.stop()
        await self._journal.close()


async def build(settings: ExecutionSettings, context: Context) -> ExecutionComponent:
    """Wire the server together."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    clock = context.wall_clock
    journal = await Journal.open(
        settings.data_dir / "journal.db", writer=context.name, clock=clock, on_failure=context.fail
    )
    durable = DurableExecutionJournal(journal, clock)
    log = context.telemetry.log
    market = GrpcMarket(context.channels.channel("market_data"))
    orders = GrpcOrders(context.channels.channel("orders"))
    risk = GrpcRisk(context.channels.channel("risk"), log)
    changes = Changes()
    book = ParentBook(durable, settings.tuning(), changes.note)
    engine = ExecutionEngine(book, market=market, risk=risk, clock=clock, new_id=lambda: str(ULID()))
    conductor = Conductor(book, market, orders, ParentSpans(context.telemetry.tracer))
    follower = Follower(
        engine,
        conductor,
        FactBooking(book),
        market=market,
        orders=orders,
        risk=risk,
        log=log,
        fail=context.fail,
        timing=settings.timing(),
    )
    context.telemetry.registry.register(ExecutionCollector(book))
    backtests = Backtests(settings.recordings, settings.data_dir / "backtests")
    service = ExecutionService(engine, follower, durable, changes, backtests)
    return ExecutionComponent(engine, follower, journal, service)


if __name__ == "__main__":
    run("execution", ExecutionSettings, build)
