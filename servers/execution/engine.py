"""Parent orders: commands, what the market and orders say, and what follows from it.

One lock makes every decision, its journal entry and its effect on the state one step; what leaves the
process (a child, an answer, an event) leaves after the journal has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TypeVar

from servers.execution.domain.events import (
    ChildState,
    Event,
    EventKind,
    ExecutionState,
    SchedulePlan,
    Start,
)
from servers.execution.domain.parameters import Algorithm, Parameters, SessionTimes, plan_horizon
from servers.execution.domain.parent import ChildRecord, ParentOrder
from servers.execution.domain.report import ReportInput, make_report
from servers.execution.domain.tape import Prints, Tape
from servers.execution.domain.view import Execution, execution_view
from servers.execution.domain.working import Decision, Tuning, WorkingParent, take_in
from servers.execution.ports import (
    Effect,
    ExecutionJournal,
    KeptAnswer,
    KillSwitches,
    Market,
    OrderFact,
    OrderFactKind,
    OrderFacts,
    Orders,
    Recorded,
    Risk,
    TapeFacts,
    Tracing,
    VolumeCurve,
)
from servers.model.clock import Clock
from servers.model.errors import (
    AlreadyExists,
    FailedPrecondition,
    NotFound,
    ResourceExhausted,
    TapelineError,
    Unavailable,
)
from servers.model.instrument import Instrument
from servers.model.market import MarketTime, Quote, TradingStatus
from servers.model.order import OrderState, Rejection

STORE_RETRY_SECONDS = 0.5

Answer = TypeVar("Answer")


@dataclass(slots=True)
class Sending:
    """What a step wants sent, once its events are in the journal."""

    parent: ParentOrder
    children: list[str]
    cancels: list[str]


class ExecutionEngine:
    """All parent orders of this server.

    Args:
        new_id: gives a fresh execution id (ULID).
        on_change: called with a parent's id after each change that readers may see.
    """

    def __init__(
        self,
        *,
        journal: ExecutionJournal,
        market: Market,
        orders: Orders,
        risk: Risk,
        tracing: Tracing,
        clock: Clock,
        tuning: Tuning,
        new_id: Callable[[], str],
        on_change: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._journal = journal
        self._market = market
        self._orders = orders
        self._risk = risk
        self._tracing = tracing
        self._clock = clock
        self._tuning = tuning
        self._new_id = new_id
        self._on_change = on_change
        self._lock = asyncio.Lock()
        self._switches = KillSwitches()
        self._cancel_number = 0
        self._starting: dict[str, asyncio.Future[None]] = {}
        self.parents: dict[str, ParentOrder] = {}
        self.working: dict[str, WorkingParent] = {}
        self.tapes: dict[str, Tape] = {}
        self.now_nanos = 0
        self.orders_sequence = 0
        self.facts_arrived = asyncio.Event()
        self.symbols_changed = asyncio.Event()

    # -- Reading ------------------------------------------------------------------------------------

    def view(self, execution_id: str) -> Execution:
        """Return one parent. Raises NotFound EXECUTION_NOT_FOUND."""
        parent = self._find(execution_id)
        return execution_view(parent, self.working.get(execution_id), self.now_nanos)

    @property
    def symbols(self) -> list[str]:
        """Symbols of the parents that still follow the market."""
        return sorted({working.parent.parameters.symbol for working in self.working.values()})

    @property
    def is_idle(self) -> bool:
        """Whether no parent follows the market."""
        return not self.working

    # -- Commands -----------------------------------------------------------------------------------

    async def start(self, request_id: str, parameters: Parameters, traceparent: str) -> Execution:
        """Check, journal and start a parent order. A repeat of `request_id` gets the first answer."""
        key = f"start/{request_id}"
        content = _hash(parameters)
        while key in self._starting:
            await asyncio.wait([self._starting[key]])
        kept = self._kept(key, content)
        if kept is not None:
            return kept
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._starting[key] = done
        try:
            return await self._start(key, content, parameters, traceparent)
        finally:
            del self._starting[key]
            done.set_result(None)

    async def _start(self, key: str, content: bytes, asked: Parameters, traceparent: str) -> Execution:
        asked.validate()
        instrument = await self._market.instrument(asked.symbol)
        asked.check_against(instrument)
        now = max(await self._market.now_nanos(asked.symbol), self.now_nanos)
        session = await self._market.session(asked.symbol)
        parameters, note = plan_horizon(asked, session, now, instrument.lot_size_nanos)
        plan = await self._plan(parameters, session, note)
        execution_id = self._new_id()
        if self._switches.stop(parameters.account):
            raise FailedPrecondition(
                "KILL_SWITCH_ON", f"the kill switch of {parameters.account} is on", account=parameters.account
            )
        rejection = await self._risk.check(execution_id, parameters)
        start = Start(parameters, self._clock.now_nanos(), traceparent, plan, rejection)
        if rejection is None:
            event = Event(
                EventKind.STARTED, execution_id, now, ExecutionState.PENDING,
                message=" ".join(part for part in (plan.fallback, plan.note) if part), start=start,
            )  # fmt: skip
        else:
            event = Event(
                EventKind.REJECTED, execution_id, now, ExecutionState.REJECTED,
                rejection.reason, rejection.message, start=start,
            )  # fmt: skip
        parent = ParentOrder.from_event(event)
        view = execution_view(parent, None, now)
        async with self._lock:
            await self._journal.append(
                [Recorded(event, view, parent.unsent_quantity_nanos)],
                effect=Effect(key, content, view, is_permanent=True),
            )
            self.parents[execution_id] = parent
            if rejection is None:
                self._adopt(parent, instrument)
        self._on_change(execution_id)
        return view

    async def _plan(self, parameters: Parameters, session: SessionTimes, note: str) -> SchedulePlan:
        facts = await _or(self._market.tape_facts(parameters.symbol, 0, 0), TapeFacts())
        curve = await _or(self._market.volume_curve(parameters.symbol), VolumeCurve())
        plan = SchedulePlan(
            session.close_time_nanos,
            median_daily_volume=curve.median_daily_volume,
            own_fills_on_tape=facts.own_fills_on_tape,
            note=note,
        )
        if parameters.algorithm is Algorithm.TWAP:
            return plan
        if not curve.shares:
            why = "no volume history" if curve == VolumeCurve() else "the curve is empty"
            return replace(plan, fallback=f"STATIC_VWAP: {why}; equal quantities in equal times instead.")
        return replace(
            plan,
            curve_shares=tuple(curve.shares),
            curve_bin_nanos=curve.bin_nanos,
            curve_open_time_nanos=session.open_time_nanos,
        )

    async def pause(self, request_id: str, execution_id: str) -> Execution:
        """Stop sending; children are cancelled."""
        return await self._command("pause", request_id, execution_id, self._pause)

    async def resume(self, request_id: str, execution_id: str) -> Execution:
        """Go on, planned anew under the cap."""
        return await self._command("resume", request_id, execution_id, self._resume)

    async def cancel(self, request_id: str, execution_id: str) -> Execution:
        """Cancel children and end the parent with a report."""
        return await self._command("cancel", request_id, execution_id, self._stop_by_request)

    async def _command(
        self, name: str, request_id: str, execution_id: str, decide: Callable[[ParentOrder], Event]
    ) -> Execution:
        key = f"{name}/{request_id}"
        content = sha256(execution_id.encode()).digest()
        async with self._lock:
            kept = self._kept(key, content)
            if kept is not None:
                return kept
            parent = self._find(execution_id)
            event = decide(parent)
            await self._commit(parent, [event], effect=(key, content))
            if event.kind is EventKind.RESUMED:
                self.working[execution_id].resume(self.now_nanos)
            return self.view(execution_id)

    def _pause(self, parent: ParentOrder) -> Event:
        _require(parent, ExecutionState.RUNNING, ExecutionState.PENDING)
        return self._event(parent, EventKind.PAUSED, ExecutionState.PAUSED, "REQUESTED")

    def _resume(self, parent: ParentOrder) -> Event:
        _require(parent, ExecutionState.PAUSED)
        has_arrived = bool(parent.arrival_time_nanos)
        return self._event(
            parent, EventKind.RESUMED, ExecutionState.RUNNING if has_arrived else ExecutionState.PENDING
        )

    def _stop_by_request(self, parent: ParentOrder) -> Event:
        _require(parent, ExecutionState.PENDING, ExecutionState.RUNNING, ExecutionState.PAUSED)
        return self._event(parent, EventKind.STOPPING, ExecutionState.STOPPING, "CANCELLED")

    # -- Start-up -----------------------------------------------------------------------------------

    async def restore(self) -> None:
        """Fold the journal's events."""
        async for event in self._journal.replay():
            parent = self.parents.get(event.execution_id)
            if parent is None:
                self.parents[event.execution_id] = ParentOrder.from_event(event)
            else:
                parent.apply(event)
            self.now_nanos = max(self.now_nanos, event.event_time_nanos)
        self.orders_sequence = self._journal.orders_sequence()

    async def rejoin(self) -> None:
        """Give restored parents their market back: the tape since their arrival, schedule, cap and figures.

        Raises Unavailable while market data cannot be had.
        """
        by_symbol: dict[str, list[ParentOrder]] = {}
        for execution_id in self.unjoined:
            parent = self.parents[execution_id]
            by_symbol.setdefault(parent.parameters.symbol, []).append(parent)
        for symbol, parents in by_symbol.items():
            instrument = await self._market.instrument(symbol)
            since = min(parent.arrival_time_nanos or parent.parameters.start_time_nanos for parent in parents)
            refilled = Tape(symbol)
            async for prints in self._market.trades(symbol, 0, since):
                refilled.add(prints)
            async with self._lock:
                tape = self.tapes.setdefault(symbol, Tape(symbol))
                if len(refilled) and refilled.last_sequence >= tape.last_sequence:
                    tape.replace_prints(refilled)
                for parent in parents:
                    self._adopt(parent, instrument)
                for working in self._of(symbol):
                    working.restore(tape)

    @property
    def unjoined(self) -> list[str]:
        """Parents that were restored and do not follow the market yet."""
        return [key for key, parent in self.parents.items() if not parent.is_over and key not in self.working]

    async def resend(self) -> None:
        """Hand every unfinished child to orders again: identical, so that it is taken at most once."""
        for parent in list(self.parents.values()):
            if parent.working:
                await self._submit(parent, list(parent.working))

    # -- What the market says -----------------------------------------------------------------------

    def on_prints(self, prints: Prints) -> bool:
        """Take in a run of prints. Return False when some before it are missing."""
        tape = self.tapes.get(prints.symbol)
        if tape is None:
            return True
        if tape.last_sequence and prints.first_sequence > tape.last_sequence + 1:
            return False
        fresh = tape.add(prints)
        if len(fresh.times):
            for working in self._of(prints.symbol):
                working.on_prints(fresh, tape)
        return True

    def on_quote(self, quote: Quote) -> None:
        """Take in a best quote."""
        if quote.symbol in self.tapes:
            self.tapes[quote.symbol].on_quote(quote)

    def on_status(self, status: TradingStatus) -> None:
        """Take in a phase."""
        if status.symbol in self.tapes:
            self.tapes[status.symbol].on_status(status)

    async def on_time(self, time: MarketTime, *, may_send: bool = True) -> list[Sending]:
        """Let every parent take its step, journal what it decides, and return what is to be sent."""
        sendings: list[Sending] = []
        async with self._lock:
            self.now_nanos = max(self.now_nanos, time.event_time_nanos)
            for working in list(self.working.values()):
                tape = self.tapes[working.parent.parameters.symbol]
                decision = working.step(self.now_nanos, tape, may_send=may_send and not time.is_held)
                if decision:
                    sendings.append(await self._carry_out(working, tape, decision))
        for execution_id in self.working:
            self._on_change(execution_id)
        return [sending for sending in sendings if sending.children or sending.cancels]

    async def _carry_out(self, working: WorkingParent, tape: Tape, decision: Decision) -> Sending:
        parent = working.parent
        events = list(decision.events)
        if decision.children:
            with self._tracing.span("send children", parent.execution_id, parent.traceparent) as traceparent:
                for child in decision.children:
                    traced = replace(child, traceparent=traceparent)
                    state = events[-1].state if events else parent.state
                    events.append(
                        Event(EventKind.CHILD, parent.execution_id, self.now_nanos, state, child=traced)
                    )
                await self._commit(parent, events)
        elif events:
            await self._commit(parent, events)
        if any(event.kind is EventKind.ARRIVED for event in events):
            working.begin(tape)
        for client_order_id in decision.cancels:
            parent.working[client_order_id].is_cancel_requested = True
        if decision.is_finished:
            await self._finish(working, tape)
        return Sending(parent, [child.client_order_id for child in decision.children], decision.cancels)

    async def _finish(self, working: WorkingParent, tape: Tape) -> None:
        parent = working.parent
        last_fill = max((fill.event_time_nanos for fill in parent.fills.values()), default=0)
        is_cancelled = parent.reason in ("CANCELLED", "KILL_SWITCH") and parent.residual_quantity_nanos > 0
        arrival = parent.arrival_time_nanos or self.now_nanos
        end = self.now_nanos if is_cancelled else parent.parameters.end_time_nanos
        end = max(end, last_fill + 1, arrival)
        symbol = parent.parameters.symbol
        facts = await _or(self._market.tape_facts(symbol, arrival, end), TapeFacts())
        reason, message = working.residual(self.now_nanos)
        if not parent.residual_quantity_nanos:
            state = ExecutionState.FILLED
        else:
            state = ExecutionState.CANCELLED if is_cancelled else ExecutionState.DONE
        model = self._tuning.impact
        own_on_tape = facts.own_fills_on_tape
        with self._tracing.span("execution report", parent.execution_id, parent.traceparent):
            report = make_report(
                ReportInput(
                    side=parent.parameters.side,
                    currency_code=working.instrument.currency_code,
                    quantity_nanos=parent.quantity_nanos,
                    fills=list(parent.fills.values()),
                    mids_when_sent_nanos=parent.mids_when_sent(),
                    decision_price_nanos=parent.parameters.decision_price_nanos,
                    arrival_price_nanos=parent.arrival_price_nanos,
                    arrival_time_nanos=arrival,
                    interval_end_time_nanos=end,
                    session_close_time_nanos=parent.plan.session_close_time_nanos,
                    participation_window_nanos=parent.parameters.participation_window_nanos,
                    own_fills_on_tape=parent.plan.own_fills_on_tape if own_on_tape is None else own_on_tape,
                    eligibility_rule=facts.eligibility_rule or "as the feed flags its prints",
                    residual_reason=reason,
                    residual_message=message,
                    child_count=len(parent.children),
                    impact_attos=model.cost_attos(
                        parent.filled_quantity_nanos, parent.arrival_price_nanos, working.daily_volume
                    ),
                    impact_model=model.name,
                    fallback=parent.plan.fallback,
                    note=parent.plan.note,
                    last_price_nanos=tape.quote.last_price_nanos,
                ),
                tape,
            )
            event = Event(
                EventKind.FINISHED, parent.execution_id, self.now_nanos, state, reason, message, report=report
            )
            await self._commit(parent, [event])
        self._release(parent)

    def _release(self, parent: ParentOrder) -> None:
        del self.working[parent.execution_id]
        symbol = parent.parameters.symbol
        if not any(other.parent.parameters.symbol == symbol for other in self.working.values()):
            del self.tapes[symbol]
            self.symbols_changed.set()

    # -- Sending ------------------------------------------------------------------------------------

    async def send(self, sending: Sending) -> None:
        """Send what a step decided; the journal has it. Raises Unavailable when the outcome is not known."""
        if sending.children:
            await self._submit(sending.parent, sending.children)
        for client_order_id in sending.cancels:
            await self._cancel_child(sending.parent, client_order_id)

    async def _submit(self, parent: ParentOrder, client_order_ids: Sequence[str]) -> None:
        children = [parent.children[key].child for key in client_order_ids]
        await self._orders.submit(parent.parameters.account, parent.execution_id, children)

    async def _cancel_child(self, parent: ParentOrder, client_order_id: str) -> None:
        self._cancel_number += 1
        request_id = f"{client_order_id}.c{self._journal.epoch}.{self._cancel_number}"
        record = parent.working.get(client_order_id)
        if record is None:
            return
        try:
            is_on_its_way = await self._orders.cancel(parent.parameters.account, client_order_id, request_id)
        except Unavailable:
            record.is_cancel_requested = False
            return
        record.is_cancel_requested = is_on_its_way

    async def refuse_children(self, sending: Sending, error: TapelineError) -> None:
        """Take in that orders refused the request itself, so that its children never existed."""
        rejection = Rejection(error.reason, error.message)
        facts = [
            OrderFact(
                0,
                OrderFactKind.REJECTED,
                sending.parent.execution_id,
                key,
                OrderState.REJECTED,
                rejection=rejection,
            )
            for key in sending.children
        ]
        await self.on_facts(OrderFacts(facts, self.orders_sequence))

    def is_settled(self, sending: Sending) -> bool:
        """Return whether the crossing children of a step are final: filled or gone."""
        parent = sending.parent
        return not any(key in parent.working and parent.working[key].is_immediate for key in sending.children)

    # -- What orders says ---------------------------------------------------------------------------

    async def on_facts(self, page: OrderFacts) -> None:
        """Book fills and ends of children; the facts' sequence is stored in the same transaction."""
        by_parent: dict[str, list[OrderFact]] = {}
        for fact in page.facts:
            by_parent.setdefault(fact.execution_id, []).append(fact)
        async with self._lock:
            records: list[Recorded] = []
            taken: list[tuple[str, Event, list[ChildRecord]]] = []
            for execution_id, facts in by_parent.items():
                parent = self.parents.get(execution_id)
                event = None if parent is None or parent.is_over else self._progress(parent, facts)
                if parent is None or event is None:
                    continue
                ended = [
                    record
                    for record in (parent.children[state.client_order_id] for state in event.child_states)
                    if not record.state.is_final
                ]
                parent.apply(event)
                ended += [
                    parent.children[fill.client_order_id]
                    for fill in event.fills
                    if parent.children[fill.client_order_id].state is OrderState.FILLED
                ]
                records.append(self._recorded(parent, event))
                taken.append((execution_id, event, ended))
            if records:
                await self._store(records, page.sequence_reached, None)
            for execution_id, event, ended in taken:
                if execution_id in self.working:
                    take_in(self.working[execution_id], event, ended)
            self.orders_sequence = max(self.orders_sequence, page.sequence_reached)
        self.facts_arrived.set()
        for execution_id, _, _ in taken:
            self._on_change(execution_id)

    def _progress(self, parent: ParentOrder, facts: Sequence[OrderFact]) -> Event | None:
        fills = {}
        busted = []
        states: dict[str, ChildState] = {}
        for fact in facts:
            record = parent.children.get(fact.client_order_id)
            if record is None:
                continue
            if fact.kind is OrderFactKind.FILLED and fact.fill is not None:
                if fact.fill.venue_execution_id not in parent.fills:
                    fills[fact.fill.venue_execution_id] = fact.fill
            elif fact.kind in (OrderFactKind.BUSTED, OrderFactKind.CORRECTED) and fact.fill is not None:
                if fills.pop(fact.fill.venue_execution_id, None) is None:
                    if fact.fill.venue_execution_id not in parent.fills:
                        continue
                    busted.append(parent.fills[fact.fill.venue_execution_id])
                if fact.corrected_fill is not None:
                    fills[fact.corrected_fill.venue_execution_id] = fact.corrected_fill
            elif fact.kind is OrderFactKind.CANCEL_REJECTED:
                record.is_cancel_requested = False
            if fact.state.is_final and fact.state is not OrderState.FILLED and not record.state.is_final:
                states[fact.client_order_id] = ChildState(fact.client_order_id, fact.state, fact.rejection)
        if not (fills or busted or states):
            return None
        filled = (
            parent.filled_quantity_nanos
            + sum(fill.quantity_nanos for fill in fills.values())
            - sum(fill.quantity_nanos for fill in busted)
        )
        state = parent.state
        if filled >= parent.quantity_nanos:
            state = ExecutionState.FILLED
        elif state is ExecutionState.FILLED:
            state = ExecutionState.RUNNING
        return Event(
            EventKind.PROGRESS,
            parent.execution_id,
            max([self.now_nanos, *(fill.event_time_nanos for fill in fills.values())]),
            state,
            fills=tuple(fills.values()),
            busted_fills=tuple(busted),
            child_states=tuple(states.values()),
        )

    # -- What risk says -----------------------------------------------------------------------------

    async def on_kill_switches(self, switches: KillSwitches) -> None:
        """Stop the parents of accounts whose switch is on."""
        self._switches = switches
        async with self._lock:
            for parent in [working.parent for working in self.working.values()]:
                if not switches.stop(parent.parameters.account):
                    continue
                if parent.state.is_final or parent.state is ExecutionState.STOPPING:
                    continue
                event = self._event(parent, EventKind.STOPPING, ExecutionState.STOPPING, "KILL_SWITCH")
                await self._commit(parent, [event])

    # -- Helpers of the above -----------------------------------------------------------------------

    def _adopt(self, parent: ParentOrder, instrument: Instrument) -> WorkingParent:
        symbol = parent.parameters.symbol
        if symbol not in self.tapes or parent.execution_id not in self.working:
            self.symbols_changed.set()
        self.tapes.setdefault(symbol, Tape(symbol))
        working = self.working[parent.execution_id] = WorkingParent(parent, instrument, self._tuning)
        return working

    async def _commit(
        self, parent: ParentOrder, events: Sequence[Event], effect: tuple[str, bytes] | None = None
    ) -> None:
        records = []
        for event in events:
            parent.apply(event)
            records.append(self._recorded(parent, event))
        kept = None if effect is None else Effect(effect[0], effect[1], records[-1].execution)
        await self._store(records, None, kept)
        self._on_change(parent.execution_id)

    async def _store(
        self, records: Sequence[Recorded], orders_sequence: int | None, effect: Effect | None
    ) -> None:
        # The state has moved already, so these events must get in: wait for space.
        while True:
            try:
                await self._journal.append(records, orders_sequence, effect)
            except ResourceExhausted:
                await asyncio.sleep(STORE_RETRY_SECONDS)
            else:
                return

    def _recorded(self, parent: ParentOrder, event: Event) -> Recorded:
        working = self.working.get(parent.execution_id)
        return Recorded(
            event, execution_view(parent, working, event.event_time_nanos), parent.unsent_quantity_nanos
        )

    def _event(
        self, parent: ParentOrder, kind: EventKind, state: ExecutionState, reason: str = "", message: str = ""
    ) -> Event:
        return Event(kind, parent.execution_id, self.now_nanos, state, reason, message)

    def _of(self, symbol: str) -> list[WorkingParent]:
        return [working for working in self.working.values() if working.parent.parameters.symbol == symbol]

    def _find(self, execution_id: str) -> ParentOrder:
        parent = self.parents.get(execution_id)
        if parent is None:
            raise NotFound("EXECUTION_NOT_FOUND", execution_id=execution_id[:64])
        return parent

    def _kept(self, key: str, content: bytes) -> Execution | None:
        kept: KeptAnswer | None = self._journal.answer(key)
        if kept is None:
            return None
        if kept.content_hash != content:
            raise AlreadyExists("REQUEST_ID_REUSED", request_id=key.partition("/")[2])
        return kept.execution


def _require(parent: ParentOrder, *states: ExecutionState) -> None:
    if parent.state in states:
        return
    if parent.state.is_final:
        raise FailedPrecondition("EXECUTION_FINAL", execution_id=parent.execution_id, state=parent.state.name)
    raise FailedPrecondition(
        "EXECUTION_STATE",
        f"not possible while the execution is {parent.state.name}",
        execution_id=parent.execution_id,
        state=parent.state.name,
    )


def _hash(parameters: Parameters) -> bytes:
    return sha256(repr(parameters).encode()).digest()


async def _or(answer: Awaitable[Answer], otherwise: Answer) -> Answer:
    """Return an answer that the parent can do without, or `otherwise` when it cannot be had."""
    try:
        return await answer
    except TapelineError:
        return otherwise
