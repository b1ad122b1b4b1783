"""What people see of a comparison of algorithms: figures by group, and what may be said of differences."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from tapeline.execution.v1 import comparison_pb2

from servers.local.parent_order import algorithm_to_text

_DIMENSIONS = {
    comparison_pb2.COST_DIMENSION_ALL: "all",
    comparison_pb2.COST_DIMENSION_SYMBOL: "by symbol",
    comparison_pb2.COST_DIMENSION_SIZE: "by size",
    comparison_pb2.COST_DIMENSION_VOLATILITY: "by volatility",
    comparison_pb2.COST_DIMENSION_TIME_OF_DAY: "by time of day",
}
_MEASURES = {
    comparison_pb2.COST_MEASURE_SHORTFALL: "shortfall",
    comparison_pb2.COST_MEASURE_TRACKING_ERROR: "tracking error",
}


def comparison_panel(comparison: comparison_pb2.Comparison) -> RenderableType:
    """Return a comparison: figures of every group, then what may be said of all orders together."""
    title = "finished parent orders by algorithm"
    if comparison.HasField("experiment"):
        experiment = comparison.experiment
        names = ", ".join(algorithm_to_text(number) for number in experiment.algorithms)
        title = (
            f"experiment {experiment.name}: {names}; seed {experiment.seed}, decided after"
            f" {experiment.planned_parent_count} parents"
        )
    counted = (
        f"{comparison.parent_count} parents of {comparison.session_count} sessions;"
        f" {comparison.left_out_count} left out (not finished, refused or never arrived)"
    )
    parts: list[RenderableType] = [Text(title, style="bold"), Text(counted), _groups(comparison)]
    said = [one for one in comparison.differences if one.dimension == comparison_pb2.COST_DIMENSION_ALL]
    parts += [Text(f"{_MEASURES[one.measure]}: {one.message}") for one in said]
    rest = [one for one in comparison.differences if one.dimension != comparison_pb2.COST_DIMENSION_ALL]
    if rest:
        parts.append(_differences(rest))
    parts.append(Text(comparison.note, style="dim"))
    return Group(*parts)


def write_comparison(path: Path, comparison: comparison_pb2.Comparison) -> None:
    """Write a comparison as JSON, whole or not at all; what is unknown is null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".tmp")
    content = json.dumps(comparison_to_json(comparison), indent=2, allow_nan=False)
    scratch.write_text(content + "\n", encoding="utf-8")
    scratch.replace(path)


def comparison_to_json(comparison: comparison_pb2.Comparison) -> dict[str, Any]:
    """Return a comparison as plain values."""
    return {
        "experiment": (
            MessageToDict(comparison.experiment, preserving_proto_field_name=True)
            if comparison.HasField("experiment")
            else None
        ),
        "parent_count": comparison.parent_count,
        "session_count": comparison.session_count,
        "left_out_count": comparison.left_out_count,
        "groups": [
            {
                "dimension": _word(comparison_pb2.CostDimension.Name(group.dimension), "COST_DIMENSION_"),
                "bucket": group.bucket,
                "algorithm": algorithm_to_text(group.algorithm),
                "parent_count": group.parent_count,
                **{name: _known(getattr(group, name)) for name in _FIGURES},
            }
            for group in comparison.groups
        ],
        "differences": [
            {
                "dimension": _word(comparison_pb2.CostDimension.Name(one.dimension), "COST_DIMENSION_"),
                "bucket": one.bucket,
                "measure": _word(comparison_pb2.CostMeasure.Name(one.measure), "COST_MEASURE_"),
                "first": algorithm_to_text(one.first),
                "second": algorithm_to_text(one.second),
                "difference_bps": _known(one.difference_bps),
                "ci95_bps": _pair(one, "interval_low_bps", "interval_high_bps"),
                "always_ci95_bps": _pair(one, "always_low_bps", "always_high_bps"),
                "p_value": one.p_value if one.HasField("p_value") else None,
                "detectable_bps": one.detectable_bps if one.HasField("detectable_bps") else None,
                "first_count": one.first_count,
                "second_count": one.second_count,
                "session_count": one.session_count,
                "verdict": comparison_pb2.ComparisonVerdict.Name(one.verdict).removeprefix(
                    "COMPARISON_VERDICT_"
                ),
                "message": one.message,
            }
            for one in comparison.differences
        ],
        "note": comparison.note,
    }


_FIGURES = (
    "mean_shortfall_bps",
    "median_shortfall_bps",
    "mean_tracking_error_bps",
    "median_tracking_error_bps",
    "p95_tracking_error_bps",
    "mean_filled_share",
)


def _groups(comparison: comparison_pb2.Comparison) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("", "group", "algorithm"):
        table.add_column(heading, justify="left", no_wrap=True)
    for heading in ("orders", "shortfall", "median", "tracking", "median", "95 %", "filled"):
        table.add_column(heading, justify="right", no_wrap=True)
    shown = 0
    for group in comparison.groups:
        is_next = group.dimension != shown
        if is_next and shown:
            table.add_section()
        shown = group.dimension
        table.add_row(
            _DIMENSIONS[group.dimension] if is_next else "",
            group.bucket,
            algorithm_to_text(group.algorithm),
            str(group.parent_count),
            *(_bps(getattr(group, name)) for name in _FIGURES[:-1]),
            f"{group.mean_filled_share:.1%}",
        )
    table.caption = "basis points, means first; positive is a cost"
    table.caption_justify = "left"
    return table


def _differences(differences: list[comparison_pb2.CostDifference]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("", "group", "measure", "difference of"):
        table.add_column(heading, justify="left", no_wrap=True)
    for heading in ("bps", "orders", "would be seen", "may be said"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in differences:
        table.add_row(
            _DIMENSIONS[one.dimension],
            one.bucket,
            _MEASURES[one.measure],
            f"{algorithm_to_text(one.first)} - {algorithm_to_text(one.second)}",
            _bps(one.difference_bps),
            f"{one.first_count}, {one.second_count}",
            _bps(one.detectable_bps) if one.HasField("detectable_bps") else "-",
            _word(comparison_pb2.ComparisonVerdict.Name(one.verdict), "COMPARISON_VERDICT_").replace(
                "_", " "
            ),
        )
    return table


def _bps(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "-"


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _pair(one: comparison_pb2.CostDifference, low: str, high: str) -> list[float] | None:
    return [getattr(one, low), getattr(one, high)] if one.HasField(low) else None  # type: ignore[arg-type]


def _word(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower()
