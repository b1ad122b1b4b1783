"""The running decision server: its parts, started and stopped in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence

from ulid import ULID

from servers.decision.adapters.execution import ExecutionsFeed, GrpcExecutions
from servers.decision.adapters.journal import DurableDecisionJournal
from servers.decision.adapters.market import GrpcHistory, QuotesFeed
from servers.decision.adapters.portfolio import GrpcPortfolio
from servers.decision.adapters.risk import GrpcRisk, RiskFeed
from servers.decision.adapters.signals import SignalsFeed
from servers.decision.adapters.spans import DecisionSpans
from servers.decision.domain.book import DecisionBook
from servers.decision.domain.decision import ModeChange
from servers.decision.domain.signal import Signal
from servers.decision.engine import DecisionEngine
from servers.decision.looking import Looker
from servers.decision.market import MarketView
from servers.decision.metrics import DecisionCollector
from servers.decision.paper import PaperDesk
from servers.decision.ports import ExecutionFact
from servers.decision.recording import Recorder
from servers.decision.sending import Sender
from servers.decision.service import DecisionService, registration
from servers.decision.settings import DecisionSettings
from servers.journal import Journal
from servers.model.errors import TapelineError
from servers.runtime.component import Context, Registration


class DecisionServer:
    """Decision without its transport. SERVING when its own state is restored."""

    def __init__(self, settings: DecisionSettings, context: Context, journal: Journal) -> None:
        self._settings = settings
        self._context = context
        self._journal = journal
        telemetry, channels, log = context.telemetry, context.channels, context.telemetry.log
        durable = DurableDecisionJournal(journal, context.wall_clock)
        book = DecisionBook(ModeChange(settings.first_mode(), "settings"))
        recorder = Recorder(durable, book)
        spans = DecisionSpans(telemetry.tracer)
        market = MarketView(
            GrpcHistory(channels),
            max_quote_age_seconds=settings.max_quote_age_seconds,
            close_cutoff_seconds=settings.close_cutoff_seconds,
        )
        policy = settings.policy()
        sender = Sender(recorder, GrpcExecutions(channels), spans, log)
        self.engine = DecisionEngine(
            recorder,
            Looker(settings.account, book, policy, settings.timing(), market),
            market=market,
            risk=GrpcRisk(channels),
            sender=sender,
            paper=PaperDesk(policy, settings.cool_down_seconds),
            tracing=spans,
            clock=context.wall_clock,
            new_id=lambda: str(ULID()),
        )
        self._service = DecisionService(self.engine, durable, GrpcPortfolio(channels))
        feeds = (
            SignalsFeed(channels, self._on_signal, self.engine.on_signals_heard, log),
            QuotesFeed(channels, market, self._on_time, log),
            ExecutionsFeed(channels, lambda: sender.executions_sequence, self._on_executions, log),
            RiskFeed(channels, settings.account, self.engine.on_kill_switch, log),
        )
        self._followers = [feed.follower for feed in feeds]
        self._tasks: list[asyncio.Task[None]] = []

    def registrations(self) -> Sequence[Registration]:
        return [registration(self._service)]

    async def start(self) -> None:
        """Restore what was decided, then follow signals, quotes, executions and risk."""
        self._context.telemetry.registry.register(DecisionCollector(self.engine))
        await self.engine.restore()
        for follower in self._followers:
            self._run(follower.run())
        self._run(self._send_again())

    async def stop(self) -> None:
        """Stop following and close the journal. Parent orders go on in execution."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._journal.close()

    # -- What the feeds bring. A peer that does not answer costs this look, not the stream: the next
    #    review looks again.

    async def _on_signal(self, signal: Signal) -> None:
        await self._try("signal", lambda: self.engine.on_signal(signal))

    async def _on_time(self) -> None:
        await self._try("review", self.engine.on_time)

    async def _on_executions(self, facts: Sequence[ExecutionFact], sequence: int) -> None:
        await self._try("executions", lambda: self.engine.on_executions(facts, sequence))

    async def _try(self, what: str, work: Callable[[], Awaitable[object]]) -> None:
        try:
            await work()
        except TapelineError as error:
            if error.status == "INTERNAL":
                raise
            self._context.telemetry.log.info(
                "not decided", because=what, status=error.status, reason=error.reason
            )

    async def _send_again(self) -> None:
        while True:
            await asyncio.sleep(self._settings.retry_seconds)
            await self._try("retry", self.engine.send_again)

    def _run(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(coroutine)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._context.fail(error)
