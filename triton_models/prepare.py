"""Make what Triton needs beyond its wheels: `python -m triton_models.prepare` in `.venv-triton`.

Quick when there is nothing to do. The backend's stub for this Python goes beside the backend, and the
checkpoint becomes an ONNX graph.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Any

from triton_models.weights import (
    GRAPH_NAME,
    LABEL_ROWS_NAME,
    PREFIX_NAME,
    QUANTISED_GRAPH_NAME,
    RECIPE_NAME,
    SHAPE_NAME,
    VOCABULARY_NAME,
    weights_folder,
)

_SOURCES = (
    "adapter.py",
    "checkpoint.py",
    "graph.py",
    "prepare.py",
    "prompt.py",
    "quantised.py",
    "smoothing.py",
    "calibration/maxima.npz",
    "head/adapter.npz",
)


def install_stub(site_packages: Path) -> Path:
    """Copy the stub of the running Python beside `libtriton_python.so`, where the backend looks for it."""
    triton = site_packages / "pytriton" / "tritonserver"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    source = triton / "python_backend_stubs" / version / "triton_python_backend_stub"
    target = triton / "backends" / "python" / source.name
    if not target.exists() or target.stat().st_size != source.stat().st_size:
        shutil.copy2(source, target)
    target.chmod(0o755)
    return target


def convert(folder: Path) -> bool:
    """Write graphs and vocabulary of the installed checkpoint; tell whether there was anything to do.

    The same checkpoint and the same code give the same bytes. A file is replaced when it is whole.
    """
    import numpy as np

    from triton_models.adapter import Adapter
    from triton_models.checkpoint import installed_checkpoint, read_checkpoint
    from triton_models.graph import decoder, float_product
    from triton_models.prompt import prompt, tokenizer
    from triton_models.quantised import eight_bit_product
    from triton_models.reader import Reader
    from triton_models.smoothing import Maxima, smoothed

    source = installed_checkpoint()
    recipe = _recipe(source)
    stamp = folder / RECIPE_NAME
    if stamp.exists() and stamp.read_text(encoding="utf-8") == recipe:
        return False
    scratch = folder / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    checkpoint = Adapter.load().merged(read_checkpoint(source))
    _save(decoder(checkpoint, float_product), scratch, GRAPH_NAME)
    _save(decoder(smoothed(checkpoint, Maxima.load()), eight_bit_product), scratch, QUANTISED_GRAPH_NAME)
    vocabulary = {"tokens": checkpoint.tokens, "merges": checkpoint.merges}
    (scratch / VOCABULARY_NAME).write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (scratch / SHAPE_NAME).write_text(json.dumps(vars(checkpoint.shape)), encoding="utf-8")
    labels = prompt(tokenizer(checkpoint.tokens, checkpoint.merges)).labels
    np.save(scratch / LABEL_ROWS_NAME, checkpoint.embeddings[list(labels)])
    # Both versions read a text after what the exact one made of the prefix.
    np.save(scratch / PREFIX_NAME, Reader(scratch).prefix)
    stamp.unlink(missing_ok=True)
    for path in scratch.iterdir():
        path.replace(folder / path.name)
    scratch.rmdir()
    stamp.write_text(recipe, encoding="utf-8")
    return True


def _save(model: Any, folder: Path, name: str) -> None:
    import onnx

    onnx.save_model(
        model,
        str(folder / name),
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=f"{name}.weights",
        size_threshold=4096,
    )


def _recipe(source: Path) -> str:
    """Return what the outcome depends on: the checkpoint (by name and size), adapter, maxima and code."""
    here = Path(__file__).parent
    code = hashlib.sha256(b"".join((here / name).read_bytes() for name in _SOURCES)).hexdigest()
    return json.dumps({"checkpoint": source.name, "bytes": source.stat().st_size, "code": code})


def write_facts(environment: Path) -> None:
    """Write what starting Triton from another environment takes: `triton.json` in this one."""
    site_packages = Path(sysconfig.get_path("purelib"))
    facts = {
        "triton": str(site_packages / "pytriton" / "tritonserver"),
        "site_packages": str(site_packages),
        "library_folder": str(sysconfig.get_config_var("LIBDIR")),
    }
    scratch = environment / "triton.json.tmp"
    scratch.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    scratch.replace(environment / "triton.json")


def main() -> int:
    """Prepare this environment and the weights."""
    install_stub(Path(sysconfig.get_path("purelib")))
    folder = weights_folder()
    if convert(folder):
        print(f"converted the checkpoint to {folder}")
    write_facts(Path(sys.prefix))
    return 0


if __name__ == "__main__":
    sys.exit(main())
