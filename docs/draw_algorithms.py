"""Draw the figures of `algorithms.md` from real minute bars: `python docs/draw_algorithms.py BARS`.

BARS is `us_1min_2024.csv.xz`. Only sessions up to TRAIN_UNTIL are read, and the schedules are those that
trade: the compiled ones, told what they would have known. Volumes of that file are partial, so nothing here
is a capacity or a cost of a real order.
"""

from __future__ import annotations

import csv
import lzma
import sys
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from native.adaptive_schedule import AdaptiveVwapSchedule
from native.pov_schedule import PovSchedule
from native.schedule import Schedule, StaticVwapSchedule, TwapSchedule
from native.shortfall_schedule import ShortfallSchedule
from native.volume_share import ShareForecast

FOLDER = Path(__file__).resolve().parent
NEW_YORK = ZoneInfo("America/New_York")
TRAIN_UNTIL = "2024-03-28"
SYMBOL = "LII"
TRAILING = 20
MINUTES = 390
BINS = 78
NANO = 1_000_000_000
BIN = 300 * NANO
DAY = MINUTES * 60 * NANO
QUANTITY = 10_000 * NANO
EDGES = [place * BIN for place in range(BINS + 1)]
HOURS = np.arange(BINS + 1) / 12
STYLE = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.grid": True,
    "grid.alpha": 0.3,
}
TWAP, STATIC, ADAPTIVE, MARKET = "#777777", "#c26a00", "#1f4e9c", "#000000"

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Day:
    """One session: volume of each minute in shares, and the last price of each (0 where none traded)."""

    date: str
    volumes: Doubles
    closes: Doubles

    @property
    def bins(self) -> Doubles:
        """Volume of each 5-minute bin."""
        return np.asarray(self.volumes.reshape(BINS, 5).sum(axis=1))


def read_days(path: Path) -> list[Day]:
    """Return the symbol's sessions up to TRAIN_UNTIL, oldest first."""
    volumes: dict[str, Doubles] = defaultdict(lambda: np.zeros(MINUTES))
    closes: dict[str, Doubles] = defaultdict(lambda: np.zeros(MINUTES))
    with lzma.open(path, "rt", newline="") as file:
        for row in csv.DictReader(file):
            if row["symbol"] != SYMBOL:
                continue
            moment = datetime.fromtimestamp(int(row["start_time_ms"]) / 1000, NEW_YORK)
            minute, date = moment.hour * 60 + moment.minute - 570, moment.date().isoformat()
            if 0 <= minute < MINUTES and date <= TRAIN_UNTIL:
                volumes[date][minute] = float(row["volume"])
                closes[date][minute] = float(row["close"])
    return [Day(date, volumes[date], closes[date]) for date in sorted(volumes)]


def follow(schedule: Schedule, day: Day, revise: ShareForecast | None = None) -> Doubles:
    """Return the share done at each bin edge when the schedule is told each minute's volume as it ends."""
    done = [0.0]
    for place in range(BINS):
        if revise is not None and place and isinstance(schedule, AdaptiveVwapSchedule):
            revise.update(place - 1, float(day.bins[place - 1]))
            volumes = np.concatenate((np.zeros(place), revise.remaining_volumes()))
            schedule.revise(EDGES[place], volumes)
        done.append(schedule.target_nanos(EDGES[place + 1]) / QUANTITY)
        minutes = np.arange(5 * place, 5 * place + 5)
        times = ((minutes * 60 + 30) * NANO).astype(np.int64)
        sizes = (day.volumes[minutes] * NANO).astype(np.int64)
        schedule.add_volume(times.data, sizes.data)
    return np.array(done)


def vwap_lines(days: list[Day], at: int) -> dict[str, Doubles]:
    """Return market, TWAP, static and adaptive shares done at each bin edge of session `at`."""
    past, day = days[max(at - 60, 0) : at], days[at]
    curve = np.mean([one.bins / one.bins.sum() for one in past], axis=0)
    median = float(np.median([one.bins.sum() for one in past[-TRAILING:]]))
    adaptive = AdaptiveVwapSchedule(QUANTITY, NANO, 0, DAY, EDGES, curve * median)
    return {
        "market": np.concatenate(([0.0], np.cumsum(day.bins))) / day.bins.sum(),
        "TWAP": follow(TwapSchedule(QUANTITY, NANO, 0, DAY), day),
        "static VWAP": follow(StaticVwapSchedule(QUANTITY, NANO, 0, DAY, EDGES, curve.tolist()), day),
        "adaptive VWAP": follow(adaptive, day, ShareForecast(curve, median)),
    }


COLOURS = {"market": MARKET, "TWAP": TWAP, "static VWAP": STATIC, "adaptive VWAP": ADAPTIVE}


def draw_vwap(days: list[Day]) -> Figure:
    """One busy session, and how far each schedule is from the market over all sessions."""
    every = [vwap_lines(days, at) for at in range(TRAILING, len(days))]
    gaps = {
        name: np.mean([np.abs(lines[name] - lines["market"]) for lines in every], axis=0)
        for name in ("TWAP", "static VWAP", "adaptive VWAP")
    }
    totals = [day.bins.sum() for day in days]
    ratios = [totals[at] / np.median(totals[at - TRAILING : at]) for at in range(TRAILING, len(days))]
    busiest = int(np.argmax(ratios))
    figure, (left, right) = two_panels()
    for name, line in every[busiest].items():
        left.plot(HOURS, 100 * line, color=COLOURS[name], label=name, lw=2.4 if name == "market" else 1.6)
    date = days[TRAILING + busiest].date
    left.set(title=f"{SYMBOL}, {date}: {ratios[busiest]:.1f} times the median volume", ylabel="% done")
    for name, gap in gaps.items():
        right.plot(HOURS, 100 * gap, color=COLOURS[name], label=f"{name}, mean {100 * gap.mean():.2f}")
    right.set(
        title=f"mean distance from the market's share, {len(every)} sessions", ylabel="percentage points"
    )
    return finished(figure, left, right)


def draw_pov(days: list[Day]) -> Figure:
    """Ten per cent of the volume of a busy and of a quiet session, for an order of the same size."""
    totals = [day.bins.sum() for day in days]
    ratios = {at: totals[at] / np.median(totals[at - TRAILING : at]) for at in range(TRAILING, len(days))}
    figure, panels = two_panels()
    for panel, at in zip(
        panels, (max(ratios, key=ratios.__getitem__), min(ratios, key=ratios.__getitem__)), strict=True
    ):
        median = float(np.median(totals[at - TRAILING : at]))
        quantity = round(0.08 * median) * NANO
        schedule = PovSchedule(quantity, NANO, 0, DAY, 0.1, 60 * NANO)
        done = follow(schedule, days[at]) * QUANTITY / NANO
        bought = 0.1 * np.concatenate(([0.0], np.cumsum(days[at].bins)))
        panel.plot(HOURS, bought, color=TWAP, ls="--", label="10 % of the volume")
        panel.plot(HOURS, done, color=ADAPTIVE, label="target, known a bin late")
        panel.axhline(quantity / NANO, color=STATIC, ls=":", label="the order: 8 % of the median day")
        panel.set(
            title=f"{SYMBOL}, {days[at].date}: {ratios[at]:.2f} times the median volume", ylabel="shares"
        )
        panel.set_ylim(0, 1.25 * max(quantity / NANO, float(done.max())))
    return finished(figure, *panels)


def draw_shortfall(days: list[Day]) -> Figure:
    """The trajectories of one real name and day, and what each expects to cost and to risk."""
    past = days[-TRAILING:]
    last = [float(day.closes[day.closes > 0][-1]) for day in past]
    price, volume = last[-1], float(np.median([day.bins.sum() for day in past]))
    sigma = float(np.std(np.diff(np.log(last)))) * price / np.sqrt(MINUTES * 60)
    eta = 0.0005 * price / (0.01 * volume / (MINUTES * 60))
    shares = 0.05 * volume
    figure, (left, right) = two_panels()
    frontier = []
    for aversion in (0.0, 1e-5, 3e-5, 1e-4, 1e-3):
        schedule = ShortfallSchedule(QUANTITY, NANO, 0, DAY, aversion, sigma, eta, steps=BINS)
        done = np.array([schedule.target_nanos(edge) for edge in EDGES]) / QUANTITY
        rest, traded = shares * (1 - done), np.diff(shares * done)
        cost = eta * float((traded**2).sum()) / (DAY / NANO / BINS)
        risk = sigma * np.sqrt(float((rest[1:] ** 2).sum()) * DAY / NANO / BINS)
        frontier.append((risk / shares / price * 1e4, cost / shares / price * 1e4, aversion))
        left.plot(HOURS, 100 * (1 - done), label=f"risk aversion {aversion:g}")
    risks, costs, aversions = zip(*frontier, strict=True)
    right.plot(risks, costs, "o-", color=ADAPTIVE, label="one point a risk aversion")
    for risk, cost, aversion in zip(risks, costs, aversions, strict=True):
        right.annotate(f"{aversion:g}", (risk, cost), textcoords="offset points", xytext=(6, 4))
    volatility = sigma * np.sqrt(MINUTES * 60) / price
    title = f"{SYMBOL}, after {past[-1].date}: 5 % of the median day, volatility {volatility:.1%}"
    left.set(title=title, ylabel="% left")
    right.set(
        title="expected cost and risk, bps; impact not calibrated",
        xlabel="standard deviation",
        ylabel="expected",
    )
    left.set_xlabel("hours after the open")
    left.legend(fontsize=9)
    right.legend(fontsize=9)
    return figure


def two_panels() -> tuple[Figure, tuple[Axes, Axes]]:
    """Return an empty figure with two panels side by side."""
    figure = Figure(figsize=(13, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    return figure, (left, right)


def finished(figure: Figure, *panels: Axes) -> Figure:
    """Return the figure with what its panels have in common."""
    for panel in panels:
        panel.set_xlabel("hours after the open")
        panel.legend(fontsize=9)
    return figure


def main(path: Path) -> None:
    """Write every figure beside this file."""
    days = read_days(path)
    with mpl.rc_context(cast(Any, STYLE)):  # the keys are a long list of literals there
        for name, draw in (("vwap", draw_vwap), ("pov", draw_pov), ("shortfall", draw_shortfall)):
            draw(days).savefig(FOLDER / f"algorithms-{name}.png", dpi=100, metadata={"Software": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
