"""How much to hold and what to do about the difference: target, band, caps and costs.

The target grows with the edge in units of what the price moves anyway, up to a full position whose daily
standard deviation is the risk budget. Nothing is traded for a difference that an edge as small as its costs
would justify (the no-trade band of a linear cost: Davis and Norman, "Portfolio Selection with Transaction
Costs", 1990, to first order), and nothing is opened that does not earn its round trip with a margin.

All quantities are in 1e-9 shares, negative when short or sold. Notionals are price times quantity, exact, in
1e-18 currency units (attos).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from servers.decision.domain.cost import CostModel, Costs, Market
from servers.decision.domain.signal import NEVER_OPENS, NEVER_ORDERS, Restriction, Signal, Trust
from servers.model.nanos import ATTO, NANO


class Action(IntEnum):
    """The numbers are those of tapeline.decision.v1.Action."""

    OPEN = 1
    ADD = 2
    REDUCE = 3
    CLOSE = 4
    NONE = 5

    @property
    def is_larger(self) -> bool:
        """Whether it makes a position larger."""
        return self in (Action.OPEN, Action.ADD)


@dataclass(frozen=True, slots=True)
class Caps:
    """What is never exceeded. Notionals in currency units; shares as fractions.

    Args:
        order_volume_share: an order's share of the 20-day median volume.
        participation_rate: an order's share of the volume expected over its horizon.
        name_notional, gross_notional, net_notional: of one position, all sizes added, all signs added.
        daily_turnover: what orders that open or add may come to in a session, reductions counted in.
        least_order_notional: smaller orders are not worth their while; a close of any size is.
    """

    order_volume_share: float = 0.005
    participation_rate: float = 0.05
    name_notional: float = 1_000_000.0
    gross_notional: float = 5_000_000.0
    net_notional: float = 3_000_000.0
    daily_turnover: float = 20_000_000.0
    least_order_notional: float = 1_000.0


@dataclass(frozen=True, slots=True)
class Policy:
    """How decisions are made.

    Args:
        risk_budget: a full position's standard deviation over a session, in currency units.
        full_edge_ratio: edge over the half-life's standard deviation at which a position is full.
        edge_margin: share of the round trip's cost by which the edge has to exceed it.
        least_change_share: share of a full position by which a target that is not 0 has to differ.
        is_short_permitted: whether positions below zero are aimed at.
        horizon_share: length of an execution as a share of the signal's half-life.
        patient_from_seconds: horizons from here on follow the volume; shorter ones run evenly.
        close_horizon_seconds: horizon of what no live signal supports any more.
        price_only_error_rate: chance at which prices alone are believed to know what they do not.
    """

    risk_budget: float = 5_000.0
    full_edge_ratio: float = 0.5
    edge_margin: float = 0.25
    least_change_share: float = 0.1
    is_short_permitted: bool = False
    horizon_share: float = 0.25
    shortest_horizon_seconds: float = 120.0
    longest_horizon_seconds: float = 3_600.0
    patient_from_seconds: float = 600.0
    close_horizon_seconds: float = 600.0
    price_only_error_rate: float = 0.05
    quick_algorithm: str = "twap"
    patient_algorithm: str = "static_vwap"
    trust: Trust = field(default_factory=Trust)
    costs: CostModel = field(default_factory=CostModel)
    caps: Caps = field(default_factory=Caps)

    def horizon_nanos(self, signal: Signal | None) -> int:
        """Return how long an execution may take: a share of the half-life, so that most edge is left."""
        if signal is None:
            return round(self.close_horizon_seconds * NANO)
        wanted = self.horizon_share * signal.half_life_nanos / NANO
        return round(min(max(wanted, self.shortest_horizon_seconds), self.longest_horizon_seconds)) * NANO

    def algorithm(self, horizon_nanos: int) -> str:
        """Return the algorithm's name for a horizon."""
        is_patient = horizon_nanos >= self.patient_from_seconds * NANO
        return self.patient_algorithm if is_patient else self.quick_algorithm

    def nanos_per_bps(self, signal: Signal, market: Market) -> float:
        """Return the quantity (1e-9 shares) that one basis point of edge justifies."""
        deviation = signal.half_life_deviation_bps(market.daily_volatility, market.session_nanos)
        return self.full_position_nanos(market) / (self.full_edge_ratio * deviation)

    def least_change_nanos(self, market: Market) -> float:
        """Return the smallest change of a target (1e-9 shares) that is worth an order."""
        most = self.caps.name_notional * ATTO / market.mid_price_nanos
        return self.least_change_share * min(self.full_position_nanos(market), most)

    def full_position_nanos(self, market: Market) -> float:
        """Return the quantity (1e-9 shares) whose daily standard deviation is the risk budget."""
        price = market.mid_price_nanos / NANO
        return self.risk_budget / (price * market.daily_volatility) * NANO


@dataclass(frozen=True, slots=True)
class Holding:
    """One symbol as it stands: position, net of what works in the market, net of what waits for approval."""

    position_nanos: int = 0
    working_nanos: int = 0
    pending_nanos: int = 0

    @property
    def effective_nanos(self) -> int:
        """What the position becomes if everything that is on its way arrives."""
        return self.position_nanos + self.working_nanos + self.pending_nanos


@dataclass(frozen=True, slots=True)
class Others:
    """The rest of the account, and what the session's orders came to, in attos."""

    gross_attos: int = 0
    net_attos: int = 0
    turnover_attos: int = 0


@dataclass(frozen=True, slots=True)
class Proposal:
    """What should be done about one symbol. `quantity_nanos` is signed; 0 for NONE.

    `reason_code` says why nothing is done, or what made an order smaller than it was meant to be;
    `ideal_nanos` is what the edge alone would hold, without costs, bounds and caps; `target_nanos` what the
    order leads to.
    """

    action: Action
    quantity_nanos: int
    target_nanos: int
    reason_code: str = ""
    edge_bps: float = 0.0
    costs: Costs = field(default_factory=Costs)
    band_nanos: int = 0
    ideal_nanos: int = 0
    restrictions: tuple[Restriction, ...] = ()


def propose(
    policy: Policy,
    signal: Signal | None,
    market: Market,
    holding: Holding,
    others: Others,
    now_nanos: int,
    *,
    hold: str = "",
) -> Proposal:
    """Return what to do about one symbol, given all that counts.

    Args:
        signal: the last one, or None.
        hold: reason for which no position may become larger now (cool-down, phase, close); empty for none.
    """
    effective = holding.effective_nanos
    if signal is None or policy.trust.is_expired(signal, now_nanos):
        return _without_signal(policy, market, effective)
    restrictions = policy.trust.restrictions(signal, now_nanos)
    edge = signal.edge_bps(now_nanos, market.daily_volatility, market.session_nanos)
    ideal = int(policy.nanos_per_bps(signal, market) * edge)
    target = _target(policy, market, ideal)
    if effective and (target > 0) != (effective > 0):
        target = 0  # a change of side closes first
    fixed = policy.costs.round_trip(market, 0)
    band = int(policy.nanos_per_bps(signal, market) * fixed.total_bps)
    wanted = target - effective
    is_larger = abs(target) > abs(effective)

    def none(reason: str, costs: Costs = fixed) -> Proposal:
        favour = edge if wanted >= 0 else -edge
        return Proposal(Action.NONE, 0, effective, reason, favour, costs, band, ideal, restrictions)

    for restriction in restrictions:
        if restriction in NEVER_ORDERS:
            return none(restriction)
    is_small = bool(target) and abs(wanted) <= policy.least_change_nanos(market)
    if abs(ideal - effective) <= band or is_small or not market.floor_to_lot(wanted):
        return none("INSIDE_BAND")
    if wanted > 0 and Restriction.PUMP_SUSPECTED in restrictions:
        return none("PUMP_SUSPECTED")
    horizon = policy.horizon_nanos(signal)
    limits = [("VOLUME_CAP", _volume_cap(policy.caps, market, horizon))]
    if is_larger:
        for restriction in restrictions:
            if restriction in NEVER_OPENS:
                return none(restriction)
        if hold:
            return none(hold)
        room = abs(edge) / (1.0 + policy.edge_margin) - fixed.total_bps
        affordable = policy.costs.quantity_for_impact(market, room)
        if affordable <= policy.least_change_nanos(market):
            return none("EDGE_BELOW_COST")
        limits.append(("EDGE_BELOW_COST", affordable))
        limits += _book_caps(policy.caps, market, effective, others, 1 if wanted > 0 else -1)
    reason, most = min(limits, key=lambda limit: limit[1])
    size = market.floor_to_lot(min(abs(wanted), most))
    quantity = size if wanted > 0 else -size
    is_close = not is_larger and effective + quantity == 0
    if not quantity or (_below_least(policy, market, quantity) and not is_close):
        return none(reason if abs(wanted) > most else "ORDER_TOO_SMALL")
    return Proposal(
        _action(effective, quantity),
        quantity,
        effective + quantity,
        reason if abs(wanted) > most else "",
        edge if quantity > 0 else -edge,
        policy.costs.round_trip(market, quantity),
        band,
        ideal,
        restrictions,
    )


def _without_signal(policy: Policy, market: Market, effective: int) -> Proposal:
    """Nothing supports a position any more: close it, whatever the band says."""
    most = _volume_cap(policy.caps, market, policy.horizon_nanos(None))
    quantity = -market.floor_to_lot(min(abs(effective), most)) * (1 if effective > 0 else -1)
    if not quantity:
        return Proposal(Action.NONE, 0, effective, "NO_SIGNAL")
    costs = policy.costs.round_trip(market, quantity)
    return Proposal(
        _action(effective, quantity), quantity, effective + quantity, "SIGNAL_EXPIRED", 0.0, costs
    )


def _target(policy: Policy, market: Market, ideal_nanos: int) -> int:
    """Return the ideal within a full position, the cap on one name, and what may be sold short."""
    full = policy.full_position_nanos(market)
    target = min(max(float(ideal_nanos), -full), full)
    if not (policy.is_short_permitted and market.is_short_sale_permitted):
        target = max(target, 0.0)
    most = policy.caps.name_notional * ATTO / market.mid_price_nanos
    return market.floor_to_lot(int(min(max(target, -most), most)))


def _volume_cap(caps: Caps, market: Market, horizon_nanos: int) -> int:
    share = min(caps.order_volume_share, caps.participation_rate * horizon_nanos / market.session_nanos)
    return int(share * market.median_daily_volume * NANO)


def _book_caps(
    caps: Caps, market: Market, effective: int, others: Others, sign: int
) -> list[tuple[str, int]]:
    """Return how much may be added on one side (quantity, at least 0) under each cap on notionals."""
    price = market.mid_price_nanos
    own = effective * price
    rooms = (
        ("NAME_CAP", caps.name_notional, abs(own)),
        ("GROSS_CAP", caps.gross_notional, others.gross_attos + abs(own)),
        ("NET_CAP", caps.net_notional, sign * (others.net_attos + own)),
        ("TURNOVER_CAP", caps.daily_turnover, others.turnover_attos),
    )
    return [(reason, max(int(most) * ATTO - used, 0) // price) for reason, most, used in rooms]


def _below_least(policy: Policy, market: Market, quantity: int) -> bool:
    return abs(quantity) * market.mid_price_nanos < policy.caps.least_order_notional * ATTO


def _action(effective: int, quantity: int) -> Action:
    after = effective + quantity
    if not effective:
        return Action.OPEN
    if not after:
        return Action.CLOSE
    return Action.ADD if abs(after) > abs(effective) else Action.REDUCE
