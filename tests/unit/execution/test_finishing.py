"""The last part of a horizon comes in half the time, and a new plan in it makes no jump."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.execution.domain.finishing import (
    LARGEST_LAST_SHARE,
    SMALLEST_LAST_SHARE,
    EarlyFinish,
    last_share,
)
from servers.execution.domain.parameters import HOUR_NANOS


def test_the_last_part_comes_in_half_its_time() -> None:
    finish = EarlyFinish(1_000, 5_000, 0.05)
    assert [finish.moment(now) for now in (0, 4_800, 4_850, 4_900, 4_950, 5_000, 6_000)] == [
        0, 4_800, 4_900, 5_000, 5_000, 5_000, 6_000,
    ]  # fmt: skip
    assert finish.done_nanos == 4_900


def test_a_new_plan_begins_where_it_is() -> None:
    finish = EarlyFinish(1_000, 5_000, 0.05)
    finish.replan(4_860)
    assert finish.moment(4_860) == 4_860
    assert finish.moment(4_880) == 4_930
    assert finish.moment(4_900) == 5_000
    finish.replan(4_950)
    assert finish.moment(4_950) == 5_000


def test_an_order_that_is_small_beside_its_cap_needs_little_time_for_its_last_part() -> None:
    day, hour, quarter = 6 * HOUR_NANOS, HOUR_NANOS, HOUR_NANOS // 4
    assert last_share(10_000, 0.0, 0.1, day) == LARGEST_LAST_SHARE
    assert last_share(50_000, 1e6, 0.1, day) == LARGEST_LAST_SHARE
    assert last_share(20_000, 1e6, 0.1, day) == pytest.approx(LARGEST_LAST_SHARE / 2)
    assert last_share(10, 1e6, 0.1, day) == SMALLEST_LAST_SHARE
    assert last_share(10, 1e6, 0.1, hour) == pytest.approx(2 / 60)
    assert last_share(10, 1e6, 0.1, quarter) == LARGEST_LAST_SHARE


@given(
    st.integers(0, 10**6), st.integers(1, 10**6), st.lists(st.tuples(st.integers(0, 10**5), st.booleans()))
)
def test_moments_never_go_back_and_reach_the_end(
    start: int, length: int, steps: list[tuple[int, bool]]
) -> None:
    finish = EarlyFinish(start, start + length)
    now = start
    reached = finish.moment(now)
    for step, is_replanned in steps:
        now += step
        moment = finish.moment(now)
        assert reached <= moment
        if is_replanned:
            finish.replan(now)
            moment = finish.moment(now)
        reached = moment
    assert finish.moment(start + length) == start + length
