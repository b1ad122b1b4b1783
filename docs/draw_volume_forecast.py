"""Draw the figure of `volume_forecast.md` from real minute bars: `python docs/draw_volume_forecast.py BARS`.

BARS is `us_1min_2024.csv.xz`. The forecasts shown are of a training session; the distribution on the right is
that of the sessions after TRAIN_UNTIL, as `tapeline backtest` evaluates them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from native.volume_share import FEATURE_NAMES, KNOT_COUNT, prior_coefficients
from servers.backtest.tracking import load_panel, run_study
from servers.calendars import Calendars
from servers.forecast import Panel, WalkForward
from servers.forecast.cmem import fit_cmem
from servers.forecast.kalman import ROBUST_SD, fit_kalman
from servers.recordings import RecordedBars, load_bars

FOLDER = Path(__file__).resolve().parent
CALENDAR = "XNYS"
TRAIN_UNTIL = "2024-03-28"
SYMBOL = "LII"
QUARTER_HOUR = 900 * 1_000_000_000
STYLE = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.grid": True,
    "grid.alpha": 0.3,
}
COLOURS = {"twap": "#777777", "static_vwap": "#c26a00", "adaptive_vwap": "#1f4e9c"}


def draw(bars: dict[str, RecordedBars], path: Path) -> None:
    """Write the figure as PNG."""
    training = trained(bars, QUARTER_HOUR)
    with mpl.rc_context(cast(Any, STYLE)):  # the keys are a long list of literals there
        figure = Figure(figsize=(13, 4.2), layout="constrained")
        left, middle, right = figure.subplots(1, 3)
        draw_session(left, training)
        draw_coefficients(middle, trained(bars, QUARTER_HOUR // 3))
        draw_errors(right, bars)
        figure.savefig(path, dpi=100)


def trained(bars: dict[str, RecordedBars], bin_nanos: int) -> Panel:
    """Return the training sessions."""
    panel = load_panel(bars, CALENDAR, Calendars(), bin_nanos)
    return panel.before(sum(session.date <= TRAIN_UNTIL for session in panel.sessions))


def draw_session(axes: Axes, training: Panel) -> None:
    """Draw the volume of the last training session, and what was forecast one bin ahead."""
    volumes = training.volumes[training.symbols.index(SYMBOL)]
    past, today = volumes[:-1], volumes[-1]
    kalman, cmem = fit_kalman(past, ROBUST_SD).forecast(past), fit_cmem(past).forecast(past)
    kalman.begin_day()
    ahead: list[tuple[float, float]] = []
    for place, volume in enumerate(today.tolist()):
        ahead.append((kalman.next_volume(is_mean=False), float(cmem.remaining_volumes(is_mean=False)[0])))
        kalman.update(place, volume)
        cmem.update(volume)
    hours = 9.5 + (np.arange(len(today)) + 0.5) / 4
    axes.bar(hours, today, width=0.22, color="#dddddd", label="traded")
    axes.plot(hours, past[-20:].mean(axis=0), color=COLOURS["twap"], label="rolling mean")
    for forecast, name, colour in zip(
        np.array(ahead).T, ("CMEM, median", "robust Kalman"), ("#2a8a3e", "#1f4e9c"), strict=True
    ):
        axes.plot(hours, forecast, color=colour, label=name)
    axes.set(title=f"{SYMBOL}, {training.sessions[-1].date}: one bin ahead", xlabel="hour", yscale="log")
    axes.set_ylabel("shares in 15 minutes (partial tape)")
    axes.legend(fontsize=8)


def draw_coefficients(axes: Axes, training: Panel) -> None:
    """Draw what the share model learnt by the end of the training sessions, beside what it began with."""
    walk, bins = WalkForward(), training.volumes.shape[2]
    for day in range(1, len(training.sessions)):
        past = training.before(day)
        known = walk.before(past, bins)
        walk.learn(known, past, training.volumes[:, day], training.prices[:, day])
    fitted = walk.before(training, bins).coefficients.reshape(-1, KNOT_COUNT)
    prior = prior_coefficients().reshape(-1, KNOT_COUNT)
    knots = np.linspace(0, 100, KNOT_COUNT)
    for place, name in enumerate(FEATURE_NAMES):
        (line,) = axes.plot(knots, fitted[place], marker="o", label=name)
        axes.plot(knots, prior[place], linestyle=":", color=line.get_color())
    axes.set(title="Share model: coefficients (dotted: before any fit)", xlabel="usual share done, %")
    axes.legend(fontsize=8)


def draw_errors(axes: Axes, bars: dict[str, RecordedBars]) -> None:
    """Draw the distribution of tracking errors on the test sessions."""
    found = run_study(bars, CALENDAR, tuple(COLOURS), TRAIN_UNTIL)
    for name, errors in zip(found.algorithms, found.errors_bps.T, strict=True):
        ordered = np.sort(errors)
        share = 100 * np.arange(1, len(ordered) + 1) / len(ordered)
        axes.plot(ordered, share, color=COLOURS[name], label=f"{name}: mean {errors.mean():.1f} bps")
    axes.set(title=f"{found.test_days} test sessions", xlabel="tracking error, bps", xlim=(0, 50))
    axes.set_ylabel("% of symbol-days at or below")
    axes.legend(fontsize=8, loc="lower right")


if __name__ == "__main__":
    draw(load_bars(Path(sys.argv[1])), FOLDER / "volume_forecast.png")
