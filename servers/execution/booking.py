"""What orders says about children: fills, busts and ends, booked each exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from servers.execution.book import ParentBook
from servers.execution.domain.events import ChildState, Event, EventKind, ExecutionState
from servers.execution.domain.parent import ChildRecord, ParentOrder
from servers.execution.domain.working import take_in
from servers.execution.ports import OrderFact, OrderFactKind, OrderFacts, Recorded
from servers.model.errors import TapelineError
from servers.model.order import OrderState, Rejection


class FactBooking:
    """Books the facts of orders into the parents.

    Attributes:
        arrived: set after each page of facts.
    """

    def __init__(self, book: ParentBook) -> None:
        self._book = book
        self.arrived = asyncio.Event()

    async def on_facts(self, page: OrderFacts) -> None:
        """Book fills and ends of children; the facts' sequence is stored in the same transaction."""
        by_parent: dict[str, list[OrderFact]] = {}
        for fact in page.facts:
            by_parent.setdefault(fact.execution_id, []).append(fact)
        async with self._book.lock:
            records: list[Recorded] = []
            taken: list[tuple[str, Event, list[ChildRecord]]] = []
            for execution_id, facts in by_parent.items():
                parent = self._book.parents.get(execution_id)
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
                records.append(self._book.recorded(parent, event))
                taken.append((execution_id, event, ended))
            if records:
                await self._book.store(records, page.sequence_reached, None)
            for execution_id, event, ended in taken:
                if execution_id in self._book.working:
                    take_in(self._book.working[execution_id], event, ended)
            self._book.orders_sequence = max(self._book.orders_sequence, page.sequence_reached)
        self.arrived.set()
        for execution_id, _, _ in taken:
            self._book.on_change(execution_id)

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
            state = parent.state_below_quantity
        return Event(
            EventKind.PROGRESS,
            parent.execution_id,
            max([self._book.now_nanos, *(fill.event_time_nanos for fill in fills.values())]),
            state,
            fills=tuple(fills.values()),
            busted_fills=tuple(busted),
            child_states=tuple(states.values()),
        )

    async def refuse_children(
        self, execution_id: str, client_order_ids: Sequence[str], error: TapelineError
    ) -> None:
        """Take in that orders refused the request itself, so that its children never existed."""
        rejection = Rejection(error.reason, error.message)
        facts = [
            OrderFact(
                0,
                OrderFactKind.REJECTED,
                execution_id,
                key,
                OrderState.REJECTED,
                rejection=rejection,
            )
            for key in client_order_ids
        ]
        await self.on_facts(OrderFacts(facts, self._book.orders_sequence))
