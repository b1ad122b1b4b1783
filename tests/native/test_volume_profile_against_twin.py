from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from native.volume_profile import PriceProfile, TimeProfile, static_curve
from tests.native import twins

TICK = 10**7
trades = st.lists(
    st.tuples(st.integers(-300 * TICK, 300 * TICK), st.integers(1, 10**15)), min_size=1, max_size=60
)


def filled(tape: Any, batch: Any = 7) -> Any:
    profile = PriceProfile(TICK)
    for start in range(0, len(tape), batch):
        prices, sizes = zip(*tape[start : start + batch], strict=True)
        profile.add(np.array(prices), np.array(sizes))
    return profile


@given(trades, st.integers(1, 100))
def test_levels_point_of_control_and_value_area_equal_their_twins(tape: Any, percent: Any) -> None:
    profile, levels = filled(tape), twins.price_levels(tape, TICK)
    prices, volumes = profile.volumes()
    assert prices.tolist() == list(levels)
    np.testing.assert_allclose(volumes, [size / 1e9 for size in levels.values()])
    assert profile.total_nanos == sum(levels.values())
    assert profile.point_of_control_nanos() == max(levels, key=lambda price: (levels[price], -price))
    assert profile.value_area_nanos(percent / 100) == twins.value_area(levels, TICK, Fraction(percent, 100))


@given(trades, st.data())
def test_a_corrected_print_leaves_no_trace(tape: Any, data: Any) -> None:
    profile = filled(tape)
    wrong = data.draw(st.integers(0, len(tape) - 1))
    right = (data.draw(st.integers(-900 * TICK, 900 * TICK)), data.draw(st.integers(1, 10**15)))
    profile.correct(*tape[wrong], *right)
    corrected = [*tape[:wrong], right, *tape[wrong + 1 :]]
    assert profile.volumes()[0].tolist() == list(twins.price_levels(corrected, TICK))
    profile.correct(*right)
    assert profile.total_nanos == sum(size for _, size in tape) - tape[wrong][1]


@given(st.lists(st.tuples(st.integers(-5, 45), st.integers(0, 10**15)), min_size=1, max_size=40))
def test_volume_by_time_counts_each_print_in_its_bin(tape: Any) -> None:
    edges = [0, 10, 15, 40]
    profile = TimeProfile(np.array(edges))
    times, sizes = (np.array(column) for column in zip(*tape, strict=True))
    profile.add(times, sizes)
    expected = [sum(size for time, size in tape if low <= time < high) for low, high in pairwise(edges)]
    assert profile.volumes_nanos() == expected
    assert profile.outside_nanos == sum(size for _, size in tape) - sum(expected)
    if sum(expected):
        np.testing.assert_allclose(profile.shares(), [size / sum(expected) for size in expected])
    for time, size in tape:
        profile.correct(time, size)
    assert profile.volumes_nanos() == [0, 0, 0]
    assert profile.outside_nanos == 0


def test_the_static_curve_is_the_mean_share_of_the_trailing_sessions_that_traded() -> None:
    sessions = np.array([[9.0, 1.0], [1.0, 3.0], [0.0, 0.0], [2.0, 2.0]])
    assert static_curve(sessions, 3).tolist() == [0.375, 0.625]
    assert static_curve(sessions).tolist() == pytest.approx([(0.9 + 0.25 + 0.5) / 3, (0.1 + 0.75 + 0.5) / 3])


def test_an_empty_profile_has_no_point_of_control() -> None:
    profile = PriceProfile(1)
    profile.add(np.empty(0, np.int64), np.empty(0, np.int64))
    assert profile.point_of_control_nanos() is None
    assert profile.value_area_nanos() is None
    assert profile.total_nanos == 0


ONE = np.array([1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PriceProfile(0), "tick_nanos must be above zero"),
        (lambda: PriceProfile(1).add(ONE, np.array([1, 2])), "sizes has 2"),
        (lambda: PriceProfile(1).add(ONE, -ONE), r"sizes\[0\] is negative"),
        (lambda: PriceProfile(1).add(np.array([1, 10**9]), np.array([1, 1])), "span more than"),
        (lambda: PriceProfile(1).correct(1, 1), "no volume of 1 at price 1"),
        (lambda: PriceProfile(1).correct(1, -1), "a size is negative"),
        (lambda: PriceProfile(1).value_area_nanos(0.0), "share must lie"),
        (lambda: TimeProfile(ONE), "needs two elements"),
        (lambda: TimeProfile(np.array([1, 1])), r"bin_edges_nanos\[1\] does not rise"),
        (lambda: TimeProfile(np.array([1, 2])).correct(1, 1), "no volume of 1 at 1"),
        (lambda: TimeProfile(np.array([1, 2])).correct(1, -1), "a size is negative"),
        (lambda: static_curve(np.zeros((2, 2))), "no session has volume"),
        (lambda: static_curve(np.array([[1.0, -1.0]])), r"session_volumes\[0, 1\] is not a volume"),
        (lambda: static_curve(np.ones((1, 1)), 0), "trailing_sessions must be above zero"),
    ],
)
def test_bad_input_is_refused_with_its_reason(call: Any, message: Any) -> None:
    with pytest.raises(ValueError, match=message):
        call()
