"""A checkpoint's config is read as written, and a decoder that is not computed is refused, not guessed."""

import importlib.metadata
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from triton_models.gpu_torch import prepare
from triton_models.gpu_torch.shape import MISTRAL_7B, read_shape, shape_of

LLAMA = {
    "model_type": "llama",
    "num_hidden_layers": 30,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_attention_heads": 9,
    "vocab_size": 49152,
    "rms_norm_eps": 1e-5,
}


def test_what_a_config_leaves_out_has_the_architectures_own_value() -> None:
    shape = shape_of(LLAMA)
    assert (shape.key_heads, shape.head_width, shape.rope_base) == (9, 64, 10_000.0)
    assert (shape.window, shape.ties_embeddings, shape.seed) == (None, False, None)


def test_the_rotary_base_is_found_where_newer_configs_have_it() -> None:
    newer = {"rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0}}
    assert shape_of(LLAMA | newer).rope_base == 500_000.0


def test_llama_3_slows_down_slow_rotations_alone() -> None:
    scaling = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    base = LLAMA | {"rope_theta": 500_000.0}
    plain, slowed = shape_of(base).frequencies(), shape_of(base | {"rope_scaling": scaling}).frequencies()
    turns = [8192 * frequency / (2 * math.pi) for frequency in plain]
    ratios = [one / other for one, other in zip(slowed, plain, strict=True)]
    assert plain[0] == slowed[0] == 1.0
    assert ratios == sorted(ratios, reverse=True)
    for turned, ratio in zip(turns, ratios, strict=True):
        if turned >= 4:
            assert ratio == 1
        elif turned <= 1:
            assert ratio == pytest.approx(1 / 8)
        else:
            assert ratio == pytest.approx(1 / 8 + 7 / 8 * (turned - 1) / 3)
    assert {1.0, 1 / 8} < set(ratios)


def test_a_shape_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(MISTRAL_7B.to_config()))
    assert read_shape(tmp_path) == MISTRAL_7B


def test_mistral_7b_has_the_width_its_heads_need() -> None:
    assert MISTRAL_7B.attention_width == MISTRAL_7B.width == 4096
    assert MISTRAL_7B.key_width == 1024


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"model_type": "gpt2"}, "gpt2 is neither"),
        ({"hidden_act": "gelu"}, "gelu"),
        ({"attention_bias": True}, "bias"),
        ({"mlp_bias": True}, "bias"),
        ({"rope_scaling": {"rope_type": "longrope"}}, "scaled by longrope"),
        ({"rope_scaling": {"type": "yarn"}}, "scaled by yarn"),
    ],
)
def test_a_decoder_that_is_not_computed_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        shape_of(LLAMA | wrong)


@pytest.fixture
def triton(tmp_path: Path) -> Path:
    """Triton's environment, set up for the Python that runs this."""
    folder = tmp_path / "triton"
    folder.mkdir()
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    facts = {"triton": "/server", "site_packages": f"/lib/{python}/site-packages", "library_folder": "/lib"}
    (folder / "triton.json").write_text(json.dumps(facts))
    return folder


def test_an_environment_that_fits_gets_triton_and_its_own_packages(
    triton: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "1.26.4")
    facts = json.loads(prepare.prepare(triton, tmp_path).read_text())
    assert facts["triton"] == "/server"
    assert Path(facts["site_packages"]).is_relative_to(sys.prefix)


def test_an_environment_that_triton_cannot_load_is_refused(
    triton: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(prepare.PrepareError, match="make setup"):
        prepare.prepare(tmp_path / "none", tmp_path)
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "2.4.6")
    with pytest.raises(prepare.PrepareError, match=r"stops at numpy 1, and this environment has 2\.4\.6"):
        prepare.prepare(triton, tmp_path)
    (triton / "triton.json").write_text(json.dumps({"site_packages": "/lib/python3.8/site-packages"}))
    with pytest.raises(prepare.PrepareError, match="another Python"):
        prepare.prepare(triton, tmp_path)
    assert not (tmp_path / "triton.json").exists()


def test_the_command_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare.main(["--triton", str(tmp_path)]) == 1
    assert "make setup" in capsys.readouterr().err
