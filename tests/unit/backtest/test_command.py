"""`tapeline backtest`, as it is called."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from servers.local.command import app


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["backtest", *arguments])
    return result.exit_code, result.output


def test_it_studies_tracking_by_default(bars_file: Path, train_until: str, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out.json"
    code, said = run(
        "--bars", str(bars_file), "--algo", "twap,vwap", "--train-until", train_until, "--json", str(out)
    )
    assert code == 0, said
    content = json.loads(out.read_text())
    assert set(content["algorithms"]) == {"twap", "static_vwap"}
    assert {(pair["a"], pair["b"]) for pair in content["pairs"]} == {
        ("twap", "static_vwap"),
        ("static_vwap", "twap"),
    }
    assert content["test_days"] == 2
    assert content["train_days"] == 22
    assert "static_vwap" in said


def test_it_runs_orders_with_a_size_and_writes_json_and_html(
    bars_file: Path, train_until: str, tmp_path: Path
) -> None:
    code, said = run(
        "--bars",
        str(bars_file),
        "--algo",
        "static_vwap",
        "--train-until",
        train_until,
        "--size",
        "0.05",
        "--no-cap",
        "--max-impact",
        "0",
        "--workers",
        "1",
        "--json",
        str(tmp_path / "out.json"),
        "--html",
        str(tmp_path / "out.html"),
        "--resume",
        str(tmp_path / "kept"),
    )
    assert code == 0, said
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["cap"] is None
    assert content["controls"]["algorithms"] == {}
    assert not any(row["is_controlled"] for row in content["comparisons"])
    assert "Without impact and deviation controls" in (tmp_path / "out.html").read_text()
    assert {row["algorithm"] for row in content["comparisons"]} == {"twap", "static_vwap", "foresight"}
    assert "not calibrated" in said
    assert (tmp_path / "out.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--algo", "best"), "no algorithm 'best'"),
        (("--algo", "pov"), "give it a --size above 0"),
        (("--size", "0,0.1"), "size 0 is a study of its own"),
        (("--calendar", "MARS"), "CALENDAR_UNKNOWN"),
        (("--calendar", "XBOM"), "another calendar, or times that are not UTC"),
        (("--train-until", "2030-01-01"), "VALUE_OUT_OF_RANGE"),
    ],
)
def test_a_refusal_takes_one_line_and_writes_nothing(
    arguments: tuple[str, ...], said: str, bars_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.json"
    code, output = run("--bars", str(bars_file), *arguments, "--json", str(out))
    assert code == 1
    assert said in output
    assert not out.exists()


def test_a_malformed_file_is_named_by_row_and_nothing_is_half_done(
    bars_lines: list[str], tmp_path: Path
) -> None:
    path, out = tmp_path / "bars.csv", tmp_path / "out.json"
    path.write_text("\n".join([*bars_lines[:500], "AAA,never,1,1,1,1,1,1"]) + "\n")
    code, output = run(
        "--bars", str(path), "--size", "0.05", "--json", str(out), "--resume", str(tmp_path / "kept")
    )
    assert code == 1
    assert "row 500" in output
    assert "start_time_ms" in output
    assert not out.exists()
    assert not (tmp_path / "kept").exists()


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    code, output = run("--bars", str(tmp_path / "bars.csv"))
    assert code == 2
    assert "does not exist" in output


def test_one_file_is_to_be_named(bars_file: Path) -> None:
    assert run()[0] == 2
    assert run("--bars", str(bars_file), "--trades", str(bars_file))[0] == 2
