"""Fit the two models of the simulated market and score them out of sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from servers.model.nanos import NANO
from servers.signals.domain import scores
from servers.signals.domain.model import LinearModel, fit_linear
from servers.signals.domain.panel import Bools, Doubles, Group, Panel
from servers.signals.domain.trained import ALL_GROUPS, PRICE_GROUPS, TrainedModel
from servers.signals.domain.walk_forward import WalkForward
from servers.signals.training.world import HORIZON_MINUTES, WorldOptions, simulate

STRENGTH = 0.05
SCHEME = WalkForward(first_train_days=20, refit_days=5, embargo_nanos=HORIZON_MINUTES * 60 * NANO)
HALF_LIFE_SECONDS = 1_200
"""Between the half-lives of what news (600 s) and social posts (1,800 s) do in the simulated market."""


def train(
    name: str, options: WorldOptions, on_session: Callable[[int], None] = lambda _: None
) -> TrainedModel:
    """Simulate, walk forward to score and calibrate, then fit on everything."""
    panel = simulate(options, on_session).panel
    with_posts, all_scores, count = _fit(panel, ALL_GROUPS)
    price_only, price_scores, _ = _fit(panel, PRICE_GROUPS)
    recipe: dict[str, Any] = {
        "world": asdict(options),
        "walk_forward": asdict(SCHEME),
        "strength": STRENGTH,
        "out_of_sample": {"with_posts": all_scores, "price_only": price_scores},
    }
    return TrainedModel(
        name,
        with_posts,
        price_only,
        HALF_LIFE_SECONDS * NANO,
        HORIZON_MINUTES * 60 * NANO,
        f"logistic regression on {options.sessions} simulated sessions of {options.symbols} symbols with a "
        f"planted effect of {options.effect_bps:g} bps (seed {options.seed}); out of sample over {count:,} "
        f"rows: accuracy {all_scores['accuracy']:.3f} with posts, {price_scores['accuracy']:.3f} from prices "
        f"alone; calibration error {all_scores['expected_calibration_error']:.3f}",
        recipe,
    )


def _fit(panel: Panel, groups: tuple[Group, ...]) -> tuple[LinearModel, dict[str, float], int]:
    """Return the model of all rows, calibrated on the walk's answers, with scores out of sample."""
    names, values = panel.matrix(groups)
    rose = panel.rose
    odds: Doubles = np.zeros(len(panel))
    asked: Bools = np.zeros(len(panel), dtype=np.bool_)
    for learnt, questions in SCHEME.folds(panel):
        odds[questions] = fit_linear(names, values[learnt], rose[learnt], STRENGTH).log_odds(
            values[questions]
        )
        asked |= questions
    model = fit_linear(names, values, rose, STRENGTH).calibrated(odds[asked], rose[asked])
    # The scores come from the first half's calibration on the second half: nothing scores itself.
    days = np.unique(panel.day[asked])
    later = asked & (panel.day > days[len(days) // 2])
    earlier = asked & ~later
    answer = model.calibrated(odds[earlier], rose[earlier])
    probability = 1.0 / (1.0 + np.exp(-(answer.slope * odds[later] + answer.offset)))
    counts = scores.count_by_day(panel.day[later], rose[later], probability)
    figures = counts.metrics(np.ones((1, len(counts.cells))))[0]
    found = {name: round(float(figure), 4) for name, figure in zip(scores.METRICS, figures, strict=True)}
    found["expected_calibration_error"] = round(scores.calibration_error(rose[later], probability), 4)
    return model, found, int(later.sum())
