"""What decision does: looks at a symbol, records what it decides, lets it go, follows what becomes of it.

One lock makes every look, its journal entry and its effect one step. What leaves the process (a parent
order, a cancel, an answer) leaves after the journal has it, under the decision's id, so that a restart can
send it again and nothing happens twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256

from servers.decision.domain.decision import Decision, Event, EventKind, Mode, ModeChange, State
from servers.decision.domain.signal import NEVER_ORDERS, Restriction, Signal
from servers.decision.looking import Looker
from servers.decision.market import MarketView
from servers.decision.paper import PaperDesk
from servers.decision.ports import Effect, ExecutionFact, Risk, Tracing
from servers.decision.recording import Recorder
from servers.decision.sending import Sender
from servers.model.clock import Clock
from servers.model.errors import FailedPrecondition, NotFound, TapelineError
from servers.model.nanos import NANO


class DecisionEngine:
    """Decisions of one account.

    Args:
        new_id: gives a fresh decision id (ULID, ascending).
    """

    def __init__(
        self,
        recorder: Recorder,
        looker: Looker,
        *,
        market: MarketView,
        risk: Risk,
        sender: Sender,
        paper: PaperDesk,
        tracing: Tracing,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self.account = looker.account
        self.book = recorder.book
        self.market = market
        self.signals: dict[str, Signal] = {}
        self.lock = asyncio.Lock()
        self._recorder = recorder
        self._looker = looker
        self._risk = risk
        self._sender = sender
        self._paper = paper
        self._tracing = tracing
        self._clock = clock
        self._new_id = new_id
        self._looked_nanos: dict[str, int] = {}

    @property
    def now_nanos(self) -> int:
        """Market time, UTC epoch nanoseconds."""
        return self._looker.now_nanos

    @property
    def is_killed(self) -> bool:
        """Whether risk's kill switch holds the account."""
        return self._looker.is_killed

    def on_kill_switch(self, *, is_on: bool) -> None:
        """Take in risk's word: with the switch on nothing is decided, approved or sent."""
        self._looker.is_killed = is_on

    def on_signals_heard(self) -> None:
        """Know that what signals has to say has been said: a symbol without a signal has none."""
        self._looker.has_heard_signals = True

    async def restore(self) -> None:
        """Fold the journal."""
        await self._recorder.restore()

    # -- What comes in ------------------------------------------------------------------------------

    async def on_signal(self, signal: Signal) -> Decision | None:
        """Look at a symbol because of a new signal. Return what was recorded, if anything.

        A signal on the word of one author or source does not take the place of one with more behind it.
        Raises Unavailable when a peer that sizing needs does not answer: the next review looks again.
        """
        async with self.lock:
            before = self.signals.get(signal.symbol)
            if before is not None and before.event_time_nanos >= signal.event_time_nanos:
                return None
            found = self._looker.policy.trust.restrictions(signal, self.now_nanos)
            if not any(restriction in NEVER_ORDERS for restriction in found):
                self.signals[signal.symbol] = signal
            elif before is not None and set(signal.post_ids) < set(before.post_ids):
                # It is what deletions left of the one before, which then opens nothing any more.
                stale = before.restrictions | {Restriction.STALE}
                self.signals[signal.symbol] = replace(before, restrictions=stale)
            return await self._look(signal.symbol, signal)

    async def on_time(self) -> None:
        """Do what is due at the present market time: measure, expire, look again at what is held."""
        now = self.now_nanos
        async with self.lock:
            on_paper = self._paper.measured(self.book, self.market.mids_nanos, now)
            await self._recorder.append([*self._measured(), *on_paper, *self._expired(now)])
        due = now - round(self._looker.timing.review * NANO)
        symbols = [symbol for symbol in self._live_symbols() if self._looked_nanos.get(symbol, 0) <= due]
        await self._review_all(symbols)

    async def review(self, symbol: str) -> Decision:
        """Look at a symbol again: prices move, edges decay, parents end."""
        async with self.lock:
            return await self._look(symbol, self.signals.get(symbol))

    async def on_executions(self, facts: Sequence[ExecutionFact], sequence: int) -> None:
        """Book what became of parent orders, and look again where one is over."""
        async with self.lock:
            ended = await self._sender.on_facts(facts, sequence)
        await self._review_all(ended)

    async def send_again(self) -> None:
        """Repeat what execution has not answered."""
        if self.book.is_sending or self.book.cancelling:
            async with self.lock:
                ended = await self._sender.send_again()
            await self._review_all(ended)

    # -- What people ask ----------------------------------------------------------------------------

    async def propose(self, request_id: str, symbol: str, *, is_dry_run: bool) -> Decision:
        """Look at a symbol now, record what is decided whatever it is, and return it."""
        async with self.lock:
            if is_dry_run:
                view = await self.market.view(symbol)
                exposures = await self._risk.exposures(self.account)
                signal = self.signals.get(symbol)
                return self._looker.decision(symbol, signal, view, exposures)
            effect = Effect(f"propose/{request_id}", _hash(symbol))
            kept = self._recorder.kept(effect)
            if kept is not None and kept.decision is not None:
                return kept.decision
            return await self._look(symbol, self.signals.get(symbol), effect)

    async def approve(self, request_id: str, decision_id: str, identity: str) -> Decision:
        """Let a waiting decision go. Raises NotFound, FailedPrecondition DECISION_STATE, KILL_SWITCH_ON."""
        async with self.lock:
            effect = Effect(f"approve/{request_id}", _hash(decision_id))
            kept = self._recorder.kept(effect)
            if kept is not None and kept.decision is not None:
                return kept.decision
            waiting = self._waiting(decision_id)
            if self.is_killed:
                raise FailedPrecondition("KILL_SWITCH_ON", account=self.account)
            if self.now_nanos >= waiting.expire_time_nanos:
                await self._recorder.append(self._expired(self.now_nanos))
                raise FailedPrecondition("DECISION_STATE", "its time has run out", decision_id=decision_id)
            approved = waiting.approved(identity, self.now_nanos)
            await self._recorder.append([self._event(EventKind.APPROVED, approved)], effect)
            await self._sender.send(approved)
            return self.book.decisions[decision_id]

    async def reject(self, request_id: str, decision_id: str, identity: str) -> Decision:
        """Refuse a waiting decision. Raises NotFound, FailedPrecondition DECISION_STATE."""
        async with self.lock:
            effect = Effect(f"reject/{request_id}", _hash(decision_id))
            kept = self._recorder.kept(effect)
            if kept is not None and kept.decision is not None:
                return kept.decision
            waiting = self._waiting(decision_id)
            rejected = replace(waiting, state=State.REJECTED, decided_by=identity)
            await self._recorder.append([self._event(EventKind.REJECTED, rejected)], effect)
            return rejected

    async def set_mode(self, request_id: str, mode: Mode, identity: str, reason: str) -> ModeChange:
        """Say who lets orders go from now on."""
        async with self.lock:
            effect = Effect(f"mode/{request_id}", _hash(f"{mode}/{reason}"))
            kept = self._recorder.kept(effect)
            if kept is not None and kept.mode_change is not None:
                return kept.mode_change
            change = ModeChange(mode, identity, reason)
            await self._recorder.append(
                [Event(EventKind.MODE_SET, self.now_nanos, mode_change=change)], effect
            )
            return change

    # -- Looking at one symbol ----------------------------------------------------------------------

    async def _look(self, symbol: str, signal: Signal | None, effect: Effect | None = None) -> Decision:
        """Decide, record what is news or was asked for, and let it go. The lock is held.

        What is not recorded comes back without an id.
        """
        self._looked_nanos[symbol] = self.now_nanos
        view = await self.market.view(symbol)
        exposures = await self._risk.exposures(self.account)
        decision = self._looker.decision(symbol, signal, view, exposures)
        events = self._paper.events(self.book, symbol, signal, view, self.now_nanos)
        waiting = self.book.of(symbol, State.PENDING_APPROVAL)
        if waiting and (decision.is_order or not decision.holding.pending_nanos):
            # Something else is right now, be it nothing: nobody may approve what no longer is.
            events += [
                self._event(EventKind.SUPERSEDED, replace(one, state=State.SUPERSEDED)) for one in waiting
            ]
        if not decision.is_order and effect is None and not self._is_news(decision):
            await self._recorder.append(events)
            return decision
        decision = replace(decision, decision_id=self._new_id(), create_time_nanos=self._clock.now_nanos())
        attributes = {"symbol": symbol, "decision_id": decision.decision_id, "action": decision.action.name}
        with self._tracing.span("decision decide", decision.traceparent, **attributes) as own:
            decision = replace(decision, traceparent=own)
            await self._recorder.append([*events, self._event(EventKind.DECIDED, decision)], effect)
            if decision.cancelled_execution_id:
                await self._sender.cancel(decision)
            elif decision.state is State.APPROVED:
                await self._sender.send(decision)
            return self.book.decisions[decision.decision_id]

    async def _review_all(self, symbols: Sequence[str]) -> None:
        """Review symbols; one that cannot be costs the others nothing, and is told of at the end."""
        failure: TapelineError | None = None
        for symbol in symbols:
            try:
                await self.review(symbol)
            except TapelineError as error:
                failure = error
        if failure is not None:
            raise failure

    # -- What is due --------------------------------------------------------------------------------

    def _live_symbols(self) -> list[str]:
        now, trust = self.now_nanos, self._looker.policy.trust
        live = {symbol for symbol, signal in self.signals.items() if not trust.is_expired(signal, now)}
        held = {symbol for ledger in self.book.ledgers.values() for symbol, quantity in
                ledger.positions.items() if quantity}  # fmt: skip
        return sorted(live | held | {one.symbol for one in self.book.open.values()})

    def _measured(self) -> list[Event]:
        now, mids = self.now_nanos, self.market.mids_nanos
        return [
            self._event(EventKind.MEASURED, replace(self.book.decisions[key], outcome_price_nanos=mid))
            for key, one in self.book.unmeasured.items()
            if one.outcome_due_nanos <= now
            and (mid := mids.get(one.symbol, 0))
            and self.book.decisions[key].state is not State.PENDING_APPROVAL
        ]

    def _expired(self, now_nanos: int) -> list[Event]:
        return [
            self._event(EventKind.EXPIRED, replace(one, state=State.EXPIRED))
            for one in self.book.open.values()
            if one.state is State.PENDING_APPROVAL and one.expire_time_nanos <= now_nanos
        ]

    # -- Inner parts --------------------------------------------------------------------------------

    def _is_news(self, decision: Decision) -> bool:
        if decision.cancelled_execution_id:
            return True
        before = self.book.last_declined.get(decision.symbol)
        if before is None or before.reason_code != decision.reason_code:
            return True
        return decision.event_time_nanos - before.event_time_nanos >= self._looker.timing.quiet * NANO

    def _waiting(self, decision_id: str) -> Decision:
        decision = self.book.decisions.get(decision_id)
        if decision is None:
            raise NotFound("DECISION_NOT_FOUND", decision_id=decision_id)
        if decision.state is not State.PENDING_APPROVAL:
            raise FailedPrecondition(
                "DECISION_STATE",
                f"the decision is {decision.state.name}",
                decision_id=decision_id,
                state=decision.state.name,
            )
        return decision

    def _event(self, kind: EventKind, decision: Decision) -> Event:
        return Event(kind, self.now_nanos, decision)


def _hash(content: str) -> bytes:
    return sha256(content.encode()).digest()
