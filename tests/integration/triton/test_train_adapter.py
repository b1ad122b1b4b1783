"""An adapter learns labels, and the checkpoint that it is merged into says what it said when fitted."""

import json
import subprocess
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks import _llm_gpu_models as models
from benchmarks import llm_gpu
from servers.local.triton import ROOT

PLAN = replace(llm_gpu.usual_plan(), device="cpu")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# Run where PyTorch is, on a small drawn decoder.
RUN = """
import json
import numpy as np
import torch
from triton_models.checkpoint import Checkpoint, Layer, Shape
from triton_models.train_adapter.fitting import Recipe, Student, Trunk
from tokenizers import pre_tokenizers

torch.set_num_threads(1)
random = np.random.default_rng(5)
width, ahead, layers = 64, 96, 4
shape = Shape(layers, width, ahead, heads=4, key_heads=2, head_width=16, rope_base=1e4, norm_epsilon=1e-5)

def drawn(*size):
    return (random.normal(size=size) / np.sqrt(size[0])).astype(np.float32)

ones = np.ones(width, np.float32)
made = tuple(
    Layer(ones, drawn(width, 128), drawn(width, width), ones, drawn(width, 2 * ahead), drawn(ahead, width))
    for _ in range(layers)
)
merges = ("\\u0120 n", "\\u0120n e", "\\u0120ne g", "\\u0120ne u", "\\u0120 p")
letters = sorted(pre_tokenizers.ByteLevel.alphabet())
tokens = ("<|endoftext|>", *letters, *(merge.replace(" ", "") for merge in merges))
plain = Checkpoint(shape, drawn(len(tokens), width) * 8, made, ones, tokens, merges)

words = ("falls", "stays", "rises")
texts = [f"{name} {word} {number}" for name in ("Acme", "Borealis", "Corvid") for word in words
         for number in range(12)]
labels = np.array([words.index(text.split()[1]) for text in texts])
recipe = Recipe(first_layer=2, rank=4, rate=5e-3, batch=12, epochs=12)
rows = np.arange(len(texts))
fitted, unseen = rows[rows % 4 != 0], rows[rows % 4 == 0]

def nothing(_):
    pass

trunk = Trunk(plain, texts, recipe.first_layer, nothing)
student = Student(plain, trunk, recipe)
before = student.logits(rows)
student.fit(fitted, labels, nothing)
again = Student(plain, trunk, recipe)
again.fit(fitted, labels, nothing)
merged = student.adapter().merged(plain)
trunk_of_merged = Trunk(merged, texts, recipe.first_layer, nothing)
print(json.dumps({
    "labels": labels.tolist(), "unseen": unseen.tolist(), "before": before.tolist(),
    "after": student.logits(rows).tolist(), "again": again.logits(rows).tolist(),
    "merged": Student(merged, trunk_of_merged, recipe).logits(rows).tolist(),
    "one by one": [student.logits(rows[at : at + 1])[0].tolist() for at in rows[:6]],
}))
"""


@pytest.fixture(scope="module")
def said() -> dict[str, Any]:
    try:
        models.machine(PLAN)
    except models.NotMeasuredError as error:
        pytest.skip(f"PyTorch is optional (triton_models/train_adapter/requirements.txt): {error}")
    done = subprocess.run(
        [PLAN.python, "-c", RUN],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    if "No module named 'gguf'" in done.stderr:
        pytest.skip(
            "what reads the checkpoint is not beside PyTorch: triton_models/train_adapter/requirements.txt"
        )
    assert done.returncode == 0, done.stderr
    return {name: np.array(values) for name, values in json.loads(done.stdout).items()}


def test_it_learns_what_the_decoder_did_not_know(said: dict[str, Any]) -> None:
    unseen, labels = said["unseen"], said["labels"]
    assert (said["before"].argmax(axis=1) == labels).mean() < 0.6
    assert (said["after"][unseen].argmax(axis=1) == labels[unseen]).mean() > 0.9


def test_the_merged_checkpoint_says_the_same(said: dict[str, Any]) -> None:
    assert said["merged"] == pytest.approx(said["after"], abs=0.2)  # bfloat16 rounds a sum, not its parts
    assert (said["merged"].argmax(axis=1) == said["after"].argmax(axis=1)).mean() > 0.95


def test_a_batch_says_what_its_texts_say_alone(said: dict[str, Any]) -> None:
    assert said["one by one"] == pytest.approx(said["after"][:6], abs=0.2)


def test_the_same_recipe_gives_the_same_figures(said: dict[str, Any]) -> None:
    assert said["again"] == pytest.approx(said["after"], abs=1e-6)
