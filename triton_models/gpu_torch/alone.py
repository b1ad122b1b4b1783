"""The model without a server, for comparison: `python -m triton_models.gpu_torch.alone`, where PyTorch is.

Says in a JSON line what the machine has, or why it cannot run; with `--checkpoint` it then loads, says in a
second line what is loaded, and reads one JSON line a batch, a list of texts. Each is answered with a line:
the milliseconds that scoring it took, and the bytes of memory held.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_NEEDED = ("torch", "numpy", "safetensors", "tokenizers")


def machine(device: str) -> dict[str, str]:
    """Return the names of device and library, or the reason why nothing runs here."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        return {"reason": f"{sys.prefix} has no {', '.join(missing)}"}
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        return {"reason": f"no GPU that PyTorch {torch.__version__} can use"}
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else "CPU"
    return {"device": name, "torch": str(torch.__version__)}


def memory_bytes(device: str) -> int:
    """Return the memory held: on a GPU by PyTorch's allocator, graphs included; else the process's peak."""
    import torch

    if not device.startswith("cuda"):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return int(torch.cuda.memory_reserved(device))


def serve(checkpoint: Path, precision: Any, device: str, reuses_prefix: bool) -> None:
    """Load, say what is loaded, answer until the input ends."""
    from triton_models.gpu_torch.classifier import Classifier

    classifier = Classifier(checkpoint, precision, device=device, reuses_prefix=reuses_prefix)
    for batch in (1, 8):
        classifier.scores(["warm"] * batch)
    facts = {"version": classifier.version, "fused": classifier.reader.is_fused}
    print(json.dumps(facts | {"drawn": classifier.is_drawn}), flush=True)
    for line in sys.stdin:
        texts = json.loads(line)
        started = time.perf_counter()
        classifier.scores(texts)
        took = (time.perf_counter() - started) * 1e3
        print(json.dumps({"milliseconds": took, "memory_bytes": memory_bytes(device)}), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Say what this machine has; serve when there is a checkpoint to load."""
    parser = argparse.ArgumentParser(prog="python -m triton_models.gpu_torch.alone", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, metavar="FOLDER")
    parser.add_argument("--precision", choices=("fp16", "int8"), default="fp16")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--whole-prompts", action="store_true", help="reuse no prefix")
    given = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    found = machine(given.device)
    print(json.dumps(found), flush=True)
    if given.checkpoint is not None and "reason" not in found:
        serve(given.checkpoint, given.precision, given.device, not given.whole_prompts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
