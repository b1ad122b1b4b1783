"""From answers to findings: scores by model, gains over the comparator, corrected for all that was tried."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from servers.signals.domain import scores
from servers.signals.domain.panel import Bools, Doubles, Panel
from servers.signals.evaluation.study import ALL, MAJORITY, NEWS_ONLY, PRICE_ONLY, SOCIAL_ONLY, Answers

SAMPLES, SEED = 2_000, 20_141
TARGET_LOW, TARGET_HIGH = 0.12, 0.18
"""The specification's target: relative gain of accuracy over a model without social data."""
FALL_BELOW, RISE_ABOVE = -0.005, 0.0055
"""The paper-style filter keeps moves outside these bounds (Xu and Cohen, 2018)."""
WITH_POSTS = (NEWS_ONLY, SOCIAL_ONLY, ALL)


@dataclass(frozen=True, slots=True)
class Table:
    """Scores and gains of every model on one choice of rows."""

    title: str
    rows: int
    days: int
    base_rate: float
    by_model: Mapping[str, Mapping[str, scores.Score]]
    calibration_errors: Mapping[str, float]
    comparator: str
    gains: Mapping[str, scores.Gain]
    mcc_comparator: str
    mcc_gains: Mapping[str, scores.Gain]

    def to_json(self) -> dict[str, Any]:
        """Return the table for a file; what is unknown is null."""
        return {
            "title": self.title,
            "stock_days": self.rows,
            "days": self.days,
            "share_of_rises": _known(self.base_rate),
            "models": {
                model: {name: score_json(score) for name, score in by_name.items()}
                | {"expected_calibration_error": _known(self.calibration_errors[model])}
                for model, by_name in self.by_model.items()
            },
            "comparator": self.comparator,
            "mcc_comparator": self.mcc_comparator,
            "gains": {model: gain_json(gain, self.mcc_gains[model]) for model, gain in self.gains.items()},
        }


@dataclass(slots=True)
class ConfigurationLog:
    """Every comparison that was made, so that none is found by trying many."""

    entries: list[dict[str, Any]] = field(default_factory=list)

    def record(self, configuration: str, table: Table) -> None:
        """Add the comparisons of one configuration: each model with posts, by accuracy and by MCC."""
        for model, gain in table.gains.items():
            self.entries.append(
                {
                    "configuration": configuration,
                    "rows": table.title,
                    "model": model,
                    "relative_accuracy_gain": gain.relative.value,
                    "p_value": gain.p_value,
                    "mcc_gain": table.mcc_gains[model].mcc.value,
                    "mcc_p_value": table.mcc_gains[model].mcc_p_value,
                }
            )

    def corrected(self) -> list[dict[str, Any]]:
        """Return the comparisons with their p-values corrected for all of them together (Holm, 1979)."""
        raw = [entry[name] for entry in self.entries for name in ("p_value", "mcc_p_value")]
        fixed = scores.holm(raw)
        return [
            entry | {"corrected_p_value": fixed[2 * at], "corrected_mcc_p_value": fixed[2 * at + 1]}
            for at, entry in enumerate(self.entries)
        ]


def compare(
    title: str, panel: Panel, answers: Mapping[str, Answers], chosen: Bools | None = None, block_days: int = 1
) -> Table:
    """Score every model on the rows that all were asked about (and that are chosen), day by day together."""
    rows = next(iter(answers.values())).asked.copy()
    if chosen is not None:
        rows &= chosen
    day, rose = panel.day[rows], panel.rose[rows]
    counts = {
        model: scores.count_by_day(day, rose, answer.probability[rows]) for model, answer in answers.items()
    }
    days = len(np.unique(day))
    weights = scores.draw_days(days, SAMPLES, block_days, SEED)
    scored = {model: scores.scored(count, weights) for model, count in counts.items()}
    # Each comparator is the better of the two by its own measure, seen after the fact: that favours neither.
    comparator = max((MAJORITY, PRICE_ONLY), key=lambda model: scored[model]["accuracy"].value)
    mcc_comparator = max((MAJORITY, PRICE_ONLY), key=lambda model: scored[model]["mcc"].value)
    present = [model for model in WITH_POSTS if model in answers]
    return Table(
        title=title,
        rows=int(rows.sum()),
        days=days,
        base_rate=float(rose.mean()),
        by_model=scored,
        calibration_errors={
            model: scores.calibration_error(rose, answer.probability[rows])
            for model, answer in answers.items()
        },
        comparator=comparator,
        gains={model: scores.gain(counts[model], counts[comparator], weights) for model in present},
        mcc_comparator=mcc_comparator,
        mcc_gains={model: scores.gain(counts[model], counts[mcc_comparator], weights) for model in present},
    )


def verdict(gain: scores.Gain, corrected_p_value: float) -> dict[str, Any]:
    """Say how a gain stands against the target, and what the data could have shown."""
    known = math.isfinite(gain.relative.low)
    return {
        "target_low": TARGET_LOW,
        "target_high": TARGET_HIGH,
        "relative_gain": gain.relative.value,
        "interval": [_known(gain.relative.low), _known(gain.relative.high)],
        "holds": bool(gain.relative.value >= TARGET_LOW),
        "is_significant": bool(known and corrected_p_value < 0.05 and gain.relative.value > 0),
        "target_is_excluded": bool(known and gain.relative.high < TARGET_LOW),
        "power_at_target_low": scores.power(TARGET_LOW, gain.standard_error) if known else None,
        "power_at_3_percent": scores.power(0.03, gain.standard_error) if known else None,
        # Twice-sided 5 %, found four times out of five.
        "smallest_gain_found_at_80_percent": 2.8016 * gain.standard_error if known else None,
    }


def kept_moves(moves: Doubles) -> Bools:
    """Return which moves the paper-style filter keeps."""
    simple = np.expm1(moves)
    return (simple <= FALL_BELOW) | (simple > RISE_ABOVE)


def score_json(score: scores.Score) -> dict[str, float | None]:
    """Return a figure with its interval for a file."""
    return {"value": _known(score.value), "low": _known(score.low), "high": _known(score.high)}


def gain_json(gain: scores.Gain, mcc: scores.Gain) -> dict[str, Any]:
    """Return a gain for a file."""
    known = math.isfinite(gain.relative.low)
    return {
        "relative_accuracy": score_json(gain.relative),
        "accuracy": score_json(gain.accuracy),
        "p_value": gain.p_value if known else None,
        "mcc": score_json(mcc.mcc),
        "mcc_p_value": mcc.mcc_p_value if known else None,
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
