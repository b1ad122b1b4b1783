"""What may be said of two algorithms: planted differences are found, none is made up, few say nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servers.tca import Dimension, FinishedOrder, Measure, Verdict, compare, group, resampling, size_bucket
from servers.tca.groups import buckets
from servers.tca.resampling import Table, bootstrap_by_session, confidence_sequence, randomisation_test

ALL = (Dimension.ALL,)


def drawn(
    count: int, *, effect: float = 0.0, sessions: int = 1, seed: int = 0, noise: float = 5.0, strata: int = 2
) -> list[FinishedOrder]:
    """Return orders of two algorithms in blocks of two; B costs `effect` more, strata and sessions differ."""
    chance = np.random.default_rng(seed)
    levels, days = chance.normal(0, 30, strata), chance.normal(0, 10, sessions)
    orders = []
    for number in range(count // 2):
        stratum, session = number % strata, number * 2 * sessions // count
        names = ["A", "B"] if chance.random() < 0.5 else ["B", "A"]
        for place, name in enumerate(names):
            cost = levels[stratum] + days[session] + chance.normal(0, noise) + effect * (name == "B")
            orders.append(
                FinishedOrder(
                    f"{2 * number + place:06d}",
                    name,
                    f"S{stratum}",
                    f"D{session:03d}",
                    f"S{stratum} BUY",
                    cost,
                    abs(cost),
                    size_share=0.02,
                    volatility=0.01 * (1 + stratum),
                    session_share=number / count,
                    block=number // strata,
                )
            )
    return orders


def test_a_planted_difference_is_found_to_its_size_and_the_strata_do_not_blur_it() -> None:
    (shortfall, _) = compare(drawn(400, effect=4.0), ALL, seed=1)
    assert (shortfall.first, shortfall.second, shortfall.measure) == ("A", "B", Measure.SHORTFALL)
    assert shortfall.difference_bps == pytest.approx(-4.0, abs=1.5)
    assert shortfall.verdict is Verdict.FIRST_LOWER
    assert shortfall.p_value is not None
    assert shortfall.p_value < 0.01
    assert shortfall.detectable_bps == pytest.approx(2.8 * 5.0 * math.sqrt(4 / 400), rel=0.2)
    assert "A costs less" in shortfall.message
    assert shortfall.interval_bps is None


def test_without_a_difference_one_is_claimed_no_more_often_than_the_level(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resampling, "DRAWS", 1_000)
    claims = sum(
        one.verdict is not Verdict.NONE_SEEN
        for seed in range(120)
        for one in compare(drawn(60, seed=seed, sessions=3), ALL, planned_count=60)
        if one.measure is Measure.SHORTFALL
    )
    # Two looks share 5 %: 3 of 120 are expected, and more than 9 would come once in a thousand.
    assert claims <= 9


def test_p_is_uniform_where_nothing_was_planted() -> None:
    values = []
    for seed in range(200):
        table = Table.of(drawn(24, seed=seed), True, "A", "B")
        assert table is not None
        values.append(randomisation_test(table, seed).p_value)
    shares = [float((np.array(values) <= level).mean()) for level in (0.05, 0.25, 0.5)]
    assert shares[0] <= 0.11
    assert shares[1] == pytest.approx(0.25, abs=0.12)
    assert shares[2] == pytest.approx(0.5, abs=0.14)


def test_a_pair_of_blocks_has_the_p_that_is_counted_by_hand() -> None:
    costs = {("A", 0): 1.0, ("B", 0): 3.0, ("A", 1): 2.0, ("B", 1): 3.0}
    orders = [
        FinishedOrder(f"{block}{name}", name, "S", "D", "S BUY", cost, cost, block=block)
        for (name, block), cost in costs.items()
    ]
    table = Table.of(orders, True, "A", "B")
    assert table is not None
    # Differences of the four draws: -1.5, 0.5, -0.5, 1.5: as far as what came lie two of them.
    assert randomisation_test(table, 0).p_value == 0.5
    assert table.difference() == -1.5


def test_too_few_orders_or_an_experiment_that_is_not_over_say_nothing() -> None:
    few = compare(drawn(30, effect=50.0), ALL)
    assert {one.verdict for one in few} == {Verdict.TOO_EARLY}
    assert {one.p_value for one in few} == {None}
    early = compare(drawn(100, effect=50.0), ALL, planned_count=200)
    assert {one.verdict for one in early} == {Verdict.TOO_EARLY}
    assert {one.p_value for one in early} == {None}
    assert "of which 100 are finished" in early[0].message


def test_what_comes_after_the_planned_number_changes_nothing() -> None:
    orders = drawn(200, effect=1.0, seed=3)
    after = [replace(order, order_id=f"9{order.order_id}") for order in drawn(200, effect=90.0, seed=4)]
    assert compare(orders, ALL, planned_count=200)[0].difference_bps == (
        compare([*after, *orders], ALL, planned_count=200)[0].difference_bps
    )


def test_orders_that_were_not_drawn_are_compared_and_nothing_is_claimed() -> None:
    orders = [replace(order, block=None) for order in drawn(400, effect=50.0, sessions=25)]
    (shortfall, _) = compare(orders, ALL)
    assert shortfall.verdict is Verdict.NOT_RANDOMISED
    assert shortfall.p_value is None
    assert shortfall.interval_bps is not None


def test_a_lost_part_of_the_draw_is_noticed() -> None:
    orders = [order for order in drawn(400, effect=5.0) if order.algorithm == "A" or int(order.order_id) % 3]
    (shortfall, _) = compare(orders, ALL)
    assert shortfall.verdict is Verdict.SAMPLE_RATIO


def test_an_interval_comes_with_twenty_sessions_and_holds_the_difference() -> None:
    assert compare(drawn(190, effect=4.0, sessions=19), ALL)[0].interval_bps is None
    (shortfall, _) = compare(drawn(800, effect=4.0, sessions=40, seed=5), ALL)
    assert shortfall.interval_bps is not None
    assert shortfall.always_bps is not None
    assert shortfall.interval_bps[0] < -4.0 < shortfall.interval_bps[1]
    assert shortfall.always_bps[0] < shortfall.interval_bps[0] < shortfall.interval_bps[1]
    # It may be claimed before the plan is over: the sequence holds however often one looks.
    (early, _) = compare(drawn(800, effect=4.0, sessions=40, seed=5), ALL, planned_count=5_000)
    assert early.verdict is Verdict.FIRST_LOWER
    assert early.p_value is None


def test_the_confidence_sequence_is_left_at_no_look_more_often_than_its_level() -> None:
    chance = np.random.default_rng(7)
    left = 0
    for _ in range(60):
        costs = chance.normal(0, 5, (120, 2))
        orders = [
            FinishedOrder(f"{day}{name}", name, "S", f"{day:03d}", "S", cost, cost, block=day)
            for day, pair in enumerate(costs)
            for name, cost in zip("AB", pair, strict=True)
        ]
        for day in range(20, 121, 10):
            table = Table.of(orders[: 2 * day], True, "A", "B")
            assert table is not None
            found = confidence_sequence(table, 0.05)
            assert found is not None
            if found[0] > 0 or found[1] < 0:
                left += 1
                break
    assert left <= 8


def test_the_bootstrap_draws_whole_sessions() -> None:
    # Within a session orders say the same: 20 sessions of 50 orders are 20 observations, not 1,000.
    chance = np.random.default_rng(1)
    gaps = chance.normal(0, 10, 20)
    orders = [
        FinishedOrder(f"{day}{name}{number}", name, "S", f"{day:02d}", "S", gap * (name == "A"), 0.0)
        for day, gap in enumerate(gaps)
        for name in "AB"
        for number in range(25)
    ]
    table = Table.of(orders, True, "A", "B")
    assert table is not None
    assert bootstrap_by_session(table, 1).standard_error == pytest.approx(
        gaps.std() / math.sqrt(20), rel=0.15
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.floats(-100, 100)), min_size=2, max_size=40))
def test_the_difference_is_that_of_a_plain_loop_over_strata(rows: list[tuple[int, bool, float]]) -> None:
    orders = [
        FinishedOrder(str(number), "A" if is_first else "B", "S", "D", str(stratum), cost, 0.0)
        for number, (stratum, is_first, cost) in enumerate(rows)
    ]
    table = Table.of(orders, True, "A", "B")
    total = weights = 0.0
    for stratum in range(4):
        first = [cost for place, is_first, cost in rows if place == stratum and is_first]
        second = [cost for place, is_first, cost in rows if place == stratum and not is_first]
        if first and second:
            weight = len(first) * len(second) / (len(first) + len(second))
            total += weight * (sum(first) / len(first) - sum(second) / len(second))
            weights += weight
    if table is None:
        assert weights == 0.0
    elif weights == 0.0:
        assert math.isnan(table.difference())
    else:
        assert table.difference() == pytest.approx(total / weights, abs=1e-9)


def test_every_dimension_has_its_buckets_and_what_is_not_known_has_one_too() -> None:
    orders = drawn(40, strata=3)
    orders.append(
        FinishedOrder("x", "A", "S0", "D", "S0 BUY", 1.0, math.nan, 0.5, None, math.nan, None, block=0)
    )
    for dimension in Dimension:
        parts = buckets(orders, dimension)
        assert sum(len(part) for part in parts.values()) == len(orders)
    assert list(buckets(orders, Dimension.SIZE)) == ["1 to 5 % of a day", "of unknown size"]
    assert list(buckets(orders, Dimension.TIME_OF_DAY)) == ["first sixth of the session", "middle", "unknown"]
    assert "unknown" in buckets(orders, Dimension.VOLATILITY)
    assert [size_bucket(share) for share in (0.0, 0.01, 0.2)] == [
        "0 to 1 % of a day", "1 to 5 % of a day", "15 % of a day and more",
    ]  # fmt: skip


def test_a_group_says_what_its_orders_cost_and_leaves_out_what_is_not_known() -> None:
    orders = [
        FinishedOrder("1", "A", "S", "D", "S", 2.0, 1.0, 1.0),
        FinishedOrder("2", "A", "S", "D", "S", 4.0, math.nan, 0.5),
        FinishedOrder("3", "B", "S", "D", "S", -1.0, math.nan, 0.0),
    ]
    first, second = group(orders, Dimension.SYMBOL)
    assert (first.bucket, first.algorithm, first.order_count) == ("S", "A", 2)
    assert (first.mean_shortfall_bps, first.mean_tracking_error_bps, first.mean_filled_share) == (
        3.0,
        1.0,
        0.75,
    )
    assert math.isnan(second.p95_tracking_error_bps)


def test_looks_are_counted_in_the_buckets_of_a_dimension() -> None:
    orders = drawn(400, effect=1.2, strata=4, seed=9)
    whole = compare(orders, ALL)[0].p_value
    parts = [one.p_value for one in compare(orders, (Dimension.SYMBOL,)) if one.measure is Measure.SHORTFALL]
    assert whole is not None
    assert len(parts) == 4
    assert max(part for part in parts if part is not None) == 1.0
