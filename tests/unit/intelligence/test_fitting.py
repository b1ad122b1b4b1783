"""A calibration fitted to labelled texts finds what was planted, and is judged on texts it has not seen."""

from __future__ import annotations

import math
import random

import pytest

from servers.intelligence.domain.calibration import Calibration
from servers.intelligence.domain.fitting import Read, fit, goodness_of, out_of_fold
from servers.intelligence.domain.sentiment import Label, Scores


def drawn(draw: random.Random, count: int) -> list[Read]:
    """Texts whose probabilities are right."""
    reads: list[Read] = []
    for _ in range(count):
        powers = [math.exp(draw.gauss(0, 1.5)) for _ in range(3)]
        scores = Scores(*(power / sum(powers) for power in powers))
        reads.append((scores, draw.choices(list(Label), scores)[0]))
    return reads


def test_a_planted_distortion_is_found_and_undone() -> None:
    reads = drawn(random.Random(1), 2_500)
    distortion = Calibration(0.5, (0.6, -0.4, -0.2))
    distorted = [(distortion.apply(scores), label) for scores, label in reads]
    found = fit(distorted)
    assert found.temperature == pytest.approx(2.0, rel=0.1)
    assert found.bias == pytest.approx((-0.3, 0.2, 0.1), abs=0.1)
    before, after = goodness_of(distorted), goodness_of(out_of_fold(distorted))
    assert before.calibration_error > 0.1
    assert after.calibration_error < 0.03
    assert after.accuracy > before.accuracy


def test_right_probabilities_are_left_about_as_they_are() -> None:
    found = fit(drawn(random.Random(2), 2_500))
    assert found.temperature == pytest.approx(1.0, abs=0.1)
    assert found.bias == pytest.approx((0.0, 0.0, 0.0), abs=0.1)
    assert sum(found.bias) == pytest.approx(0.0, abs=1e-9)


def test_a_model_that_is_always_right_gets_a_finite_calibration() -> None:
    reads = [(Scores(0.1, 0.1, 0.8), Label.BULLISH), (Scores(0.8, 0.1, 0.1), Label.BEARISH)] * 50
    found = fit(reads)
    assert 0.0 < found.temperature < 1.0
    assert goodness_of(out_of_fold(reads)).accuracy == 1.0


def test_a_model_that_says_nothing_is_made_humble() -> None:
    draw = random.Random(3)
    reads = [
        (
            Scores(0.02, 0.02, 0.96) if draw.random() < 0.5 else Scores(0.96, 0.02, 0.02),
            draw.choice(list(Label)),
        )
        for _ in range(250)
    ]
    goodness = goodness_of(out_of_fold(reads))
    assert goodness.confident_share == 0.0
    assert goodness.confident_accuracy == 0.0


def test_too_few_texts_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 50"):
        fit(drawn(random.Random(4), 49))
    with pytest.raises(ValueError, match="no texts"):
        goodness_of([])
