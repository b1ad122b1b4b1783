"""The GPU builds: every step is told, what is missing is said first, and what can run here runs."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from triton_models.gpu_tensorrt import build
from triton_models.gpu_tensorrt.calibration import calibration_prompts, write_prompts
from triton_models.gpu_tensorrt.reading import PREFIX, SUFFIX
from triton_models.gpu_tensorrt.steps import Action, BuildError, Command, Needs, run, tell

NOTHING = Needs({}, (), {}, "an image")


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "labelled.csv"
    rows = [f"Company {number} reports number {number},{number % 3}" for number in range(200)]
    path.write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def plan(tmp_path: Path, texts: Path, kv_cache: str = "int8") -> build.Plan:
    return build.Plan(tmp_path / "mistral", tmp_path / "sources", (texts,), tmp_path / "out", kv_cache)


def words_of(plan: build.Plan, title: str) -> tuple[str, ...]:
    (words,) = [step.words for step in build.steps(plan) if isinstance(step, Command) and title in step.title]
    return words


def test_a_dry_run_tells_every_step_and_runs_none(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert build.main(["--dry-run"]) == 0
    told = capsys.readouterr().out
    assert f"tensorrt_llm=={build.TENSORRT_LLM}" in told
    assert build.IMAGE in told
    for word in (
        "convert_checkpoint.py",
        "--smoothquant 0.5",
        "--int8_kv_cache",
        "trtllm-build",
        "docker run",
    ):
        assert word in told
    assert list(tmp_path.iterdir()) == []


def test_a_build_says_everything_that_is_missing_and_begins_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    arguments = [
        "--texts",
        str(texts),
        "--checkpoint",
        str(tmp_path / "no"),
        "--output",
        str(tmp_path / "out"),
    ]
    assert build.main(arguments) == 1
    said = capsys.readouterr().err
    for part in (
        "checkpoint is not at",
        "converter is not at",
        "`trtllm-build`",
        "tensorrt_llm",
        "no NVIDIA GPU",
    ):
        assert part in said
    assert build.IMAGE in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("wrong", [["--alpha", "2"], ["--samples", "0"], []])
def test_a_command_line_that_cannot_be_built_is_refused(wrong: list[str]) -> None:
    with pytest.raises(SystemExit):
        build.main([*(["--texts", "a.csv"] if wrong else []), *wrong])


def test_int8_keys_and_values_exclude_the_reuse_of_the_prefix(tmp_path: Path, texts: Path) -> None:
    int8, fp16 = plan(tmp_path, texts), plan(tmp_path, texts, "fp16")
    assert "--int8_kv_cache" in words_of(int8, "quantise")
    assert "--int8_kv_cache" not in words_of(fp16, "quantise")
    for one, said in ((int8, "disable"), (fp16, "enable")):
        engine = words_of(one, "engine")
        assert engine[engine.index("--use_paged_context_fmha") + 1] == said


def test_the_engine_is_built_for_what_the_configurations_promise(tmp_path: Path, texts: Path) -> None:
    engine = words_of(plan(tmp_path, texts), "engine")
    for option, value in (
        ("--max_batch_size", "8"),
        ("--max_beam_width", "1"),
        ("--logits_dtype", "float32"),
    ):
        assert engine[engine.index(option) + 1] == value
    assert "--gather_generation_logits" in engine


def test_the_committed_configuration_can_be_switched_to_reuse_and_back() -> None:
    config = (build.REPOSITORY / "tensorrt_llm" / "config.pbtxt").read_text(encoding="utf-8")
    reusing = build.with_reuse(config, reuses_prefix=True)
    assert reusing != config
    assert build.with_reuse(reusing, reuses_prefix=False) == config
    with pytest.raises(BuildError, match="enable_kv_cache_reuse"):
        build.with_reuse("name: 'other'", reuses_prefix=True)


def test_a_repository_is_not_assembled_without_an_engine(tmp_path: Path, texts: Path) -> None:
    with pytest.raises(BuildError, match="no engine"):
        build.assemble(plan(tmp_path, texts))


def test_calibration_is_balanced_repeatable_and_reads_nothing_held_out(texts: Path, tmp_path: Path) -> None:
    prompts = calibration_prompts([texts], 60)
    assert prompts == calibration_prompts([texts], 60)
    assert all(prompt.startswith(PREFIX) and prompt.endswith(SUFFIX) for prompt in prompts)
    numbers = [int(prompt.removesuffix(SUFFIX).rsplit(" ", 1)[1]) for prompt in prompts]
    assert [sum(number % 3 == label for number in numbers) for label in range(3)] == [20, 20, 20]
    write_prompts([texts], 60, tmp_path / "new" / "validation.jsonl")
    lines = (tmp_path / "new" / "validation.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [{"text": prompt} for prompt in prompts]


@pytest.mark.parametrize(
    ("content", "said"), [("text,label\nAcme falls,0\n", "are needed"), ("who,what\n1,2\n", "cannot read")]
)
def test_texts_that_cannot_calibrate_are_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "few.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(BuildError, match=said):
        calibration_prompts([path], 9)


def a_gpu(folder: Path, code: int = 0) -> Path:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho GPU 0\nexit {code}\n")
    program.chmod(0o755)
    return program


def test_steps_run_in_order_and_the_first_failure_ends_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_gpu(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    done: list[str] = []
    said: list[str] = []

    def action(name: str) -> Action:
        do: Callable[[], None] = lambda: done.append(name)  # noqa: E731 - one line says it
        return Action(name, name, do)

    run(NOTHING, [action("one"), Command("true", ("true",)), action("two")], said.append)
    assert done == ["one", "two"]
    assert said == ["1/3 one", "2/3 true", "3/3 two"]
    with pytest.raises(BuildError, match="ended with 3"):
        run(NOTHING, [Command("fails", ("sh", "-c", "exit 3")), action("never")], said.append)
    with pytest.raises(BuildError, match="cannot run"):
        run(NOTHING, [Command("absent", ("no-such-program",))], said.append)
    assert done == ["one", "two"]


def test_another_version_of_a_package_and_a_gpu_that_does_not_answer_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_gpu(tmp_path, code=9)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    missing = Needs({"numpy": "0.0.1"}, ("sh",), {"folder": tmp_path}, "an image").missing()
    assert len(missing) == 2
    assert "the steps are written for 0.0.1" in missing[0]
    assert "lists no GPU" in missing[1]


def test_steps_are_told_as_a_shell_would_take_them() -> None:
    told = tell(NOTHING, [Command("Say", ("echo", "two words"))])
    assert told.splitlines()[-2:] == ["1. Say", "   echo 'two words'"]
