"""Execution reports as JSON files."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from tapeline.decision.v1 import decision_pb2
from tapeline.execution.v1 import execution_pb2

from servers.local.parent_order import algorithm_to_text
from servers.local.screen import side_name, state_name


def report_to_json(report: execution_pb2.ExecutionReport) -> dict[str, Any]:
    """Return a report as plain values: the main figures first, then everything under `report`.

    Quantities and prices are integers in 1e-9 units; what is unknown is null.
    """
    execution = report.execution
    asked = execution.parameters
    return {
        "execution_id": execution.execution_id,
        "account": asked.account,
        "symbol": asked.symbol,
        "side": side_name(asked.side),
        "algorithm": algorithm_to_text(asked.algorithm),
        "state": state_name(execution),
        "quantity_nanos": asked.quantity_nanos,
        "filled_quantity_nanos": execution.filled_quantity_nanos,
        "residual_quantity_nanos": report.residual_quantity_nanos,
        "residual_reason": report.residual_reason,
        "residual_message": report.residual_message,
        "average_price_nanos": execution.average_price_nanos,
        "interval_vwap_nanos": execution.interval_vwap_nanos,
        "interval_vwap": _known(_interval_vwap(report)),
        "interval_start_time_nanos": report.interval_start_time_nanos,
        "interval_end_time_nanos": report.interval_end_time_nanos,
        "interval_volume": report.interval_volume,
        "interval_trade_count": report.interval_trade_count,
        "eligibility_rule": report.eligibility_rule,
        "slippage_vwap_bps": execution.slippage_vwap_bps,
        "participation_rate": execution.participation_rate,
        "peak_window_participation_rate": report.peak_window_participation_rate,
        "max_participation_rate": asked.max_participation_rate,
        "fallback": report.fallback,
        "quality_score": report.quality.score if report.quality.HasField("score") else None,
        "report": _without_nan(MessageToDict(report, preserving_proto_field_name=True)),
    }


def write_report(path: Path, report: execution_pb2.ExecutionReport) -> None:
    """Write one report."""
    _write(path, report_to_json(report))


def write_reports(
    path: Path,
    reports: Sequence[execution_pb2.ExecutionReport],
    decisions: Sequence[decision_pb2.Decision] = (),
) -> None:
    """Write reports as `{"executions": [...], "decisions": [...]}`."""
    content = {
        "executions": [report_to_json(report) for report in reports],
        "decisions": [decision_to_json(decision) for decision in decisions],
    }
    _write(path, content)


def decision_to_json(decision: decision_pb2.Decision) -> dict[str, Any]:
    """Return a decision as plain values: the main figures first, then everything under `decision`."""
    return {
        "decision_id": decision.decision_id,
        "execution_id": decision.execution_id,
        "symbol": decision.symbol,
        "side": side_name(decision.side),
        "state": decision_pb2.DecisionState.Name(decision.state).removeprefix("DECISION_STATE_"),
        "quantity_nanos": decision.quantity_nanos,
        "filled_quantity_nanos": decision.filled_quantity_nanos,
        "edge_bps": decision.edge_bps,
        "cost_bps": decision.cost.total_bps,
        "post_ids": list(decision.inputs.post_ids),
        "reason": decision.reason,
        "decision": _without_nan(MessageToDict(decision, preserving_proto_field_name=True)),
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".tmp")
    scratch.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    scratch.replace(path)


def _interval_vwap(report: execution_pb2.ExecutionReport) -> float:
    for benchmark in report.benchmarks:
        if benchmark.name == "interval_vwap":
            return benchmark.price
    return math.nan


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _without_nan(value: Any) -> Any:
    """Replace the text "NaN", which protobuf's JSON has for unknown figures, by null."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if value == "NaN" else value
