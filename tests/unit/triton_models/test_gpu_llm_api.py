"""The FP8 build: every step is told, and what is missing is said before the first."""

from pathlib import Path

import pytest

from triton_models.gpu_llm_api import build
from triton_models.gpu_tensorrt import build as tensorrt
from triton_models.gpu_tensorrt.steps import BuildError


def test_a_dry_run_tells_every_step_and_runs_none(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert build.main(["--dry-run"]) == 0
    told = capsys.readouterr().out
    assert f"tensorrt_llm=={build.TENSORRT_LLM}" in told
    for word in ("triton_models.gpu_llm_api.quantise", "FP8", "docker run", "TLLM_WORKER_USE_SINGLE_PROCESS"):
        assert word in told
    assert "trtllm-build" not in told
    assert list(tmp_path.iterdir()) == []


def test_a_build_says_everything_that_is_missing_and_begins_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build.main(["--texts", str(tmp_path / "a.csv"), "--output", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    for part in ("checkpoint is not at", "labelled texts 1", "tensorrt_llm", "no NVIDIA GPU", build.IMAGE):
        assert part in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("wrong", [["--texts", "a.csv", "--samples", "0"], []])
def test_a_command_line_that_cannot_be_built_is_refused(wrong: list[str]) -> None:
    with pytest.raises(SystemExit):
        build.main(wrong)


def test_a_repository_is_not_assembled_without_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="no FP8 checkpoint"):
        build.assemble(build.Plan(tmp_path / "mistral", (), tmp_path / "out"))


def test_the_successor_has_a_container_and_a_toolchain_of_its_own() -> None:
    assert build.IMAGE != tensorrt.IMAGE
    assert build.TENSORRT_LLM != tensorrt.TENSORRT_LLM
    assert build.serve(build.Plan(Path("m"), (), Path("out"))).words.count(build.IMAGE) == 1
