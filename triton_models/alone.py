"""The classifier without a server, for comparison: `python -m triton_models.alone` in `.venv-triton`.

Reads one JSON line a batch, a list of texts; answers with one line, the milliseconds that scoring it took.
"""

from __future__ import annotations

import json
import sys
import time

from triton_models.classifier import Classifier
from triton_models.weights import GRAPH_NAME, weights_folder


def main() -> int:
    """Load the model, say `ready`, answer until the input ends."""
    classifier = Classifier(weights_folder(), GRAPH_NAME, threads=0)
    classifier.scores(["warm"])
    print("ready", flush=True)
    for line in sys.stdin:
        texts = json.loads(line)
        started = time.perf_counter()
        classifier.scores(texts)
        print((time.perf_counter() - started) * 1e3, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
