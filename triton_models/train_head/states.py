"""The decoder's hidden states of a corpus: read once, kept in a file, since reading takes minutes.

Reading runs in Triton's environment (`python -m triton_models.train_head.states OUT`, texts as JSON on its
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

LAYERS = (6, 10, 14, 18, 20, 22, 24, 26, 28, 30)
"""Layers that are kept; the head reads some of them."""
_BATCH = 16
_PROGRESS_SECONDS = 10.0
_ROOT = Path(__file__).resolve().parents[2]

States = dict[str, NDArray[np.float16]]


def states_of(texts: Sequence[str], environment: Path, folder: Path) -> States:
    """Return `mean_<layer>`, `last_<layer>` (`[texts, width]`) and `labels` (`[texts, 3]`) of the texts.

    Args:
        texts: what to read.
        environment: Triton's, in which they are read unless that was done before.
        folder: keeps what was read, by a hash of the texts.

    Raises subprocess.CalledProcessError when reading fails.
    """
    key = hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
    path = folder / f"states-{key}.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [str(environment / "bin" / "python"), "-m", "triton_models.train_head.states", str(path)]
        subprocess.run(command, input=json.dumps(list(texts)).encode(), cwd=_ROOT, check=True)  # noqa: S603
    with np.load(path) as stored:
        return dict(stored)


def main(arguments: Sequence[str]) -> int:
    """Read the texts of the standard input and write their states to the file that is named."""
    from triton_models.reader import Reader
    from triton_models.weights import weights_folder

    path, texts = Path(arguments[0]), json.load(sys.stdin)
    model = Reader(weights_folder(), layers=LAYERS)
    # Texts of one length together: attention pads to the longest of its batch.
    order = np.argsort([len(tokens) for tokens in model.tokens(texts)], kind="stable")
    states: States = {}
    started = told = time.monotonic()
    for at in range(0, len(texts), _BATCH):
        places = order[at : at + _BATCH]
        reading = model.read([texts[place] for place in places])
        for name, values in reading.parts().items():
            if name not in states:
                states[name] = np.zeros((len(texts), values.shape[1]), dtype=np.float16)
            states[name][places] = values
        if time.monotonic() - told > _PROGRESS_SECONDS:
            told = time.monotonic()
            print(f"read {at + len(places):,} of {len(texts):,} texts in {told - started:.0f} s", flush=True)
    scratch = path.with_suffix(".tmp.npz")
    np.savez(scratch, **states)  # type: ignore[arg-type]  # numpy 1's and 2's stubs differ
    scratch.replace(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
