"""Every schedule through prints, forecasts, halts and new plans, against its twin.

A case is a seed: `TAPELINE_CASES` of them for each schedule, 1,000 unless told (`make fuzz` takes 100,000).
"""

import os
import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native.adaptive_schedule import AdaptiveVwapSchedule
from native.iceberg import IcebergSlices
from native.participation import ParticipationTracker
from native.pov_schedule import PovSchedule
from native.schedule import Schedule, StaticVwapSchedule, TwapSchedule
from native.shortfall_schedule import ShortfallSchedule
from tests.native import schedule_twins as spec

CASES = int(os.environ.get("TAPELINE_CASES", "1000"))
SECOND = 10**9
OPEN = 1_718_026_200 * SECOND + 123_456_789

seeds = st.integers(0, 2**48)
cases = settings(max_examples=CASES, deadline=None, database=None)


class Case:
    """One drawn order: its size, its horizon, the session's bins."""

    def __init__(self, seed: int) -> None:
        self.draw = draw = random.Random(seed)
        self.lot = draw.choice([1, 7, SECOND, 100 * SECOND])
        self.quantity = self.lot * draw.choice([1, draw.randint(1, 50), draw.randint(1, 10**6)])
        count = draw.randint(1, 12)
        widths = [
            draw.choice([2, draw.randint(2, 1000), 300 * SECOND + draw.randint(0, 9)]) for _ in range(count)
        ]
        self.edges = [OPEN]
        for width in widths:
            self.edges.append(self.edges[-1] + width)
        self.start = draw.choice([OPEN, draw.randint(OPEN, self.edges[-1] - 1)])
        self.end = draw.choice([self.edges[-1], draw.randint(self.start + 1, self.edges[-1])])
        self.weights = self.volumes()

    def volumes(self) -> list[float]:
        """Return a forecast, some of it zero, never all."""
        drawn = [
            self.draw.choice([0.0, self.draw.uniform(0, 1e6), 10 ** self.draw.uniform(-3, 7)])
            for _ in self.edges[1:]
        ]
        return [volume + 1e-3 for volume in drawn] if sum(drawn) == 0 or self.draw.random() < 0.7 else drawn

    @property
    def span(self) -> int:
        return self.end - self.start


Pair = tuple[Callable[[], Schedule], Callable[[], Any]]


def twap(case: Case) -> Pair:
    edges, ones = [case.start, case.end], [1.0]
    return (
        lambda: TwapSchedule(case.quantity, case.lot, case.start, case.end),
        lambda: spec.StaticTwin(case.quantity, case.start, case.end, edges, ones),
    )


def static(case: Case) -> Pair:
    weights = [weight + 1e-3 for weight in case.weights]
    return (
        lambda: StaticVwapSchedule(case.quantity, case.lot, case.start, case.end, case.edges, weights),
        lambda: spec.StaticTwin(case.quantity, case.start, case.end, case.edges, weights),
    )


def adaptive(case: Case) -> Pair:
    log_sd, tolerance = (
        case.draw.choice([0.0, case.draw.uniform(0, 1.5)]),
        case.draw.choice([0.0, 0.02, 0.25]),
    )
    # What the forecast can carry, from a tenth of the order to ten times as much.
    expected = max(sum(case.weights), 1e-9)
    part = case.quantity / 1e9 / expected * 10 ** case.draw.uniform(-1, 1)
    capacity = case.draw.choice([0.0, min(part, 1e5)])
    terms = case.quantity, case.start, case.end, case.edges, case.weights, log_sd, tolerance, capacity
    return (
        lambda: AdaptiveVwapSchedule(
            case.quantity,
            case.lot,
            case.start,
            case.end,
            case.edges,
            case.weights,
            log_sd,
            tolerance,
            capacity_rate=capacity,
        ),
        lambda: spec.AdaptiveTwin(*terms),
    )


def pov(case: Case) -> Pair:
    rate = case.draw.randint(1, 10**9 - 1)
    slice_nanos = max(case.span // case.draw.randint(1, 50), 1)
    on_tape = case.draw.random() < 0.5
    return (
        lambda: PovSchedule(
            case.quantity, case.lot, case.start, case.end, rate / 1e9, slice_nanos, own_on_tape=on_tape
        ),
        lambda: spec.PovTwin(case.quantity, case.start, case.end, rate, slice_nanos, on_tape),
    )


def shortfall(case: Case) -> Pair:
    aversion = case.draw.choice([0.0, 10 ** case.draw.uniform(-9, 0)])
    sigma, eta = 10 ** case.draw.uniform(-3, 0), 10 ** case.draw.uniform(-7, -2)
    steps = min(case.draw.randint(1, 40), case.span)
    return (
        lambda: ShortfallSchedule(
            case.quantity, case.lot, case.start, case.end, aversion, sigma, eta, steps=steps
        ),
        lambda: spec.ShortfallTwin(case.quantity, case.start, case.end, aversion, sigma, eta, steps),
    )


def cut(draw: random.Random, rows: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Cut a run of prints into batches, some of them empty."""
    batches = []
    while rows:
        size = draw.randint(0, len(rows))
        batches.append(rows[:size])
        rows = rows[size:]
    return batches


def add(schedule: Schedule, rows: list[tuple[int, int]]) -> None:
    times, sizes = (np.array([row[place] for row in rows], dtype=np.int64) for place in (0, 1))
    schedule.add_volume(times.data, sizes.data)


class Action:
    """Drives a schedule, the same with its volume cut otherwise, and the twin through one drawn life."""

    def __init__(self, seed: int, make: Callable[[Case], Pair]) -> None:
        self.case = Case(seed)
        native, twin = make(self.case)
        self.one, self.other, self.twin = native(), native(), twin()
        self.now = self.case.start
        self.reached = 0
        self.may_fall = False

    def live(self) -> None:
        draw, case = self.case.draw, self.case
        self.check(case.start - 1)
        for _ in range(draw.randint(1, 14)):
            self.now += draw.choice([0, 1, draw.randint(0, max(case.span // 4, 1))])
            draw.choice([self.trade, self.trade, self.revise, self.revise, self.halt, self.replan])()
            self.check(self.now)
            self.check(self.now + draw.randint(0, case.span))
        if self.one.is_frozen:
            self.now = max(self.now, self.twin.plan_time)
            self.resume()
        if isinstance(self.one, PovSchedule) or self.one.unplanned_nanos:
            return
        # Complete: whatever came between, the end of the horizon has the whole quantity.
        assert self.one.target_nanos(case.end) == case.quantity
        assert self.one.next_change_nanos(case.end) is None

    def check(self, now: int) -> None:
        target = self.one.target_nanos(now)
        assert target == self.other.target_nanos(now)
        assert 0 <= target <= self.case.quantity
        exact = self.twin.target(now)
        if isinstance(self.one, PovSchedule):
            assert exact - self.case.lot < target <= exact
        else:
            # Half a lot, and what shares in units of 2**-62 lose when little is left to plan along.
            lost = min(2.0**-60 / max(1 - float(self.twin.planned_share), 2.0**-62), 1.0)
            slack = self.case.lot / 2 + 2 + self.case.quantity * (1e-11 + lost)
            assert abs(float(exact - target)) <= slack, (target, float(exact))
        assert (target - self.twin.done) % self.case.lot == 0 or target == self.case.quantity
        assert self.one.target_nanos(now + 1) >= target

    def trade(self) -> None:
        draw, case = self.case.draw, self.case
        times = sorted(
            draw.randint(self.now, self.now + case.span // 8 + 1) for _ in range(draw.randint(0, 6))
        )
        rows = [
            (time, draw.choice([1, draw.randint(0, 10**6) * SECOND, draw.randint(0, 10**9)]))
            for time in times
        ]
        before = self.one.target_nanos(self.now)
        add(self.one, rows)
        for batch in cut(draw, rows):
            add(self.other, batch)
        for time, size in rows:
            self.twin.add_volume(time, size)
        self.now = times[-1] if times else self.now
        assert self.one.target_nanos(self.now) >= before

    def revise(self) -> None:
        if not isinstance(self.one, AdaptiveVwapSchedule) or self.now >= self.case.end:
            return
        draw = self.case.draw
        volumes = [volume + 1e-3 for volume in self.case.volumes()]
        log_sd = draw.choice([0.0, draw.uniform(0, 1.5)])
        conditions = [draw.choice([0.0, 1.0, 10 ** draw.uniform(-1, 1)]) for _ in range(4)]
        before = self.one.target_nanos(self.now)
        pair: list[Any] = [self.one, self.other, self.twin]
        for schedule in pair:
            schedule.sense(*conditions)
            schedule.revise(self.now, volumes, log_sd)
        # News never makes a jump: it is spread over what is left of the bin.
        assert self.one.target_nanos(self.now) == before

    def halt(self) -> None:
        if self.one.is_frozen:
            self.resume()
            return
        reached = self.one.target_nanos(self.now)
        for schedule in (self.one, self.other):
            schedule.freeze(self.now)
        self.twin.plan(self.now, reached)
        self.twin.frozen = True

    def resume(self) -> None:
        for schedule in (self.one, self.other):
            schedule.resume(max(self.now, self.twin.plan_time))
        self.twin.frozen = False
        self.twin.plan(max(self.now, self.twin.plan_time), self.twin.done)

    def replan(self) -> None:
        if self.one.is_frozen:
            return
        done = self.case.draw.randint(0, self.case.quantity // self.case.lot) * self.case.lot
        for schedule in (self.one, self.other):
            schedule.replan(self.now, done)
        self.twin.plan(self.now, done)
        assert self.one.target_nanos(self.now) == done


@cases
@given(seeds)
def test_a_twap_equals_its_twin_whatever_happens(seed: int) -> None:
    Action(seed, twap).live()


@cases
@given(seeds)
def test_a_static_vwap_equals_its_twin_whatever_happens(seed: int) -> None:
    Action(seed, static).live()


@cases
@given(seeds)
def test_an_adaptive_vwap_equals_its_twin_whatever_happens(seed: int) -> None:
    Action(seed, adaptive).live()


@cases
@given(seeds)
def test_a_percentage_of_volume_equals_its_twin_whatever_happens(seed: int) -> None:
    Action(seed, pov).live()


@cases
@given(seeds)
def test_a_shortfall_schedule_equals_its_twin_whatever_happens(seed: int) -> None:
    Action(seed, shortfall).live()


@cases
@given(seeds)
def test_an_iceberg_equals_its_twin_and_ends_with_all_of_it_shown(seed: int) -> None:
    draw = random.Random(seed)
    lot = draw.choice([1, SECOND])
    shown, variation = lot * draw.randint(1, 1000), draw.choice([0.0, draw.uniform(0, 0.9)])
    key = draw.randint(0, 2**64 - 1)
    slices = IcebergSlices(shown, lot, variation, key)
    left = shown * draw.randint(0, 5) + draw.randint(0, lot - 1)
    number = 0
    while left:
        size = slices.size_nanos(number, left)
        assert size == spec.iceberg_slice(shown, lot, variation, key, number, left)
        assert 0 < size <= left
        assert size <= shown * (1 + variation) or size == lot
        left -= size
        number += 1
    assert slices.size_nanos(number, 0) == 0


@cases
@given(seeds)
def test_what_schedule_and_cap_allow_together_never_breaks_the_cap(seed: int) -> None:
    case = Case(seed)
    draw, cap, window = case.draw, case.draw.choice([0.01, 0.1, 0.5]), case.draw.choice([10, 300]) * SECOND
    schedule = draw.choice([twap, static, adaptive, pov, shortfall])(case)[0]()
    tracker = ParticipationTracker(window, assumed_pace=0.25)
    now, done, market, own = case.start, 0, [], []
    for _ in range(draw.randint(1, 15)):
        now += draw.choice([1, draw.randint(1, max(case.span // 8, 1))])
        market.append((now, draw.randint(0, 10**5) * SECOND))
        add(schedule, market[-1:])
        tracker.add_volume(*(np.array([value], dtype=np.int64).data for value in market[-1]))
        child = max(min(schedule.target_nanos(now) - done, tracker.allowed_nanos(now, cap)), 0)
        child = child // case.lot * case.lot
        if child:
            tracker.add_own_fill(now, child)
            own.append((now, child))
            done += child
        assert done <= case.quantity
    for time, _ in own:
        mine = sum(size for at, size in own if time - window < at <= time)
        volume = sum(size for at, size in market if time - window < at <= time)
        assert mine <= Fraction(round(cap * 1e9), 10**9) * (volume + mine)


def test_the_rule_with_five_points_is_the_mean_over_the_level_of_what_is_to_come() -> None:
    grid = np.linspace(-8, 8, 4001)
    density = np.exp(-(grid**2) / 2) / np.exp(-(grid**2) / 2).sum()
    for log_sd in (0.1, 0.3, 0.5):
        level = np.exp(log_sd * grid - log_sd**2 / 2)
        for seen, until, rest in ((0.0, 10.0, 100.0), (50.0, 10.0, 50.0), (10.0, 60.0, 90.0)):
            exact = float((density * (seen + until * level) / (seen + rest * level)).sum())
            assert spec.expected_share(seen, until, rest, log_sd) == pytest.approx(exact, abs=2e-4)


def test_a_volume_surprise_moves_the_curve_and_a_recount_takes_it_back() -> None:
    bins = [OPEN + i * 300 * SECOND for i in range(11)]
    schedule = AdaptiveVwapSchedule(1000 * SECOND, SECOND, bins[0], bins[-1], bins, [100.0] * 10)
    add(schedule, [(OPEN + 1, 200 * SECOND)])
    assert schedule.observed_shares == 200.0
    schedule.revise(bins[1], [100.0] * 10)
    assert schedule.target_nanos(bins[2]) == 273 * SECOND  # (200 + 100) of (200 + 900)
    schedule.recount_volume()
    add(schedule, [(OPEN + 1, 100 * SECOND)])
    assert schedule.observed_shares == 100.0
    schedule.sense(spread=0.5, depth=2.0, volume=2.0, volatility=2.0)
    assert schedule.liquidity_score == pytest.approx(np.log(2))


def test_a_percentage_of_volume_counts_anew_after_a_correction() -> None:
    schedule = PovSchedule(1000, 1, 0, 100, 0.5, 10)
    add(schedule, [(5, 100), (25, 60)])
    assert (schedule.rate, schedule.observed_shares) == (0.5, 160e-9)
    assert [schedule.target_nanos(now) for now in (0, 9, 10, 24, 25, 99)] == [0, 0, 50, 50, 80, 80]
    assert schedule.planned_share(99) == pytest.approx(0.08)
    schedule.recount_volume()
    add(schedule, [(5, 40)])
    assert schedule.target_nanos(99) == 20
    add(schedule, [(100, 1_000)])
    assert schedule.target_nanos(200) == 20
    add(schedule, [(99, 2**63 - 1), (99, 2**63 - 1), (99, 2**63 - 1)])
    assert schedule.target_nanos(99) == 1000


def test_shortfall_is_twap_for_the_indifferent_and_all_at_once_for_the_frightened() -> None:
    def at_half(aversion: float) -> int:
        schedule = ShortfallSchedule(10**6, 1, 0, 3600 * SECOND, aversion, 0.1, 1e-3, 1e-9)
        return schedule.target_nanos(1800 * SECOND)

    halves = [at_half(aversion) for aversion in (0.0, 1e-9, 1e-4, 1e-2, 1.0, 1e9)]
    assert halves[0] == 500_000
    assert halves == sorted(halves)
    assert halves[-1] == 10**6
    assert ShortfallSchedule(1, 1, 0, 10 * SECOND, 1.0, 0.1, 0.01).kappa_per_second == pytest.approx(
        1, rel=1e-3
    )


def test_a_schedule_that_is_fixed_beforehand_ignores_volume() -> None:
    schedule = TwapSchedule(100, 1, 0, 100)
    add(schedule, [(10, 5)])
    schedule.recount_volume()
    assert schedule.target_nanos(50) == 50


def bad_columns() -> None:
    TwapSchedule(1, 1, 0, 1).add_volume(np.array([2, 1]), np.array([1, 1]))


ADAPTIVE = (1, 1, 0, 2, [0, 2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: AdaptiveVwapSchedule(1, 1, 1, 1, [0, 2], [1]), "not after start_nanos"),
        (lambda: AdaptiveVwapSchedule(1, 1, 0, 2, [0, 2], [1, 2]), "2 volumes need 3"),
        (lambda: AdaptiveVwapSchedule(1, 1, 0, 2, [0, 2, 2], [1, 2]), r"bin_edges_nanos\[2\] does not rise"),
        (lambda: AdaptiveVwapSchedule(1, 1, 0, 3, [0, 2], [1]), "not the whole"),
        (lambda: AdaptiveVwapSchedule(*ADAPTIVE, [float("inf")]), r"volumes\[0\] is not finite"),
        (lambda: AdaptiveVwapSchedule(*ADAPTIVE, [-1.0]), r"volumes\[0\] is negative"),
        (lambda: AdaptiveVwapSchedule(*ADAPTIVE, [0.0]), "volumes are all zero"),
        (lambda: AdaptiveVwapSchedule(*ADAPTIVE, [1.0], 3.0), "log_sd must lie in"),
        (lambda: AdaptiveVwapSchedule(*ADAPTIVE, [1.0], 0.0, 0.3), "tolerance must lie in"),
        (lambda: AdaptiveVwapSchedule(*ADAPTIVE, [1.0], capacity_rate=-1.0), "capacity_rate must be finite"),
        (lambda: AdaptiveVwapSchedule(*ADAPTIVE, [1.0]).revise(1, [1.0, 2.0]), "the session has 1 bins"),
        (lambda: AdaptiveVwapSchedule(*ADAPTIVE, [1.0]).revise(1, [-1.0]), "negative, not finite or empty"),
        (lambda: AdaptiveVwapSchedule(*ADAPTIVE, [1.0]).revise(1, [0.0]), "negative, not finite or empty"),
        (lambda: AdaptiveVwapSchedule(*ADAPTIVE, [1.0]).revise(1, [1.0], 9.0), "or log_sd 9.0 is"),
        (lambda: PovSchedule(1, 1, 1, 1, 0.1), "not after start_nanos"),
        (lambda: PovSchedule(1, 1, 0, 1, 1.0), "rate must lie between 0 and 1"),
        (lambda: PovSchedule(1, 1, 0, 10**9, 0.1, 1), "cuts the horizon too fine"),
        (lambda: ShortfallSchedule(1, 1, 1, 1, 0, 0, 0), "not after start_nanos"),
        (lambda: ShortfallSchedule(1, 1, 0, 1, 0, 0, 0, steps=0), "steps must lie in"),
        (lambda: ShortfallSchedule(1, 1, 0, 1, -1.0, 0, 0), "risk_aversion must be finite and not negative"),
        (lambda: ShortfallSchedule(1, 1, 0, 1, 1.0, 1.0, 0.0), "not above half the permanent"),
        (lambda: IcebergSlices(0, 1), "must be above zero"),
        (lambda: IcebergSlices(1, 1, 1.0), "variation must lie in"),
        (bad_columns, "runs backwards"),
    ],
)
def test_bad_input_is_refused_with_its_reason(call: Any, message: Any) -> None:
    with pytest.raises(ValueError, match=message):
        call()
