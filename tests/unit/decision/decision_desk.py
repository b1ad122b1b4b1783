"""The engine over practice peers and a real journal in memory, with the loops' part done by hand."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from typing import Any

from servers.decision.adapters.journal import DurableDecisionJournal
from servers.decision.adapters.memory import NoTracing, PracticeAccount, PracticeHistory
from servers.decision.domain.book import DecisionBook
from servers.decision.domain.decision import Decision, Mode, ModeChange
from servers.decision.domain.sizing import Policy
from servers.decision.engine import DecisionEngine
from servers.decision.looking import Looker, Timing
from servers.decision.market import MarketView
from servers.decision.paper import PaperDesk
from servers.decision.ports import SymbolFacts
from servers.decision.recording import Recorder
from servers.decision.sending import Sender
from servers.journal import Journal
from servers.journal.memory import MemoryDisk, MemoryStore
from servers.model.clock import ManualClock
from servers.model.market import MarketPhase, Quote
from servers.model.nanos import NANO
from tests.unit.decision.figures import MINUTE, NOW, OPEN, POLICY, SESSION

CENT = NANO // 100
FACTS = SymbolFacts(0.015, 5e6, OPEN, OPEN + SESSION, NANO, True)


class Log:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def info(self, event: str, **facts: object) -> None:
        self.said.append(event)

    def warning(self, event: str, **facts: object) -> None:
        self.said.append(event)


class Desk:
    """One account; `restart` makes everything anew from the disk, while the peers live on."""

    def __init__(self, mode: Mode = Mode.AUTOPILOT, policy: Policy = POLICY) -> None:
        self.mode, self.policy = mode, policy
        self.disk = MemoryDisk()
        self.account = PracticeAccount()
        self.history = PracticeHistory({"ACME": FACTS, "BOLT": FACTS})
        self.clock = ManualClock(NANO)
        self.log = Log()
        self.sequence = 0
        self._ids = itertools.count(1)

    async def open(self, *, has_heard: bool = True) -> None:
        self.journal = await Journal.open(
            MemoryStore(self.disk), writer="test", clock=self.clock, on_failure=_fail
        )
        durable = DurableDecisionJournal(self.journal, self.clock)
        book = DecisionBook(ModeChange(self.mode, "settings"))
        self.recorder = Recorder(durable, book)
        self.market = MarketView(self.history, max_quote_age_seconds=60, close_cutoff_seconds=900)
        tracing = NoTracing()
        self.sender = Sender(self.recorder, self.account, tracing, self.log)
        self.engine = DecisionEngine(
            self.recorder,
            Looker("A", book, self.policy, Timing(), self.market),
            market=self.market,
            risk=self.account,
            sender=self.sender,
            paper=PaperDesk(self.policy, 300.0),
            tracing=tracing,
            clock=self.clock,
            new_id=lambda: f"D{next(self._ids):04}",
        )
        await self.engine.restore()
        if has_heard:
            self.engine.on_signals_heard()
        self.quote()

    async def close(self) -> None:
        await self.journal.close()

    async def restart(self, *, has_heard: bool = True) -> None:
        now = self.market.now_nanos
        await self.close()
        await self.open(has_heard=has_heard)
        self.quote(at=now)

    @property
    def book(self) -> DecisionBook:
        return self.engine.book

    @property
    def orders(self) -> list[Decision]:
        return [one for one in self.book.decisions.values() if one.is_order]

    @property
    def last(self) -> Decision:
        return list(self.book.decisions.values())[-1]

    def quote(self, mid: int = 50 * NANO, at: int = NOW, symbol: str = "ACME", **more: Any) -> None:
        asked = {"phase": MarketPhase.CONTINUOUS, **more}
        self.market.take(
            Quote(symbol, mid - CENT // 2, 100 * NANO, mid + CENT // 2, 100 * NANO, mid, at, **asked)
        )

    async def later(self, minutes: float, mid: int = 50 * NANO) -> None:
        self.quote(mid, self.market.now_nanos + round(minutes * MINUTE))
        await self.engine.on_time()

    async def facts(self, *facts: Any) -> None:
        self.sequence += len(facts)
        await self.engine.on_executions(facts, self.sequence)

    async def fill(self, decision: Decision, shares: int | None = None, price: int = 50 * NANO) -> None:
        quantity = decision.quantity_nanos if shares is None else shares * NANO
        await self.facts(self.account.fill(decision.execution_id, quantity, price, self.market.now_nanos))

    def states(self, decisions: Sequence[Decision] | None = None) -> list[str]:
        return [one.state.name for one in (self.orders if decisions is None else decisions)]


def _fail(error: BaseException) -> None:
    logging.getLogger(__name__).error("the journal failed: %s", error)
