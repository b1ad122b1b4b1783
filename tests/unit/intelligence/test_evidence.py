"""Evidence that is watched after every observation keeps the error rate that it states."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.intelligence.domain.evidence import MeanEvidence, RateEvidence, RatioEvidence, Window
from servers.intelligence.domain.rollout import Plan, Stage
from servers.intelligence.domain.sentiment import Label, Scores
from servers.intelligence.domain.trial import Pair, Trial

RUNS = 1_000
ALPHA = 0.05
UP, DOWN, CALM = Scores(0.1, 0.1, 0.8), Scores(0.8, 0.1, 0.1), Scores(0.1, 0.8, 0.1)


def within(alpha: float, runs: int = RUNS) -> int:
    """The most rejections that a test of level alpha shows in all but one of 10,000 repetitions."""
    return round(runs * alpha + 3.72 * math.sqrt(runs * alpha * (1 - alpha)))


def test_a_rate_at_its_bound_is_refuted_no_more_often_than_stated() -> None:
    draw = random.Random(1)
    refuted = 0
    for _ in range(RUNS):
        evidence = RateEvidence(0.1)
        for _ in range(300):
            evidence.observe(draw.random() < 0.1)
            if evidence.value >= 1 / ALPHA:
                refuted += 1
                break
    assert refuted <= within(ALPHA)


def test_a_mean_at_its_bound_is_refuted_no_more_often_than_stated() -> None:
    draw = random.Random(2)
    refuted = 0
    for _ in range(RUNS):
        evidence = MeanEvidence(0.49)
        for _ in range(300):
            # Three values, as differences of two right or wrong answers have; mean 0.49.
            evidence.observe(draw.choices((0.0, 0.5, 1.0), (0.11, 0.80, 0.09))[0])
            if evidence.value >= 1 / ALPHA:
                refuted += 1
                break
    assert refuted <= within(ALPHA)


def test_a_stated_ratio_is_refuted_no_more_often_than_stated() -> None:
    draw = random.Random(3)
    refuted = 0
    for _ in range(RUNS):
        evidence = RatioEvidence(0.25)
        for _ in range(300):
            evidence.observe(draw.random() < 0.25)
            if evidence.value >= 1 / ALPHA:
                refuted += 1
                break
    assert refuted <= within(ALPHA)


@pytest.mark.parametrize(("rate", "most"), [(0.66, 30), (0.4, 60), (0.2, 400)])
def test_a_rate_above_its_bound_is_found(rate: float, most: int) -> None:
    draw = random.Random(4)
    counts = []
    for _ in range(100):
        evidence = RateEvidence(0.1)
        while evidence.value < 100:
            evidence.observe(draw.random() < rate)
        counts.append(evidence.count)
    assert sorted(counts)[94] <= most


def test_a_wrong_ratio_is_found() -> None:
    draw = random.Random(5)
    evidence = RatioEvidence(0.25)
    while evidence.value < 1_000:
        evidence.observe(draw.random() < 0.5)
    assert evidence.count < 300


def test_a_mean_above_its_bound_is_found() -> None:
    evidence = MeanEvidence(0.49)
    while evidence.value < 20:
        evidence.observe(0.5)
    assert evidence.count < 600


@given(st.lists(st.booleans(), max_size=40), st.floats(0.01, 0.9))
def test_one_more_observation_is_a_fair_bet_at_the_bound(hits: list[bool], bound: float) -> None:
    """The expectation after one more observation at the bound is what it was: the martingale itself."""
    for kind in (RateEvidence, RatioEvidence):
        before, with_hit, with_miss = kind(bound), kind(bound), kind(bound)
        for evidence in (before, with_hit, with_miss):
            for hit in hits:
                evidence.observe(hit)
        with_hit.observe(True)
        with_miss.observe(False)
        expected = bound * with_hit.value + (1 - bound) * with_miss.value
        assert expected == pytest.approx(before.value, rel=1e-9)


@given(st.lists(st.floats(0, 1), max_size=40), st.floats(0.05, 0.95))
def test_a_bet_on_a_mean_is_fair_and_never_ruins(values: list[float], bound: float) -> None:
    evidences = [MeanEvidence(bound) for _ in range(3)]
    for evidence in evidences:
        for value in values:
            evidence.observe(value)
    before = evidences[0].value
    evidences[1].observe(1.0)
    evidences[2].observe(0.0)
    assert bound * evidences[1].value + (1 - bound) * evidences[2].value == pytest.approx(before, rel=1e-9)
    assert evidences[2].value > 0


def test_a_value_outside_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match="outside"):
        MeanEvidence(0.5).observe(1.5)


def test_a_window_forgets_the_oldest_values() -> None:
    window = Window(4)
    assert window.percentile(0.95) == 0.0
    for value in (9.0, 1.0, 2.0, 3.0, 4.0):
        window.add(value)
    assert sorted(window.values) == [1.0, 2.0, 3.0, 4.0]
    assert window.percentile(0.5) == 2.0
    assert window.percentile(1.0) == 4.0
    assert window.percentile(0.0) == 1.0


def run_trial(draw: random.Random, plan: Plan, agreement: float, slowness: float, batches: int) -> str | None:
    """Return why a candidate was rolled back, which agrees so often and is slower by so much."""
    trial = Trial(plan)
    trial.begin_stage(Stage.PERCENT_25)
    for batch in range(batches):
        pairs = [
            Pair(f"{batch}-{place}".encode(), f"E{place}", UP if draw.random() < agreement else DOWN, UP)
            for place in range(4)
        ]
        load = draw.lognormvariate(-2.5, 0.6)
        own, other = load * draw.lognormvariate(slowness, 0.3), load * draw.lognormvariate(0.0, 0.3)
        trial.called(True, own, is_failure=draw.random() < 0.002)
        trial.compare(pairs)
        trial.compare_latency(len(pairs), own, other)
        right = draw.random() < 0.85
        label = Label.BULLISH if right else Label.BEARISH
        trial.replay(label, UP if draw.random() < 0.97 else CALM, UP if draw.random() < 0.97 else CALM)
        reason = trial.reason_to_roll_back()
        if reason is not None:
            return reason
    return None


def test_a_thousand_roll_outs_of_an_equal_version_hold_the_stated_error_rate() -> None:
    draw = random.Random(6)
    plan = Plan(alpha=ALPHA)
    rolled_back = sum(run_trial(draw, plan, 0.95, 0.0, 60) is not None for _ in range(RUNS))
    assert rolled_back <= within(ALPHA)


def test_roll_outs_at_the_bound_of_agreement_hold_it_too() -> None:
    draw = random.Random(7)
    plan = Plan(alpha=ALPHA)
    rolled_back = sum(run_trial(draw, plan, plan.min_agreement, 0.0, 60) is not None for _ in range(300))
    assert rolled_back <= within(ALPHA, 300)


@pytest.mark.parametrize(
    ("agreement", "slowness", "reason"), [(0.33, 0.0, "agrees"), (0.97, math.log(5.0), "slower")]
)
def test_a_version_that_is_merely_worse_is_found(agreement: float, slowness: float, reason: str) -> None:
    draw = random.Random(8)
    found = run_trial(draw, Plan(alpha=ALPHA), agreement, slowness, 2_000)
    assert found is not None
    assert reason in found
