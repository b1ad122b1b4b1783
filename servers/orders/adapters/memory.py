"""A journal, a venue and risk in memory: for tests of what is built on them, faults included."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from servers.model.errors import OutOfRange, Unavailable
from servers.model.kill_switch import KillSwitches
from servers.model.nanos import Money
from servers.model.order import Fill, Liquidity, OrderState, OrderTerms, Rejection
from servers.orders.domain import NewOrder, OrderEvent, OrderKey, OrderRecord
from servers.orders.ports import (
    KeptAnswer,
    OrderCheck,
    Report,
    ReportKind,
    ReportPage,
    RequestKey,
    Submission,
    VenueOrder,
)


@dataclass
class MemoryOrderJournal:
    """An `OrderJournal` that keeps values. `refusals` are raised by the next appends, in order."""

    events: list[OrderEvent] = field(default_factory=list)
    answers: dict[RequestKey, KeptAnswer] = field(default_factory=dict)
    position: int = 0
    appends: int = 0
    refusals: list[Exception] = field(default_factory=list)

    @property
    def last_sequence(self) -> int:
        return len(self.events)

    async def append(
        self,
        events: Sequence[OrderEvent],
        records: Sequence[OrderRecord],
        answers: Mapping[RequestKey, KeptAnswer],
        venue_position: int,
    ) -> None:
        await asyncio.sleep(0)
        if self.refusals:
            raise self.refusals.pop(0)
        self.events.extend(events)
        self.answers.update(answers)
        self.position = venue_position or self.position
        self.appends += 1

    async def replay(self, after_sequence: int) -> AsyncIterator[tuple[OrderEvent, int]]:
        for sequence, event in enumerate(self.events[after_sequence:], after_sequence + 1):
            yield event, sequence

    def answer(self, key: RequestKey) -> KeptAnswer | None:
        return self.answers.get(key)

    def venue_position(self) -> int:
        return self.position


class MemoryRisk:
    """`Risk` that approves, unless `verdict` says otherwise or `is_available` is False."""

    def __init__(self) -> None:
        self.is_available = True
        self.verdict: Callable[[OrderCheck], Rejection | None] = lambda check: None
        self.groups: list[list[OrderCheck]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self._switches = KillSwitches()
        self._changed = asyncio.Event()

    async def check(self, checks: Sequence[OrderCheck]) -> Sequence[Rejection | None]:
        self.groups.append(list(checks))
        await self.may_answer.wait()
        if not self.is_available:
            raise Unavailable("RISK_UNAVAILABLE")
        return [self.verdict(check) for check in checks]

    def switch(self, switches: KillSwitches) -> None:
        """Set the kill switches."""
        self._switches = switches
        self._changed.set()

    async def kill_switches(self) -> AsyncIterator[KillSwitches]:
        while True:
            self._changed.clear()
            yield self._switches
            await self._changed.wait()


@dataclass
class _Held:
    # An order as the venue holds it.
    order: NewOrder
    venue_order_id: str
    terms: OrderTerms
    filled_nanos: int = 0
    outcome: OrderState | None = None

    @property
    def leaves_nanos(self) -> int:
        return 0 if self.outcome else self.terms.quantity_nanos - self.filled_nanos


class MemoryVenue:
    """`Venue` whose book nobody else trades in: orders rest until the test fills them.

    `is_reachable` False makes every call fail before it does anything; `loses_answers` lets it work and
    then fail, so that the sender does not know. `is_silent` keeps reports back. `holds_answers` makes
    cancels and replaces wait for `answer_requests`. `refuse` returns a rejection that comes as a report,
    `refuse_outright` one that comes as the answer alone.
    """

    name = "PRACTICE"

    def __init__(self) -> None:
        self.is_reachable = True
        self.loses_answers = False
        self.is_silent = False
        self.holds_answers = False
        self.refuse: Callable[[NewOrder], Rejection | None] = lambda order: None
        self.refuse_outright: Callable[[OrderKey], Rejection | None] = lambda key: None
        self.submissions: list[list[NewOrder]] = []
        self.log: list[Report] = []
        self.clock_nanos = 0
        self._held: dict[OrderKey, _Held] = {}
        self._requests: set[str] = set()
        self._waiting: list[Callable[[], None]] = []
        self._grown = asyncio.Event()
        self._connections: set[asyncio.Event] = set()

    # -- The port -----------------------------------------------------------------------------------

    async def submit(self, orders: Sequence[NewOrder]) -> Sequence[Submission]:
        self._reach()
        self.submissions.append(list(orders))
        answers: list[Submission] = []
        for order in orders:
            outright = self.refuse_outright(order.key)
            if outright is None:
                self._enter(order)
            answers.append(Submission(outright))
        self._answer()
        return answers

    async def cancel(self, order: OrderKey, request_id: str) -> Rejection | None:
        self._reach()
        outright = self.refuse_outright(order)
        if outright is None:
            self._request(request_id, lambda: self._cancel(order, request_id))
        self._answer()
        return outright

    async def replace(self, order: OrderKey, request_id: str, terms: OrderTerms) -> Rejection | None:
        self._reach()
        outright = self.refuse_outright(order)
        if outright is None:
            self._request(request_id, lambda: self._replace(order, request_id, terms))
        self._answer()
        return outright

    async def order(self, order: OrderKey) -> VenueOrder | None:
        self._reach()
        held = self._held.get(order)
        return VenueOrder(held.outcome or OrderState.NEW, held.venue_order_id) if held else None

    async def last_report_sequence(self) -> int:
        self._reach()
        return len(self.log)

    async def reports(self, after_sequence: int) -> AsyncIterator[ReportPage]:
        self._reach()
        if after_sequence > len(self.log):
            raise OutOfRange("SEQUENCE_AHEAD")
        cut = asyncio.Event()
        self._connections.add(cut)
        yield ReportPage((), after_sequence)
        while True:
            if cut.is_set():
                raise Unavailable("PEER_UNAVAILABLE")
            if after_sequence < len(self.log) and not self.is_silent:
                page = self.log[after_sequence : after_sequence + 100]
                after_sequence += len(page)
                yield ReportPage(page, after_sequence)
                continue
            self._grown.clear()
            await self._grown.wait()

    # -- What tests do to it --------------------------------------------------------------------------

    def cut(self) -> None:
        """End the connections of all readers of reports."""
        for connection in self._connections:
            connection.set()
        self._connections.clear()
        self._grown.set()

    def speak(self) -> None:
        """Send the reports that were kept back."""
        self.is_silent = False
        self._grown.set()

    def answer_requests(self) -> None:
        """Let the cancels and replaces that wait happen."""
        waiting, self._waiting = self._waiting, []
        for work in waiting:
            work()

    def fill(self, key: OrderKey, quantity_nanos: int, price_nanos: int) -> Fill:
        """Fill a part of an order."""
        held = self._held[key]
        held.filled_nanos += quantity_nanos
        fill = Fill(
            self.name,
            f"X{len(self.log) + 1}",
            *key,
            held.order.execution_id,
            held.terms.symbol,
            held.terms.side,
            quantity_nanos,
            price_nanos,
            Money("USD"),
            Liquidity.TAKER,
            self.clock_nanos,
        )
        if held.filled_nanos == held.terms.quantity_nanos:
            held.outcome = OrderState.FILLED
        self._report(held, ReportKind.FILL, fill=fill)
        return fill

    def amend(self, fill: Fill, quantity_nanos: int, price_nanos: int) -> None:
        """Bust a fill (quantity 0) or correct it."""
        held = self._held[fill.account, fill.client_order_id]
        held.filled_nanos += quantity_nanos - fill.quantity_nanos
        if quantity_nanos:
            corrected = replace(fill, quantity_nanos=quantity_nanos, price_nanos=price_nanos)
            self._report(held, ReportKind.CORRECTED, fill=fill, corrected_fill=corrected)
        else:
            self._report(held, ReportKind.BUSTED, fill=fill)

    def end(self, key: OrderKey, kind: ReportKind, reason: str = "") -> None:
        """End an order without being asked: CANCELLED, EXPIRED; or let it rest: DONE_FOR_DAY."""
        held = self._held[key]
        if kind is not ReportKind.DONE_FOR_DAY:
            held.outcome = OrderState.EXPIRED if kind is ReportKind.EXPIRED else OrderState.CANCELLED
        self._report(held, kind, reason=reason)

    def repeat(self, report: Report) -> None:
        """Say the same thing again, under a new sequence."""
        self._append(report._replace(sequence=len(self.log) + 1))

    def holds(self) -> set[OrderKey]:
        """Return the orders that ever entered."""
        return set(self._held)

    # -- Inside ---------------------------------------------------------------------------------------

    def _reach(self) -> None:
        if not self.is_reachable:
            raise Unavailable("PEER_UNAVAILABLE")

    def _answer(self) -> None:
        if self.loses_answers:
            raise Unavailable("PEER_UNAVAILABLE")

    def _enter(self, order: NewOrder) -> None:
        if order.key in self._held:
            return
        held = self._held[order.key] = _Held(order, f"V{len(self._held) + 1}", order.terms)
        rejection = self.refuse(order)
        if rejection is not None:
            held.outcome = OrderState.REJECTED
            self._report(held, ReportKind.REJECTED, rejection=rejection)
        else:
            self._report(held, ReportKind.ACCEPTED)

    def _request(self, request_id: str, work: Callable[[], None]) -> None:
        if request_id in self._requests:
            return
        self._requests.add(request_id)
        if self.holds_answers:
            self._waiting.append(work)
        else:
            work()

    def _cancel(self, key: OrderKey, request_id: str) -> None:
        held = self._held[key]
        if held.outcome is not None:
            refusal = Rejection("ORDER_FINAL")
            self._report(held, ReportKind.CANCEL_REJECTED, rejection=refusal, request_id=request_id)
        else:
            held.outcome = OrderState.CANCELLED
            self._report(held, ReportKind.CANCELLED, reason="REQUESTED", request_id=request_id)

    def _replace(self, key: OrderKey, request_id: str, terms: OrderTerms) -> None:
        held = self._held[key]
        if held.outcome is not None or terms.quantity_nanos <= held.filled_nanos:
            refusal = Rejection("ORDER_FINAL")
            self._report(held, ReportKind.REPLACE_REJECTED, rejection=refusal, request_id=request_id)
        else:
            held.terms = terms
            self._report(held, ReportKind.REPLACED, request_id=request_id)

    def _report(
        self,
        held: _Held,
        kind: ReportKind,
        *,
        fill: Fill | None = None,
        corrected_fill: Fill | None = None,
        rejection: Rejection | None = None,
        reason: str = "",
        request_id: str = "",
    ) -> None:
        self._append(
            Report(
                len(self.log) + 1,
                kind,
                *held.order.key,
                self.clock_nanos,
                held.venue_order_id,
                held.terms if kind is ReportKind.REPLACED else None,
                held.leaves_nanos,
                fill,
                corrected_fill,
                rejection,
                reason,
                request_id,
            )
        )

    def _append(self, report: Report) -> None:
        self.log.append(report)
        self._grown.set()
