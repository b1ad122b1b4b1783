"""A decision, from the figures that it rests on to what became of it, and the events that change it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum

from servers.decision.domain.cost import Costs, Market
from servers.decision.domain.signal import Signal
from servers.decision.domain.sizing import Action, Holding, Proposal
from servers.model.nanos import Money, nanos_to_text
from servers.model.order import Rejection, Side


class State(IntEnum):
    """The numbers are those of tapeline.decision.v1.DecisionState."""

    RECORDED = 1
    PENDING_APPROVAL = 2
    APPROVED = 3
    STARTED = 4
    DONE = 5
    REJECTED = 6
    EXPIRED = 7
    SUPERSEDED = 8
    REFUSED = 9

    @property
    def is_final(self) -> bool:
        return self not in (State.PENDING_APPROVAL, State.APPROVED, State.STARTED)


class Mode(IntEnum):
    """The numbers are those of tapeline.decision.v1.Mode."""

    AUTOPILOT = 1
    APPROVAL = 2


class EventKind(IntEnum):
    """The numbers are those of tapeline.decision.v1.DecisionEventKind."""

    DECIDED = 1
    APPROVED = 2
    REJECTED = 3
    EXPIRED = 4
    SUPERSEDED = 5
    STARTED = 6
    REFUSED = 7
    PROGRESS = 8
    DONE = 9
    MEASURED = 10
    MODE_SET = 11
    PAPER = 12


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a decision rests on; see tapeline.decision.v1.DecisionInputs for each field."""

    signal_id: str = ""
    signal_time_nanos: int = 0
    post_ids: tuple[str, ...] = ()
    model_versions: tuple[str, ...] = ()
    probability_up: float = 0.0
    price_only_probability_up: float | None = None
    half_life_nanos: int = 0
    author_count: int = 0
    source_count: int = 0
    restrictions: tuple[str, ...] = ()
    mid_price_nanos: int = 0
    spread_bps: float = 0.0
    daily_volatility: float = 0.0
    median_daily_volume: float = 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision; see tapeline.decision.v1.Decision for each field. `quantity_nanos` is unsigned."""

    decision_id: str
    account: str
    symbol: str
    event_time_nanos: int
    action: Action
    state: State
    reason_code: str = ""
    reason: str = ""
    holding: Holding = field(default_factory=Holding)
    target_nanos: int = 0
    side: Side | None = None
    quantity_nanos: int = 0
    edge_bps: float = 0.0
    costs: Costs = field(default_factory=Costs)
    algorithm: str = ""
    horizon_nanos: int = 0
    expire_time_nanos: int = 0
    inputs: Inputs = field(default_factory=Inputs)
    decided_by: str = ""
    execution_id: str = ""
    traceparent: str = ""
    rejection: Rejection | None = None
    filled_quantity_nanos: int = 0
    average_price_nanos: int = 0
    outcome_price_nanos: int = 0
    create_time_nanos: int = 0
    fees: Money | None = None
    cancelled_execution_id: str = ""

    @property
    def is_order(self) -> bool:
        """Whether it led or may lead to an order."""
        return self.action is not Action.NONE

    @property
    def signed_quantity_nanos(self) -> int:
        """Quantity, negative when it sells."""
        return 0 if self.side is None else self.side.sign * self.quantity_nanos

    @property
    def outcome_due_nanos(self) -> int:
        """When it can be seen whether an order that opened or added was right; 0 for others."""
        if not self.action.is_larger or not self.inputs.half_life_nanos:
            return 0
        return self.event_time_nanos + self.inputs.half_life_nanos

    def approved(self, decided_by: str, now_nanos: int) -> Decision:
        """Return it let go: it is sent until its horizon, which begins now, is over."""
        return replace(
            self,
            state=State.APPROVED,
            decided_by=decided_by,
            expire_time_nanos=now_nanos + self.horizon_nanos,
        )


@dataclass(frozen=True, slots=True)
class ModeChange:
    """Who set the mode to what, and why."""

    mode: Mode
    set_by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PaperTrade:
    """A trade on paper: signed quantity, and one way's modelled cost in 1e-9 currency units."""

    strategy: str
    symbol: str
    quantity_nanos: int
    price_nanos: int
    cost_nanos: int
    event_time_nanos: int
    half_life_nanos: int = 0
    is_larger: bool = False
    outcome_price_nanos: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """One fact of the journal: a decision after it, a change of mode, or a trade on paper."""

    kind: EventKind
    event_time_nanos: int
    decision: Decision | None = None
    mode_change: ModeChange | None = None
    paper: PaperTrade | None = None


def inputs_of(signal: Signal | None, market: Market | None, proposal: Proposal) -> Inputs:
    """Return what a proposal rests on."""
    figures = Inputs()
    if market is not None:
        figures = Inputs(
            mid_price_nanos=market.mid_price_nanos,
            spread_bps=market.spread_bps,
            daily_volatility=market.daily_volatility,
            median_daily_volume=market.median_daily_volume,
        )
    if signal is None:
        return figures
    return replace(
        figures,
        signal_id=signal.signal_id,
        signal_time_nanos=signal.event_time_nanos,
        post_ids=signal.post_ids,
        model_versions=signal.model_versions,
        probability_up=signal.probability_up,
        price_only_probability_up=signal.price_only_probability_up,
        half_life_nanos=signal.half_life_nanos,
        author_count=signal.author_count,
        source_count=signal.source_count,
        restrictions=tuple(str(restriction) for restriction in proposal.restrictions),
    )


_NOTHING = {
    "INSIDE_BAND": "the difference is worth less than what trading it costs",
    "EDGE_BELOW_COST": "the edge does not pay for the round trip and its margin",
    "UNPROVEN": "prices alone have not shown here that they know so much",
    "NO_SIGNAL": "no live signal, and no position to close",
    "ORDER_TOO_SMALL": "what is left to do is below the smallest order",
    "STALE": "the signal is too old to open a position",
    "UNCALIBRATED": "the source of the signal is not calibrated",
    "LEXICON_ONLY": "a word list alone spoke, not the model",
    "SHED": "the posts were kept from the model",
    "PUMP_SUSPECTED": "a pump is suspected, so nothing is bought",
    "ONE_AUTHOR": "one author alone never causes an order",
    "ONE_SOURCE": "one source alone never causes an order",
    "COOL_DOWN": "an order in this symbol was decided a moment ago",
    "PHASE": "the market does not trade continuously",
    "CLOSE_NEAR": "the session is about to close",
    "KILL_SWITCH": "risk's kill switch is on",
    "IN_FLIGHT": "the last order is on its way to execution",
    "AWAITING_APPROVAL": "an order for about the same waits for approval",
    "PARENT_CANCELLED": "the running parent order is cancelled first; what is left is decided anew",
    "PARENT_STOPPING": "the running parent order is being cancelled",
    "REJECTED_BEFORE": "a person refused the same a moment ago",
    "REFUSED_BEFORE": "risk or execution refused the same a moment ago",
    "SETTLING": "the last parent order is over, and risk has yet to hear of it",
    "FOREIGN_ORDERS": "somebody else's orders work in this symbol",
    "SIGNALS_AWAITED": "signals has not spoken since the start",
    "QUOTE_STALE": "there is no quote, or only an old one",
    "NO_HISTORY": "volatility or volume of earlier sessions is not known",
    "VOLUME_CAP": "the cap on the share of volume leaves nothing",
    "NAME_CAP": "the cap on one name leaves nothing",
    "GROSS_CAP": "the cap on gross exposure leaves nothing",
    "NET_CAP": "the cap on net exposure leaves nothing",
    "TURNOVER_CAP": "the day's turnover is used up",
}


def in_words(symbol: str, proposal: Proposal, holding: Holding, inputs: Inputs) -> str:
    """Return the reason as a sentence with its numbers."""
    edge = f"expected {proposal.edge_bps:.1f} bp against {proposal.costs.total_bps:.1f} bp for a round trip"
    rests = ""
    if inputs.signal_id:
        rests = f" Up with probability {inputs.probability_up:.2f}"
        if inputs.post_ids:
            rests += (
                f", after {len(inputs.post_ids)} posts by {inputs.author_count} authors"
                f" in {inputs.source_count} sources"
            )
        rests += "."
    if proposal.action is Action.NONE:
        why = _NOTHING.get(proposal.reason_code, proposal.reason_code)
        return f"Nothing in {symbol}: {why} ({edge}).{rests}"
    verb = "Buy" if proposal.quantity_nanos > 0 else "Sell"
    amount = nanos_to_text(abs(proposal.quantity_nanos))
    before, after = nanos_to_text(holding.effective_nanos), nanos_to_text(proposal.target_nanos)
    if proposal.reason_code == "SIGNAL_EXPIRED":
        return f"{verb} {amount} {symbol}, from {before} to {after}: no live signal supports the position."
    limited = f" {_LIMITED[proposal.reason_code]}" if proposal.reason_code else ""
    return f"{verb} {amount} {symbol}, from {before} to {after}: {edge}.{limited}{rests}"


_LIMITED = {
    "VOLUME_CAP": "Cut to what the volume takes.",
    "EDGE_BELOW_COST": "Cut to where the impact still pays.",
    "NAME_CAP": "Cut to the cap on one name.",
    "GROSS_CAP": "Cut to the cap on gross exposure.",
    "NET_CAP": "Cut to the cap on net exposure.",
    "TURNOVER_CAP": "Cut to what is left of the day's turnover.",
}
