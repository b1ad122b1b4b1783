from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native.schedule import Schedule, StaticVwapSchedule, TwapSchedule, largest_remainder
from tests.native import twins

weights = st.lists(st.floats(0, 1e6), min_size=1, max_size=12).filter(lambda values: sum(values) > 1e-9)


@st.composite
def schedules(draw: Any) -> Any:
    lot = draw(st.sampled_from([1, 10**9, 100 * 10**9]))
    quantity = lot * draw(st.integers(1, 10**6))
    start = draw(st.integers(-(10**12), 1_700_000_000 * 10**9))
    if draw(st.booleans()):
        end = start + draw(st.integers(1, 86_400 * 10**9))
        return TwapSchedule(quantity, lot, start, end), ([start, end], [1.0])
    shares = [weight + 0.001 for weight in draw(weights)]
    edges = [start]
    for _ in shares:
        edges.append(edges[-1] + draw(st.integers(2, 3600 * 10**9)))
    begin, end = start + 1, edges[-1] - draw(st.integers(0, 1))
    if end <= begin:
        end = begin + 1
    return StaticVwapSchedule(quantity, lot, begin, end, edges, shares), (edges, shares)


@given(schedules(), st.lists(st.fractions(0, 1), max_size=20))
def test_targets_rise_in_whole_lots_to_the_exact_quantity_along_the_curve(made: Any, moments: Any) -> None:
    schedule, (edges, shares) = made
    assert schedule.target_nanos(schedule.start_nanos) == 0
    assert schedule.target_nanos(schedule.end_nanos) == schedule.quantity_nanos
    span = schedule.end_nanos - schedule.start_nanos
    before = 0
    for moment in sorted(moments):
        now = schedule.start_nanos + int(span * moment)
        target = schedule.target_nanos(now)
        share = twins.curve_share(edges, shares, schedule.start_nanos, schedule.end_nanos, now)
        assert target >= before
        assert target % schedule.lot_nanos == 0
        assert abs(target - share * schedule.quantity_nanos) <= schedule.lot_nanos * Fraction(1, 2) + 1
        assert schedule.planned_share(now) == pytest.approx(float(share), abs=1e-12)
        before = target


@given(schedules(), st.fractions(0, 1), st.fractions(0, 1), st.fractions(0, 1))
def test_after_a_halt_the_missed_quantity_is_spread_without_a_jump(
    made: Any, halted: Any, pause: Any, later: Any
) -> None:
    schedule, _ = made
    span = schedule.end_nanos - schedule.start_nanos
    freeze = schedule.start_nanos + int(span * halted)
    resume = freeze + int((schedule.end_nanos - freeze) * pause)
    reached = schedule.target_nanos(freeze)
    schedule.freeze(freeze)
    schedule.freeze(freeze + 1)
    assert schedule.is_frozen
    assert schedule.target_nanos(schedule.end_nanos) == reached
    assert schedule.next_change_nanos(freeze) is None
    schedule.resume(resume)
    assert schedule.target_nanos(resume) == reached
    now = resume + int((schedule.end_nanos - resume) * later)
    assert reached <= schedule.target_nanos(now) <= schedule.quantity_nanos
    if resume < schedule.end_nanos:
        assert schedule.target_nanos(schedule.end_nanos) == schedule.quantity_nanos
        assert schedule.unplanned_nanos == 0
    else:
        assert schedule.unplanned_nanos == schedule.quantity_nanos - reached


@given(schedules(), st.fractions(0, 1), st.fractions(0, 1))
def test_a_new_plan_starts_at_what_is_done_and_ends_at_the_quantity(
    made: Any, moment: Any, part: Any
) -> None:
    schedule, _ = made
    now = schedule.start_nanos + int((schedule.end_nanos - schedule.start_nanos - 1) * moment)
    done = int(schedule.quantity_nanos * part)
    schedule.replan(now, done)
    assert schedule.target_nanos(now) == done
    assert schedule.target_nanos(schedule.end_nanos) == schedule.quantity_nanos
    middle = (now + schedule.end_nanos) // 2
    assert (schedule.target_nanos(middle) - done) % schedule.lot_nanos == 0


@given(schedules(), st.fractions(0, 1))
def test_the_next_change_is_the_first_moment_with_a_higher_target(made: Any, moment: Any) -> None:
    schedule, _ = made
    now = schedule.start_nanos + int((schedule.end_nanos - schedule.start_nanos) * moment)
    change = schedule.next_change_nanos(now)
    if change is None:
        assert schedule.target_nanos(now) == schedule.quantity_nanos
    else:
        assert schedule.target_nanos(change) > schedule.target_nanos(now) == schedule.target_nanos(change - 1)


@given(st.integers(0, 10**15), st.sampled_from([1, 7, 10**9]), weights)
def test_the_largest_remainder_equals_its_twin_and_sums_exactly(quantity: Any, lot: Any, shares: Any) -> None:
    split = largest_remainder(quantity, lot, shares)
    assert split == twins.largest_remainder(quantity, lot, shares)
    assert sum(split) == quantity


def test_a_twap_of_three_lots_puts_each_in_the_middle_of_its_third() -> None:
    schedule = TwapSchedule(3, 1, 0, 60)
    assert isinstance(schedule, Schedule)
    assert [schedule.target_nanos(now) for now in (0, 9, 11, 29, 31, 49, 51, 60)] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert schedule.lot_nanos == 1


def test_resuming_without_a_halt_changes_nothing() -> None:
    schedule = TwapSchedule(100, 1, 0, 100)
    schedule.resume(50)
    assert schedule.target_nanos(50) == 50


def frozen() -> Any:
    schedule = TwapSchedule(100, 1, 0, 100)
    schedule.freeze(50)
    return schedule


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TwapSchedule(0, 1, 0, 1), "quantity_nanos must be above zero"),
        (lambda: TwapSchedule(1, 0, 0, 1), "lot_nanos must be above zero"),
        (lambda: TwapSchedule(1, 1, 1, 1), "not after start_nanos"),
        (lambda: StaticVwapSchedule(1, 1, 1, 1, [0, 2], [1]), "not after start_nanos"),
        (lambda: StaticVwapSchedule(1, 1, 0, 2, [0, 2], [1, 2]), "2 weights need 3"),
        (lambda: StaticVwapSchedule(1, 1, 0, 2, [0, 2, 2], [1, 2]), r"bin_edges_nanos\[2\] does not rise"),
        (lambda: StaticVwapSchedule(1, 1, 0, 3, [0, 2], [1]), "not the whole"),
        (lambda: StaticVwapSchedule(1, 1, 0, 2, [0, 2, 4], [0, 1]), "all zero between"),
        (lambda: StaticVwapSchedule(1, 1, 0, 2, [0, 2], [float("nan")]), r"weights\[0\] is not finite"),
        (lambda: StaticVwapSchedule(1, 1, 0, 2, [0, 2], [-1.0]), r"weights\[0\] is negative"),
        (lambda: largest_remainder(1, 1, [0.0]), "weights are all zero"),
        (lambda: largest_remainder(-1, 1, [1.0]), "quantity_nanos is negative"),
        (lambda: TwapSchedule(1, 1, 0, 1).replan(0, 2), "done_nanos must lie in"),
        (lambda: frozen().resume(49), "before the freeze"),
    ],
)
def test_bad_input_is_refused_with_its_reason(call: Any, message: Any) -> None:
    with pytest.raises(ValueError, match=message):
        call()
