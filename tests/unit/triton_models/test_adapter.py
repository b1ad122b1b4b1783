"""An adapter is added to the matrices it belongs to, survives being written, and fits no other decoder."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from triton_models.adapter import ADAPTER_FILE, MATRICES, Adapter
from triton_models.checkpoint import Checkpoint, Layer, Shape
from triton_models.train_adapter.unseen import UnseenAnswers
from triton_models.train_head.corpus import HELD_OUT_PERCENT, key_of

WIDTH, FEED_FORWARD, RANK = 8, 12, 2
SIZES = {
    "query_key_value": (WIDTH, 16),
    "attention_output": (WIDTH, WIDTH),
    "gate_up": (WIDTH, 2 * FEED_FORWARD),
    "down": (FEED_FORWARD, WIDTH),
}


@pytest.fixture
def checkpoint() -> Checkpoint:
    draw = np.random.default_rng(1)
    ones = np.ones(WIDTH, np.float32)

    def layer() -> Layer:
        drawn = {name: draw.normal(size=size).astype(np.float32) for name, size in SIZES.items()}
        return Layer(attention_norm=ones, feed_forward_norm=ones, **drawn)

    shape = Shape(3, WIDTH, FEED_FORWARD, 2, 1, 4, 1e4, 1e-5)
    return Checkpoint(shape, np.ones((5, WIDTH), np.float32), (layer(), layer(), layer()), ones, (), ())


@pytest.fixture
def adapter() -> Adapter:
    draw = np.random.default_rng(2)
    return Adapter(
        {
            (layer, name): (
                draw.normal(size=(inputs, RANK)).astype(np.float32),
                draw.normal(size=(RANK, outputs)).astype(np.float32),
            )
            for layer in (1, 2)
            for name, (inputs, outputs) in SIZES.items()
        }
    )


def test_changes_are_added_to_their_layers_and_nothing_else(checkpoint: Checkpoint, adapter: Adapter) -> None:
    merged = adapter.merged(checkpoint)
    assert merged.layers[0] is checkpoint.layers[0]
    assert merged.embeddings is checkpoint.embeddings
    for index in (1, 2):
        for name in MATRICES:
            down, up = adapter.changes[index, name]
            added = getattr(merged.layers[index], name) - getattr(checkpoint.layers[index], name)
            assert np.allclose(added, down @ up, atol=1e-5)
        assert merged.layers[index].attention_norm is checkpoint.layers[index].attention_norm


def test_an_adapter_that_was_written_says_the_same(adapter: Adapter, tmp_path: Path) -> None:
    adapter.save(tmp_path / "adapter.npz")
    again = Adapter.load(tmp_path / "adapter.npz")
    assert again.changes.keys() == adapter.changes.keys()
    for key, change in adapter.changes.items():
        for written, made in zip(again.changes[key], change, strict=True):
            assert np.allclose(written, made, atol=2e-3)


def test_an_adapter_of_another_decoder_is_refused(checkpoint: Checkpoint, adapter: Adapter) -> None:
    shallow = replace(checkpoint, layers=checkpoint.layers[:2])
    with pytest.raises(ValueError, match="another shape"):
        adapter.merged(shallow)
    narrow = Adapter({(1, "down"): (np.zeros((3, 1), np.float32), np.zeros((1, WIDTH), np.float32))})
    with pytest.raises(ValueError, match="another shape"):
        narrow.merged(checkpoint)


def test_answers_are_found_by_what_a_text_says(tmp_path: Path) -> None:
    texts = ["Acme falls", "Borealis rises"]
    logits = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], np.float32)
    UnseenAnswers(np.array([key_of(text) for text in texts], np.uint64), logits).save(tmp_path / "a.npz")
    answers = UnseenAnswers.load(tmp_path / "a.npz")
    assert answers.of(["BOREALIS rises! https://t.co/x", "acme falls"]).tolist() == logits[::-1].tolist()
    with pytest.raises(ValueError, match="no adapter has answered 'Corvid meets' unseen"):
        answers.of(["Acme falls", "Corvid meets"])


def test_the_committed_adapter_is_small_and_changes_whole_layers() -> None:
    changes = Adapter.load().changes
    assert ADAPTER_FILE.stat().st_size < 4_000_000
    layers = {layer for layer, _ in changes}
    assert set(changes) == {(layer, name) for layer in layers for name in MATRICES}


def test_no_held_out_text_was_answered_for_the_fit() -> None:
    keys = UnseenAnswers.load().keys
    assert len(keys) > 10_000
    assert (keys % np.uint64(100) >= HELD_OUT_PERCENT).all()
