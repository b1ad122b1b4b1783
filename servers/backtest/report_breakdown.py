"""The part of a report that compares algorithms by symbol, volatility and time of day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from servers.backtest.orders import BASELINE, SESSION_PARTS
from servers.backtest.page import COLOURS, figure_of, image, paragraph, percent, table_of

Rows = Sequence[Mapping[str, Any]]


def breakdown_part(content: Mapping[str, Any]) -> list[str]:
    """Return tables and plots of a study's `breakdown`."""
    found = content["breakdown"]
    return [
        "<h2>By symbol, size, volatility and time of day</h2>",
        paragraph(
            "Orders at market under the cap and controls that were asked for, with the costs as stated. "
            "Gains are in per cent of the mean shortfall of equal slices in the same group; intervals hold "
            "95 % of resamples of whole days. Volatility is what was known before the day, in thirds of the "
            "symbol-days. By time of day, fills are compared with the VWAP of their part of the session."
        ),
        image(gains_figure(found), "Gain on equal slices, by symbol and volatility"),
        image(time_figure(found["time_of_day"]), "Cost by time of day"),
        _gains(found["symbol"], "symbol"),
        _gains(found["volatility"], "volatility"),
        _times(found["time_of_day"]),
    ]


def gains_figure(found: Mapping[str, Rows]) -> Figure:
    """Draw the gain of each algorithm in each group, all sizes, with intervals."""
    figure, all_axes = figure_of(2)
    for axes, name in zip(all_axes, ("symbol", "volatility"), strict=True):
        rows = [
            row for row in found[name] if row["algorithm"] != BASELINE and row["gain_percent"] is not None
        ]
        groups = list(dict.fromkeys(row["group"] for row in rows))
        kinds = list(dict.fromkeys((row["size"], row["algorithm"]) for row in rows))
        for row in rows:
            shift = (kinds.index((row["size"], row["algorithm"])) + 1) / (len(kinds) + 1) - 0.5
            at, gain = groups.index(row["group"]) + shift, row["gain_percent"]
            low, high = row["gain_percent_ci95"] or (gain, gain)
            colour = COLOURS[row["algorithm"]]
            axes.plot([at, at], [low, high], color=colour, linewidth=1)
            axes.plot([at], [gain], ".", color=colour, markersize=5)
        for algorithm in dict.fromkeys(kind[1] for kind in kinds):
            axes.plot([], [], ".", color=COLOURS[algorithm], label=algorithm)
        axes.axhline(0.0, color="black", linewidth=0.8)
        axes.set_xticks(range(len(groups)), groups)
        axes.set_ylabel("gain, per cent (sizes left to right)")
        axes.legend(frameon=False, fontsize=8)
    return figure


def time_figure(rows: Rows) -> Figure:
    """Draw what each algorithm's fills cost in each part of the session, one line a size."""
    figure, (axes,) = figure_of(1)
    places = np.arange(len(SESSION_PARTS))
    sizes = list(dict.fromkeys(row["size"] for row in rows))
    for size, algorithm in dict.fromkeys((row["size"], row["algorithm"]) for row in rows):
        costs = [
            row["mean_cost_bps"] if row["mean_cost_bps"] is not None else np.nan
            for row in rows
            if (row["size"], row["algorithm"]) == (size, algorithm)
        ]
        label = algorithm if size == sizes[0] else None
        axes.plot(places, costs, marker=".", color=COLOURS[algorithm], label=label)
    axes.set_xticks(places, [part.replace("_", " ") for part in SESSION_PARTS])
    axes.set_ylabel("cost against the part's VWAP, bps (a line a size)")
    axes.legend(frameon=False, fontsize=8)
    return figure


def _gains(rows: Rows, heading: str) -> str:
    return table_of(
        [heading, "size", "algorithm", "orders", "shortfall, bps", "gain"],
        [
            [
                row["group"],
                f"{row['size']:g}",
                row["algorithm"],
                f"{row['orders']:,}",
                _bps(row, "mean_shortfall_bps"),
                percent(row, "gain_percent"),
            ]
            for row in rows
        ],
    )


def _times(rows: Rows) -> str:
    return table_of(
        ["time of day", "size", "algorithm", "orders", "share done", "cost, bps"],
        [
            [
                row["group"].replace("_", " "),
                f"{row['size']:g}",
                row["algorithm"],
                f"{row['orders']:,}",
                f"{row['share_done']:.1%}",
                _bps(row, "mean_cost_bps"),
            ]
            for row in rows
        ],
    )


def _bps(row: Mapping[str, Any], name: str) -> str:
    value, interval = row[name], row[f"{name}_ci95"]
    if value is None:
        return ""
    return f"{value:.2f}" + (f" ({interval[0]:.2f} to {interval[1]:.2f})" if interval else "")
