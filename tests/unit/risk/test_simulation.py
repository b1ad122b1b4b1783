"""Value at risk and expected shortfall against figures that can be checked by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.risk.domain.simulation import expected_shortfall, simulate, value_at_risk

LOSSES = [float(loss) for loss in range(100, 0, -1)]


def test_value_at_risk_is_the_loss_that_so_many_sessions_do_not_exceed() -> None:
    assert value_at_risk(LOSSES, 0.99) == 99.0
    assert value_at_risk(LOSSES, 0.95) == 95.0
    assert value_at_risk(LOSSES, 0.5) == 50.0


def test_expected_shortfall_is_the_mean_of_the_tail_with_a_part_of_its_last() -> None:
    assert expected_shortfall(LOSSES, 0.95) == pytest.approx((100 + 99 + 98 + 97 + 96) / 5)
    assert expected_shortfall(LOSSES, 0.985) == pytest.approx((100 + 0.5 * 99) / 1.5)


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=20, max_size=200),
    st.floats(0.5, 0.999),
)
def test_the_tail_is_never_better_than_its_edge(losses: list[float], confidence: float) -> None:
    ordered = sorted(losses, reverse=True)
    assert expected_shortfall(ordered, confidence) >= value_at_risk(ordered, confidence) - 1e-6
    assert expected_shortfall(ordered, confidence) <= ordered[0] + 1e-6


def test_a_hedged_book_has_less_at_risk_than_its_parts() -> None:
    closes = {
        symbol: {day: 100.0 + scale * (day % 5) for day in range(60)}
        for symbol, scale in (("A", 1.0), ("B", 1.0))
    }
    alone = simulate({"A": 1_000.0}, closes, 0.95)
    hedged = simulate({"A": 1_000.0, "B": -1_000.0}, closes, 0.95)
    assert alone.value_at_risk is not None
    assert alone.value_at_risk > 0
    assert hedged.value_at_risk == pytest.approx(0.0)


def test_only_sessions_that_every_symbol_has_count() -> None:
    closes = {"A": dict.fromkeys(range(60), 1.0), "B": dict.fromkeys(range(30, 60), 1.0)}
    assert simulate({"A": 1.0, "B": 1.0}, closes, 0.9).sessions == 29


def test_without_positions_or_enough_sessions_there_are_no_figures() -> None:
    assert simulate({}, {}, 0.99).value_at_risk is None
    few = simulate({"A": 1.0}, {"A": dict.fromkeys(range(20), 1.0)}, 0.99)
    assert (few.sessions, few.value_at_risk, few.expected_shortfall) == (19, None, None)
