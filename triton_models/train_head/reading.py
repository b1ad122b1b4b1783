"""What the decoder answers to the texts of a corpus: read once, kept in a file, since reading takes minutes.

Reading runs in Triton's environment (`python -m triton_models.train_head.reading OUT`, texts as JSON on its
input); fitting runs in the servers' environment, which has scikit-learn.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from triton_models.weights import RECIPE_NAME, weights_folder

_BATCH = 16
_PROGRESS_SECONDS = 10.0
_ROOT = Path(__file__).resolve().parents[2]

Reals = NDArray[np.float32]


def answers_of(texts: Sequence[str], environment: Path, folder: Path) -> Reals:
    """Return the label tokens' scores of the texts, `[texts, 3]`, as the prepared decoder gives them.

    Args:
        texts: what to read.
        environment: Triton's, in which they are read unless that was done before.
        folder: keeps what was read, by a hash of the texts and the decoder.

    Raises subprocess.CalledProcessError when reading fails, FileNotFoundError before `prepare` has run.
    """
    decoder = (weights_folder() / RECIPE_NAME).read_text(encoding="utf-8")
    key = hashlib.sha256("\0".join([decoder, *texts]).encode()).hexdigest()[:16]
    path = folder / f"answers-{key}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [str(environment / "bin" / "python"), "-m", "triton_models.train_head.reading", str(path)]
        subprocess.run(command, input=json.dumps(list(texts)).encode(), cwd=_ROOT, check=True)  # noqa: S603
    answers: Reals = np.load(path)
    return answers


def main(arguments: Sequence[str]) -> int:
    """Read the texts of the standard input and write what the decoder answers to the file that is named."""
    from triton_models.reader import Reader

    path, texts = Path(arguments[0]), json.load(sys.stdin)
    model = Reader(weights_folder())
    # Texts of one length together: attention pads to the longest of its batch.
    order = np.argsort([len(tokens) for tokens in model.tokens(texts)], kind="stable")
    answers = np.zeros((len(texts), 3), dtype=np.float32)
    started = told = time.monotonic()
    for at in range(0, len(texts), _BATCH):
        places = order[at : at + _BATCH]
        answers[places] = model.read([texts[place] for place in places])
        if time.monotonic() - told > _PROGRESS_SECONDS:
            told = time.monotonic()
            print(f"read {at + len(places):,} of {len(texts):,} texts in {told - started:.0f} s", flush=True)
    scratch = path.with_suffix(".tmp.npy")
    np.save(scratch, answers)
    scratch.replace(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
