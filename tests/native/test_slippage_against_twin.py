import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from native.slippage import (
    average_price,
    interval_twap,
    interval_vwap,
    participation_weighted_price,
    round_half_even,
    shortfall,
    slippage_bps,
    tracking_error_bps,
)
from tests.native import twins

nanos = st.integers(1, 10**15)
tapes = st.lists(st.tuples(nanos, st.integers(0, 10**15), st.integers(0, 9)), max_size=40)


def columns(tape: Any) -> Any:
    prices = np.array([price for price, _, _ in tape], np.int64)
    sizes = np.array([size for _, size, _ in tape], np.int64)
    return prices, sizes, np.cumsum(np.array([gap for _, _, gap in tape], np.int64), dtype=np.int64)


@given(tapes, st.integers(-5, 300), st.integers(-5, 300))
def test_an_interval_vwap_is_exact_over_the_prints_between_both_ends_included(
    tape: Any, start: Any, end: Any
) -> None:
    prices, sizes, times = columns(tape)
    inside = [
        (price, size) for (price, size, _), time in zip(tape, times, strict=True) if start <= time <= end
    ]
    average = interval_vwap(prices, sizes, times, start, end)
    assert average.print_count == len(inside)
    assert average.notional_e18 == sum(price * size for price, size in inside)
    assert average.quantity_nanos == sum(size for _, size in inside)
    np.testing.assert_equal(average.price, twins.vwap(inside))
    if average.quantity_nanos:
        assert average.price_nanos == round(Fraction(average.notional_e18, average.quantity_nanos))
    else:
        assert average.price_nanos is None


@given(tapes.filter(bool), st.integers(-5, 200), st.integers(0, 100))
def test_an_interval_twap_weighs_each_price_by_how_long_it_stood(tape: Any, start: Any, length: Any) -> None:
    prices, _, times = columns(tape)
    end = start + length
    twap = interval_twap(prices, times, start, end)

    def in_force(moment: Any) -> Any:
        before = [price for price, time in zip(prices.tolist(), times, strict=True) if time <= moment]
        return before[-1] if before else int(prices[np.searchsorted(times, times[0], side="left")])

    if times[0] > end:
        assert math.isnan(twap)
    elif length == 0:
        assert twap == in_force(start) / 1e9
    else:
        mean = Fraction(sum(in_force(moment) for moment in range(start, end)), length * 10**9)
        assert twap == pytest.approx(float(mean), rel=1e-14)


@given(tapes, st.integers(0, 300), st.integers(1, 10**16), st.integers(1, 100))
def test_a_participation_weighted_price_takes_the_first_volume_and_the_last_print_in_part(
    tape: Any, start: Any, quantity: Any, percent: Any
) -> None:
    prices, sizes, times = columns(tape)
    left = wanted = quantity * 10**9 // (percent * 10**7)
    taken = []
    for (price, size, _), time in zip(tape, times, strict=True):
        if time >= start and left > 0:
            taken.append((price, min(size, left)))
            left -= min(size, left)
    average = participation_weighted_price(prices, sizes, times, start, quantity, percent / 100)
    assert average.quantity_nanos == wanted - left
    assert average.notional_e18 == sum(price * size for price, size in taken)
    assert average.print_count == len(taken)


@given(
    st.sampled_from([1, -1]),
    st.lists(st.tuples(nanos, nanos, nanos), max_size=20),
    st.tuples(nanos, nanos, nanos),
    st.integers(0, 10**15),
    st.integers(-(10**25), 10**25),
    st.integers(0, 10**25),
)
def test_the_parts_of_a_shortfall_add_up_to_the_last_unit(
    side: Any, fills: Any, marks: Any, unfilled: Any, impact: Any, fees: Any
) -> None:
    decision, arrival, close = marks
    prices, sizes, mids = (np.array([fill[k] for fill in fills], np.int64) for k in range(3))
    filled = sum(size for _, size, _ in fills)
    parts = shortfall(
        side,
        filled + unfilled,
        decision,
        arrival,
        close,
        prices,
        sizes,
        mids,
        impact_e18=impact,
        fees_e18=fees,
    )
    paid = sum(price * size for price, size, _ in fills)
    assert parts.total_e18 == side * (paid - filled * decision + unfilled * (close - decision)) + fees
    assert parts.delay_e18 == side * filled * (arrival - decision)
    assert parts.spread_e18 == side * sum(size * (price - mid) for price, size, mid in fills)
    assert parts.timing_e18 + impact == side * sum(size * (mid - arrival) for _, size, mid in fills)
    assert parts.opportunity_e18 == side * unfilled * (close - decision)


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**18))
def test_rounding_goes_to_the_nearest_and_halves_to_even(numerator: Any, denominator: Any) -> None:
    assert round_half_even(numerator, denominator) == round(Fraction(numerator, denominator))


def test_a_positive_slippage_is_a_cost_on_both_sides() -> None:
    assert slippage_bps(1, 101.0, 100.0) == pytest.approx(100.0)
    assert slippage_bps(-1, 101.0, 100.0) == pytest.approx(-100.0)
    assert tracking_error_bps(99.0, 100.0) == pytest.approx(100.0)
    assert average_price(np.array([4, 8]), np.array([1, 3])).price_nanos == 7


HUGE, EMPTY = np.full(3, 9 * 10**18), np.empty(0, np.int64)
ONE, TWO, BACK = np.array([1]), np.array([1, 2]), np.array([2, 1])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: slippage_bps(0, 1.0, 1.0), ValueError, "side must be"),
        (lambda: slippage_bps(1, 1.0, 0.0), ValueError, "benchmark_price must be above"),
        (lambda: interval_vwap(TWO, TWO, BACK, 0, 1), ValueError, r"times\[1\] runs backwards"),
        (lambda: interval_vwap(TWO, ONE, TWO, 0, 1), ValueError, "sizes has 1"),
        (lambda: average_price(ONE, -ONE), ValueError, r"sizes\[0\] is negative"),
        (lambda: average_price(HUGE, HUGE), OverflowError, "128 bits"),
        (lambda: interval_twap(TWO, TWO, 2, 1), ValueError, "end 1 is before"),
        (lambda: interval_twap(HUGE, np.array([0, 0, 0]), 0, 9 * 10**18), None, ""),
        (
            lambda: participation_weighted_price(TWO, TWO, TWO, 0, 1, 0.0),
            ValueError,
            "participation must lie",
        ),
        (
            lambda: participation_weighted_price(TWO, TWO, TWO, 0, 0, 0.5),
            ValueError,
            "quantity must be above",
        ),
        (lambda: shortfall(1, 0, 1, 1, 1, ONE, ONE, ONE), ValueError, "filled 1 of 0"),
        (lambda: shortfall(1, 1, 1, 1, 1, ONE, ONE, EMPTY), ValueError, "mids_when_sent has 0"),
    ],
)
def test_bad_input_is_refused_with_its_reason(call: Any, error: Any, message: Any) -> None:
    if error is None:
        assert call() == 9e9
        return
    with pytest.raises(error, match=message):
        call()
