from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from native.participation import ParticipationTracker
from tests.native import twins

WINDOW, BUCKET = 120, 2
CAPS = (0.0, 0.05, 0.1, 0.25, 0.9)
# (gap to the event before, market volume, share of what is allowed that is then done)
events = st.lists(
    st.tuples(st.integers(0, 25), st.integers(0, 10**15), st.sampled_from([0.0, 0.3, 1.0])),
    min_size=1,
    max_size=80,
)


def one(value: Any) -> Any:
    return np.array([value], np.int64)


@given(events, st.sampled_from(CAPS), st.booleans(), st.sampled_from([0.0, 0.25, 1.0]))
def test_whoever_does_no_more_than_allowed_keeps_the_cap_wherever_it_is_promised(
    steps: Any, cap: Any, on_tape: Any, pace: Any
) -> None:
    tracker = ParticipationTracker(WINDOW, assumed_pace=pace, own_on_tape=on_tape)
    cap_billionths, pace_billionths = int(cap * 10**9 + 0.5), int(pace * 10**9 + 0.5)
    tape: list[tuple[int, int]] = []
    own: list[tuple[int, int]] = []
    step_after: dict[int, int] = {}
    now = 0
    for gap, volume, part in steps:
        now += gap
        tracker.add_volume(one(now), one(volume))
        tape.append((now, volume))
        allowed = tracker.allowed_nanos(now, cap)
        recent = [event for event in tape if event[0] > now - WINDOW - BUCKET]
        done_recently = [event for event in own if event[0] > now - WINDOW - BUCKET]
        assert allowed == twins.allowed(
            recent, done_recently, now, cap_billionths, WINDOW, on_tape, pace_billionths
        )
        size = int(allowed * part)
        if size:
            oldest = max(now - WINDOW + 1, 0) // BUCKET
            seen = sum(size for time, size in tape if time >= oldest * BUCKET)
            seen += 0 if on_tape else sum(size for time, size in own if time >= oldest * BUCKET)
            step_after[now] = seen * pace_billionths // ((now // BUCKET - oldest + 1) * 10**9)
            tracker.add_own_fill(now, size)
            own.append((now, size))
            if on_tape:
                tracker.add_volume(one(now), one(size))
                tape.append((now, size))

    def volume_of(start: Any, end: Any) -> Any:
        return sum(size for time, size in tape if start < time <= end)

    def holds(start: Any, end: Any) -> Any:
        done = sum(size for time, size in own if start < time <= end)
        market = volume_of(start, end) + (0 if on_tape else done)
        return done * 10**9 <= cap_billionths * market

    for fill, _ in own:
        for length in range(WINDOW if pace else 1, WINDOW + 1):
            assert holds(fill - length, fill)
        assert holds(-1, fill)
    for end in range(now + WINDOW):
        last = max((time for time, _ in own if time <= end), default=None)
        if last is not None:
            buckets = max(end - WINDOW + 1, 0) // BUCKET - max(last - WINDOW + 1, 0) // BUCKET
            to_come = step_after[last] * max(buckets - 1, 0)
            assert volume_of(last, end) < to_come or holds(end - WINDOW, end)


def test_the_rates_of_the_window_are_told() -> None:
    tracker = ParticipationTracker(100)
    assert tracker.participation_rate(0) == 0.0
    tracker.add_volume(np.array([10, 20]), np.array([60, 30]))
    tracker.add_own_fill(20, 10)
    assert tracker.volume_nanos(20) == 100
    assert tracker.own_nanos(20) == 10
    assert tracker.participation_rate(20) == 0.1
    assert tracker.volume_nanos(110) == 40


def test_an_own_fill_may_come_late_and_still_counts_at_its_time() -> None:
    tracker = ParticipationTracker(100)
    tracker.add_volume(np.array([10, 20, 30]), np.array([100, 100, 100]))
    tracker.add_own_fill(25, 4)
    tracker.add_own_fill(15, 2)
    assert tracker.own_nanos(20) == 2
    assert tracker.own_nanos(30) == 6


def test_corrections_restore_what_never_happened() -> None:
    tracker = ParticipationTracker(100)
    tracker.add_volume(np.array([20, 20]), np.array([900, 900]))
    tracker.add_own_fill(20, 50)
    before = tracker.allowed_nanos(20, 0.1)
    tracker.correct_volume(20, 900, 450)
    tracker.correct_volume(20, 900)
    assert tracker.volume_nanos(20) == 500
    assert tracker.allowed_nanos(20, 0.1) == 0
    tracker.correct_own_fill(20, 50)
    assert tracker.allowed_nanos(20, 0.1) == 50
    assert before == 150
    tracker.correct_volume(5, 1)


def test_many_events_pass_through_and_only_the_window_is_kept() -> None:
    tracker = ParticipationTracker(1000)
    for start in range(0, 100_000, 500):
        tracker.add_volume(np.arange(start, start + 500), np.full(500, 7))
    assert tracker.volume_nanos(99_999) == 7000
    assert tracker.allowed_nanos(99_999, 0.5) == 7


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: t.add_volume(np.array([1, 2]), one(1)), "sizes has 1 elements"),
        (lambda t: t.add_volume(np.array([1, 2]), np.array([1, -1])), r"sizes\[1\] is negative"),
        (lambda t: t.add_volume(np.array([9, 8]), np.array([1, 1])), r"times\[1\] runs backwards"),
        (
            lambda t: (t.add_volume(one(9), one(1)), t.add_volume(one(8), one(1))),
            r"times\[0\] runs backwards",
        ),
        (lambda t: t.add_own_fill(0, -1), "size is negative"),
        (lambda t: t.correct_volume(0, -1), "a size is negative"),
        (lambda t: t.correct_own_fill(0, -1), "a size is negative"),
        (lambda t: (t.add_volume(one(9), one(1)), t.correct_volume(9, 2)), "no volume of 2 at 9"),
        (lambda t: t.allowed_nanos(0, 1.0), "cap must lie"),
        (lambda t: ParticipationTracker(0), "window_nanos must be above 0"),
        (lambda t: ParticipationTracker(assumed_pace=1.5), "assumed_pace must lie"),
    ],
)
def test_bad_input_is_refused_with_its_reason(call: Any, message: Any) -> None:
    with pytest.raises(ValueError, match=message):
        call(ParticipationTracker())
