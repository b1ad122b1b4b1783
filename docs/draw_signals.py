"""Draw the figure of `signals.md` from results of `tapeline evaluate`: `draw_signals.py REAL WORLDS`.

REAL is the JSON of `tapeline evaluate --tweets FILE --prices FILE --json REAL`, WORLDS that of
`tapeline evaluate --simulated --json WORLDS`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

FOLDER = Path(__file__).resolve().parent
MODELS = ("majority", "price_only", "news_only", "social_only", "all")
READERS = {"news_only": "#2a8a3e", "social_only": "#c26a00", "all": "#1f4e9c"}
STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.grid": True,
    "grid.alpha": 0.3,
}

Json = dict[str, Any]


def draw_real(axes: Axes, table: Json) -> None:
    """Draw each model's accuracy on real stock-days, with its 95 % interval by day."""
    for place, name in enumerate(MODELS):
        accuracy = table["models"][name]["accuracy"]
        value = accuracy["value"]
        reach = [[value - accuracy["low"]], [accuracy["high"] - value]]
        axes.errorbar(value, place, xerr=reach, fmt="o", capsize=4, color=READERS.get(name, "#777777"))
    best = max(table["models"][name]["accuracy"]["value"] for name in ("majority", "price_only"))
    axes.axvspan(best * 1.12, best * 1.18, color="#2a8a3e", alpha=0.15)
    axes.text(best * 1.15, 2, "asked:\n+12 to\n18 %", ha="center", va="center", fontsize=9)
    axes.axvline(best, color="#000000", linewidth=0.8)
    axes.set_yticks(range(len(MODELS)), [name.replace("_", " ") for name in MODELS])
    axes.invert_yaxis()
    axes.set_xlabel("accuracy")
    axes.set_title(f"StockNet: {table['stock_days']:,} stock-days, {table['days']} days")


def draw_worlds(axes: Axes, worlds: list[Json]) -> None:
    """Draw what was planted in each simulated world and what each reader of posts found."""
    for place, world in enumerate(worlds):
        planted = 100 * world["planted_relative_gain"]
        axes.plot(
            [place - 0.3, place + 0.3],
            [planted, planted],
            color="#000000",
            label="planted" if place == 0 else None,
        )
        for shift, (name, colour) in zip((-0.15, 0.0, 0.15), READERS.items(), strict=True):
            gain = world["table"]["gains"][name]["relative_accuracy"]
            value, low, high = (100 * gain[part] for part in ("value", "low", "high"))
            axes.errorbar(
                place + shift,
                value,
                yerr=[[value - low], [high - value]],
                fmt="o",
                capsize=3,
                color=colour,
                label=name.replace("_", " ") if place == 0 else None,
            )
    axes.axhspan(12, 18, color="#2a8a3e", alpha=0.15)
    axes.axhline(0, color="#000000", linewidth=0.8)
    axes.set_xticks(range(len(worlds)), [f"effect {world['effect']}" for world in worlds])
    axes.set_ylabel("gain in accuracy, %")
    axes.set_title("Simulated worlds: planted and found")
    axes.legend(loc="upper left", fontsize=9)


def main(arguments: list[str]) -> None:
    """Read both results and write the figure."""
    if len(arguments) != 2:
        sys.exit(__doc__)
    real, worlds = (json.loads(Path(path).read_text(encoding="utf-8")) for path in arguments)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11, 4), layout="constrained")
        left, right = figure.subplots(1, 2)
        draw_real(left, real["tables"][0])
        draw_worlds(right, worlds["worlds"])
        figure.savefig(FOLDER / "signals.png", dpi=110)


if __name__ == "__main__":
    main(sys.argv[1:])
