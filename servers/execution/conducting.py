"""What the market makes parents do: steps, children, cancels, reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from servers.execution.book import ParentBook
from servers.execution.domain.events import Event, EventKind, ExecutionState
from servers.execution.domain.parent import ParentOrder
from servers.execution.domain.report import DayVwap, ReportInput, make_report
from servers.execution.domain.tape import Prints, Tape
from servers.execution.domain.working import Decision, WorkingParent
from servers.execution.ports import Market, Orders, TapeFacts, Tracing, answer_or
from servers.model.errors import Unavailable
from servers.model.market import MarketPhase, MarketTime, Quote, TradingStatus


@dataclass(slots=True)
class Sending:
    """What a step wants sent, once its events are in the journal."""

    parent: ParentOrder
    children: list[str]
    cancels: list[str]


class Conductor:
    """Lets every parent take its step at each market time, and carries out what it decides."""

    def __init__(self, book: ParentBook, market: Market, orders: Orders, tracing: Tracing) -> None:
        self._book = book
        self._market = market
        self._orders = orders
        self._tracing = tracing
        self._cancel_number = 0

    # -- What the market says -----------------------------------------------------------------------

    def on_prints(self, prints: Prints) -> bool:
        """Take in a run of prints. Return False when some before it are missing."""
        tape = self._book.tapes.get(prints.symbol)
        if tape is None:
            return True
        if tape.last_sequence and prints.first_sequence > tape.last_sequence + 1:
            return False
        fresh = tape.add(prints)
        if len(fresh.times):
            for working in self._book.of(prints.symbol):
                working.on_prints(fresh, tape)
        return True

    def on_quote(self, quote: Quote) -> None:
        """Take in a best quote."""
        self._book.quotes[quote.symbol] = quote
        if quote.symbol in self._book.tapes:
            self._book.tapes[quote.symbol].on_quote(quote)

    def on_status(self, status: TradingStatus) -> None:
        """Take in a phase."""
        self._book.statuses[status.symbol] = status
        if status.symbol in self._book.tapes:
            self._book.tapes[status.symbol].on_status(status)

    async def on_time(self, time: MarketTime, *, may_send: bool = True) -> list[Sending]:
        """Let every parent take its step, journal what it decides, and return what is to be sent."""
        sendings: list[Sending] = []
        async with self._book.lock:
            self._book.now_nanos = max(self._book.now_nanos, time.event_time_nanos)
            for tape in self._book.tapes.values():
                if tape.since_nanos is None and tape.phase is not MarketPhase.UNSPECIFIED:
                    tape.since_nanos = self._book.now_nanos
            for working in list(self._book.working.values()):
                tape = self._book.tapes[working.parent.parameters.symbol]
                decision = working.step(self._book.now_nanos, tape, may_send=may_send and not time.is_held)
                if decision:
                    sendings.append(await self._carry_out(working, tape, decision))
        for execution_id in self._book.working:
            self._book.on_change(execution_id)
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
                        Event(EventKind.CHILD, parent.execution_id, self._book.now_nanos, state, child=traced)
                    )
                await self._book.commit(parent, events)
        elif events:
            await self._book.commit(parent, events)
        if any(event.kind is EventKind.ARRIVED for event in events):
            working.begin(tape)
        for client_order_id in decision.cancels:
            parent.working[client_order_id].is_cancel_requested = True
        if decision.is_finished:
            await self._finish(working, tape)
        return Sending(parent, [child.client_order_id for child in decision.children], decision.cancels)

    async def _finish(self, working: WorkingParent, tape: Tape) -> None:
        parent = working.parent
        is_cancelled = parent.reason in ("CANCELLED", "KILL_SWITCH") and parent.residual_quantity_nanos > 0
        arrival = parent.arrival_time_nanos or self._book.now_nanos
        end = self._book.now_nanos if is_cancelled else parent.parameters.end_time_nanos
        end = max(end, parent.last_fill_time_nanos + 1, arrival)
        symbol = parent.parameters.symbol
        facts = await answer_or(self._market.tape_facts(symbol, arrival, end), TapeFacts())
        day = await answer_or(self._market.tape_facts(symbol, 0, end), TapeFacts())
        continuous = await answer_or(
            self._market.tape_facts(symbol, 0, end, exclude_auctions=True), TapeFacts()
        )
        opened = tape.session_open_time_nanos
        past_days = await answer_or(self._market.past_days(symbol, opened), ()) if opened else ()
        reason, message = working.residual()
        if not parent.residual_quantity_nanos:
            state = ExecutionState.FILLED
        else:
            state = ExecutionState.CANCELLED if is_cancelled else ExecutionState.DONE
        model = self._book.tuning.impact
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
                    child_count=parent.child_count,
                    impact_attos=model.cost_attos(
                        parent.filled_quantity_nanos,
                        parent.arrival_price_nanos,
                        working.figures.daily_volume(self._book.now_nanos),
                    ),
                    impact_model=model.name,
                    fallback=parent.fallback,
                    note=parent.plan.note,
                    last_price_nanos=tape.quote.last_price_nanos,
                    session_open_time_nanos=opened,
                    limit_price_nanos=parent.parameters.limit_price_nanos,
                    max_participation_rate=parent.parameters.max_participation_rate,
                    controlled_nanos=working.controlled_nanos,
                    day_vwap=DayVwap(day.vwap, day.vwap_nanos, day.trade_count),
                    day_vwap_continuous=DayVwap(
                        continuous.vwap, continuous.vwap_nanos, continuous.trade_count
                    ),
                    past_days=past_days,
                    volume_forecast=parent.volume_forecast,
                ),
                tape,
            )
            event = Event(
                EventKind.FINISHED,
                parent.execution_id,
                self._book.now_nanos,
                state,
                reason,
                message,
                report=report,
            )
            await self._book.commit(parent, [event])
        self._book.release(parent)

    # -- Sending ------------------------------------------------------------------------------------

    async def send(self, sending: Sending) -> None:
        """Send what a step decided; the journal has it. Raises Unavailable when the outcome is not known."""
        if sending.children:
            await self._submit(sending.parent, sending.children)
        for client_order_id in sending.cancels:
            await self._cancel_child(sending.parent, client_order_id)

    async def _submit(self, parent: ParentOrder, client_order_ids: Sequence[str]) -> None:
        records = [parent.children.get(key) for key in client_order_ids]
        children = [record.child for record in records if record is not None]  # none: it is over
        await self._orders.submit(parent.parameters.account, parent.execution_id, children)

    async def _cancel_child(self, parent: ParentOrder, client_order_id: str) -> None:
        self._cancel_number += 1
        request_id = f"{client_order_id}.c{self._book.journal.epoch}.{self._cancel_number}"
        record = parent.working.get(client_order_id)
        if record is None:
            return
        try:
            is_on_its_way = await self._orders.cancel(parent.parameters.account, client_order_id, request_id)
        except Unavailable:
            record.is_cancel_requested = False
            return
        record.is_cancel_requested = is_on_its_way

    def is_settled(self, sending: Sending) -> bool:
        """Return whether the crossing children of a step are final: filled or gone."""
        parent = sending.parent
        return not any(key in parent.working and parent.working[key].is_immediate for key in sending.children)

    def unfinished(self) -> list[Sending]:
        """Return every unfinished child, to be handed to orders again: identical, so taken at most once.

        Each by itself, because orders refuses a basket whole: one that it never had must not take those
        with it that are at the venue.
        """
        return [
            Sending(parent, [client_order_id], [])
            for parent in self._book.parents.values()
            for client_order_id in parent.working
        ]
