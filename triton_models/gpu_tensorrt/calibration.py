"""Calibration: whole prompts around labelled texts, as many of each label, none of them held out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from triton_models.gpu_tensorrt.reading import LABELS, PREFIX, SUFFIX, clean
from triton_models.gpu_tensorrt.steps import BuildError
from triton_models.train_head.corpus import Example, read_examples


def calibration_prompts(files: Sequence[Path], count: int) -> list[str]:
    """Return `count` prompts, balanced over labels and in an order that only the texts decide.

    Raises BuildError when a file cannot be read or a label has too few texts.
    """
    examples: list[Example] = []
    for path in files:
        try:
            examples += [example for example in read_examples(path) if not example.is_held_out]
        except (OSError, ValueError) as error:
            raise BuildError(f"cannot read labelled texts from {path}: {error}") from error
    examples.sort(key=lambda example: hashlib.sha256(example.text.encode()).digest())
    by_label = [[one for one in examples if one.label == label] for label in range(len(LABELS))]
    each = -(-count // len(LABELS))
    for label, found in zip(LABELS, by_label, strict=True):
        if len(found) < each:
            raise BuildError(f"{each} {label} texts are needed for calibration, {len(found)} are there")
    in_turn = [example for row in zip(*(found[:each] for found in by_label), strict=True) for example in row]
    return [f"{PREFIX} {clean(example.text)[0]}{SUFFIX}" for example in in_turn[:count]]


def write_prompts(files: Sequence[Path], count: int, target: Path) -> None:
    """Write the prompts as JSON lines with the one key `text`."""
    prompts = calibration_prompts(files, count)
    target.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"text": prompt}, ensure_ascii=False) for prompt in prompts]
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
