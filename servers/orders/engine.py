"""The use cases of the orders server: submit, cancel, replace, take in what the venue says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from servers.model.clock import Clock
from servers.model.errors import FailedPrecondition, Unavailable
from servers.model.kill_switch import KillSwitches
from servers.model.order import OrderTerms, Rejection
from servers.orders import decisions
from servers.orders.book import OrderBook
from servers.orders.decisions import KILL_SWITCH, Cancel, Replace
from servers.orders.domain import EventKind, NewOrder, OrderEvent, OrderKey, OrderRecord
from servers.orders.intake import Intake
from servers.orders.ports import (
    Answer,
    KeptAnswer,
    OrderCheck,
    OrderJournal,
    ReportPage,
    RequestKey,
    Risk,
)
from servers.orders.sequencer import Sequencer, Turn

CommitListener = Callable[[Sequence[OrderEvent], Sequence[OrderRecord]], None]


@dataclass(slots=True)
class OrderFigures:
    """What the server counts; shown by metrics.py."""

    accepted: int = 0
    rejected: int = 0
    fills: int = 0
    unknown: int = 0
    foreign_reports: int = 0
    overfilled: int = 0


class OrderEngine:
    """Decides over the book, through the sequencer; asks risk through the intake.

    `is_accepting` turns true when the venue and the book agree after a start.
    """

    def __init__(self, journal: OrderJournal, risk: Risk, clock: Clock) -> None:
        self.book = OrderBook()
        self.figures = OrderFigures()
        self.switches = KillSwitches()
        self.is_accepting = False
        self._journal = journal
        self._risk = risk
        self._clock = clock
        self._listeners: list[CommitListener] = []
        self.sequencer = Sequencer(self.book, journal, self._committed)
        self.intake = Intake(risk, self.sequencer, self._decide_basket)

    def on_commit(self, listener: CommitListener) -> None:
        """Call `listener` with the events of every commit, before its answers go out."""
        self._listeners.append(listener)

    async def replay(self) -> None:
        """Bring the book to the journal's end from where it stands: empty, or as a snapshot had it."""
        async for event, sequence in self._journal.replay(self.book.last_sequence):
            self.book.take(event, sequence)

    # -- Commands ---------------------------------------------------------------------------------

    async def submit(self, orders: Sequence[NewOrder]) -> Sequence[OrderRecord]:
        """Journal and route orders; return one each, PENDING_NEW or REJECTED, or as it was first answered.

        Raises AlreadyExists REQUEST_ID_REUSED, FailedPrecondition KILL_SWITCH_ON, Unavailable
        RISK_UNAVAILABLE or NOT_READY; then nothing of the basket is journalled.
        """
        known = [self.book.order(order.key) for order in orders]
        if all(record is not None for record in known):
            return [
                decisions.repeated(record, order)
                for order, record in zip(orders, known, strict=True)
                if record is not None
            ]
        for order, record in zip(orders, known, strict=True):
            if record is not None and not record.has_content_of(order):
                raise decisions.reused(order.client_order_id)
        self._refuse_unless_open(orders, known)
        new = [order for order, record in zip(orders, known, strict=True) if record is None]
        return await self.intake.submit(orders, new)

    async def cancel(self, cancel: Cancel) -> OrderRecord:
        """Ask the venue to take an order out; return it, PENDING_CANCEL. Asks nobody for permission."""
        return await self.sequencer.do(partial(self._decide_cancel, cancel))

    async def replace(self, replace: Replace) -> Answer:
        """Ask the venue for other terms after a risk check; return the order, and risk's refusal if any."""
        record = self.book.order(replace.key)
        kept = self._journal.answer(RequestKey(replace.account, replace.request_id))
        if kept is not None:
            return _same(kept, replace)
        terms = decisions.replaced_terms(record, replace)
        if self.switches.stop(replace.account):
            raise FailedPrecondition("KILL_SWITCH_ON", account=replace.account)
        execution_id = record.execution_id if record is not None else ""
        check = OrderCheck(*replace.key, terms, execution_id, replace.request_id)
        (rejection,) = await self._risk.check([check])
        return await self.sequencer.do(partial(self._decide_replace, replace, terms, rejection))

    async def stop_trading(self, switches: KillSwitches) -> None:
        """Take over the kill switches, and cancel what works where one is on.

        Raises ResourceExhausted DISK_FULL when a cancel could not be journalled: call it again.
        """
        self.switches = switches
        cancels = [
            Cancel(*record.key, f"{KILL_SWITCH}:{record.last_sequence}", KILL_SWITCH)
            for record in self.book.working()
            if switches.stop(record.account) and not record.cancel_request_id
        ]
        for result in await asyncio.gather(*map(self.cancel, cancels), return_exceptions=True):
            # A refused one ended, or was cancelled by somebody else, in the meantime.
            if isinstance(result, BaseException) and not isinstance(result, FailedPrecondition):
                raise result

    # -- The venue's word -------------------------------------------------------------------------

    async def take_reports(self, page: ReportPage) -> None:
        """Take in the venue's reports, each exactly once, with the position they reach."""
        await self.sequencer.do(partial(self._decide_reports, page), is_patient=True)

    async def confirm(self, key: OrderKey, venue_order_id: str) -> None:
        """Record that the venue, when asked, holds an order that it has not reported."""
        await self._note(
            key, EventKind.CONFIRMED, lambda record: not record.is_confirmed, venue_order_id=venue_order_id
        )

    async def mark_unknown(self, key: OrderKey) -> None:
        """Record that an order was sent and the venue does not say what became of it."""
        await self._note(
            key, EventKind.UNKNOWN, lambda record: not (record.is_confirmed or record.is_unknown)
        )

    async def refuse(self, key: OrderKey, kind: EventKind, request_id: str, rejection: Rejection) -> None:
        """Record a refusal that the venue gave as an answer and will not report."""
        await self._note(key, kind, lambda _: True, rejection=rejection, request_id=request_id)

    async def drop_unsent(self, key: OrderKey) -> None:
        """Cancel an order that never left, because the kill switch came first."""
        await self._note(key, EventKind.CANCELLED, lambda _: True, reason=KILL_SWITCH)

    # -- Decisions, each within a turn --------------------------------------------------------------

    def _decide_basket(
        self, orders: Sequence[NewOrder], verdicts: dict[OrderKey, Rejection | None], turn: Turn
    ) -> Sequence[OrderRecord]:
        known = [turn.order(order.key) for order in orders]
        for order, record in zip(orders, known, strict=True):
            if record is not None and not record.has_content_of(order):
                raise decisions.reused(order.client_order_id)
        self._refuse_unless_open(orders, known)
        _refuse_two_of_one_id(orders)
        now_nanos = self._clock.now_nanos()
        records: list[OrderRecord] = []
        for order in orders:
            record = turn.order(order.key)
            if record is None:
                record = turn.add(decisions.accept(order, verdicts[order.key], now_nanos))
            else:
                record = record.as_first_answered()
            records.append(record)
        return records

    def _decide_cancel(self, cancel: Cancel, turn: Turn) -> OrderRecord:
        key = RequestKey(cancel.account, cancel.request_id)
        kept = turn.answer(key)
        if kept is not None:
            return _same(kept, cancel).order
        event = decisions.request_cancel(turn.order(cancel.key), cancel, self._clock.now_nanos())
        answer = Answer(turn.add(event))
        turn.answers[key] = KeptAnswer(cancel.content_hash(), answer)
        return answer.order

    def _decide_replace(
        self, replace: Replace, terms: OrderTerms, rejection: Rejection | None, turn: Turn
    ) -> Answer:
        key = RequestKey(replace.account, replace.request_id)
        kept = turn.answer(key)
        if kept is not None:
            return _same(kept, replace)
        if decisions.replaced_terms(turn.order(replace.key), replace) != terms:
            raise FailedPrecondition("ORDER_PENDING", "the order changed while risk was asked")
        event = decisions.request_replace(replace, terms, rejection, self._clock.now_nanos())
        answer = Answer(turn.add(event), rejection)
        turn.answers[key] = KeptAnswer(replace.content_hash(), answer)
        return answer

    def _decide_reports(self, page: ReportPage, turn: Turn) -> None:
        now_nanos = self._clock.now_nanos()
        reached = self.book.venue_report_sequence
        for report in page.reports:
            if report.sequence <= reached:
                continue
            record = turn.order(report.key)
            if record is None:
                self.figures.foreign_reports += 1
                continue
            event = decisions.from_report(record, report, turn.fill, now_nanos)
            if event is not None:
                turn.add(event)
                turn.venue_position = page.sequence_reached

    async def _note(
        self, key: OrderKey, kind: EventKind, applies: Callable[[OrderRecord], bool], **facts: object
    ) -> None:
        def decide(turn: Turn) -> None:
            record = turn.order(key)
            if record is not None and not record.is_final and applies(record):
                turn.add(OrderEvent(kind, *key, self._clock.now_nanos())._replace(**facts))  # type: ignore[arg-type]

        await self.sequencer.do(decide)

    # -- Helpers ----------------------------------------------------------------------------------

    def _refuse_unless_open(self, orders: Sequence[NewOrder], known: Sequence[OrderRecord | None]) -> None:
        if not self.is_accepting:
            raise Unavailable("NOT_READY", "orders is still reconciling with the venue")
        for order, record in zip(orders, known, strict=True):
            if record is None and self.switches.stop(order.account):
                raise FailedPrecondition("KILL_SWITCH_ON", account=order.account)

    def _committed(self, events: Sequence[OrderEvent], records: Sequence[OrderRecord]) -> None:
        figures = self.figures
        for event, record in zip(events, records, strict=True):
            kind = event.kind
            if kind is EventKind.ACCEPTED:
                figures.accepted += 1
            elif kind is EventKind.REJECTED:
                figures.rejected += 1
            elif kind is EventKind.FILLED:
                figures.fills += 1
                figures.overfilled += record.filled_quantity_nanos > record.terms.quantity_nanos
            elif kind is EventKind.UNKNOWN:
                figures.unknown += 1
        for listener in self._listeners:
            listener(events, records)


def _same(kept: KeptAnswer, request: Cancel | Replace) -> Answer:
    if kept.content_hash != request.content_hash():
        raise decisions.reused(request.request_id)
    return kept.answer


def _refuse_two_of_one_id(orders: Sequence[NewOrder]) -> None:
    if len(orders) == 1:
        return
    seen: dict[OrderKey, NewOrder] = {}
    for order in orders:
        first = seen.setdefault(order.key, order)
        if first is not order and first[:4] != order[:4]:
            raise decisions.reused(order.client_order_id)
