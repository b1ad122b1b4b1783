"""The sizing rules: caps, band, costs, trust, one side at a time, whatever the figures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servers.decision.domain.cost import Market
from servers.decision.domain.signal import NEVER_OPENS, NEVER_ORDERS, Restriction, Signal
from servers.decision.domain.sizing import Action, Caps, Holding, Others, Policy, Proposal, propose
from servers.model.nanos import ATTO, NANO
from tests.unit.decision.figures import ACME, MINUTE, NOW, POLICY, SESSION, signal

BOTH_SIDES = replace(POLICY, is_short_permitted=True)
TIGHT = Caps(
    order_volume_share=0.002,
    participation_rate=0.05,
    name_notional=150_000.0,
    gross_notional=400_000.0,
    net_notional=250_000.0,
    daily_turnover=500_000.0,
    least_order_notional=500.0,
)

shares = st.integers(-20_000, 20_000).map(lambda count: count * NANO)
holdings = st.builds(Holding, shares, shares, shares)
markets = st.builds(
    Market,
    st.integers(NANO, 500 * NANO),
    st.floats(0.1, 50.0),
    st.floats(0.005, 0.05),
    st.floats(1e4, 1e8),
    st.just(SESSION),
    st.sampled_from((NANO, 100 * NANO)),
)
others = st.builds(
    Others,
    st.integers(0, 500_000).map(lambda units: units * ATTO),
    st.integers(-300_000, 300_000).map(lambda units: units * ATTO),
    st.integers(0, 600_000).map(lambda units: units * ATTO),
)
signals = st.builds(
    signal,
    st.floats(-300.0, 300.0).filter(bool),
    half_life_nanos=st.integers(1, 300).map(lambda minutes: minutes * MINUTE),
    horizon_nanos=st.integers(1, 300).map(lambda minutes: minutes * MINUTE),
    deviation_bps=st.floats(5.0, 200.0),
    author_count=st.integers(1, 4),
    source_count=st.integers(1, 4),
    restrictions=st.frozensets(st.sampled_from(Restriction), max_size=2),
)
policies = st.builds(
    Policy,
    risk_budget=st.floats(100.0, 50_000.0),
    full_edge_ratio=st.floats(0.1, 2.0),
    edge_margin=st.floats(0.0, 2.0),
    is_short_permitted=st.booleans(),
    caps=st.sampled_from((Caps(), TIGHT)),
)
ages = st.integers(0, 600).map(lambda minutes: minutes * MINUTE)


def size_of(proposal: Proposal) -> int:
    return abs(proposal.quantity_nanos)


@settings(max_examples=400)
@given(policies, signals, markets, holdings, others, ages)
def test_nothing_ever_goes_beyond_its_caps(
    policy: Policy, one: Signal, market: Market, holding: Holding, rest: Others, age: int
) -> None:
    proposal = propose(policy, one, market, holding, rest, NOW + age)
    caps, before = policy.caps, holding.effective_nanos
    after = before + proposal.quantity_nanos
    price = market.mid_price_nanos
    assert size_of(proposal) % market.lot_nanos == 0
    assert size_of(proposal) <= caps.order_volume_share * market.median_daily_volume * NANO
    horizon = policy.horizon_nanos(None if proposal.reason_code == "SIGNAL_EXPIRED" else one)
    share = caps.participation_rate * horizon / market.session_nanos
    assert size_of(proposal) <= share * market.median_daily_volume * NANO + 1
    if before:
        assert (after >= 0) == (before > 0) or after == 0
    if proposal.action.is_larger:
        assert abs(after) * price <= caps.name_notional * ATTO
        assert rest.gross_attos + abs(after) * price <= caps.gross_notional * ATTO
        sign = 1 if proposal.quantity_nanos > 0 else -1
        assert sign * (rest.net_attos + after * price) <= caps.net_notional * ATTO
        assert rest.turnover_attos + size_of(proposal) * price <= caps.daily_turnover * ATTO
        assert size_of(proposal) * price >= caps.least_order_notional * ATTO
        assert proposal.edge_bps >= (1 + policy.edge_margin) * proposal.costs.total_bps * (1 - 1e-9)
        assert after >= 0 or policy.is_short_permitted
    if proposal.action is Action.NONE:
        assert proposal.quantity_nanos == 0
        assert proposal.reason_code


@given(policies, signals, markets, holdings, others)
def test_what_is_not_trusted_opens_nothing_and_one_voice_moves_nothing(
    policy: Policy, one: Signal, market: Market, holding: Holding, rest: Others
) -> None:
    proposal = propose(policy, one, market, holding, rest, NOW)
    found = policy.trust.restrictions(one, NOW)
    if any(restriction in NEVER_ORDERS for restriction in found):
        assert proposal.action is Action.NONE
    if any(restriction in NEVER_OPENS for restriction in found):
        assert not proposal.action.is_larger
    if Restriction.PUMP_SUSPECTED in found:
        assert proposal.quantity_nanos <= 0


@given(policies, signals, markets, shares, shares, shares, others)
def test_working_and_waiting_orders_count_like_a_position(
    policy: Policy, one: Signal, market: Market, position: int, working: int, pending: int, rest: Others
) -> None:
    spread = propose(policy, one, market, Holding(position, working, pending), rest, NOW)
    lumped = propose(policy, one, market, Holding(position + working + pending), rest, NOW)
    assert spread == lumped


@given(policies, signals, markets, holdings, others, ages)
def test_an_order_that_nothing_cut_is_not_repeated(
    policy: Policy, one: Signal, market: Market, holding: Holding, rest: Others, age: int
) -> None:
    first = propose(policy, one, market, holding, rest, NOW + age)
    if first.reason_code:
        return
    later = replace(holding, working_nanos=holding.working_nanos + first.quantity_nanos)
    if later.effective_nanos or not holding.effective_nanos:
        assert propose(policy, one, market, later, rest, NOW + age).action is Action.NONE


@given(policies, signals, markets, st.floats(-3.0, 3.0))
def test_nothing_is_traded_inside_the_band(
    policy: Policy, one: Signal, market: Market, bands_away: float
) -> None:
    trusted = replace(one, author_count=3, source_count=2, restrictions=frozenset())
    flat = propose(policy, trusted, market, Holding(), Others(), NOW)
    held = flat.ideal_nanos + int(bands_away * flat.band_nanos)
    found = propose(policy, trusted, market, Holding(held), Others(), NOW)
    if abs(found.ideal_nanos - held) <= found.band_nanos:
        assert (found.action, found.reason_code) == (Action.NONE, "INSIDE_BAND")


def test_a_position_on_the_wrong_side_is_closed_however_small_it_is() -> None:
    found = propose(POLICY, signal(-80.0), ACME, Holding(200 * NANO), Others(), NOW)
    assert (found.action, found.quantity_nanos) == (Action.CLOSE, -200 * NANO)


def test_a_target_that_moves_a_little_at_its_bound_is_left_alone() -> None:
    held = Holding(6_100 * NANO)
    assert propose(POLICY, signal(200.0), ACME, held, Others(), NOW).reason_code == "INSIDE_BAND"
    assert propose(POLICY, signal(200.0), ACME, Holding(5_900 * NANO), Others(), NOW).action is Action.ADD


def test_a_full_position_has_the_risk_budget_as_its_daily_deviation() -> None:
    found = propose(replace(POLICY, caps=Caps(1, 1)), signal(200.0), ACME, Holding(), Others(), NOW)
    assert found.action is Action.OPEN
    assert found.target_nanos / NANO == pytest.approx(5_000 / (50 * 0.015), abs=1)
    calm = replace(ACME, daily_volatility=0.0075)
    twice = propose(replace(POLICY, caps=Caps(1, 1)), signal(200.0), calm, Holding(), Others(), NOW)
    assert twice.target_nanos == pytest.approx(2 * found.target_nanos, rel=1e-3)


def test_an_edge_that_does_not_pay_for_the_round_trip_opens_nothing() -> None:
    found = propose(POLICY, signal(4.5), ACME, Holding(), Others(), NOW)
    assert (found.action, found.reason_code) == (Action.NONE, "EDGE_BELOW_COST")
    assert found.edge_bps == pytest.approx(4.5)
    assert propose(POLICY, signal(3.0), ACME, Holding(), Others(), NOW).reason_code == "INSIDE_BAND"


def test_an_edge_that_pays_for_next_to_nothing_buys_nothing() -> None:
    barely = 1.25 * 3.5  # spread and fees of a share at 50, with the margin: no room for impact
    for bps in (barely, 1.05 * barely):
        found = propose(POLICY, signal(bps), ACME, Holding(), Others(), NOW)
        assert (found.action, found.reason_code) == (Action.NONE, "EDGE_BELOW_COST")


def test_an_edge_that_pays_for_less_impact_buys_less() -> None:
    found = propose(POLICY, signal(7.0), ACME, Holding(), Others(), NOW)
    assert (found.action, found.reason_code) == (Action.OPEN, "EDGE_BELOW_COST")
    assert found.edge_bps == pytest.approx(1.25 * found.costs.total_bps, rel=1e-3)


@pytest.mark.parametrize(
    ("held", "bps", "action"),
    [
        (0, 100.0, Action.OPEN),
        (1_000, 100.0, Action.ADD),
        (6_000, 10.0, Action.REDUCE),
        (3_000, -100.0, Action.CLOSE),
        (-3_000, 100.0, Action.CLOSE),
        (0, -100.0, Action.OPEN),
        (-1_000, -100.0, Action.ADD),
    ],
)
def test_the_action_says_what_becomes_of_the_position(held: int, bps: float, action: Action) -> None:
    found = propose(BOTH_SIDES, signal(bps), ACME, Holding(held * NANO), Others(), NOW)
    assert found.action is action


def test_without_short_sales_a_bad_outlook_sells_what_is_held_and_no_more() -> None:
    assert propose(POLICY, signal(-100.0), ACME, Holding(), Others(), NOW).reason_code == "INSIDE_BAND"
    assert propose(POLICY, signal(-100.0), ACME, Holding(3_000 * NANO), Others(), NOW).target_nanos == 0
    barred = replace(ACME, is_short_sale_permitted=False)
    assert propose(BOTH_SIDES, signal(-100.0), barred, Holding(), Others(), NOW).action is Action.NONE


def test_without_a_live_signal_a_position_is_closed_whatever_its_size() -> None:
    for one in (None, signal(100.0, event_time_nanos=NOW - 91 * MINUTE)):
        for held in (7, 3_000, -3_000):
            found = propose(POLICY, one, ACME, Holding(held * NANO), Others(), NOW)
            assert (found.action, found.reason_code) == (Action.CLOSE, "SIGNAL_EXPIRED")
            assert found.quantity_nanos == -held * NANO
        assert propose(POLICY, one, ACME, Holding(), Others(), NOW).reason_code == "NO_SIGNAL"


def test_what_is_closed_is_cut_to_the_volume_like_anything_else() -> None:
    thin = replace(ACME, median_daily_volume=100_000.0)
    found = propose(POLICY, None, thin, Holding(50_000 * NANO), Others(), NOW)
    assert found.action is Action.REDUCE
    assert found.quantity_nanos == -256 * NANO


def test_a_hold_keeps_positions_from_growing_and_nothing_else() -> None:
    grow = propose(POLICY, signal(100.0), ACME, Holding(), Others(), NOW, hold="COOL_DOWN")
    assert (grow.action, grow.reason_code) == (Action.NONE, "COOL_DOWN")
    shrink = propose(POLICY, signal(-100.0), ACME, Holding(3_000 * NANO), Others(), NOW, hold="COOL_DOWN")
    assert shrink.action is Action.CLOSE


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        ({"gross_attos": 5_000_000 * ATTO}, "GROSS_CAP"),
        ({"net_attos": 3_000_000 * ATTO}, "NET_CAP"),
        ({"turnover_attos": 20_000_000 * ATTO}, "TURNOVER_CAP"),
        ({"gross_attos": 4_900_000 * ATTO}, "GROSS_CAP"),
    ],
)
def test_the_reason_names_the_cap_that_binds(rest: dict[str, Any], reason: str) -> None:
    assert propose(POLICY, signal(100.0), ACME, Holding(), Others(**rest), NOW).reason_code == reason


def test_horizon_and_algorithm_follow_the_half_life() -> None:
    quick, slow = signal(half_life_nanos=4 * MINUTE), signal(half_life_nanos=120 * MINUTE)
    assert POLICY.horizon_nanos(quick) == 2 * MINUTE
    assert POLICY.algorithm(POLICY.horizon_nanos(quick)) == "twap"
    assert POLICY.horizon_nanos(slow) == 30 * MINUTE
    assert POLICY.algorithm(POLICY.horizon_nanos(slow)) == "static_vwap"
    assert POLICY.horizon_nanos(signal(half_life_nanos=6_000 * MINUTE)) == 60 * MINUTE
    assert POLICY.horizon_nanos(None) == 10 * MINUTE
