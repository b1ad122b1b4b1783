"""Scores, intervals, the walk and the fit against plain twins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, matthews_corrcoef, roc_auc_score

from servers.signals.domain import scores
from servers.signals.domain.model import fit_linear, fit_platt, sigmoid
from servers.signals.domain.panel import FeatureBlock, Group, Panel
from servers.signals.domain.walk_forward import WalkForward


def panel(days: int, rows: int, label_length: int = 1) -> Panel:
    day = np.repeat(np.arange(days), rows).astype(np.int64)
    chance = np.random.default_rng(1)
    start = day * 100
    return Panel(
        day,
        start,
        start + 10,
        start + 100 * label_length + 5,
        chance.standard_normal(len(day)),
        {Group.PRICE: FeatureBlock(("x",), chance.standard_normal((len(day), 1)))},
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(30, 300))
def test_metrics_are_those_of_scikit_learn(seed: int, count: int) -> None:
    chance = np.random.default_rng(seed)
    day = np.sort(chance.integers(0, 25, count)).astype(np.int64)
    rose = chance.random(count) < 0.5
    rose[:2] = (True, False)
    probability = np.round(chance.random(count), 2)  # with ties
    counts = scores.count_by_day(day, rose, probability)
    found = dict(zip(scores.METRICS, counts.metrics(np.ones((1, len(counts.cells))))[0], strict=True))
    said = probability > 0.5
    assert found["accuracy"] == pytest.approx((said == rose).mean())
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(rose, said))
    assert found["mcc"] == pytest.approx(matthews_corrcoef(rose, said))
    assert found["auc"] == pytest.approx(roc_auc_score(rose, probability))


def test_no_interval_is_printed_below_twenty_days() -> None:
    for days, is_printed in ((19, False), (20, True)):
        day = np.repeat(np.arange(days), 5)
        rose = np.random.default_rng(1).random(len(day)) < 0.5
        counts = scores.count_by_day(day, rose, np.where(rose, 0.6, 0.7))
        found = scores.scored(counts, scores.draw_days(days, 200, 1, 1))
        assert np.isfinite(found["accuracy"].low) == is_printed


def test_days_that_move_together_widen_the_interval() -> None:
    chance = np.random.default_rng(2)
    day = np.repeat(np.arange(50), 20)
    together = np.repeat(chance.random(50) < 0.5, 20)
    apart = chance.random(1_000) < 0.5
    weights = scores.draw_days(50, 1_000, 1, 1)
    widths = []
    for right in (together, apart):
        found = scores.scored(scores.count_by_day(day, right, np.full(1_000, 0.6)), weights)["accuracy"]
        widths.append(found.high - found.low)
    assert widths[0] > 3 * widths[1]


def test_the_bootstrap_finds_nothing_at_its_nominal_rate() -> None:
    found = 0
    for seed in range(80):
        chance = np.random.default_rng(seed)
        day, rose = np.repeat(np.arange(40), 5), chance.random(200) < 0.5
        one, other = (scores.count_by_day(day, rose, chance.random(200)) for _ in range(2))
        found += scores.gain(one, other, scores.draw_days(40, 200, 1, 1)).p_value < 0.05
    # 4 are expected; more than 12 would come by chance less than once in a thousand times.
    assert found <= 12


def test_power_grows_with_the_effect() -> None:
    assert scores.power(0.0, 0.02) == pytest.approx(0.05, abs=1e-3)
    assert scores.power(2.8016 * 0.02, 0.02) == pytest.approx(0.8, abs=1e-3)
    assert scores.power(0.1, 0.0) == 1.0


def test_holm_corrects_for_all_that_was_tried() -> None:
    assert scores.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert scores.holm([]) == []


def test_nothing_is_learnt_whose_outcome_was_not_known() -> None:
    rows = panel(40, 3, label_length=2)
    seen = np.zeros(len(rows), dtype=np.int64)
    for learnt, asked in WalkForward(10, 4, embargo_nanos=50).folds(rows):
        question = rows.decision_nanos[asked].min()
        assert (rows.label_end_nanos[learnt] + 50 <= question).all()
        assert rows.day[learnt].max() < rows.day[asked].min()
        seen += asked
    assert (seen[rows.day >= 10] == 1).all()
    assert (seen[rows.day < 10] == 0).all()


def test_the_fit_knows_no_more_than_the_frequency_without_rows_or_features() -> None:
    few = fit_linear(("x",), np.zeros((10, 1)), np.arange(10) < 8, 1.0)
    assert few.probability(np.array([[3.0]]))[0] == pytest.approx(9 / 12)
    none = fit_linear((), np.zeros((100, 0)), np.arange(100) < 50, 1.0)
    assert none.probability(np.zeros((1, 0)))[0] == pytest.approx(0.5)


def test_the_fit_finds_what_is_there_and_what_is_missing_counts_as_the_mean() -> None:
    chance = np.random.default_rng(3)
    values = np.column_stack([chance.standard_normal(4_000), np.full(4_000, 7.0)])
    rose = chance.random(4_000) < sigmoid(1.5 * values[:, 0])
    model = fit_linear(("x", "flat"), values, rose, 1.0)
    assert model.coefficients[0] == pytest.approx(1.5, abs=0.2)
    assert model.coefficients[1] == 0.0
    missing = model.probability(np.array([[np.nan, np.nan]]))
    assert missing[0] == pytest.approx(model.probability(model.means[None, :])[0])


def test_calibration_takes_back_what_is_overconfident() -> None:
    chance = np.random.default_rng(4)
    odds = chance.standard_normal(5_000)
    slope, offset = fit_platt(3.0 * odds, chance.random(5_000) < sigmoid(odds))
    assert slope == pytest.approx(1 / 3, abs=0.05)
    assert abs(offset) < 0.1
    assert fit_platt(odds, chance.random(5_000) < sigmoid(-odds))[0] == 0.0
    assert scores.calibration_error(np.ones(100, dtype=bool), np.full(100, 0.6)) == pytest.approx(0.4)
