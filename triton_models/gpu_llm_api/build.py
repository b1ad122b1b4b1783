"""Make the FP8 checkpoint and its model repository: `python -m triton_models.gpu_llm_api.build --dry-run`.

Runs inside the pinned container on a Hopper GPU. No engine is built: the LLM API runs the checkpoint.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from triton_models.gpu_tensorrt.build import serve_words
from triton_models.gpu_tensorrt.calibration import write_prompts
from triton_models.gpu_tensorrt.reading import ANSWERS_NAME, TOKENIZER_NAME, Answers, Prompter
from triton_models.gpu_tensorrt.steps import Action, BuildError, Command, Needs, Step, run, tell

TENSORRT_LLM = "1.1.0"
IMAGE = "nvcr.io/nvidia/tritonserver:25.12-trtllm-python-py3"
"""The container whose TensorRT-LLM is `TENSORRT_LLM`, by NVIDIA's release matrix."""
REPOSITORY = Path(__file__).resolve().parent / "repository"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is made from what.

    Args:
        checkpoint: Mistral-7B-Instruct as Hugging Face lays it out, with `tokenizer.json`.
        texts: labelled files for calibration.
        output: folder that everything is written to.
        samples: prompts that calibration reads.
    """

    checkpoint: Path
    texts: tuple[Path, ...]
    output: Path
    samples: int = 512

    @property
    def repository(self) -> Path:
        """The model repository that Triton serves."""
        return self.output / "repository"


def needs(plan: Plan) -> Needs:
    """Return what the machine has to have."""
    paths = {"checkpoint": plan.checkpoint / "config.json", "tokenizer": plan.checkpoint / TOKENIZER_NAME}
    paths |= {f"labelled texts {number}": path for number, path in enumerate(plan.texts, start=1)}
    return Needs({"tensorrt_llm": TENSORRT_LLM}, (), paths, IMAGE)


def steps(plan: Plan) -> list[Step]:
    """Return the whole build, in order."""
    prompts = plan.output / "calibration.jsonl"
    quantise = ["python3", "-m", "triton_models.gpu_llm_api.quantise", "--checkpoint", str(plan.checkpoint)]
    quantise += ["--prompts", str(prompts), "--output", str(plan.output / "checkpoint")]
    return [
        Action(
            "Write calibration prompts",
            f"{plan.samples} prompts from {', '.join(map(str, plan.texts))} to {prompts}",
            lambda: write_prompts(plan.texts, plan.samples, prompts),
        ),
        Command("Calibrate and quantise to FP8", tuple(quantise)),
        Action(
            "Assemble the model repository",
            f"{REPOSITORY} with checkpoint and {ANSWERS_NAME} to {plan.repository}",
            lambda: assemble(plan),
        ),
    ]


def serve(plan: Plan) -> Command:
    """Return the command that serves what was made."""
    words = serve_words(IMAGE, plan.repository)
    # One process: Triton's Python backend is not started by MPI, and one GPU needs no workers.
    at = words.index(IMAGE)
    return Command("Serve", (*words[:at], "--env=TLLM_WORKER_USE_SINGLE_PROCESS=1", *words[at:]))


def assemble(plan: Plan) -> None:
    """Copy the repository and put checkpoint and answers beside its model's code.

    Raises BuildError when the checkpoint is not there or its tokenizer cannot tell the labels apart.
    """
    checkpoint = plan.output / "checkpoint"
    if not (checkpoint / TOKENIZER_NAME).is_file():
        raise BuildError(f"no FP8 checkpoint in {checkpoint}: run the steps before")
    from tokenizers import Tokenizer  # the container has it; printing the steps does without

    try:
        tokens = Prompter(Tokenizer.from_file(str(checkpoint / TOKENIZER_NAME))).answer_tokens()
    except ValueError as error:
        raise BuildError(f"{checkpoint / TOKENIZER_NAME}: {error}") from error
    shutil.rmtree(plan.repository, ignore_errors=True)
    shutil.copytree(REPOSITORY, plan.repository, ignore=shutil.ignore_patterns("__pycache__"))
    version = plan.repository / "market_llm" / "1"
    shutil.copytree(checkpoint, version / "checkpoint")
    Answers(tokens, "fp8").save(version / ANSWERS_NAME)


def plan_from(arguments: Sequence[str]) -> tuple[Plan, bool]:
    """Return what the command line asks for, and whether it is only to be printed."""
    parser = argparse.ArgumentParser(prog="python -m triton_models.gpu_llm_api.build", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=Path("Mistral-7B-Instruct-v0.3"), metavar="FOLDER")
    parser.add_argument(
        "--texts", type=Path, action="append", metavar="CSV", help="labelled; may be repeated"
    )
    parser.add_argument("--output", type=Path, default=Path("build/gpu_llm_api"), metavar="FOLDER")
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--dry-run", action="store_true", help="print every step, run none")
    chosen = parser.parse_args(arguments)
    if chosen.samples < 1:
        parser.error("--samples is at least 1")
    if not (chosen.texts or chosen.dry_run):
        parser.error("--texts names the labelled files to calibrate on")
    texts = tuple(chosen.texts or [Path("LABELLED.csv")])
    return Plan(chosen.checkpoint, texts, chosen.output, chosen.samples), chosen.dry_run


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
    print(f"made. Serve it with:\n{serve(plan).told()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
