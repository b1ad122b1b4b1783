"""The LLM on a GPU with PyTorch alone: fp16 against INT8 (W8A8), in one process and through Triton.

Latency is of one thirty-word text at a time; throughput of batches of eight, through Triton of clients that
each wait. Both precisions reuse the prefix, so their ratios are the precision's alone; one more row compares
with fp16 that reads every prompt whole. `TAPELINE_LLM_CHECKPOINT` names a Hugging Face checkpoint; without it
weights are drawn, in Mistral-7B's shape. `TAPELINE_TORCH_ENVIRONMENT` names PyTorch's environment
(`.venv-torch`). Without a GPU or PyTorch every row says so. Nothing is downloaded.
"""

import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from benchmarks._llm_gpu_models import (
    BATCH,
    ROOT,
    VERSIONS,
    WHOLE_PROMPTS,
    WORDS_A_TEXT,
    Figures,
    NotMeasuredError,
    Plan,
    drawn_checkpoint,
    machine,
    measure_alone,
    measure_served,
)
from benchmarks.report import Bound, Options, Row

CHECKPOINT_VARIABLE = "TAPELINE_LLM_CHECKPOINT"
ENVIRONMENT_VARIABLE = "TAPELINE_TORCH_ENVIRONMENT"
LEAST_SPEEDUP = 2.0
LARGEST_MEMORY_RATIO = 0.5
_GIB = 1 << 30

Found = Mapping[str, Figures | NotMeasuredError]


def run(options: Options) -> list[Row]:
    """Measure on the first GPU, or say in every row why not."""
    return measure(usual_plan(), options)


def usual_plan() -> Plan:
    """Return the plan that the process's environment asks for."""
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    python = (Path(named) if named else ROOT / ".venv-torch") / "bin" / "python"
    checkpoint = os.environ.get(CHECKPOINT_VARIABLE)
    return Plan(
        # Without an environment of its own PyTorch may still be in the one that runs this.
        python if named or python.exists() else Path(sys.executable),
        Path(checkpoint) if checkpoint else None,
    )


def measure(plan: Plan, options: Options) -> list[Row]:
    """Measure both precisions, first alone and then through Triton."""
    with tempfile.TemporaryDirectory(prefix="llm-gpu-") as folder:
        try:
            note = machine(plan)
            checkpoint = plan.checkpoint or drawn_checkpoint(plan, Path(folder))
        except NotMeasuredError as error:
            return [
                *rows(dict.fromkeys(VERSIONS, error), "", ""),
                *rows(dict.fromkeys(VERSIONS, error), "_triton", ""),
            ]
        if plan.checkpoint is None:
            note += ", no checkpoint given: seeded random weights in the shape of "
            note += "Mistral-7B" if plan.shape is None else plan.shape.name

        def found(measured: Callable[[Plan, Path, str], Figures], kind: str) -> Figures | NotMeasuredError:
            try:
                return measured(plan, checkpoint, kind)
            except NotMeasuredError as error:
                return error

        options.progress(note)
        alone, served = {}, {}
        for kind in (*VERSIONS, WHOLE_PROMPTS):
            options.progress(f"{kind}, alone")
            alone[kind] = found(measure_alone, kind)
        for kind in VERSIONS:
            options.progress(f"{kind}, through Triton")
            served[kind] = found(measure_served, kind)
    return [*rows(alone, "", note), *rows(served, "_triton", f"{note}, through Triton")]


def rows(found: Found, suffix: str, note: str) -> list[Row]:
    """Return every row of one way of running, with the reason in those that could not be measured."""
    made = []
    single = f"{WORDS_A_TEXT} words, one text at a time"
    rate = f"batches of {BATCH}" if not suffix else "clients that each wait, batched by Triton"
    held = "held by PyTorch while serving" if not suffix else "of the GPU, the driver's share included"

    def row(
        name: str,
        unit: str,
        target: float | None,
        bound: Bound,
        of: tuple[str, ...],
        value: Callable[..., float],
        what: str,
    ) -> None:
        measured = [found[kind] for kind in of]
        errors = [str(one) for one in measured if isinstance(one, NotMeasuredError)]
        figure = None if errors else value(*measured)
        said = f"not measured: {errors[0]}" if errors else f"{what}; {note}"
        made.append(Row(f"{name}{suffix}", figure, unit, target, bound, said))

    for kind in VERSIONS:
        row(
            f"{kind}_p50_ms", "ms", None, "max", (kind,), lambda one: statistics.median(one.single_ms), single
        )
        row(f"{kind}_p95_ms", "ms", None, "max", (kind,), lambda one: _percentile(one, 95), single)
        row(f"{kind}_texts_per_second", "1/s", None, "min", (kind,), lambda one: one.texts_per_second, rate)
        row(f"{kind}_memory_gib", "GiB", None, "max", (kind,), lambda one: one.memory_bytes / _GIB, held)
    row(
        "int8_over_fp16_throughput",
        "x",
        LEAST_SPEEDUP,
        "min",
        ("int8", "fp16"),
        _speedup,
        f"{rate}, prefix reused by both",
    )
    row("int8_memory_ratio", "x", LARGEST_MEMORY_RATIO, "max", ("int8", "fp16"), _memory_ratio, held)
    if WHOLE_PROMPTS in found:
        name = "int8_over_whole_prompt_fp16_throughput"
        row(
            name,
            "x",
            None,
            "min",
            ("int8", WHOLE_PROMPTS),
            _speedup,
            f"{rate}, fp16 without reuse of the prefix",
        )
    return made


def _percentile(one: Figures, percent: float) -> float:
    return float(np.percentile(one.single_ms, percent))


def _speedup(one: Figures, other: Figures) -> float:
    return one.texts_per_second / other.texts_per_second


def _memory_ratio(one: Figures, other: Figures) -> float:
    return one.memory_bytes / other.memory_bytes
