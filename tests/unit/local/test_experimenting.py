"""Experiments in the words of the command, and a comparison as people and programs read it."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import pytest
from rich.console import Console
from tapeline.execution.v1 import comparison_pb2, execution_pb2
from typer.testing import CliRunner

from servers.local.command import app
from servers.local.cost_screen import comparison_panel, comparison_to_json, write_comparison
from servers.local.experimenting import ExperimentWords, staggered
from servers.model.nanos import NANO

HOUR = 3_600 * NANO


def test_an_experiment_is_named_after_what_it_compares() -> None:
    experiment = ExperimentWords(("vwap", "twap"), 3, seed=9, planned=60, smallest_effect_bps=1.5).to_wire()
    assert experiment.name == "vwap-or-twap"
    assert list(experiment.algorithms) == [
        execution_pb2.ALGORITHM_STATIC_VWAP,
        execution_pb2.ALGORITHM_TWAP,
    ]
    assert (experiment.seed, experiment.planned_parent_count, experiment.smallest_effect_bps) == (9, 60, 1.5)
    with pytest.raises(ValueError, match="'best'"):
        ExperimentWords(("best", "twap"), 3).to_wire()


def test_parents_of_one_symbol_follow_each_other_and_symbols_go_side_by_side() -> None:
    first = execution_pb2.ExecutionParameters(
        symbol="X", algorithm=execution_pb2.ALGORITHM_TWAP, horizon_nanos=HOUR
    )
    experiment = ExperimentWords(("vwap", "twap"), 3).to_wire()
    parents = staggered(first, experiment, ["A", "B"], 3, HOUR, 4 * HOUR)
    assert [(parent.symbol, parent.start_time_nanos // HOUR) for parent in parents] == [
        ("A", 1), ("B", 1), ("A", 2), ("B", 2), ("A", 3), ("B", 3),
    ]  # fmt: skip
    assert {parent.algorithm for parent in parents} == {execution_pb2.ALGORITHM_UNSPECIFIED}
    assert all(parent.experiment == experiment for parent in parents)
    with pytest.raises(ValueError, match="do not fit into the session: 3 of"):
        staggered(first, experiment, ["A"], 4, HOUR, 4 * HOUR)


@pytest.mark.parametrize("words", [["--algo", "twap,vwap"], ["--algo", "twap", "--randomise", "3"]])
def test_several_algorithms_and_randomising_go_together(words: list[str]) -> None:
    result = CliRunner().invoke(app, ["execute", "BUY", "100", "ACME", *words])
    assert result.exit_code == 2
    assert "--randomise goes with two" in " ".join(result.output.replace("│", " ").split())


def comparison() -> comparison_pb2.Comparison:
    twap, adaptive = execution_pb2.ALGORITHM_TWAP, execution_pb2.ALGORITHM_ADAPTIVE_VWAP
    return comparison_pb2.Comparison(
        experiment=ExperimentWords(("twap", "adaptive_vwap"), 3, name="e1").to_wire(),
        parent_count=5,
        session_count=1,
        left_out_count=2,
        groups=[
            comparison_pb2.CostGroup(
                dimension=comparison_pb2.COST_DIMENSION_ALL,
                algorithm=twap,
                parent_count=3,
                mean_shortfall_bps=4.25,
                mean_tracking_error_bps=math.nan,
                mean_filled_share=0.875,
            ),
            comparison_pb2.CostGroup(
                dimension=comparison_pb2.COST_DIMENSION_SYMBOL, bucket="ACME", algorithm=adaptive
            ),
        ],
        differences=[
            comparison_pb2.CostDifference(
                dimension=dimension,
                bucket=bucket,
                measure=comparison_pb2.COST_MEASURE_SHORTFALL,
                first=adaptive,
                second=twap,
                difference_bps=-1.5,
                p_value=p_value,
                verdict=comparison_pb2.COMPARISON_VERDICT_NONE_SEEN,
                message="adaptive_vwap less twap: -1.50 bps",
            )
            for dimension, bucket, p_value in (
                (comparison_pb2.COST_DIMENSION_ALL, "", 0.4),
                (comparison_pb2.COST_DIMENSION_SYMBOL, "ACME", None),
            )
        ],
        note="how it was made",
    )


def test_a_comparison_shows_figures_what_may_be_said_and_dashes_for_what_is_not_known() -> None:
    console = Console(file=io.StringIO(), width=150)
    console.print(comparison_panel(comparison()))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    told = ("experiment e1", "seed 1", "5 parents of 1 sessions; 2 left out", "4.25", "87.5%", "by symbol")
    for part in told:
        assert part in text
    assert "shortfall: adaptive_vwap less twap: -1.50 bps" in text
    assert "none seen" in text
    assert "how it was made" in text
    line = next(line for line in text.splitlines() if "4.25" in line)
    assert " - " in line


def test_a_comparison_in_a_file_has_null_for_what_is_not_known(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "comparison.json"
    write_comparison(path, comparison())
    content = json.loads(path.read_text())
    assert content["experiment"]["name"] == "e1"
    assert content["groups"][0]["mean_tracking_error_bps"] is None
    first, second = content["differences"]
    assert (first["dimension"], first["verdict"], first["p_value"], first["ci95_bps"]) == (
        "all", "NONE_SEEN", 0.4, None,
    )  # fmt: skip
    assert second["p_value"] is None
    assert comparison_to_json(comparison_pb2.Comparison())["experiment"] is None
