"""Let Triton run from PyTorch's environment: `.venv-torch/bin/python -m triton_models.gpu_torch.prepare`.

Writes `triton.json` into the environment that runs it: the server's binary is `.venv-triton`'s, all that
Python loads is this one's.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

FACTS_NAME = "triton.json"
_ROOT = Path(__file__).resolve().parents[2]


class PrepareError(Exception):
    """This environment cannot serve; the message says what to do about it."""


def prepare(triton_environment: Path, environment: Path) -> Path:
    """Write the facts and return where.

    Raises PrepareError when Triton is not set up, or its backend cannot load this Python or its numpy.
    """
    try:
        facts = json.loads((triton_environment / FACTS_NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PrepareError(f"{triton_environment} has no Triton: it is made by `make setup`") from None
    ours = f"python{sys.version_info.major}.{sys.version_info.minor}"
    if ours not in Path(facts["site_packages"]).parts:
        raise PrepareError(f"Triton's backend was set up for another Python than {ours}")
    numpy_version = importlib.metadata.version("numpy")
    if not numpy_version.startswith("1."):
        raise PrepareError(f"Triton's backend stops at numpy 1, and this environment has {numpy_version}")
    facts |= {
        "site_packages": sysconfig.get_path("purelib"),
        "library_folder": str(sysconfig.get_config_var("LIBDIR")),
    }
    path = environment / FACTS_NAME
    path.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare the running environment; 1 when it cannot be."""
    parser = argparse.ArgumentParser(prog="python -m triton_models.gpu_torch.prepare", description=__doc__)
    parser.add_argument("--triton", type=Path, default=_ROOT / ".venv-triton", metavar="ENVIRONMENT")
    given = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    try:
        print(prepare(given.triton, Path(sys.prefix)))
    except PrepareError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
