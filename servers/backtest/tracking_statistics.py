"""What a tracking study found: figures by algorithm, and differences with intervals clustered by day."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MIN_DAYS_FOR_INTERVAL = 20
RESAMPLES = 2_000
SEED = 20_240_328
FIGURES = ("mean", "p95", "rms", "rms_blind")


@dataclass(frozen=True, slots=True)
class StudyResult:
    """Tracking errors, one row a symbol-day, one column an algorithm.

    Attributes:
        algorithms: names of the columns.
        errors_bps: |average price / day VWAP - 1| in bps.
        days: index into `dates` of each row.
        symbols: index into `symbol_names` of each row.
        is_kept: whether the outcome-blind rule keeps the row (no half day, volume up to 3 times the median of
        the
            last 20 sessions).
        dates: local dates of all sessions, training included.
        symbol_names: all symbols that traded.
        train_days: sessions before the first that is evaluated.
        unfilled_symbol_days: left out because a schedule wanted nothing while something traded.
    """

    algorithms: tuple[str, ...]
    errors_bps: Doubles
    days: Ints
    symbols: Ints
    is_kept: npt.NDArray[np.bool_]
    dates: tuple[str, ...]
    symbol_names: tuple[str, ...]
    train_days: int
    unfilled_symbol_days: int = 0

    @property
    def test_days(self) -> int:
        """Return the number of sessions with at least one row."""
        return len(np.unique(self.days))

    def to_json(self) -> dict[str, Any]:
        """Return algorithms, pairs (every ordered pair) and counts of days as JSON values.

        A difference is (a - b) / b in per cent; its interval holds 95 % of 2,000 resamples of whole days, and
        is None below 20 test days, and where a resample has no such figure.
        """
        return {
            "algorithms": {
                name: {
                    "mean_tracking_error_bps": _number(_mean(column)),
                    "median_tracking_error_bps": float(np.median(column)),
                    "p95_tracking_error_bps": _number(_p95(column)),
                    "rms_tracking_error_bps": _number(_rms(column)),
                    "rms_blind_tracking_error_bps": _number(_rms(column[self.is_kept])),
                    "symbol_days": len(column),
                    "symbol_days_blind": int(self.is_kept.sum()),
                }
                for name, column in zip(self.algorithms, self.errors_bps.T, strict=True)
            },
            "pairs": self._pairs(),
            "test_days": self.test_days,
            "train_days": self.train_days,
            "unfilled_symbol_days": self.unfilled_symbol_days,
        }

    def _pairs(self) -> list[dict[str, object]]:
        figures = self._figures(np.arange(len(self.days)))
        resampled = self._resampled() if self.test_days >= MIN_DAYS_FOR_INTERVAL else None
        pairs = []
        for a, b in permutations(range(len(self.algorithms)), 2):
            pair: dict[str, object] = {"a": self.algorithms[a], "b": self.algorithms[b]}
            for place, name in enumerate(FIGURES):
                pair[f"{name}_difference_percent"] = _number(
                    _difference(figures[place, a], figures[place, b])
                )
                interval = None
                if resampled is not None:
                    drawn = _difference(resampled[:, place, a], resampled[:, place, b])
                    if np.isfinite(drawn).all():
                        interval = [float(edge) for edge in np.percentile(drawn, [2.5, 97.5])]
                pair[f"{name}_difference_percent_ci95"] = interval
            pairs.append(pair)
        return pairs

    def _figures(self, rows: npt.NDArray[np.intp]) -> Doubles:
        """Return each of FIGURES for each algorithm, over some rows."""
        errors, kept = self.errors_bps[rows], self.errors_bps[rows[self.is_kept[rows]]]
        return np.stack([_mean(errors), _p95(errors), _rms(errors), _rms(kept)])

    def _resampled(self) -> Doubles:
        """Return `_figures` of resamples: whole days, as many as there are, drawn with replacement."""
        generator = np.random.default_rng(SEED)
        by_day = [np.flatnonzero(self.days == day) for day in np.unique(self.days)]
        draws = generator.integers(0, len(by_day), (RESAMPLES, len(by_day)))
        return np.stack([self._figures(np.concatenate([by_day[day] for day in draw])) for draw in draws])


def _mean(errors: Doubles) -> Doubles:
    return np.asarray(errors.mean(axis=0))


def _p95(errors: Doubles) -> Doubles:
    return np.asarray(np.percentile(errors, 95, axis=0))


def _rms(errors: Doubles) -> Doubles:
    if not len(errors):
        return np.full(errors.shape[1:], np.nan)
    return np.asarray(np.sqrt((errors**2).mean(axis=0)))


def _difference(a: Doubles, b: Doubles) -> Doubles:
    return np.asarray((a - b) / b * 100.0)


def _number(value: Doubles) -> float | None:
    return float(value) if np.isfinite(value) else None
