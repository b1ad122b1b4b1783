"""The figure of `benchmarks/realism.py`: one panel a property, the band that the tests hold shaded green."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullFormatter

from tests.native import realism as r
from tests.native.market_day import Tape

MEASURED, BAND, REFERENCE = "#1f4e9c", "#a8d8a0", "#777777"
SHADE = {"facecolor": BAND, "edgecolor": "none", "alpha": 0.75, "zorder": 0}
# Byte for byte the same for the same values: no date, no random ids.
STYLE = {"svg.hashsalt": "realism", "font.size": 10, "axes.titlesize": 11, "axes.titleweight": "bold"}


def draw(
    days: Sequence[Tape],
    impacts: r.Floats,
    waits: Sequence[int],
    round_trips: dict[str, tuple[float, float]],
    path: Path,
) -> None:
    """Write the figure as SVG to `path` and as PNG, 1,300 pixels wide, beside it."""
    returns = r.log_returns(days)
    with mpl.rc_context(cast(Any, STYLE)):  # the keys are a long list of literals there
        figure = Figure(figsize=(13, 11), layout="constrained")
        panels = figure.subplots(3, 3).flat
        draw_spread(next(panels), days)
        draw_bounce(next(panels), days)
        draw_sign_memory(next(panels), days)
        draw_return_memory(next(panels), returns)
        draw_absolute_return_memory(next(panels), returns)
        draw_kurtosis(next(panels), days)
        draw_impact(next(panels), impacts[:, 0])
        draw_decay(next(panels), impacts, waits)
        draw_round_trips(next(panels), round_trips)
        figure.suptitle("The simulated flow: measured (blue) against the band that the tests hold (green)")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None})
        figure.savefig(path.with_suffix(".png"), dpi=100)


def label(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(visible=True, color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)


def shade(axes: Axes, left: float, right: float, band: r.Band) -> None:
    """Shade the band between two x values, an open end up to the edge of the panel."""
    bottom, top = axes.get_ylim()
    low, high = max(band.low, bottom), min(band.high, top)
    axes.add_patch(Rectangle((left, low), right - left, high - low, **SHADE))  # type: ignore[arg-type]


def draw_spread(axes: Axes, days: Sequence[Tape]) -> None:
    sessions = np.arange(1, len(days) + 1)
    means = [r.spreads(day).mean() for day in days]
    axes.set_ylim(0, 5)
    axes.set_xlim(0.4, len(days) + 0.6)
    axes.plot(sessions, means, "o", color=MEASURED, label="mean")
    axes.plot(
        sessions, [r.spreads(day).min() for day in days], "_", markersize=14, color=MEASURED, label="least"
    )
    shade(axes, 0.4, len(days) + 0.6, r.MEAN_SPREAD)
    axes.legend(loc="upper right", ncols=2, fontsize=9)
    label(axes, "Spread: mean 1 to 4 ticks, least ≥ 1", "session", "ask - bid (ticks)")


def draw_bounce(axes: Axes, days: Sequence[Tape]) -> None:
    lags = np.arange(1, 11)
    correlations = np.array([[r.bounce(day, int(lag)) for lag in lags] for day in days])
    axes.set_ylim(-0.65, 0.1)
    axes.axhline(0, color=REFERENCE, linewidth=0.8)
    axes.bar(lags, correlations.mean(axis=0), width=0.3, color=MEASURED)
    axes.plot(
        np.ones(len(days)), correlations[:, 0], ".", color="black", markersize=4, label="each session, lag 1"
    )
    shade(axes, 0.55, 1.45, r.BOUNCE)
    axes.legend(loc="lower right", fontsize=9)
    label(axes, "Bid-ask bounce: -0.55 to -0.2 at lag 1", "lag (orders)", "autocorrelation of price changes")


def draw_sign_memory(axes: Axes, days: Sequence[Tape]) -> None:
    lags = np.unique(np.geomspace(1, 200, 25).astype(int))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(0.003, 1)
    axes.plot(lags, [r.sign_memory(days, int(lag)) for lag in lags], ".-", color=MEASURED)
    for lag, band in r.SIGN_MEMORY.items():
        shade(axes, lag / 1.25, lag * 1.25, band)
    title = "Sign memory: bands at 1, 10, 50"
    label(axes, title, "lag (orders)", "autocorrelation of order signs")


def draw_return_memory(axes: Axes, returns: r.Floats) -> None:
    lags = np.arange(1, 21)
    axes.set_ylim(-0.15, 0.15)
    axes.axhline(0, color=REFERENCE, linewidth=0.8)
    axes.bar(lags, [r.autocorrelation(returns, int(lag)) for lag in lags], width=0.3, color=MEASURED)
    for lag in r.RETURN_LAGS:
        shade(axes, lag - 0.45, lag + 0.45, r.RETURN_MEMORY)
    label(axes, "Returns unpredictable: ±0.06 at 1, 2, 5", "lag (minutes)", "autocorrelation of returns")


def draw_absolute_return_memory(axes: Axes, returns: r.Floats) -> None:
    lags = np.arange(1, 31)
    correlations = [r.autocorrelation(np.abs(returns), int(lag)) for lag in lags]
    mean = r.absolute_return_memory(returns)
    first, last = r.ABSOLUTE_RETURN_LAGS[0] - 0.45, r.ABSOLUTE_RETURN_LAGS[-1] + 0.45
    axes.set_ylim(-0.05, max(0.3, 1.15 * max(correlations)))
    axes.axhline(0, color=REFERENCE, linewidth=0.8)
    axes.bar(lags, correlations, width=0.3, color=MEASURED)
    axes.hlines(mean, first, last, color="black", linewidth=2, label=f"mean of lags 1, 2, 3, 5: {mean:.3f}")
    shade(axes, first, last, r.ABSOLUTE_RETURN_MEMORY)
    axes.legend(loc="upper right", fontsize=9)
    title = "Volatility clusters: mean ≥ 0.05"
    label(axes, title, "lag (minutes)", "autocorrelation of absolute returns")


def draw_kurtosis(axes: Axes, days: Sequence[Tape]) -> None:
    horizons = [1, 2, 5, 10, 15, 30]
    values = [r.kurtosis(r.log_returns(days, minutes)) for minutes in horizons]
    axes.set_xscale("log")
    axes.set_xticks(horizons, [str(minutes) for minutes in horizons])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(0, 1.25 * max(values))
    axes.axhline(3, color=REFERENCE, linestyle="--", label="normal distribution: 3")
    axes.plot(horizons, values, "o-", color=MEASURED)
    shade(axes, 1 / 1.2, 1.2, r.KURTOSIS)
    axes.annotate(f"{values[0]:.1f}", (1, values[0]), (8, 4), textcoords="offset points")
    axes.legend(loc="upper right", fontsize=9)
    label(
        axes, "Fat tails: kurtosis ≥ 4 at one minute", "horizon of the return (minutes)", "kurtosis (ratio)"
    )


def draw_impact(axes: Axes, peaks: r.Floats) -> None:
    """Draw impact by size; the band is the cone of allowed exponents through the mean point."""
    sizes = np.array(r.IMPACT_LOTS, float)
    centre, height = np.exp(np.log(sizes).mean()), np.exp(np.log(peaks).mean())
    wide = np.geomspace(sizes[0] / 1.3, sizes[-1] * 1.3, 50)
    cone = [height * (wide / centre) ** slope for slope in r.IMPACT_EXPONENT]
    exponent = r.impact_exponent(r.IMPACT_LOTS, peaks)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.fill_between(wide, cone[0], cone[1], color=BAND, alpha=0.75, linewidth=0)
    axes.plot(sizes, peaks, "o", color=MEASURED)
    axes.plot(wide, height * (wide / centre) ** exponent, color=MEASURED, label=f"exponent {exponent:.2f}")
    axes.set_xticks(sizes, [f"{size / 1000:g}" for size in sizes])
    ticks = [value for value in (5, 10, 15, 20, 30, 50, 80, 120) if cone[1].min() <= value <= cone[1].max()]
    axes.set_yticks(ticks, [str(value) for value in ticks])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.legend(loc="upper left", fontsize=9)
    label(
        axes,
        "Impact: exponent 0.4 to 0.7 in size",
        "bought in five minutes (thousand lots)",
        "impact (ticks)",
    )


def draw_decay(axes: Axes, impacts: r.Floats, waits: Sequence[int]) -> None:
    axes.set_ylim(0, 1.15)
    for lots, row, line in zip(r.IMPACT_LOTS, impacts, (":", "-.", "--", "-"), strict=True):
        colour = MEASURED if lots == r.IMPACT_LOTS[-1] else REFERENCE
        minutes = [wait / 60 for wait in waits]
        axes.plot(minutes, row / row[0], line, color=colour, label=f"{lots / 1000:g} thousand lots")
    axes.plot(waits[-1] / 60, impacts[-1, -1] / impacts[-1, 0], "o", color=MEASURED)
    shade(axes, r.DECAY_SECONDS / 60 - 1, r.DECAY_SECONDS / 60 + 1, r.IMPACT_LEFT)
    axes.legend(loc="lower left", fontsize=9)
    title = "Impact decays in part: 0 to 0.8 left after 40 min"
    label(axes, title, "after the last buy (minutes)", "impact left (share of its peak)")


def draw_round_trips(axes: Axes, round_trips: dict[str, tuple[float, float]]) -> None:
    """Draw the mean result of each plan with two standard errors; a gain lies outside the band."""
    means, errors = (np.array(column) for column in zip(*round_trips.values(), strict=True))
    places = np.arange(len(means))[::-1]
    left = 1.15 * (means - 2 * errors).min()
    axes.set_xlim(left, -0.15 * left)
    axes.set_ylim(-0.6, len(means) - 0.4)
    axes.axvline(0, color=REFERENCE, linewidth=0.8)
    axes.errorbar(means, places, xerr=2 * errors, fmt="o", color=MEASURED, capsize=3)
    axes.axvspan(left, 0, **SHADE)  # type: ignore[arg-type]
    axes.set_yticks(places, [name.replace("a momentum trigger", "momentum") for name in round_trips])
    label(axes, "No free money: every plan loses", "result ± 2 standard errors (ticks a lot)", "")
