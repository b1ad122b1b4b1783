"""The report of a backtest: one HTML file with its plots inside."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from servers.backtest.inputs import DayInputs
from servers.backtest.options import BacktestOptions
from servers.backtest.orders import DayOrders, Order, Variant
from servers.backtest.page import COLOURS, figure_of, image, paragraph, percent, table_of
from servers.backtest.report_breakdown import breakdown_part
from servers.backtest.running import BacktestResult, sample_inputs
from servers.backtest.shortfall_study import AUDITED, grouped
from servers.backtest.simulation import OUTCOME_FIELDS, run_orders
from servers.recordings.table import Doubles, Int64s

SAMPLE_SIZE = 0.01
"""Of the orders in the sample's plots, where the study has none: they need fills to show."""

HOUR_NANOS = 3_600_000_000_000
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto;
  padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; }
.note { color: #666; }
"""


def write_report(result: BacktestResult, content: Mapping[str, Any], path: Path) -> None:
    """Write the report of a result, `content` being its JSON values; whole or not at all."""
    options = result.options
    title = "Tracking study" if options.is_zero_size else "Backtest of orders with a size"
    parts = [
        f"<h1>{title}</h1>",
        paragraph(
            f"{options.path.name}, calendar {options.calendar}; {content['train_days']} training days, "
            f"{content['test_days']} test days; seed {options.seed}."
        ),
    ]
    if result.tracking is not None:
        parts += [
            _tracking_table(content),
            image(tracking_figure(result), "Distribution of tracking errors"),
        ]
    else:
        parts += [
            paragraph(content["costs"]["note"]),
            _gains_table(content),
            *_controls_part(content),
            _results_table(content),
            image(shortfall_figure(result), "Distribution of shortfalls"),
            *breakdown_part(content),
        ]
    day = sample_inputs(result)
    orders = sample_orders(day, result.options)
    parts += [
        f"<h2>One session: {html.escape(day.symbol)}, {day.session.date}</h2>",
        image(sample_figure(orders, day, options), "Schedule, execution and price path"),
    ]
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    beside.write_text(page, encoding="utf-8")
    beside.replace(path)


def sample_orders(day: DayInputs, options: BacktestOptions) -> list[Order]:
    """Return one order an algorithm of the sample session, replayed with its fills kept."""
    size = options.sizes[0] or SAMPLE_SIZE
    makes = DayOrders(day, options)
    orders = [
        makes.order(
            Variant(name, size, "market", options.cap is not None, options.max_impact > 0, 1.0, 1),
            keeps_fills=True,
        )
        for name in options.algorithms
    ]
    run_orders(orders, day, options)
    return orders


def tracking_figure(result: BacktestResult) -> Figure:
    """Draw the distribution function of the tracking errors of each algorithm."""
    study = result.tracking
    assert study is not None
    figure, (axes,) = figure_of(1)
    for name, column in zip(study.algorithms, study.errors_bps.T, strict=True):
        _distribution(axes, np.sort(column), name)
    axes.set_xlabel("tracking error against the day's VWAP, bps")
    axes.set_xlim(0, float(np.percentile(study.errors_bps, 99)))
    axes.set_ylabel("share of symbol-days")
    axes.legend(frameon=False)
    return figure


def shortfall_figure(result: BacktestResult) -> Figure:
    """Draw the distribution function of slippage against the interval's VWAP, at market, by size."""
    sized = result.sized
    assert sized is not None
    table, groups = sized.table(), grouped(result.options)
    place = OUTCOME_FIELDS.index("vwap_slippage_bps")
    is_capped, is_controlled = result.options.cap is not None, result.options.max_impact > 0
    figure, all_axes = figure_of(len(result.options.sizes))
    for size, axes in zip(result.options.sizes, all_axes, strict=True):
        for name in result.options.algorithms:
            columns = table[:, groups[size, is_capped, is_controlled, 1.0, "market", name], place]
            _distribution(axes, np.sort(columns[np.isfinite(columns)]), name)
        axes.set_title(f"orders of {size:g} x median volume", loc="left")
        axes.set_xlabel("slippage against the interval's VWAP, bps")
        axes.set_ylabel("share of orders")
        axes.set_xlim(*np.percentile(table[:, :, place][np.isfinite(table[:, :, place])], [1, 99]))
        axes.legend(frameon=False)
    return figure


def sample_figure(orders: Sequence[Order], day: DayInputs, options: BacktestOptions) -> Figure:
    """Draw what each schedule planned and what was executed, and the price path with the fills."""
    figure, (schedules, prices) = figure_of(2)
    open_nanos, closes = day.session.open_time_nanos, day.session.close_time_nanos
    moments = np.linspace(open_nanos, closes, 200).astype(np.int64)
    for order in orders:
        name, fills = order.variant.algorithm, order.parent.fill_columns()
        hours = _hours(fills["time_nanos"], open_nanos)
        done = np.cumsum(fills["size_nanos"]) / order.parent.quantity_nanos
        colour = COLOURS[name]
        schedules.step(hours, done, where="post", color=colour, label=f"{name}, executed")
        if name in ("twap", "static_vwap", "shortfall"):
            # The plan of the others is made as the volume comes.
            plan = DayOrders(day, options).schedule(name, order.variant.size)
            planned = [plan.planned_share(int(moment)) for moment in moments]
            schedules.plot(_hours(moments, open_nanos), planned, color=colour, linestyle=":", linewidth=1)
        prices.plot(hours, fills["price_nanos"] / 1e9, ".", markersize=3, color=colour, label=name)
    market = np.cumsum(day.volumes) / day.volumes.sum()
    edges = _hours(np.array(day.edges[1:], np.int64), open_nanos)
    schedules.plot(edges, market, color="black", linewidth=1, label="the market's volume")
    schedules.set_ylabel("share done (dotted: planned)")
    schedules.legend(frameon=False, fontsize=8)
    traded = np.isfinite(day.prices)
    prices.plot(edges[traded], day.prices[traded], color="black", linewidth=1, label="mean price of a bin")
    prices.set_ylabel("price")
    prices.set_xlabel("hours after the open")
    prices.legend(frameon=False, fontsize=8)
    return figure


def _distribution(axes: Axes, values: Doubles, name: str) -> None:
    axes.plot(values, np.arange(1, len(values) + 1) / len(values), color=COLOURS[name], label=name)


def _hours(times: Int64s, open_nanos: int) -> Doubles:
    return np.asarray((times - open_nanos) / HOUR_NANOS)


def _tracking_table(content: Mapping[str, Any]) -> str:
    figures = ("mean", "median", "p95", "rms")
    rows = [
        [name, *(f"{row[f'{figure}_tracking_error_bps']:.2f}" for figure in figures), str(row["symbol_days"])]
        for name, row in content["algorithms"].items()
    ]
    pairs = [
        [
            f"{pair['a']} against {pair['b']}",
            *(
                percent(pair, f"{figure}_difference_percent")
                for figure in ("mean", "p95", "rms", "rms_blind")
            ),
        ]
        for pair in content["pairs"]
    ]
    return table_of(["bps", "mean", "median", "95 %", "rms", "symbol-days"], rows) + table_of(
        ["difference", "mean", "95 %", "rms", "rms, outcome-blind"], pairs
    )


def _gains_table(content: Mapping[str, Any]) -> str:
    rows = [
        [
            f"{row['algorithm']}, {row['size']:g} x volume",
            f"{content['cap']:g}" if row["is_capped"] else "none",
            "on" if row["is_controlled"] else "off",
            f"x {row['cost_scale']:g}",
            f"{row['baseline_mean_shortfall_bps']:.2f}",
            *(percent(row, f"{name}_gain_percent") for name in ("scheduling", "placement", "total")),
        ]
        for row in content["comparisons"]
    ]
    headings = [
        "gain on equal slices at market",
        "cap",
        "controls",
        "costs",
        "their bps",
        "scheduling",
        "placement",
        "total",
    ]
    return table_of(headings, rows)


def _controls_part(content: Mapping[str, Any]) -> list[str]:
    controls = content["controls"]
    if not controls["algorithms"]:
        return [paragraph("Without impact and deviation controls.")]
    names = ("orders", *AUDITED)
    return [
        paragraph(
            f"Controls: modelled impact up to {controls['max_market_impact']:g} of the price, own average "
            f"within {controls['max_vwap_deviation']:g} of the VWAP since arrival; an order that pauses and "
            f"asks is taken to be resumed after {controls['answer_seconds']:g} s. A breach is a figure that "
            "rises above its bound; the last column counts fills that a control should have stopped."
        ),
        table_of(
            ["controls, all orders", *(name.replace("_", " ") for name in names)],
            [
                [algorithm, *(f"{row[name]:,}" for name in names)]
                for algorithm, row in controls["algorithms"].items()
            ],
        ),
    ]


def _results_table(content: Mapping[str, Any]) -> str:
    names = ("shortfall", "spread", "impact", "timing", "opportunity")
    rows = [
        [
            f"{row['algorithm']}, {row['size']:g} x volume, {row['placement']}",
            f"{content['cap']:g}" if row["is_capped"] else "none",
            "on" if row["is_controlled"] else "off",
            *(f"{row[f'mean_{name}_bps']:.2f}" for name in names),
            f"{row['mean_filled']:.1%}",
            f"{row['mean_passive']:.1%}",
            f"{row['mean_participation']:.1%}",
        ]
        for row in content["results"]
        if row["cost_scale"] == 1.0
    ]
    return table_of(["mean bps", "cap", "controls", *names, "filled", "passive", "participation"], rows)
