"""Find how large activations get: `python -m triton_models.activations --texts NAME=FILE ...`.

Runs in `.venv-triton`. Takes the same number of texts from each labelled file, from those that a head may be
fitted on, in the order of their SHA-256. Writes the maxima that version 2 is smoothed with, and their recipe.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from triton_models.prompt import one_line
from triton_models.reader import Reader
from triton_models.smoothing import MAXIMA_FILE, PLACES, Maxima
from triton_models.train_head.corpus import read_examples
from triton_models.weights import GRAPH_NAME, SHAPE_NAME, weights_folder

TEXTS = 1_000
_BATCH = 8
_PROBE_NAME = "probe.onnx"


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the texts, write the maxima and how they came about."""
    given = _parse(arguments)
    named = [(name, Path(path)) for name, _, path in (pair.partition("=") for pair in given.texts)]
    share = given.count // len(named)
    texts = [text for _, path in named for text in _chosen(path, share)]
    maxima = find_maxima(weights_folder(), texts)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    maxima.save(given.out)
    told = {
        "files": [
            {"source": name, "file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
            for name, path in named
        ],
        "texts": len(texts),
        "chosen": f"{share} a file, not held out, smallest SHA-256 of the text first",
        "what": "largest absolute value of each channel over every token behind the prefix, fp32 graph",
    }
    given.out.with_name("recipe.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return 0


def find_maxima(folder: Path, texts: Sequence[str]) -> Maxima:
    """Return the largest absolute value of each channel over the texts, read by a folder's fp32 graph."""
    layers: int = json.loads((folder / SHAPE_NAME).read_text(encoding="utf-8"))["layers"]
    names = [f"layer_{layer}.{place}" for place in PLACES for layer in range(layers)]
    probe = onnx.load(str(folder / GRAPH_NAME), load_external_data=False)
    probe.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    path = folder / _PROBE_NAME
    try:
        onnx.save_model(probe, str(path))
        reader = Reader(folder, _PROBE_NAME)
    finally:
        path.unlink(missing_ok=True)
    # Texts of one length together: attention pads to the longest of its batch.
    ordered = sorted(texts, key=len)
    largest: list[np.ndarray] = []
    for at in range(0, len(ordered), _BATCH):
        values = reader.activations(ordered[at : at + _BATCH], names)
        found = [np.abs(channels).max(axis=0) for channels in values]
        largest = [np.maximum(*pair) for pair in zip(largest, found, strict=True)] if largest else found
    places = {place: np.stack(largest[at * layers : (at + 1) * layers]) for at, place in enumerate(PLACES)}
    return Maxima(**places)


def _chosen(path: Path, count: int) -> list[str]:
    texts = [example.text for example in read_examples(path) if not example.is_held_out]
    return [one_line(text) for text in sorted(texts, key=_digest)[:count]]


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m triton_models.activations", description=__doc__)
    parser.add_argument("--texts", metavar="NAME=FILE", action="append", required=True, help="labelled texts")
    parser.add_argument("--count", type=int, default=TEXTS, help="of texts, over all files")
    parser.add_argument("--out", type=Path, default=MAXIMA_FILE)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
