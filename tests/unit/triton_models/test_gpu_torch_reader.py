"""The PyTorch reader gives what a plain pass in float64 gives, however prompts are batched and padded."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

OPTIONAL = "PyTorch is optional: triton_models/gpu_torch/requirements.txt"
torch = pytest.importorskip("torch", reason=OPTIONAL)
safetensors_torch = pytest.importorskip("safetensors.torch", reason=OPTIONAL)

from triton_models.gpu_torch import products, rowwise  # noqa: E402 - they need PyTorch
from triton_models.gpu_torch.reader import BATCHES, Reader, lengths  # noqa: E402
from triton_models.gpu_torch.shape import Shape, read_shape  # noqa: E402
from triton_models.gpu_torch.weights import DrawnWeights, StoredWeights  # noqa: E402

SMALL = Shape(
    layers=3,
    width=64,
    feed_forward=96,
    heads=4,
    key_heads=2,
    head_width=16,
    vocabulary=128,
    rope_base=10_000.0,
    norm_epsilon=1e-5,
)
VARIANTS = {
    "grouped": {},
    "windowed": {"window": 9},
    "tied": {"ties_embeddings": True},
    "every head its own keys": {"key_heads": 4},
    "wide heads": {"head_width": 24},
}
PREFIX = tuple(range(5, 27))
LABELS = (3, 99, 41)
LONGEST = 120
PROMPTS = [[*PREFIX, *own] for own in ([7], [1, 2, 3], list(range(40, 71)), [9] * 33, list(range(120)))]

# The products are tiny: a second thread would only wait.
torch.set_num_threads(1)

NORMS = ("input_layernorm", "post_attention_layernorm")

Make = Callable[..., Reader]


def write(folder: Path, shape: Shape, shards: int = 1, spread: float = 0.3) -> Path:
    """Write a checkpoint; at this spread positions, groups and windows matter much to an answer."""
    generator = torch.Generator().manual_seed(11)
    names = ["model.embed_tokens.weight", "model.norm.weight"]
    names += [] if shape.ties_embeddings else ["lm_head.weight"]
    for index in range(shape.layers):
        names += [f"model.layers.{index}.{part}.weight" for part in NORMS]
        names += [f"model.layers.{index}.self_attn.{part}_proj.weight" for part in "qkvo"]
        names += [f"model.layers.{index}.mlp.{part}_proj.weight" for part in ("gate", "up", "down")]
    sizes = DrawnWeights(shape, 1, "cpu")
    tensors = {
        name: torch.randn(sizes.tensor(name).shape, generator=generator) * (1.0 if "norm" in name else spread)
        for name in names
    }
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(shape.to_config()))
    if shards == 1:
        safetensors_torch.save_file(tensors, folder / "model.safetensors")
        return folder
    homes = {name: f"part-{number % shards}.safetensors" for number, name in enumerate(names)}
    for home in sorted(set(homes.values())):
        safetensors_torch.save_file(
            {name: tensors[name] for name in names if homes[name] == home}, folder / home
        )
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": homes}))
    return folder


@pytest.fixture
def make(tmp_path: Path) -> Make:
    write(tmp_path / "small", SMALL)

    def make_reader(precision: str = "fp16", **options: Any) -> Reader:
        folder = options.pop("folder", tmp_path / "small")
        return Reader(folder, PREFIX, LABELS, LONGEST, precision, device="cpu", **options)  # type: ignore[arg-type]

    return make_reader


def plain_logits(folder: Path, prompt: list[int]) -> Any:
    """Read one prompt whole, in float64, head by head: the specification."""
    shape, stored = read_shape(folder), StoredWeights(folder, "cpu")

    def weight(name: str) -> Any:
        return stored.tensor(f"{name}.weight").double().numpy()

    def norm(rows: Any, name: str) -> Any:
        return rows / np.sqrt((rows**2).mean(axis=1, keepdims=True) + shape.norm_epsilon) * weight(name)

    def turn(rows: np.ndarray) -> np.ndarray:
        half = shape.head_width // 2
        turned = rows.copy()
        for position, row in enumerate(rows):
            for column in range(half):
                angle = position / shape.rope_base ** (2 * column / shape.head_width)
                first, second = row[column], row[column + half]
                turned[position, column] = first * np.cos(angle) - second * np.sin(angle)
                turned[position, column + half] = second * np.cos(angle) + first * np.sin(angle)
        return turned

    rows = weight("model.embed_tokens")[prompt]
    width, count = shape.head_width, len(prompt)
    for index in range(shape.layers):
        at = f"model.layers.{index}"
        entering = norm(rows, f"{at}.input_layernorm")
        query, key, value = (entering @ weight(f"{at}.self_attn.{part}_proj").T for part in "qkv")
        heads = []
        for head in range(shape.heads):
            shared = head // (shape.heads // shape.key_heads)
            own, other = slice(head * width, (head + 1) * width), slice(shared * width, (shared + 1) * width)
            scores = turn(query[:, own]) @ turn(key[:, other]).T / np.sqrt(width)
            for row in range(count):
                first = 0 if shape.window is None else max(0, row + 1 - shape.window)
                scores[row, :first] = scores[row, row + 1 :] = -np.inf
            shares = np.exp(scores - scores.max(axis=1, keepdims=True))
            heads.append(shares / shares.sum(axis=1, keepdims=True) @ value[:, other])
        rows = rows + np.concatenate(heads, axis=1) @ weight(f"{at}.self_attn.o_proj").T
        entering = norm(rows, f"{at}.post_attention_layernorm")
        gate, up = (entering @ weight(f"{at}.mlp.{part}_proj").T for part in ("gate", "up"))
        rows = rows + (gate / (1 + np.exp(-gate)) * up) @ weight(f"{at}.mlp.down_proj").T
    output = "model.embed_tokens" if shape.ties_embeddings else "lm_head"
    return norm(rows, "model.norm")[-1] @ weight(output)[list(LABELS)].T


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=list(VARIANTS))
def test_reading_after_the_prefix_is_a_plain_forward_pass(
    variant: dict[str, Any], make: Make, tmp_path: Path
) -> None:
    folder = write(tmp_path / "variant", replace(SMALL, **variant))
    expected = np.stack([plain_logits(folder, prompt) for prompt in PROMPTS])
    assert make(folder=folder).logits(PROMPTS) == pytest.approx(expected, abs=2e-4)
    assert make(folder=folder, reuses_prefix=False).logits(PROMPTS) == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_prompt_is_answered_alike_alone_and_in_any_batch(precision: str, make: Make) -> None:
    reader = make(precision)
    alone = np.concatenate([reader.logits([prompt]) for prompt in PROMPTS])
    turned = reader.logits([*reversed(PROMPTS), *PROMPTS, *PROMPTS])
    expected = np.concatenate([alone[::-1], alone, alone])
    # In 8 bits a difference in the last place of a float can move one value by one step.
    assert turned == pytest.approx(expected, abs=1e-4 if precision == "fp16" else 0.05)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_padding_changes_no_answer(precision: str, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    snug = make(precision).logits(PROMPTS[:2])
    monkeypatch.setattr("triton_models.gpu_torch.reader.BATCHES", (8,))
    monkeypatch.setattr("triton_models.gpu_torch.reader.lengths", lambda longest: (longest,))
    padded = make(precision).logits(PROMPTS[:2])
    assert padded == pytest.approx(snug, abs=1e-4 if precision == "fp16" else 0.05)


def test_eight_bits_stay_near_full_precision(make: Make, tmp_path: Path) -> None:
    folder = write(tmp_path / "calm", SMALL, spread=0.1)
    full, eight = make(folder=folder).logits(PROMPTS), make("int8", folder=folder).logits(PROMPTS)
    difference = np.linalg.norm(eight - full) / np.linalg.norm(full)
    assert 0 < difference < 0.03


@pytest.mark.timeout(300)
# Tracing warns about what is deprecated in PyTorch itself.
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_compiled_rows_answer_as_plain_ones(
    precision: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Traced as on a GPU, but run by PyTorch's own kernels: making machine code takes half a minute.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    compiled = make(precision, fuses=True)
    assert compiled.is_fused
    assert compiled.logits(PROMPTS) == pytest.approx(make(precision).logits(PROMPTS), abs=0.05)


def test_what_cannot_be_compiled_is_run_as_it_stands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuses(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(torch, "compile", refuses)
    assert rowwise.fused("cpu", 64, 96) == rowwise.Rowwise()
    assert "RuntimeError" in capsys.readouterr().out


def test_shards_are_read_as_one_file_is(make: Make, tmp_path: Path) -> None:
    sharded = make(folder=write(tmp_path / "sharded", SMALL, shards=3))
    assert (sharded.logits(PROMPTS) == make().logits(PROMPTS)).all()


def test_drawn_weights_are_the_same_every_time_and_differ_by_seed() -> None:
    def drawn(seed: int) -> Any:
        return DrawnWeights(SMALL, seed, "cpu").tensor("model.layers.1.mlp.up_proj.weight")

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


@pytest.mark.parametrize("rows", [1, 16, 17, 24, 31])
def test_the_integer_product_is_exact_whatever_the_number_of_rows(rows: int) -> None:
    generator = torch.Generator().manual_seed(rows)
    weight = torch.randint(-127, 128, (16, 32), generator=generator).float()
    weight[:, 0] = 127
    values = torch.randint(-127, 128, (rows, 32), generator=generator).float()
    values[:, 0] = 127
    product = products.EightBit(rowwise.Rowwise(), torch.float32).product(weight)
    found = product(rowwise.quantised(values), values)
    assert torch.equal(found, values @ weight.T)
    assert torch.equal(
        product.onto(values[:, :16], rowwise.quantised(values)), values[:, :16] + values @ weight.T
    )
    assert products.padded_rows(rows) > 16
    assert products.padded_rows(rows) % 8 == 0


def test_a_row_of_zeros_stays_zero_in_eight_bits() -> None:
    values, scales = rowwise.quantised(torch.zeros(2, 8))
    assert not values.any()
    assert torch.isfinite(scales).all()


def test_a_product_of_odd_size_is_refused_in_eight_bits() -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        products.EightBit(rowwise.Rowwise(), torch.float32).product(torch.zeros(12, 16))


def test_a_prompt_that_is_too_long_or_begins_otherwise_is_refused(make: Make) -> None:
    reader = make()
    with pytest.raises(ValueError, match="after its prefix"):
        reader.logits([[*PREFIX, *range(LONGEST + 9)]])
    with pytest.raises(ValueError, match="after its prefix"):
        reader.logits([list(PREFIX)])
    with pytest.raises(ValueError, match="does not begin"):
        reader.logits([[1, 2, 3]])


def test_a_folder_without_weights_is_said(make: Make, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SMALL.to_config()))
    with pytest.raises(FileNotFoundError, match="neither"):
        make(folder=tmp_path)


def test_every_length_has_a_size_to_be_padded_to() -> None:
    for longest in (1, 31, 32, 100, 166, 300):
        sizes = lengths(longest)
        assert list(sizes) == sorted(set(sizes))
        assert sizes[-1] >= longest
        assert sizes[-1] < longest + 16 or sizes == (32,)
    assert BATCHES[-1] == 8
