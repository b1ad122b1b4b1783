"""Build the engine and its model repository: `python -m triton_models.gpu_tensorrt.build --dry-run`.

Runs inside the pinned container, which carries TensorRT-LLM, on the GPU that will serve: an engine belongs
to the GPU model that it was built on.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from triton_models.gpu_tensorrt.calibration import write_prompts
from triton_models.gpu_tensorrt.reading import (
    ANSWERS_NAME,
    LONGEST_PROMPT_TOKENS,
    TOKENIZER_NAME,
    Answers,
    Prompter,
)
from triton_models.gpu_tensorrt.steps import Action, BuildError, Command, Needs, Step, run, tell

TENSORRT_LLM = "0.21.0"
IMAGE = "nvcr.io/nvidia/tritonserver:25.08-trtllm-python-py3"
"""The container whose TensorRT-LLM is `TENSORRT_LLM`, by NVIDIA's release matrix."""
BATCH = 8
CALIBRATION_TOKENS = 512
REPOSITORY = Path(__file__).resolve().parent / "repository"
ROOT = REPOSITORY.parents[2]
_CONVERT = Path("examples/models/core/llama/convert_checkpoint.py")
# The converter finds split and column of a local folder only if its path has the name of a set that it knows.
_CALIBRATION = Path("calibration_lambada/validation.jsonl")
_REUSE = re.compile(r'(key: "enable_kv_cache_reuse" value: \{ string_value: ")\w+(")')


@dataclass(frozen=True, slots=True)
class Plan:
    """What is built from what.

    Args:
        checkpoint: Mistral-7B-Instruct as Hugging Face lays it out, with `tokenizer.json`.
        toolchain: TensorRT-LLM's sources at the tag of the pinned version; of them the converter is used.
        texts: labelled files for calibration.
        output: folder that everything is written to.
        kv_cache: `int8`, or `fp16`, with which the engine can reuse the prefix.
        alpha: SmoothQuant's migration strength (Xiao et al., 2023), 0 to 1.
        samples: prompts that calibration reads.
    """

    checkpoint: Path
    toolchain: Path
    texts: tuple[Path, ...]
    output: Path
    kv_cache: str = "int8"
    alpha: float = 0.5
    samples: int = 512

    @property
    def repository(self) -> Path:
        """The model repository that Triton serves."""
        return self.output / "repository"

    @property
    def reuses_prefix(self) -> bool:
        """Tell whether the engine keeps the prefix's keys and values between requests."""
        return self.kv_cache != "int8"


def needs(plan: Plan) -> Needs:
    """Return what the machine has to have."""
    paths = {
        "checkpoint": plan.checkpoint / "config.json",
        "tokenizer": plan.checkpoint / TOKENIZER_NAME,
        "converter": plan.toolchain / _CONVERT,
    }
    paths |= {f"labelled texts {number}": path for number, path in enumerate(plan.texts, start=1)}
    return Needs({"tensorrt_llm": TENSORRT_LLM}, ("trtllm-build",), paths, IMAGE)


def steps(plan: Plan) -> list[Step]:
    """Return the whole build, in order."""
    prompts = plan.output / _CALIBRATION
    return [
        Action(
            "Write calibration prompts",
            f"{plan.samples} prompts from {', '.join(map(str, plan.texts))} to {prompts}",
            lambda: write_prompts(plan.texts, plan.samples, prompts),
        ),
        Command("Calibrate, quantise and convert the checkpoint", _convert(plan, prompts.parent)),
        Command("Build the engine", _build(plan)),
        Action(
            "Assemble the model repository",
            f"{REPOSITORY} with engine, {TOKENIZER_NAME} and {ANSWERS_NAME} to {plan.repository}",
            lambda: assemble(plan),
        ),
    ]


def serve(plan: Plan) -> Command:
    """Return the command that serves what was built."""
    return Command("Serve", serve_words(IMAGE, plan.repository))


def serve_words(image: str, repository: Path) -> tuple[str, ...]:
    """Return how a container serves a repository on 127.0.0.1, at ports beside the mesh's own."""
    ports = [f"--publish=127.0.0.1:{outside}:{inside}" for outside, inside in ((8101, 8001), (8102, 8002))]
    return (
        *("docker", "run", "--rm", "--gpus=device=0", "--shm-size=2g", *ports),
        f"--volume={repository.resolve()}:/models:ro",
        f"--volume={ROOT / 'triton_models'}:/tapeline/triton_models:ro",
        "--env=PYTHONPATH=/tapeline",
        *(image, "tritonserver", "--model-repository=/models"),
        *("--model-control-mode=explicit", "--load-model=market_llm", "--disable-auto-complete-config"),
    )


def assemble(plan: Plan) -> None:
    """Copy the repository and put engine, tokenizer and answers where its models look for them.

    Raises BuildError when the engine is not there or the tokenizer cannot tell the labels apart.
    """
    engine = plan.output / "engine"
    if not (engine / "config.json").is_file():
        raise BuildError(f"no engine in {engine}: run the steps before")
    from tokenizers import Tokenizer  # the container has it; printing the steps does without

    tokenizer = plan.checkpoint / TOKENIZER_NAME
    try:
        answers = Answers(Prompter(Tokenizer.from_file(str(tokenizer))).answer_tokens(), "int8")
    except ValueError as error:
        raise BuildError(f"{tokenizer}: {error}") from error
    shutil.rmtree(plan.repository, ignore_errors=True)
    shutil.copytree(REPOSITORY, plan.repository, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(engine, plan.repository / "tensorrt_llm" / "1", dirs_exist_ok=True)
    shutil.copy2(tokenizer, plan.repository / "preprocessing" / "1" / TOKENIZER_NAME)
    answers.save(plan.repository / "postprocessing" / "1" / ANSWERS_NAME)
    config = plan.repository / "tensorrt_llm" / "config.pbtxt"
    config.write_text(with_reuse(config.read_text(encoding="utf-8"), plan.reuses_prefix), encoding="utf-8")


def with_reuse(config: str, reuses_prefix: bool) -> str:
    """Return the engine's configuration with the reuse of keys and values on or off."""
    changed, count = _REUSE.subn(rf"\g<1>{str(reuses_prefix).lower()}\g<2>", config)
    if count != 1:
        raise BuildError("the engine's configuration does not say enable_kv_cache_reuse once")
    return changed


def _convert(plan: Plan, calibration: Path) -> tuple[str, ...]:
    words = ["python3", str(plan.toolchain / _CONVERT)]
    words += ["--model_dir", str(plan.checkpoint), "--output_dir", str(plan.output / "checkpoint")]
    words += ["--dtype", "float16", "--smoothquant", str(plan.alpha), "--per_token", "--per_channel"]
    if plan.kv_cache == "int8":
        words += ["--int8_kv_cache"]
    words += ["--calib_dataset", str(calibration), "--calib_size", str(plan.samples)]
    return (*words, "--calib_max_seq_length", str(CALIBRATION_TOKENS))


def _build(plan: Plan) -> tuple[str, ...]:
    words = ["trtllm-build", "--checkpoint_dir", str(plan.output / "checkpoint")]
    words += ["--output_dir", str(plan.output / "engine"), "--gemm_plugin", "auto"]
    words += ["--max_batch_size", str(BATCH), "--max_input_len", str(LONGEST_PROMPT_TOKENS)]
    words += ["--max_seq_len", str(LONGEST_PROMPT_TOKENS + 1), "--max_beam_width", "1"]
    words += ["--max_num_tokens", str(BATCH * LONGEST_PROMPT_TOKENS), "--kv_cache_type", "paged"]
    words += ["--use_paged_context_fmha", "enable" if plan.reuses_prefix else "disable"]
    # The logits of the one answer token, not of the prompt's: those would not come with a reused prefix.
    return (*words, "--gather_generation_logits", "--logits_dtype", "float32")


def plan_from(arguments: Sequence[str]) -> tuple[Plan, bool]:
    """Return what the command line asks for, and whether it is only to be printed."""
    parser = argparse.ArgumentParser(prog="python -m triton_models.gpu_tensorrt.build", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=Path("Mistral-7B-Instruct-v0.3"), metavar="FOLDER")
    parser.add_argument("--toolchain", type=Path, default=Path("TensorRT-LLM"), metavar="FOLDER")
    parser.add_argument(
        "--texts", type=Path, action="append", metavar="CSV", help="labelled; may be repeated"
    )
    parser.add_argument("--output", type=Path, default=Path("build/gpu_tensorrt"), metavar="FOLDER")
    parser.add_argument("--kv-cache", choices=("int8", "fp16"), default="int8")
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--dry-run", action="store_true", help="print every step, run none")
    chosen = parser.parse_args(arguments)
    if not 0 <= chosen.alpha <= 1:
        parser.error("--alpha is between 0 and 1")
    if chosen.samples < 1:
        parser.error("--samples is at least 1")
    if not (chosen.texts or chosen.dry_run):
        parser.error("--texts names the labelled files to calibrate on")
    texts = tuple(chosen.texts or [Path("LABELLED.csv")])
    plan = Plan(
        chosen.checkpoint,
        chosen.toolchain,
        texts,
        chosen.output,
        chosen.kv_cache,
        chosen.alpha,
        chosen.samples,
    )
    return plan, chosen.dry_run


def main(arguments: Sequence[str] | None = None) -> int:
    """Print or run the build; 1 when something is missing or fails."""
    plan, only_told = plan_from(sys.argv[1:] if arguments is None else arguments)
    if only_told:
        print(tell(needs(plan), [*steps(plan), serve(plan)]))
        return 0
    try:
        run(needs(plan), steps(plan))
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"built. Serve it with:\n{serve(plan).told()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
