import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from native.running_vwap import RollingVwap, RunningVwap
from native.vwap import (
    anchored_vwap_series,
    choose_lanes,
    rolling_vwap_by_count,
    rolling_vwap_by_time,
    session_vwap,
    session_vwap_series,
)
from native.vwap_bands import (
    anchored_vwap_bands,
    rolling_vwap_bands_by_count,
    rolling_vwap_bands_by_time,
    session_vwap_bands,
)
from tests.native import twins

LANES = (2, 4, 8)
tapes = st.lists(
    st.tuples(st.integers(1, 10**15), st.integers(0, 10**15), st.integers(0, 30)), min_size=1, max_size=90
)


def columns(tape: Any) -> Any:
    prices, sizes, gaps = (np.array(column, dtype=np.int64) for column in zip(*tape, strict=True))
    return prices, sizes, np.cumsum(gaps)


def pairs(tape: Any) -> Any:
    return [(price, size) for price, size, _ in tape]


def check(actual: Any, expected: Any) -> Any:
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


@pytest.fixture(autouse=True)
def _widest_lanes_afterwards() -> Any:
    yield
    choose_lanes()


@given(tapes, st.lists(st.integers(0, 2000), unique=True, max_size=4).map(sorted), st.sampled_from(LANES))
def test_session_series_equals_its_twin_across_boundaries(tape: Any, boundaries: Any, lanes: Any) -> None:
    choose_lanes(lanes)
    prices, sizes, times = columns(tape)
    windows = twins.session_windows(times.tolist(), boundaries)
    edges = np.array(boundaries, np.int64)
    expected = twins.series(pairs(tape), windows)
    check(session_vwap_series(prices, sizes, times, edges), expected)
    check(session_vwap_series(prices, sizes, starts=np.searchsorted(times, edges)), expected)
    check(
        session_vwap_series(prices, sizes), twins.series(pairs(tape), twins.count_windows(len(tape), 10**6))
    )


@given(tapes, st.integers(1, 100), st.sampled_from(LANES))
def test_rolling_by_count_equals_its_twin(tape: Any, window: Any, lanes: Any) -> None:
    choose_lanes(lanes)
    prices, sizes, _ = columns(tape)
    windows = twins.count_windows(len(tape), window)
    check(rolling_vwap_by_count(prices, sizes, window), twins.series(pairs(tape), windows))


@given(tapes, st.integers(1, 1500), st.sampled_from(LANES))
def test_rolling_by_time_equals_its_twin(tape: Any, window: Any, lanes: Any) -> None:
    choose_lanes(lanes)
    prices, sizes, times = columns(tape)
    windows = twins.time_windows(times.tolist(), window)
    check(rolling_vwap_by_time(prices, sizes, times, window), twins.series(pairs(tape), windows))


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("window", [1, 7, 16, 1000, 2100, 5000])
@pytest.mark.parametrize("kind", ["even", "with huge prints", "below zero"])
def test_long_series_cross_blocks_and_marks_without_a_seam(lanes: Any, window: Any, kind: Any) -> None:
    choose_lanes(lanes)
    generator = np.random.default_rng(window)
    count = 12_001
    prices = generator.integers(1, 10**12, count) * (-1 if kind == "below zero" else 1)
    sizes = generator.integers(0, 10**12, count)
    if kind == "with huge prints":
        sizes[generator.integers(0, count, 8)] = 10**18
    times = np.cumsum(generator.integers(0, 3, count))
    lefts = np.searchsorted(times, times - window, side="right")
    for i in (0, 1, 15, 16, 1999, 2000, 2500, 5001, 9999, count - 1):
        trades = list(zip(prices.tolist(), sizes.tolist(), strict=True))[: i + 1]
        check(session_vwap_series(prices, sizes)[i], twins.vwap(trades))
        check(rolling_vwap_by_count(prices, sizes, window)[i], twins.vwap(trades[max(0, i - window + 1) :]))
        check(rolling_vwap_by_time(prices, sizes, times, window)[i], twins.vwap(trades[lefts[i] :]))


def test_a_series_written_past_the_cache_is_the_same() -> None:
    count = (1 << 20) + 123
    prices = np.arange(1, count + 1, dtype=np.int64) * 10**7
    sizes = np.arange(count, dtype=np.int64) % 997 * 10**9
    out = np.zeros(count + 1)[1:]
    series = session_vwap_series(prices, sizes, out=out)
    assert series is out
    expected = np.cumsum((prices / 1e9) * (sizes / 1e9)) / np.maximum(np.cumsum(sizes / 1e9), 1e-300)
    np.testing.assert_allclose(series[1:], expected[1:], rtol=1e-9)
    rolled = rolling_vwap_by_count(prices, sizes, 10)
    assert rolled[-1] == pytest.approx(
        twins.vwap(list(zip(prices[-10:].tolist(), sizes[-10:].tolist(), strict=True)))
    )


def test_a_print_of_an_extreme_size_leaves_no_trace_once_it_has_left_the_window() -> None:
    prices = np.array([10**9] * 5 + [9 * 10**18] + [10**9] * 50, np.int64)
    sizes = np.array([1] * 5 + [9 * 10**18] + [1] * 50, np.int64)
    times = np.arange(56, dtype=np.int64)
    assert rolling_vwap_by_count(prices, sizes, 20)[-1] == 1.0
    assert rolling_vwap_by_time(prices, sizes, times, 20)[-1] == 1.0
    assert rolling_vwap_bands_by_count(prices, sizes, 20)[1][-1] == 0.0


@given(tapes, st.integers(0, 2000))
def test_an_anchor_starts_the_average_and_nothing_stands_before_it(tape: Any, anchor: Any) -> None:
    prices, sizes, times = columns(tape)
    first = int(np.searchsorted(times, anchor))
    series = anchored_vwap_series(prices, sizes, times, anchor)
    assert np.isnan(series[:first]).all()
    trades = pairs(tape)[first:]
    check(series[first:], twins.series(trades, twins.count_windows(len(trades), 10**6)))
    vwap, deviation = anchored_vwap_bands(prices, sizes, times, anchor)
    np.testing.assert_allclose(vwap, series, rtol=1e-12, atol=1e-13 * prices.max() * 1e-9)
    assert np.isnan(deviation[:first]).all()


@given(
    tapes, st.integers(1, 40), st.integers(1, 400), st.lists(st.integers(0, 2000), unique=True).map(sorted)
)
def test_bands_equal_their_twins(tape: Any, count: Any, window: Any, boundaries: Any) -> None:
    prices, sizes, times = columns(tape)
    cases = (
        (rolling_vwap_bands_by_count(prices, sizes, count), twins.count_windows(len(tape), count)),
        (
            rolling_vwap_bands_by_time(prices, sizes, times, window),
            twins.time_windows(times.tolist(), window),
        ),
        (
            session_vwap_bands(prices, sizes, times, np.array(boundaries, np.int64)),
            twins.session_windows(times.tolist(), boundaries),
        ),
        (session_vwap_bands(prices, sizes), twins.count_windows(len(tape), 10**6)),
    )
    for (vwap, deviation), windows in cases:
        # A running mean is exact relative to the largest price that it has seen.
        np.testing.assert_allclose(
            vwap, twins.series(pairs(tape), windows), rtol=1e-12, atol=1e-13 * prices.max() * 1e-9
        )
        np.testing.assert_allclose(deviation, twins.deviations(pairs(tape), windows), rtol=1e-6, atol=1e-3)


@given(tapes, st.integers(1, 90), st.data())
def test_a_running_average_in_batches_is_exact_also_after_corrections(
    tape: Any, batch: Any, data: Any
) -> None:
    prices, sizes, _ = columns(tape)
    running = RunningVwap()
    for start in range(0, len(tape), batch):
        running.update(prices[start : start + batch], sizes[start : start + batch])
    trades = pairs(tape)
    wrong = data.draw(st.integers(0, len(trades) - 1))
    right = data.draw(st.one_of(st.none(), st.tuples(st.integers(1, 10**15), st.integers(1, 10**15))))
    assert running.correct(*trades[wrong], *(right or (0, 0)))
    trades[wrong : wrong + 1] = [right] if right else []
    assert running.notional_e18 == sum(price * size for price, size in trades)
    assert running.quantity_nanos == sum(size for _, size in trades)
    assert running.trade_count == len(trades)
    check(running.vwap, twins.vwap(trades))
    check(session_vwap(prices, sizes), twins.vwap(pairs(tape)))


@given(tapes, st.lists(st.integers(0, 2000), unique=True, max_size=4).map(sorted), st.integers(1, 40))
def test_a_running_average_begins_anew_at_each_boundary(tape: Any, boundaries: Any, batch: Any) -> None:
    prices, sizes, times = columns(tape)
    running = RunningVwap(boundaries)
    windows = twins.session_windows(times.tolist(), boundaries)
    for start in range(0, len(tape), batch):
        end = min(start + batch, len(tape))
        running.update(prices[start:end], sizes[start:end], times[start:end])
        first, last = windows[end - 1]
        seen = pairs(tape)[first : last + 1]
        check(running.vwap, twins.vwap(seen))
        np.testing.assert_allclose(running.deviation, twins.deviation(seen), rtol=1e-6, atol=1e-3)
    low, high = running.band(2.0)
    assert math.isnan(low) or low <= running.vwap <= high


@given(tapes, st.booleans(), st.integers(1, 400), st.integers(1, 40), st.data())
def test_a_rolling_average_holds_its_window_exactly(
    tape: Any, by_count: Any, window: Any, batch: Any, data: Any
) -> None:
    prices, sizes, times = columns(tape)
    rolling = RollingVwap(window_count=window) if by_count else RollingVwap(window_nanos=window)
    for start in range(0, len(tape), batch):
        rolling.update(
            prices[start : start + batch], sizes[start : start + batch], times[start : start + batch]
        )
    windows = (
        twins.count_windows(len(tape), window) if by_count else twins.time_windows(times.tolist(), window)
    )
    first, last = windows[-1]
    held = pairs(tape)[first : last + 1]
    assert rolling.trade_count == len(held)
    check(rolling.vwap, twins.vwap(held))
    np.testing.assert_allclose(rolling.deviation, twins.deviation(held), rtol=1e-6, atol=1e-3)
    wrong = data.draw(st.integers(first, last))
    price, size = pairs(tape)[wrong]
    assert rolling.correct(price, size, int(times[wrong]))
    assert rolling.quantity_nanos == sum(size for _, size in held) - tape[wrong][1]
    assert not rolling.correct(1, 10**17, 0)


def test_time_that_passes_empties_a_window_of_time() -> None:
    rolling = RollingVwap(window_nanos=10)
    rolling.update(np.array([5 * 10**9]), np.array([1]), np.array([100]))
    rolling.advance(109)
    assert rolling.vwap == 5.0
    rolling.advance(110)
    assert math.isnan(rolling.vwap)
    assert math.isnan(rolling.deviation)
    assert rolling.trade_count == 0


def test_a_correction_of_an_earlier_session_is_ignored() -> None:
    running = RunningVwap([0, 100])
    running.update(np.array([1, 2]), np.array([5, 5]), np.array([50, 150]))
    assert not running.correct(1, 5, time=50)
    assert running.correct(2, 5, time=150)
    assert math.isnan(running.vwap)
    running.reset()
    assert running.trade_count == 0


ONE, TWO, FAR = np.array([1]), np.array([1, 2]), np.array([3, 2])
NEGATIVE, FALLING = np.array([1, -2]), np.array([2, 1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: session_vwap(TWO, ONE), "sizes has 1 elements, prices has 2"),
        (lambda: session_vwap(TWO, NEGATIVE), r"sizes\[1\] is negative: -2"),
        (lambda: session_vwap_series(TWO, NEGATIVE), r"sizes\[1\] is negative: -2"),
        (lambda: session_vwap_series(TWO, TWO, out=np.zeros(3)), "out has 3 elements, prices has 2"),
        (lambda: session_vwap_series(TWO, TWO, None, ONE), "boundaries need times"),
        (lambda: session_vwap_series(TWO, TWO, FAR, ONE), r"times\[1\] runs backwards: 2 after 3"),
        (lambda: session_vwap_series(TWO, TWO, TWO, FAR), r"boundaries\[1\] does not rise"),
        (lambda: session_vwap_series(TWO, TWO, starts=FAR), r"starts\[0\] is no row from 0 to 2: 3"),
        (lambda: session_vwap_series(TWO, TWO, starts=FALLING), r"starts\[1\] is no row from 2 to 2: 1"),
        (lambda: session_vwap_series(TWO, TWO, starts=NEGATIVE[1:]), r"starts\[0\] is no row .*: -2"),
        (lambda: session_vwap_series(TWO, TWO, TWO, ONE, starts=ONE), "boundaries or starts, not both"),
        (lambda: anchored_vwap_series(TWO, TWO, FAR, 0), r"times\[1\] runs backwards"),
        (lambda: rolling_vwap_by_count(TWO, NEGATIVE, 1), r"sizes\[1\] is negative"),
        (lambda: rolling_vwap_by_count(TWO, TWO, 0), "window must be above zero"),
        (lambda: rolling_vwap_by_time(TWO, TWO, FAR, 1), r"times\[1\] runs backwards"),
        (lambda: rolling_vwap_by_time(TWO, NEGATIVE, TWO, 1), r"sizes\[1\] is negative"),
        (lambda: rolling_vwap_by_time(TWO, TWO, TWO, 0), "window_nanos must be above zero"),
        (lambda: rolling_vwap_bands_by_count(TWO, TWO, 0), "window must be above zero"),
        (lambda: rolling_vwap_bands_by_time(TWO, TWO, TWO, 0), "window_nanos must be above zero"),
        (lambda: session_vwap_bands(TWO, TWO, None, ONE), "boundaries need times"),
        (lambda: session_vwap_bands(TWO, TWO, TWO, FAR), r"boundaries\[1\] does not rise"),
        (lambda: RunningVwap([2, 1]), r"boundaries\[1\] does not rise"),
        (lambda: RunningVwap([1]).update(ONE, ONE), "boundaries need times"),
        (lambda: RunningVwap().correct(1, 1), "no volume of 1"),
        (lambda: RunningVwap().correct(1, -1), "a size is negative"),
        (lambda: RollingVwap(window_count=1).correct(1, -1, 0), "a size is negative"),
        (lambda: RollingVwap(window_count=1).update(TWO, TWO, FAR), r"times\[1\] runs backwards"),
        (lambda: RollingVwap(), "exactly one"),
        (lambda: RollingVwap(window_count=0), "above zero"),
    ],
)
def test_bad_input_is_refused_and_the_message_says_where(call: Any, message: Any) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_an_overflow_of_128_bits_is_an_error_and_not_a_number() -> None:
    huge = np.full(3, 9 * 10**18)
    with pytest.raises(OverflowError, match="128 bits"):
        session_vwap(huge, huge)
    with pytest.raises(OverflowError, match="128 bits"):
        RunningVwap().update(huge, huge)
