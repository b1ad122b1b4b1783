"""What a signal is worth, when it is not trusted, and what trading on it costs."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.decision.domain.cost import CostModel
from servers.decision.domain.signal import Restriction, Trust
from servers.model.nanos import NANO
from tests.unit.decision.figures import ACME, MINUTE, NOW, SESSION, signal


def test_the_edge_over_the_next_half_life_is_the_expected_return_when_the_horizon_is_one_half_life() -> None:
    assert signal(40.0).edge_bps(NOW, 0.015, SESSION) == pytest.approx(40.0)
    assert signal(-40.0).edge_bps(NOW, 0.015, SESSION) == pytest.approx(-40.0)


def test_half_of_what_is_to_come_comes_in_a_half_life_whatever_the_horizon_says() -> None:
    long_run = signal(80.0, horizon_nanos=3_000 * MINUTE)
    assert long_run.edge_bps(NOW, 0.015, SESSION) == pytest.approx(40.0)


def test_the_edge_halves_with_each_half_life() -> None:
    fresh = signal(40.0)
    assert fresh.edge_bps(NOW + 60 * MINUTE, 0.015, SESSION) == pytest.approx(10.0)
    assert fresh.edge_bps(NOW - 60 * MINUTE, 0.015, SESSION) == pytest.approx(40.0)


def test_a_signal_without_a_size_expects_what_its_probability_and_the_deviation_say() -> None:
    silent = signal(0.0, probability_up=0.6)
    assert silent.edge_bps(NOW, 0.015, SESSION) == pytest.approx(0.25335 * 40.0, rel=1e-4)
    bare = signal(0.0, probability_up=0.6, deviation_bps=0.0)
    by_the_day = 150.0 * math.sqrt(30 / 390)
    assert bare.edge_bps(NOW, 0.015, SESSION) == pytest.approx(0.25335 * by_the_day, rel=1e-4)
    certain = signal(0.0, probability_up=1.0)
    assert certain.edge_bps(NOW, 0.015, SESSION) == pytest.approx(3.0902 * 40.0, rel=1e-4)
    assert signal(0.0, probability_up=0.5).edge_bps(NOW, 0.015, SESSION) == 0.0


def test_trust_sees_age_and_witnesses_beside_what_the_signal_says_itself() -> None:
    trust = Trust()
    assert trust.restrictions(signal(), NOW) == ()
    assert trust.restrictions(signal(), NOW + 31 * MINUTE) == (Restriction.STALE,)
    assert trust.restrictions(signal(author_count=1), NOW) == (Restriction.ONE_AUTHOR,)
    assert trust.restrictions(signal(source_count=1), NOW) == (Restriction.ONE_SOURCE,)
    assert trust.restrictions(signal(post_ids=(), author_count=0, source_count=0), NOW) == ()
    said = signal(restrictions=frozenset({Restriction.SHED, Restriction.PUMP_SUSPECTED}))
    assert trust.restrictions(said, NOW) == (Restriction.SHED, Restriction.PUMP_SUSPECTED)
    assert not trust.is_expired(signal(), NOW + 90 * MINUTE)
    assert trust.is_expired(signal(), NOW + 91 * MINUTE)


def test_a_round_trip_pays_the_spread_once_and_impact_and_fees_twice() -> None:
    costs = CostModel(0.7, 0.005, 28).round_trip(ACME, -5_000 * NANO)
    assert costs.spread_bps == 2.0
    assert costs.impact_bps == pytest.approx(2 * 2 / 3 * 0.7 * 150 * math.sqrt(0.001))
    assert costs.fees_bps == pytest.approx(2 * 1.0 + 0.28)
    assert costs.total_bps == pytest.approx(costs.spread_bps + costs.impact_bps + costs.fees_bps)


@given(st.floats(0.01, 100.0))
def test_the_quantity_for_an_impact_has_that_impact(impact_bps: float) -> None:
    model = CostModel()
    quantity = model.quantity_for_impact(ACME, impact_bps)
    if quantity < 10**9:
        assert model.round_trip(ACME, quantity).impact_bps <= impact_bps
    else:
        assert model.round_trip(ACME, quantity).impact_bps == pytest.approx(impact_bps, rel=1e-6)


def test_without_room_for_impact_there_is_no_quantity_and_without_impact_any() -> None:
    assert CostModel().quantity_for_impact(ACME, 0.0) == 0
    assert CostModel().quantity_for_impact(ACME, -3.0) == 0
    assert CostModel(impact_coefficient=0.0).quantity_for_impact(ACME, 1.0) == 2**63 - 1
