"""A small decoder as an ONNX graph: smoothing keeps what it says, and 8 bits stay near it."""

import json
import subprocess
from typing import Any

import numpy as np
import pytest

from servers.local.triton import ROOT, TritonPlan, is_installed

pytestmark = pytest.mark.timeout(120)

# Run with Triton's own Python, which has ONNX Runtime. Channel 3 is made far larger than the others.
RUN = """
import json
import numpy as np, onnxruntime
from onnx import TensorProto, helper
from triton_models.checkpoint import Checkpoint, Layer, Shape
from triton_models.graph import decoder, float_product
from triton_models.quantised import eight_bit_product
from triton_models.smoothing import Maxima, smoothed

random = np.random.default_rng(5)
shape = Shape(layers=2, width=64, feed_forward=128, heads=4, key_heads=2, head_width=16, rope_base=1e4,
              norm_epsilon=1e-5)

def drawn(*size):
    return (random.normal(size=size) * 0.1).astype(np.float32)

def norm():
    scale = np.ones(64, np.float32)
    scale[3] = 40.0
    return scale

def inwards(outputs):
    matrix = drawn(64, outputs)
    matrix[3] /= 40.0
    return matrix

layers = tuple(Layer(norm(), inwards(128), drawn(64, 64), norm(), inwards(256), drawn(128, 64))
               for _ in range(2))
plain = Checkpoint(shape, drawn(50, 64), layers, np.ones(64, np.float32), (), ())
own, prefix = [4, 3], 5  # tokens of two texts, and of what stands before them
angles = np.arange(prefix, prefix + 4)[:, None] * 1e4 ** -(np.arange(8) / 8)
turns = np.stack([np.cos(angles), np.sin(angles)])
mask = np.zeros((4, prefix + 4), np.float32)
mask[:, prefix:][np.triu_indices(4, 1)] = -1e9
inputs = {
    "tokens": random.integers(0, 50, 7), "slots": np.array([[0, 1, 2, 3], [4, 5, 6, 0]]),
    "rows": np.array([0, 1, 2, 3, 4, 5, 6]), "mask": mask, "turns": turns.astype(np.float32),
    "prefix": drawn(2, 2, 2, prefix, 16),
}

def output(name):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)

def said(checkpoint, product=float_product, answers=range(7), names=("final", "hidden_1", "hidden_2")):
    model = decoder(checkpoint, product)
    model.graph.output.extend(output(name) for name in names if name.startswith("hidden"))
    for layer in range(2):
        for place in ("attention_norm", "feed_forward_norm", "gated"):
            model.graph.output.append(output(f"layer_{layer}.{place}"))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(list(names), {**inputs, "answers": np.array(list(answers))})

places = ("attention_norm", "feed_forward_norm", "gated")
found = [np.abs(value).max(axis=0) for value in
         said(plain, names=[f"layer_{layer}.{place}" for place in places for layer in range(2)])]
maxima = Maxima(*(np.stack(found[2 * at : 2 * at + 2]) for at in range(3)))
calm = smoothed(plain, maxima)
print(json.dumps({
    "plain": said(plain)[0].tolist(),
    "layers": [value.tolist() for value in said(plain)[1:]],
    "answers": said(plain, answers=[6, 3])[0].tolist(),
    "smoothed": said(calm)[0].tolist(),
    "eight bits": said(plain, eight_bit_product)[0].tolist(),
    "smoothed eight bits": said(calm, eight_bit_product)[0].tolist(),
    "maxima": [float(value) for value in maxima.attention_norm[0][:6]],
}))
"""


@pytest.fixture(scope="module")
def said() -> dict[str, Any]:
    """What the graphs say: `final` of each token by variant."""
    if not is_installed():
        pytest.skip("Triton is not set up: `make setup`")
    done = subprocess.run(
        [TritonPlan().environment / "bin" / "python", "-c", RUN],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return {name: np.array(value) for name, value in json.loads(done.stdout).items()}


def apart(values: Any, expected: Any) -> float:
    return float(np.linalg.norm(values - expected) / np.linalg.norm(expected))


def test_the_last_layer_says_the_same_for_the_answers_alone(said: dict[str, Any]) -> None:
    assert said["answers"] == pytest.approx(said["plain"][[6, 3]], abs=1e-5)
    assert said["layers"].shape == (2, 7, 64)


def test_smoothing_changes_no_answer(said: dict[str, Any]) -> None:
    assert said["maxima"].argmax() == 3
    assert said["smoothed"] == pytest.approx(said["plain"], abs=1e-4)


def test_eight_bits_are_nearer_after_smoothing(said: dict[str, Any]) -> None:
    plain, calm = apart(said["eight bits"], said["plain"]), apart(said["smoothed eight bits"], said["plain"])
    assert 0 < calm < 0.05, (calm, plain)
    assert calm < plain / 2
