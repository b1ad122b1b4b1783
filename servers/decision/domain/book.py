"""All decisions: the fold of the journal's events, and what follows from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from servers.decision.domain.decision import Decision, Event, EventKind, Mode, ModeChange, PaperTrade, State
from servers.decision.domain.performance import Ledger
from servers.decision.domain.sizing import Action
from servers.model.nanos import NANO

DECIDED, ON_PAPER, PRICE_ONLY = "decided", "decided_on_paper", "price_only"


@dataclass(slots=True)
class DecisionBook:
    """The state of the server. `apply` is the one way in which it changes.

    Attributes:
        decisions: by id, oldest first.
        open: those that are not final, by id.
        by_execution: decision id by the parent order that it started.
        last_orders: the last decision that orders, by symbol.
        last_end_nanos: market time at which the last parent order was over, by symbol.
        last_declined: the last decision that does nothing, by symbol.
        cancelling: parent order -> the decision that wants it cancelled first.
        currency_code: of the account, once a fee has named it.
    """

    mode: ModeChange
    decisions: dict[str, Decision] = field(default_factory=dict)
    open: dict[str, Decision] = field(default_factory=dict)
    by_execution: dict[str, str] = field(default_factory=dict)
    last_orders: dict[str, Decision] = field(default_factory=dict)
    last_end_nanos: dict[str, int] = field(default_factory=dict)
    last_declined: dict[str, Decision] = field(default_factory=dict)
    cancelling: dict[str, str] = field(default_factory=dict)
    unmeasured: dict[str, Decision] = field(default_factory=dict)
    unmeasured_paper: list[PaperTrade] = field(default_factory=list)
    last_paper_nanos: dict[tuple[str, str], int] = field(default_factory=dict)
    declined: Counter[str] = field(default_factory=Counter)
    ledgers: dict[str, Ledger] = field(default_factory=lambda: {DECIDED: Ledger(), ON_PAPER: Ledger()})
    session_orders: list[str] = field(default_factory=list)
    now_nanos: int = 0
    currency_code: str = "USD"

    # -- The fold -----------------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """Take in one fact."""
        self.now_nanos = max(self.now_nanos, event.event_time_nanos)
        if event.mode_change is not None:
            self.mode = event.mode_change
        if event.paper is not None:
            self._apply_paper(event.kind, event.paper)
        if event.decision is not None:
            self._apply_decision(event.kind, event.decision)
            if event.kind is EventKind.DONE:
                self.last_end_nanos[event.decision.symbol] = self.now_nanos

    def _apply_decision(self, kind: EventKind, decision: Decision) -> None:
        key = decision.decision_id
        before = self.decisions.get(key)
        self.decisions[key] = decision
        if decision.state.is_final:
            self.open.pop(key, None)
        else:
            self.open[key] = decision
        if kind is EventKind.DECIDED:
            self._decided(decision)
        elif kind is EventKind.STARTED:
            self.by_execution[decision.execution_id] = key
            self.ledgers[DECIDED].orders += 1
        elif kind is EventKind.MEASURED:
            self.unmeasured.pop(key, None)
            self._measure(
                DECIDED,
                decision.signed_quantity_nanos,
                decision.inputs.mid_price_nanos,
                decision.outcome_price_nanos,
            )
        if decision.state.is_final and kind is not EventKind.MEASURED:
            self.cancelling.pop(decision.execution_id, None)
            if kind in (EventKind.REJECTED, EventKind.EXPIRED, EventKind.SUPERSEDED, EventKind.REFUSED):
                self.unmeasured.pop(key, None)
        if before is not None and kind in (EventKind.PROGRESS, EventKind.DONE):
            self._book_fills(before, decision)

    def _decided(self, decision: Decision) -> None:
        if not decision.is_order:
            self.declined[decision.reason_code] += 1
            self.last_declined[decision.symbol] = decision
            if decision.cancelled_execution_id:
                self.cancelling[decision.cancelled_execution_id] = decision.decision_id
            return
        self.last_declined.pop(decision.symbol, None)
        self.last_orders[decision.symbol] = decision
        self.session_orders.append(decision.decision_id)
        if decision.outcome_due_nanos:
            self.unmeasured[decision.decision_id] = decision

    def _book_fills(self, before: Decision, after: Decision) -> None:
        ledger = self.ledgers[DECIDED]
        sign = 0 if after.side is None else after.side.sign
        quantity = after.filled_quantity_nanos - before.filled_quantity_nanos
        notional = (
            after.filled_quantity_nanos * after.average_price_nanos
            - before.filled_quantity_nanos * before.average_price_nanos
        )
        if quantity or notional:
            reference = quantity * after.inputs.mid_price_nanos
            ledger.trade(after.symbol, sign * quantity, sign * notional, sign * reference)
        if after.fees is not None:
            self.currency_code = after.fees.currency_code
            ledger.pay(after.fees.attos - (before.fees.attos if before.fees else 0))

    def _apply_paper(self, kind: EventKind, paper: PaperTrade) -> None:
        ledger = self.ledgers.setdefault(paper.strategy, Ledger())
        if kind is EventKind.MEASURED:
            self.unmeasured_paper.remove(replace(paper, outcome_price_nanos=0))
            self._measure(paper.strategy, paper.quantity_nanos, paper.price_nanos, paper.outcome_price_nanos)
            return
        notional = paper.quantity_nanos * paper.price_nanos
        ledger.trade(paper.symbol, paper.quantity_nanos, notional, notional)
        ledger.pay(paper.cost_nanos * NANO)
        ledger.orders += 1
        self.last_paper_nanos[paper.strategy, paper.symbol] = paper.event_time_nanos
        if paper.is_larger:
            self.unmeasured_paper.append(paper)

    def _measure(self, strategy: str, quantity: int, price: int, outcome: int) -> None:
        self.ledgers[strategy].measure(is_hit=(outcome - price) * quantity > 0)

    # -- Questions ----------------------------------------------------------------------------------

    def of(self, symbol: str, *states: State) -> list[Decision]:
        """Return the open decisions of a symbol in these states, oldest first."""
        return [one for one in self.open.values() if one.symbol == symbol and one.state in states]

    def pending_nanos(self, symbol: str) -> int:
        """Return the net quantity that waits for approval."""
        return sum(one.signed_quantity_nanos for one in self.of(symbol, State.PENDING_APPROVAL))

    def turnover_attos(self, since_nanos: int) -> int:
        """Return what the orders decided since a market time come to; of those that are over, what filled."""
        orders = [self.decisions[key] for key in self.session_orders]
        self.session_orders = [one.decision_id for one in orders if one.event_time_nanos >= since_nanos]
        return sum(
            (one.filled_quantity_nanos if one.state.is_final else one.quantity_nanos)
            * one.inputs.mid_price_nanos
            for one in orders
            if one.event_time_nanos >= since_nanos
        )

    @property
    def is_sending(self) -> bool:
        """Whether a decision was let go whose answer from execution has not come."""
        return any(one.state is State.APPROVED for one in self.open.values())

    @property
    def is_autopilot(self) -> bool:
        return self.mode.mode is Mode.AUTOPILOT

    def newest(
        self, before: str, *, symbol: str, orders_only: bool, pending_only: bool
    ) -> Iterable[Decision]:
        """Yield decisions below an id (ULIDs ascend), newest first."""
        for key in reversed(self.decisions):
            one = self.decisions[key]
            if (
                (not before or key < before)
                and (not symbol or one.symbol == symbol)
                and not (orders_only and one.action is Action.NONE)
                and not (pending_only and one.state is not State.PENDING_APPROVAL)
            ):
                yield one
