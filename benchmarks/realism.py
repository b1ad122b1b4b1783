"""How realistic the simulated flow of the practice exchange is: each property against its band, and a figure.

Seeds are fixed, so every run measures the same: eight sessions of one seed for what a tape shows, forty seeds
for what a participant meets. Measures and bands are those that `tests/native/test_flow.py` holds. The figure
is written to `out/realism.svg`, and beside it as PNG.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks._realism_figure import draw
from benchmarks.report import Options, Row
from tests.native import realism as r
from tests.native.market_day import Tape, trade_days

SEED, DAYS = 7, 8
WAITS = (0, 60, 180, 300, 600, 900, 1_200, 1_800, r.DECAY_SECONDS)
FIGURE = Path("out/realism.svg")


@dataclass(frozen=True, slots=True)
class Measured:
    """What rows and figure are made of: impacts in ticks by size and wait, round trips with their errors."""

    days: list[Tape]
    returns: r.Floats
    impacts: r.Floats
    round_trips: dict[str, tuple[float, float]]
    wash_trade: float


def run(options: Options) -> list[Row]:
    """Measure every property, draw the figure, and return the rows."""
    options.progress(f"{DAYS} sessions of seed {SEED}")
    days = trade_days(SEED, DAYS)
    options.progress(f"impact and round trips over {len(r.SEEDS)} seeds")
    measured = Measured(
        days,
        r.log_returns(days),
        r.impacts(waits=WAITS),
        {name: r.round_trip_result(plan) for name, plan in r.ROUND_TRIPS.items()},
        float(r.wash_trade_cash()),
    )
    draw(measured.days, measured.impacts, WAITS, measured.round_trips, FIGURE)
    options.progress(f"figure written to {FIGURE} and {FIGURE.with_suffix('.png')}")
    return [*tape_rows(measured), *participant_rows(measured)]


def banded(name: str, values: float | Iterable[float], unit: str, band: r.Band, note: str) -> list[Row]:
    """Return a row for each end of a band, with the value that comes nearest to breaking it."""
    measured = np.atleast_1d(np.asarray(values, float))
    both = math.isfinite(band.low) and math.isfinite(band.high)
    rows = []
    if math.isfinite(band.low):
        low = f"{name}_least" if both else name
        rows.append(Row(low, float(measured.min()), unit, band.low, "min", note))
    if math.isfinite(band.high):
        high = f"{name}_most" if both else name
        rows.append(Row(high, float(measured.max()), unit, band.high, "max", note))
    return rows


def tape_rows(measured: Measured) -> list[Row]:
    """Return what the tape shows; where days are measured singly, the worst of them."""
    days, returns = measured.days, measured.returns
    spreads = [r.spreads(day) for day in days]
    each = f"each of {DAYS} sessions"
    together = f"{DAYS} sessions together"
    rows = [
        *banded("smallest_spread", [spread.min() for spread in spreads], "ticks", r.SMALLEST_SPREAD, each),
        *banded("mean_spread", [spread.mean() for spread in spreads], "ticks", r.MEAN_SPREAD, each),
        *banded(
            "two_sided_quotes", [r.two_sided_share(day) for day in days], "share", r.TWO_SIDED_SHARE, each
        ),
        *banded("bounce", [r.bounce(day) for day in days], "correlation", r.BOUNCE, f"lag 1, {each}"),
    ]
    for lag, band in r.SIGN_MEMORY.items():
        note = f"lag {lag} in orders, mean of {DAYS} sessions"
        rows += banded(f"sign_memory_{lag}", r.sign_memory(days, lag), "correlation", band, note)
    correlations = [r.autocorrelation(returns, lag) for lag in r.RETURN_LAGS]
    lags = ", ".join(map(str, r.RETURN_LAGS))
    rows += banded(
        "return_memory", correlations, "correlation", r.RETURN_MEMORY, f"lags {lags} minutes, {together}"
    )
    lags = ", ".join(map(str, r.ABSOLUTE_RETURN_LAGS))
    return [
        *rows,
        *banded(
            "absolute_return_memory",
            r.absolute_return_memory(returns),
            "correlation",
            r.ABSOLUTE_RETURN_MEMORY,
            f"mean of lags {lags} minutes, {together}",
        ),
        *banded("kurtosis", r.kurtosis(returns), "ratio", r.KURTOSIS, f"one-minute returns, {together}"),
    ]


def participant_rows(measured: Measured) -> list[Row]:
    """Return what a participant meets: impact, its decay, and that nothing earns money for nothing."""
    impacts = measured.impacts
    seeds = f"mean of {len(r.SEEDS)} seeds"
    sizes = f"{r.IMPACT_LOTS[0]:,} to {r.IMPACT_LOTS[-1]:,} lots"
    left = impacts[-1, -1] / impacts[-1, 0]
    rows = [
        *banded(
            "impact_exponent",
            r.impact_exponent(r.IMPACT_LOTS, impacts[:, 0]),
            "exponent",
            r.IMPACT_EXPONENT,
            f"{sizes} bought in five minutes, {seeds}",
        ),
        *banded(
            "impact_left",
            left,
            "share of peak",
            r.IMPACT_LEFT,
            f"{r.IMPACT_LOTS[-1]:,} lots, {r.DECAY_SECONDS // 60} minutes later, {seeds}",
        ),
    ]
    for name, (mean, error) in measured.round_trips.items():
        rows += banded(
            f"round_trip: {name}",
            mean + 2 * error,
            "ticks a lot",
            r.ROUND_TRIP_RESULT,
            f"{mean:.3f} on average, two standard errors added, {seeds}",
        )
    return [
        *rows,
        *banded(
            "wash_trade", measured.wash_trade, "tick-lots", r.WASH_TRADE_RESULT, "two accounts of one owner"
        ),
    ]
