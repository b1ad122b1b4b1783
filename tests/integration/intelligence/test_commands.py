"""`tapeline classify` and `tapeline rollout` on a mesh whose LLM is a server of Triton's protocol."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tapeline.intelligence.v1 import rollout_pb2
from typer.testing import CliRunner

from servers.intelligence.adapters.files import load_calibrations
from servers.intelligence.domain.sentiment import Scores
from servers.local import classifying
from servers.local.calibrating import calibrate_source
from servers.local.classifying import classify_file, read_texts
from servers.local.command import app
from servers.local.mesh import Mesh, MeshError, ServerPlace
from servers.local.rollout import plan_of, set_rollout, show_rollout
from servers.local.triton import ROOT, is_installed
from servers.model.errors import InvalidInput
from tests.integration.intelligence.conftest import Mind
from tests.integration.intelligence.triton_server import raises, reads_well


@pytest.fixture
async def mesh(mind: Mind, tmp_path: Path) -> Path:
    """A run folder whose mesh.json names the running intelligence server."""
    await mind.start()
    assert mind.running is not None
    place = ServerPlace(mind.running.address, "", os.getpid())
    Mesh(str(tmp_path), os.getpid(), "simulated", {"intelligence": place}).write(tmp_path / "mesh.json")
    return tmp_path


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def told(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def write(path: Path, texts: list[str]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        writer.writerows(enumerate(texts))
    return path


async def test_every_row_is_labelled_in_order_and_written(
    mesh: Path, console: Console, tmp_path: Path
) -> None:
    texts = [
        f'{number} {("up", "down", "calm")[number % 3]}, with "quotes"\nand lines' for number in range(50)
    ]
    path = write(tmp_path / "in.csv", [text.replace(",", " ,") for text in texts])
    out, table = tmp_path / "out.jsonl", tmp_path / "out.csv"
    assert await classify_file(path, out, table, "news", mesh, console) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["row"] for row in rows] == list(range(1, 51))
    assert [row["label"] for row in rows] == [("bullish", "bearish", "neutral")[n % 3] for n in range(50)]
    assert set(rows[0]) == {"row", "label", "confidence", "scores", "model_version"}
    assert rows[0]["model_version"] == "market_llm-1-test"
    assert rows[0]["confidence"] == pytest.approx(0.9)
    assert sum(rows[0]["scores"].values()) == pytest.approx(1.0)
    with table.open(newline="") as file:
        again = list(csv.DictReader(file))
    assert [json.loads(row["scores"]) for row in again] == [row["scores"] for row in rows]
    assert "50 of 50 rows" in told(console)
    assert not list(tmp_path.glob("*.tmp"))


async def test_a_row_without_a_text_is_neutral_of_no_model_and_stands_in_its_place(
    mesh: Path, console: Console, tmp_path: Path
) -> None:
    path, out = tmp_path / "in.csv", tmp_path / "out.jsonl"
    path.write_text("id,text\n1,going up\n2,\n3, \n4,going down\n")
    await classify_file(path, out, None, "news", mesh, console)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["row"] for row in rows] == [1, 2, 3, 4]
    assert [row["label"] for row in rows] == ["bullish", "neutral", "neutral", "bearish"]
    assert [row["model_version"] == "none" for row in rows] == [False, True, True, False]
    assert rows[1]["confidence"] < 0.7
    assert "2 without a text" in told(console)


async def test_without_a_source_or_with_one_that_nobody_knows_the_confidence_is_lowered(
    mesh: Path, console: Console, tmp_path: Path
) -> None:
    path, out = write(tmp_path / "in.csv", ["going up"]), tmp_path / "out.jsonl"
    for source, words in (("", "without --source"), ("forum", "'forum' has no calibration")):
        await classify_file(path, out, None, source, mesh, console)
        assert json.loads(out.read_text())["confidence"] < 0.7
        assert words in told(console)


async def test_without_a_file_to_write_the_answers_go_to_standard_output(
    mesh: Path, console: Console, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await classify_file(write(tmp_path / "in.csv", ["going up"]), None, None, "news", mesh, console)
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["label"] == "bullish"


async def test_rows_that_the_llm_could_not_answer_at_once_are_asked_again(
    mind: Mind, mesh: Path, console: Console, tmp_path: Path
) -> None:
    version = mind.triton.versions["1"]
    failures = iter(range(3))

    async def stumbles(texts: Any) -> Any:
        for _ in failures:
            await raises(texts)
        return await reads_well(texts)

    version.read = stumbles
    out = tmp_path / "out.jsonl"
    texts = [f"{number} up" for number in range(30)]
    await classify_file(write(tmp_path / "in.csv", texts), out, None, "news", mesh, console)
    assert {json.loads(line)["model_version"] for line in out.read_text().splitlines()} == {
        "market_llm-1-test"
    }


async def test_an_llm_that_never_answers_is_an_error_and_nothing_is_written(
    mind: Mind, mesh: Path, console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifying, "PATIENCE_SECONDS", 0.3)
    await mind.triton.stop()
    out = tmp_path / "out.jsonl"
    with pytest.raises(BaseExceptionGroup) as failed:
        await classify_file(write(tmp_path / "in.csv", ["x"]), out, None, "", mesh, console)
    assert failed.group_contains(MeshError, match="does not answer")
    assert not out.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "column text: there is no such column; the heading has"),
        (b"id,words\n1,x\n", "column text: there is no such column; the heading has"),
        (b"text\n", "there are no rows"),
        (b"id,text\n1,\n2,  \n", "column text: no row has a text"),
        (b"id,text\n1,up\n2\n", "row 2: it has not 2 fields"),
        (b"id,text\n1,up,more\n", "row 1: it has not 2 fields"),
        (b"id,text\n1,up\n2,\xff\xfe\n", "not UTF-8"),
        (b'id,text\n1,"up" x\n', "row 1: "),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_row_column_and_reason(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(content)
    with pytest.raises(InvalidInput) as refused:
        read_texts(path)
    assert words in str(refused.value)
    assert refused.value.reason == "FILE_MALFORMED"


def test_packed_files_are_read_and_broken_ones_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.csv.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbftext\nup\n"))
    assert read_texts(path) == ["up"]
    whole = gzip.compress(b"text\n" + b"up\n" * 1_000)
    for broken in (b"not packed", whole[:-20], whole[:12] + b"\xff" * 12 + whole[24:]):
        path.write_bytes(broken)
        with pytest.raises(InvalidInput):
            read_texts(path)


def test_the_command_says_in_one_line_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("text\n\n")
    result = CliRunner().invoke(app, ["classify", "--input", str(path)])
    assert result.exit_code == 1
    assert "there are no rows" in result.output


@pytest.mark.slow
@pytest.mark.processes
async def test_without_a_mesh_the_real_llm_is_started_for_as_long_as_it_is_needed(
    tmp_path: Path, console: Console
) -> None:
    if not is_installed() or not (ROOT / "build" / "triton" / "recipe.json").exists():
        pytest.skip("Triton's environment or the LLM's weights are not set up")
    path, out = (
        write(tmp_path / "in.csv", ["Acme beats estimates", "Bolt is bankrupt"]),
        tmp_path / "out.jsonl",
    )
    assert await classify_file(path, out, None, "", tmp_path / "nowhere", console) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["row"] for row in rows] == [1, 2]
    assert all(row["model_version"].startswith("market_llm-1-") for row in rows)


# -- Roll-out -----------------------------------------------------------------------------------------


async def test_the_roll_out_is_shown_and_set(mind: Mind, mesh: Path, console: Console) -> None:
    await show_rollout(mesh, console)
    assert "an LLM answers" in told(console)
    plan = plan_of(0.1, 0.8, 20, 1.5, False)
    await set_rollout(mesh, "start", "2", "25", "a trial", plan, console)
    rollout = await mind.rollout()
    assert rollout.stage == rollout_pb2.ROLLOUT_STAGE_25_PERCENT
    assert rollout.plan.min_stage_time.ToMilliseconds() == 90_000
    assert not rollout.plan.is_automatic
    assert "labelled texts: none are configured" in told(console)
    await set_rollout(mesh, "stage", "", "50", "on we go", plan, console)
    await set_rollout(mesh, "roll-back", "", "shadow", "enough", plan, console)
    await set_rollout(mesh, "llm-off", "", "shadow", "quiet", plan, console)
    await show_rollout(mesh, console)
    shown = told(console)
    for words in ("started", "stage changed", "rolled back", "llm switched off", "enough", "switched off"):
        assert words in shown
    assert (await mind.rollout()).state == rollout_pb2.ROLLOUT_STATE_ROLLED_BACK


@pytest.mark.parametrize(
    ("action", "version", "stage", "reason", "words"),
    [
        ("begin", "2", "25", "x", "is none of start"),
        ("start", "2", "30", "x", "is none of shadow"),
        ("start", "2", "25", "", "--reason"),
        ("start", "", "25", "x", "--version"),
    ],
)
async def test_words_that_mean_nothing_are_refused(
    tmp_path: Path, console: Console, action: str, version: str, stage: str, reason: str, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        await set_rollout(
            tmp_path, action, version, stage, reason, plan_of(None, None, None, None, True), console
        )


def test_the_command_shows_that_no_mesh_runs(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["rollout", "--mesh", str(tmp_path)])
    assert result.exit_code == 1
    assert "no mesh is running" in result.output


# -- Calibration --------------------------------------------------------------------------------------


async def test_a_source_is_calibrated_from_labelled_texts(
    mind: Mind, console: Console, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "labelled.csv"
    words = {"up": "bullish", "down": "bearish", "calm": "neutral"}
    rows = [f"{number} {word},{label}\n" for number in range(30) for word, label in words.items()]
    path.write_text("text,label\n" + "".join(rows))
    out = tmp_path / "calibration.toml"
    out.unlink()
    assert await calibrate_source(path, "forum", "1", out, mind.triton.address, console) == 0
    assert "out of fold: 90 texts, accuracy 1.000" in told(console)
    calibrations = load_calibrations(out)
    assert calibrations.apply("1", "forum", Scores(0.1, 0.1, 0.8)).confidence > 0.8
    await calibrate_source(path, "forum", "1", None, mind.triton.address, console)
    assert capsys.readouterr().out == out.read_text()


async def test_a_calibration_without_a_model_or_with_too_few_texts_is_refused(
    mind: Mind, console: Console, tmp_path: Path
) -> None:
    path = tmp_path / "labelled.csv"
    path.write_text("text,label\nup,bullish\n")
    with pytest.raises(ValueError, match="at least 50"):
        await calibrate_source(path, "forum", "1", None, mind.triton.address, console)
    with pytest.raises(MeshError, match="not loaded"):
        await calibrate_source(path, "forum", "9", None, mind.triton.address, console)
