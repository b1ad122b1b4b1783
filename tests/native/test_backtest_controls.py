"""The controls of a backtest: planted breaches are found when nobody acts, and acted on when they do."""

from typing import Any

import numpy as np
import pytest

from native.backtest import Parent, finish, replay
from native.backtest_controls import Controls
from native.backtest_costs import CostModel
from native.schedule import TwapSchedule

ONE = 10**9
START, END = 1_000 * ONE, 1_600 * ONE


def planted(controls: Controls, moves: Any) -> Parent:
    """An order of a whole print a step, bought at prices that move as planted."""
    times = START + np.arange(len(moves), dtype=np.int64) * ONE
    prices = 100 * ONE + np.array(moves, np.int64) * ONE // 100
    costs = CostModel(half_spread_bps=0.0, daily_volatility=0.0, daily_volume=1e6)
    schedule = TwapSchedule(1_000 * ONE, ONE, START, END)
    parent = Parent(schedule, 1, costs, step_nanos=ONE, controls=controls)
    sizes = np.array([1_000 * ONE if move < 100 else 100_000 * ONE for move in moves], np.int64)
    replay([parent], times, prices, sizes)
    finish([parent], END)
    return parent


def test_a_planted_deviation_is_caught_when_nobody_acts_and_acted_on_when_they_do() -> None:
    # A tenth is done at 100; then the market goes to 101, on much volume: the own average is left behind.
    moves = [0] * 80 + [100] * 20 + [0] * 480
    watched = planted(Controls(is_enforced=False), moves).controls
    assert watched is not None
    assert (watched.deviation_breaches, watched.deviation_actions) == (1, 0)
    assert watched.fills_without_action > 0
    assert watched.largest_deviation > 0.008
    acted = planted(Controls(answer_nanos=None), moves)
    assert acted.controls is not None
    assert acted.controls.fills_without_action == 0
    assert acted.controls.deviation_breaches == acted.controls.deviation_actions == 1
    assert acted.controls.controlled_nanos > 400 * ONE
    assert acted.residual_nanos > 0
    # Once somebody resumes it, it rests, and what was missed is never sent in a burst.
    resumed = planted(Controls(answer_nanos=10 * ONE), moves)
    fills = resumed.fill_columns()
    assert resumed.controls is not None
    assert resumed.controls.fills_without_action == 0
    assert resumed.residual_nanos < acted.residual_nanos
    assert set(fills["is_passive"][fills["time_nanos"] > START + 110 * ONE].tolist()) == {1}


def test_an_impact_above_its_bound_halves_the_rate_and_one_far_above_stops_it_until_it_decays() -> None:
    def run(bound: float, *, is_enforced: bool = True) -> Parent:
        costs = CostModel(
            half_spread_bps=0.0,
            daily_volatility=0.05,
            daily_volume=1_000.0,
            temporary=0.0,
            permanent_share=0.0,
            half_life_seconds=60.0,
        )
        times = START + np.arange(600, dtype=np.int64) * ONE
        controls = Controls(bound, 1.0, is_enforced=is_enforced)
        parent = Parent(
            TwapSchedule(1_000 * ONE, ONE, START, END), 1, costs, step_nanos=ONE, controls=controls
        )
        replay([parent], times, np.full(600, 100 * ONE), np.full(600, 50 * ONE))
        finish([parent], END)
        return parent

    free = run(1.0)
    assert free.residual_nanos == 0
    assert free.controls is not None
    largest = free.controls.largest_impact
    assert free.controls.impact_breaches == free.controls.impact_actions == 0
    held = run(largest / 2)
    assert held.controls is not None
    assert held.controls.impact_actions > 1
    assert held.controls.fills_without_action == 0
    assert held.controls.largest_impact <= 0.75 * largest + 1e-3
    assert 0 < held.residual_nanos < held.quantity_nanos
    watched = run(largest / 2, is_enforced=False).controls
    assert watched is not None
    assert watched.impact_actions == 0
    assert watched.fills_without_action > 0


@pytest.mark.parametrize(
    "wrong", [{"max_impact": 0.0}, {"max_deviation": 1.5}, {"max_impact": float("nan")}, {"answer_nanos": -1}]
)
def test_controls_refuse_bounds_outside_their_ranges(wrong: Any) -> None:
    with pytest.raises(ValueError):
        Controls(**wrong)
