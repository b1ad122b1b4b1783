"""What orders with a size cost, and what scheduling and placement gain on equal slices at market."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from servers.backtest.breakdown import Compared, breakdown
from servers.backtest.options import BacktestOptions
from servers.backtest.orders import BASELINE, FORESIGHT, Variant, is_broken_down, variants
from servers.backtest.simulation import OUTCOME_FIELDS, DayResult
from servers.backtest.tracking_statistics import MIN_DAYS_FOR_INTERVAL, RESAMPLES
from servers.recordings.table import Doubles, Int64s

CALIBRATION = (
    "The cost parameters are published or assumed figures, not calibrated to this market: the shortfalls "
    "compare algorithms under one model and say nothing of money. Half and double the costs are shown beside."
)
AUDITED = (
    "impact_breaches",
    "impact_actions",
    "deviation_breaches",
    "deviation_actions",
    "fills_without_action",
)
_SHORTFALL = OUTCOME_FIELDS.index("shortfall_bps")
Key = tuple[float, bool, bool, float, str, str]
"""Size, capped, controlled, scale of the costs, placement, algorithm: buys and sells together."""


@dataclass(frozen=True, slots=True)
class SizedResult:
    """Outcomes of orders with a size.

    Attributes:
        options: what was asked for.
        results: one a symbol-day, by symbol and date.
        train_days: sessions before the first with orders.
        test_days: sessions with orders.
    """

    options: BacktestOptions
    results: tuple[DayResult, ...]
    train_days: int
    test_days: int

    def table(self) -> Doubles:
        """Return all outcomes: symbol-days by variants by OUTCOME_FIELDS."""
        return np.array(
            [
                [[getattr(outcome, name) for name in OUTCOME_FIELDS] for outcome in result.outcomes]
                for result in self.results
            ],
            np.float64,
        )

    def to_json(self) -> dict[str, object]:
        """Return the study as JSON values."""
        table, groups = self.table(), grouped(self.options)
        days = np.unique([result.date for result in self.results], return_inverse=True)[1].astype(np.int64)
        means = {key: table[:, places, :].mean(axis=1) for key, places in groups.items()}
        return {
            "kind": "sized",
            "costs": {**asdict(self.options.costs), "is_calibrated": False, "note": CALIBRATION},
            "cap": self.options.cap,
            "seed": self.options.seed,
            "sizes": list(self.options.sizes),
            "symbol_days": len(self.results),
            "test_days": self.test_days,
            "train_days": self.train_days,
            "results": [_figures(key, table[:, places, :]) for key, places in groups.items()],
            "controls": controls_audit(self.options, table, groups),
            "breakdown": breakdown(self.options, self.results, broken_down(self.options, table, groups)),
            "comparisons": comparisons(means, days, self.options.seed),
        }


def grouped(options: BacktestOptions) -> dict[Key, list[int]]:
    """Return the places of the variants that differ in nothing but the side."""
    groups: dict[Key, list[int]] = defaultdict(list)
    for place, variant in enumerate(variants(options)):
        groups[key_of(variant)].append(place)
    return dict(groups)


def key_of(variant: Variant) -> Key:
    return (
        variant.size,
        variant.is_capped,
        variant.is_controlled,
        variant.scale,
        variant.placement,
        variant.algorithm,
    )


def _labels(key: Key) -> dict[str, object]:
    size, is_capped, is_controlled, scale, placement, algorithm = key
    return {
        "size": size,
        "is_capped": is_capped,
        "is_controlled": is_controlled,
        "cost_scale": scale,
        "placement": placement,
        "algorithm": algorithm,
    }


def _figures(key: Key, outcomes: Doubles) -> dict[str, object]:
    flat = outcomes.reshape(-1, len(OUTCOME_FIELDS))
    column = {name: flat[:, place] for place, name in enumerate(OUTCOME_FIELDS)}
    shortfall = column["shortfall_bps"]
    parts = column["spread_bps"] + column["impact_bps"] + column["opportunity_bps"]
    slippage = column["vwap_slippage_bps"][np.isfinite(column["vwap_slippage_bps"])]
    return {
        **_labels(key),
        "orders": len(flat),
        "mean_shortfall_bps": float(shortfall.mean()),
        "median_shortfall_bps": float(np.median(shortfall)),
        "mean_spread_bps": float(column["spread_bps"].mean()),
        "mean_impact_bps": float(column["impact_bps"].mean()),
        "mean_timing_bps": float((shortfall - parts).mean()),
        "mean_opportunity_bps": float(column["opportunity_bps"].mean()),
        "mean_vwap_slippage_bps": float(slippage.mean()) if len(slippage) else None,
        "mean_filled": float(column["filled"].mean()),
        "orders_with_residual": int((column["filled"] < 1.0).sum()),
        "mean_passive": float(column["passive"].mean()),
        "mean_participation": float(column["participation"].mean()),
        "mean_controlled": float(column["controlled"].mean()),
        **{name: int(column[name].sum()) for name in ("children", "fills", *AUDITED)},
    }


def broken_down(options: BacktestOptions, table: Doubles, groups: dict[Key, list[int]]) -> list[Compared]:
    """Return what is compared by group: every algorithm at market, as `is_broken_down` says."""
    keys = dict.fromkeys(key_of(variant) for variant in variants(options) if is_broken_down(variant, options))
    return [
        Compared(key[0], key[5], table[:, groups[key], :], table[:, groups[(*key[:5], BASELINE)], :])
        for key in keys
    ]


def controls_audit(
    options: BacktestOptions, table: Doubles, groups: dict[Key, list[int]]
) -> dict[str, object]:
    """Return the bounds, and over all controlled orders of each algorithm how often they were passed."""
    counted: dict[str, dict[str, int]] = {}
    for key, places in groups.items():
        if key[2]:
            mine = counted.setdefault(key[5], dict.fromkeys(("orders", *AUDITED), 0))
            mine["orders"] += table.shape[0] * len(places)
            for name in AUDITED:
                mine[name] += int(table[:, places, OUTCOME_FIELDS.index(name)].sum())
    return {
        "max_market_impact": options.max_impact,
        "max_vwap_deviation": options.max_deviation,
        "answer_seconds": options.answer_seconds,
        "algorithms": counted,
    }


def comparisons(means: dict[Key, Doubles], days: Int64s, seed: int) -> list[dict[str, object]]:
    """Return what each algorithm gains on equal slices at market under the same size, cap and costs.

    In per cent of the baseline's mean shortfall, positive is better: `scheduling` by its schedule alone (both
    at market), `placement` by resting first under its own schedule; `total` is their sum. Intervals hold 95 %
    of resamples of whole days, and are None below 20 test days.
    """
    counts = _resampled_days(days, seed)
    rows = []
    for setting in dict.fromkeys(key[:4] for key in means):
        size, is_capped, is_controlled, scale = setting
        algorithms = dict.fromkeys(key[5] for key in means if key[:4] == setting)
        for algorithm in algorithms:
            # Foresight bounds what a schedule gains: it is never placed.
            placed_as = "market" if algorithm == FORESIGHT else "passive"
            sums = [
                np.bincount(days, means[*setting, placement, name][:, _SHORTFALL])
                for placement, name in (("market", BASELINE), ("market", algorithm), (placed_as, algorithm))
            ]
            row: dict[str, object] = {
                "size": size,
                "is_capped": is_capped,
                "is_controlled": is_controlled,
                "cost_scale": scale,
                "algorithm": algorithm,
                "is_bound": algorithm == FORESIGHT,
                "baseline": f"{BASELINE} at market",
                "baseline_mean_shortfall_bps": float(sums[0].sum() / len(days)),
            }
            base, scheduled, placed = (np.asarray(part, np.float64) for part in sums)
            exact = _gains(*(np.array([part.sum()]) for part in (base, scheduled, placed)))
            drawn = _gains(counts @ base, counts @ scheduled, counts @ placed) if counts is not None else None
            for place, name in enumerate(("scheduling", "placement", "total")):
                row[f"{name}_gain_percent"] = float(exact[place][0])
                row[f"{name}_gain_percent_ci95"] = (
                    [float(edge) for edge in np.percentile(drawn[place], [2.5, 97.5])]
                    if drawn is not None
                    else None
                )
            rows.append(row)
    return rows


def _gains(base: Doubles, scheduled: Doubles, placed: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    scale = 100.0 / np.abs(base)
    return (base - scheduled) * scale, (scheduled - placed) * scale, (base - placed) * scale


def _resampled_days(days: Int64s, seed: int) -> Doubles | None:
    """Return how often each resample holds each day."""
    count = int(days.max()) + 1
    if count < MIN_DAYS_FOR_INTERVAL:
        return None
    generator = np.random.default_rng(seed)
    return generator.multinomial(count, np.full(count, 1 / count), RESAMPLES).astype(np.float64)


def find(rows: Sequence[dict[str, Any]], **wanted: object) -> dict[str, Any]:
    """Return the first row with these labels."""
    return next(row for row in rows if all(row[name] == value for name, value in wanted.items()))
