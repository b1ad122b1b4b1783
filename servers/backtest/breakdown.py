"""Algorithms compared by symbol, by volatility and by time of day, with intervals clustered by day.

The comparison is that of orders at market under the bounds that were asked for (cap and controls, where they
are on) and the costs as stated; every group is compared inside each size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from servers.backtest.options import BacktestOptions
from servers.backtest.orders import SESSION_PARTS
from servers.backtest.simulation import OUTCOME_FIELDS, DayResult
from servers.backtest.tracking_statistics import MIN_DAYS_FOR_INTERVAL, RESAMPLES
from servers.recordings.table import Doubles
from servers.tca.groups import thirds

VOLATILITY_GROUPS = ("calm", "middling", "volatile")
"""Thirds of the symbol-days by the volatility that was known before them."""

_SHORTFALL = OUTCOME_FIELDS.index("shortfall_bps")
_DONE = [OUTCOME_FIELDS.index(f"{part}_done") for part in SESSION_PARTS]
_COST = [OUTCOME_FIELDS.index(f"{part}_cost_bps") for part in SESSION_PARTS]


@dataclass(frozen=True, slots=True)
class Compared:
    """One algorithm at one size: outcomes by symbol-day, side and OUTCOME_FIELDS, and the baseline's."""

    size: float
    algorithm: str
    outcomes: Doubles
    baseline: Doubles


def breakdown(
    options: BacktestOptions, results: Sequence[DayResult], compared: Sequence[Compared]
) -> dict[str, list[dict[str, object]]]:
    """Return rows by `symbol`, `volatility` and `time_of_day`.

    The first two hold the mean shortfall of a group's orders and its gain on the baseline, in per cent of the
    baseline's. By time of day an order is cut into the parts of its session: the share that was done in each,
    and what it cost there in bps against the part's own VWAP. Intervals (95 %) resample whole days; None
    below 20 days.
    """
    draws = _Draws([result.date for result in results], options.seed)
    symbols = np.array([result.symbol for result in results])
    volatility = np.array([result.volatility for result in results])
    third = thirds(volatility)
    groups = np.array([VOLATILITY_GROUPS[third(value)] for value in volatility])
    return {
        "symbol": [row for one in compared for row in _shortfalls(one, symbols, sorted(set(symbols)), draws)],
        "volatility": [
            {**row, "daily_volatility_from_to": _range(volatility[groups == row["group"]])}
            for one in compared
            for row in _shortfalls(one, groups, VOLATILITY_GROUPS, draws)
        ],
        "time_of_day": [row for one in compared for row in _times_of_day(one, draws)],
    }


class _Draws:
    """Resamples of whole days."""

    def __init__(self, dates: Sequence[str], seed: int) -> None:
        self._days = np.unique(dates, return_inverse=True)[1]
        self._count = int(self._days.max()) + 1
        self._seed = seed

    def ratio(
        self, top: Doubles, bottom: Doubles, rows: npt.NDArray[np.bool_]
    ) -> tuple[float | None, list[float] | None]:
        """Return sum(top) / sum(bottom) over some symbol-days, with its interval."""
        if not bottom[rows].sum():
            return None, None
        exact = float(top[rows].sum() / bottom[rows].sum())
        mine, days = np.unique(self._days[rows], return_inverse=True)
        if len(mine) < MIN_DAYS_FOR_INTERVAL:
            return exact, None
        counts = np.random.default_rng(self._seed).multinomial(
            len(mine), np.full(len(mine), 1 / len(mine)), RESAMPLES
        )
        drawn = (counts @ np.bincount(days, top[rows])) / (counts @ np.bincount(days, bottom[rows]))
        return exact, [float(edge) for edge in np.percentile(drawn, [2.5, 97.5])]


def _shortfalls(
    one: Compared, labels: npt.NDArray[np.str_], groups: Sequence[str], draws: _Draws
) -> Iterator[dict[str, object]]:
    mine = one.outcomes[:, :, _SHORTFALL].mean(axis=1)
    base = one.baseline[:, :, _SHORTFALL].mean(axis=1)
    for group in groups:
        rows = labels == group
        mean, mean_interval = draws.ratio(mine, np.ones(len(mine)), rows)
        gain, gain_interval = draws.ratio(100.0 * (base - mine), base, rows)
        yield {
            "group": str(group),
            "size": one.size,
            "algorithm": one.algorithm,
            "orders": int(rows.sum()) * one.outcomes.shape[1],
            "mean_shortfall_bps": mean,
            "mean_shortfall_bps_ci95": mean_interval,
            "gain_percent": gain,
            "gain_percent_ci95": gain_interval,
        }


def _times_of_day(one: Compared, draws: _Draws) -> Iterator[dict[str, object]]:
    everything = np.ones(len(one.outcomes), np.bool_)
    for part, done_at, cost_at in zip(SESSION_PARTS, _DONE, _COST, strict=True):
        done = one.outcomes[:, :, done_at]
        paid = (one.outcomes[:, :, cost_at] * done).sum(axis=1)
        cost, interval = draws.ratio(paid, done.sum(axis=1), everything)
        yield {
            "group": part,
            "size": one.size,
            "algorithm": one.algorithm,
            "orders": done.size,
            "share_done": float(done.mean()),
            "mean_cost_bps": cost,
            "mean_cost_bps_ci95": interval,
        }


def _range(values: Doubles) -> list[float]:
    return [float(values.min()), float(values.max())] if len(values) else []
