"""Looking at one symbol: from all that counts to a decision that is not recorded yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from servers.decision.domain.book import PRICE_ONLY, DecisionBook
from servers.decision.domain.decision import Decision, State, in_words, inputs_of
from servers.decision.domain.evidence import propose_on_evidence
from servers.decision.domain.signal import Signal
from servers.decision.domain.sizing import Action, Holding, Others, Policy, Proposal
from servers.decision.market import MarketView, View
from servers.decision.ports import Exposure
from servers.model.nanos import NANO
from servers.model.order import Side

AUTOPILOT = "autopilot"


@dataclass(frozen=True, slots=True)
class Timing:
    """Times of the engine, in market seconds.

    Args:
        cool_down: after an order nothing grows in its symbol.
        review: between two looks at what is held or signalled.
        quiet: a decision to do nothing, for the same reason, is recorded again.
        close_approval: how long a close waits for a person; what opens waits until its signal is stale.
    """

    cool_down: float = 300.0
    review: float = 60.0
    quiet: float = 900.0
    close_approval: float = 3_600.0


class Looker:
    """Decides on one symbol from signal, market, exposure and what was decided before. Changes nothing."""

    def __init__(
        self, account: str, book: DecisionBook, policy: Policy, timing: Timing, market: MarketView
    ) -> None:
        self.account = account
        self.policy = policy
        self.timing = timing
        self.is_killed = False
        self.has_heard_signals = False
        self._book = book
        self._market = market

    @property
    def now_nanos(self) -> int:
        """Market time, UTC epoch nanoseconds."""
        return max(self._market.now_nanos, self._book.now_nanos)

    def decision(
        self,
        symbol: str,
        signal: Signal | None,
        view: View,
        exposures: Mapping[str, Exposure],
    ) -> Decision:
        """Return what is decided: without an id, not recorded, not sent."""
        exposure = exposures.get(symbol, Exposure())
        holding = Holding(exposure.position_nanos, exposure.working_nanos, self._book.pending_nanos(symbol))
        running = self._book.of(symbol, State.STARTED)
        blocked = self._blocked(symbol, signal, view, exposure, running)
        if blocked or view.market is None or view.facts is None:
            proposal = Proposal(Action.NONE, 0, holding.effective_nanos, blocked)
        else:
            others = self._others(symbol, exposures, view.facts.session_open_nanos)
            hold = view.hold or self._cool_down(symbol)
            known = self._book.ledgers.get(PRICE_ONLY)
            args = (self.policy, signal, view.market)

            def propose(held: Holding) -> Proposal:
                return propose_on_evidence(*args, held, others, self.now_nanos, price_only=known, hold=hold)

            proposal = propose(holding)
            if holding.pending_nanos:
                without = replace(holding, pending_nanos=0)
                anew = propose(without)
                is_forbidden = anew.action is Action.NONE and anew.reason_code in anew.restrictions
                if proposal.action is not Action.NONE or is_forbidden:
                    # What waits is no longer about right, or no longer allowed: it does not count.
                    holding, proposal = without, anew
                elif proposal.reason_code == "INSIDE_BAND":
                    proposal = replace(proposal, reason_code="AWAITING_APPROVAL")
        again = self._refused_before(symbol, proposal)
        if again:
            proposal = _nothing(proposal, holding, again)
        cancelled = ""
        if proposal.action is not Action.NONE and running:
            cancelled = running[0].execution_id
            proposal = _nothing(proposal, holding, "PARENT_CANCELLED")
        inputs = inputs_of(signal, view.market, proposal)
        decision = Decision(
            decision_id="",
            account=self.account,
            symbol=symbol,
            event_time_nanos=self.now_nanos,
            action=proposal.action,
            state=State.RECORDED,
            reason_code=proposal.reason_code,
            reason=in_words(symbol, proposal, holding, inputs),
            holding=holding,
            target_nanos=proposal.target_nanos,
            edge_bps=proposal.edge_bps,
            costs=proposal.costs,
            inputs=inputs,
            traceparent=signal.traceparent if signal is not None else "",
            cancelled_execution_id=cancelled,
        )
        return decision if proposal.action is Action.NONE else self._order(decision, proposal, signal)

    def _order(self, decision: Decision, proposal: Proposal, signal: Signal | None) -> Decision:
        live = signal if proposal.reason_code != "SIGNAL_EXPIRED" else None
        horizon = self.policy.horizon_nanos(live)
        waits = self.now_nanos + round(self.timing.close_approval * NANO)
        if decision.action.is_larger and live is not None:
            stale = self.policy.trust.stale_half_lives * live.half_life_nanos
            waits = live.event_time_nanos + round(stale)
        order = replace(
            decision,
            state=State.PENDING_APPROVAL,
            side=Side.BUY if proposal.quantity_nanos > 0 else Side.SELL,
            quantity_nanos=abs(proposal.quantity_nanos),
            algorithm=self.policy.algorithm(horizon),
            horizon_nanos=horizon,
            expire_time_nanos=waits,
        )
        return order.approved(AUTOPILOT, self.now_nanos) if self._book.is_autopilot else order

    def _blocked(
        self,
        symbol: str,
        signal: Signal | None,
        view: View,
        exposure: Exposure,
        running: Sequence[Decision],
    ) -> str:
        """Return why nothing at all is done in a symbol now; empty when something may be."""
        if self._book.of(symbol, State.APPROVED):
            return "IN_FLIGHT"
        if self.is_killed:
            return "KILL_SWITCH"
        if any(one.execution_id in self._book.cancelling for one in running):
            return "PARENT_STOPPING"
        if not running and exposure.is_working:
            ended = self._book.last_end_nanos.get(symbol)
            is_fresh = ended is not None and self.now_nanos - ended < self.timing.review * NANO
            return "SETTLING" if is_fresh else "FOREIGN_ORDERS"
        if signal is None and (not self.has_heard_signals or self._is_signal_awaited(symbol)):
            return "SIGNALS_AWAITED"
        return view.reason

    def _cool_down(self, symbol: str) -> str:
        last = self._book.last_orders.get(symbol)
        if last is None or self.now_nanos - last.event_time_nanos >= self.timing.cool_down * NANO:
            return ""
        return "COOL_DOWN"

    def _refused_before(self, symbol: str, proposal: Proposal) -> str:
        """Return why an order is not proposed that was refused a moment ago; empty when it is no such.

        A person's no holds for as long as the order would have waited; that of risk for the cool-down.
        """
        last = self._book.last_orders.get(symbol)
        if last is None or proposal.action is Action.NONE:
            return ""
        last = self._book.decisions[last.decision_id]
        is_same_side = (last.signed_quantity_nanos > 0) == (proposal.quantity_nanos > 0)
        if last.state is State.REJECTED and is_same_side and self.now_nanos < last.expire_time_nanos:
            return "REJECTED_BEFORE"
        age = self.now_nanos - last.event_time_nanos
        is_recent = age < self.timing.cool_down * NANO
        return "REFUSED_BEFORE" if last.state is State.REFUSED and is_same_side and is_recent else ""

    def _is_signal_awaited(self, symbol: str) -> bool:
        """Whether a symbol without a signal may only seem so: after a restart, until signals has spoken."""
        last = self._book.last_orders.get(symbol)
        if last is None or not last.inputs.half_life_nanos:
            return False
        age = self.now_nanos - last.inputs.signal_time_nanos
        return age <= self.policy.trust.expire_half_lives * last.inputs.half_life_nanos

    def _others(self, symbol: str, exposures: Mapping[str, Exposure], since_nanos: int) -> Others:
        """Return the worst side of all other symbols, waiting orders included."""
        gross = net = 0
        for other in {*exposures, *(one.symbol for one in self._book.open.values())} - {symbol}:
            exposure = exposures.get(other, Exposure())
            price = self._market.mid_nanos(other) or exposure.price_nanos
            waiting = sum(
                one.signed_quantity_nanos
                for one in self._book.of(other, State.PENDING_APPROVAL, State.APPROVED)
            )
            long = exposure.position_nanos + exposure.buying_nanos + max(waiting, 0)
            short = exposure.position_nanos - exposure.selling_nanos + min(waiting, 0)
            gross += max(abs(long), abs(short)) * price
            net += (exposure.position_nanos + exposure.working_nanos + waiting) * price
        return Others(gross, net, self._book.turnover_attos(since_nanos))


def _nothing(proposal: Proposal, holding: Holding, reason: str) -> Proposal:
    """Return the proposal with nothing done about it."""
    return replace(
        proposal,
        action=Action.NONE,
        quantity_nanos=0,
        target_nanos=holding.effective_nanos,
        reason_code=reason,
    )
