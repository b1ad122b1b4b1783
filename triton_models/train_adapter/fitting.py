"""Fits the adapter: cross-entropy of the label tokens at the place of the answer, upper layers alone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from triton_models.adapter import MATRICES, Adapter
from triton_models.checkpoint import Checkpoint
from triton_models.prompt import prompt, text_tokens, tokenizer
from triton_models.train_adapter.decoder import Layer, padded, turns_of

Tensor = Any
Labels = NDArray[np.int64]
Rows = NDArray[np.int64]
Report = Callable[[str], None]

_SORTED_TOGETHER = 50
"""Batches whose texts are sorted by length among themselves: padding is work for nothing."""
_READ_TOGETHER = 64
_PROGRESS_SECONDS = 20.0


@dataclass(frozen=True)
class Recipe:
    """What is chosen and not fitted.

    Args:
        first_layer: the lowest that is changed, from 0.
        rank: of each change.
        rate: of learning at its height.
        warm_up: share of the steps in which the rate rises; after them it falls to zero in a straight line.
        decay: of the weights, a step, times the rate (AdamW).
        batch: texts a step.
        epochs: how often every text is seen.
        averaged: share of the last steps whose figures are averaged into the result.
        seed: draws the first figures and the order of the texts.
    """

    first_layer: int = 14
    rank: int = 8
    rate: float = 1e-3
    warm_up: float = 0.06
    decay: float = 0.01
    batch: int = 32
    epochs: int = 2
    averaged: float = 0.25
    seed: int = 0


class Trunk:
    """Texts as the layers below the adapter leave them, which no fitting changes: read once, kept in memory.

    Args:
        texts: what to read.
    """

    def __init__(
        self, checkpoint: Checkpoint, texts: Sequence[str], first_layer: int, report: Report
    ) -> None:
        words = tokenizer(checkpoint.tokens, checkpoint.merges)
        asked = prompt(words)
        self.labels = asked.labels
        embeddings = torch.from_numpy(checkpoint.embeddings)
        layers = [Layer(checkpoint, weights, {}) for weights in checkpoint.layers[:first_layer]]
        tokens = [own + list(asked.suffix) for own in text_tokens(words, texts)]
        self.lengths = np.array([len(own) for own in tokens])
        self.states: list[Tensor] = [None] * len(texts)
        with torch.inference_mode():
            turns = turns_of(checkpoint, 0, len(asked.prefix))
            self.prefix = embeddings[list(asked.prefix)][None]
            pasts = []
            for layer in layers:
                self.prefix, own = layer(self.prefix, turns, None)
                pasts.append(own)
            order = np.argsort(self.lengths, kind="stable")
            told = time.monotonic()
            for at in range(0, len(order), _READ_TOGETHER):
                places = order[at : at + _READ_TOGETHER]
                hidden = padded([embeddings[tokens[place]] for place in places])
                turns = turns_of(checkpoint, len(asked.prefix), hidden.shape[1])
                for layer, past in zip(layers, pasts, strict=True):
                    hidden, _ = layer(hidden, turns, past)
                for place, states in zip(places, hidden, strict=True):
                    self.states[place] = states[: self.lengths[place]].to(torch.bfloat16)
                if time.monotonic() - told > _PROGRESS_SECONDS:
                    told = time.monotonic()
                    report(f"read {at + len(places):,} of {len(order):,} texts")


class Student:
    """The layers above the trunk, with the changes that are being fitted."""

    def __init__(self, checkpoint: Checkpoint, trunk: Trunk, recipe: Recipe) -> None:
        self._checkpoint, self._trunk, self._recipe = checkpoint, trunk, recipe
        self._draw = torch.Generator().manual_seed(recipe.seed)
        self._changes = {
            (index, name): self._new(getattr(checkpoint.layers[index], name).shape)
            for index in range(recipe.first_layer, checkpoint.shape.layers)
            for name in MATRICES
        }
        self._layers = [
            Layer(
                checkpoint, checkpoint.layers[index], {name: self._changes[index, name] for name in MATRICES}
            )
            for index in range(recipe.first_layer, checkpoint.shape.layers)
        ]
        self._norm = torch.from_numpy(checkpoint.final_norm)
        self._label_rows = torch.from_numpy(checkpoint.embeddings[list(trunk.labels)])

    def fit(self, rows: Rows, labels: Labels, report: Report) -> None:
        """Fit the changes to the labels, `[texts]`, of the named rows of the trunk."""
        recipe = self._recipe
        figures = [figure for change in self._changes.values() for figure in change]
        optimiser = torch.optim.AdamW(figures, lr=recipe.rate, weight_decay=recipe.decay)
        steps = recipe.epochs * math.ceil(len(rows) / recipe.batch)
        averages, averaged = [torch.zeros_like(figure) for figure in figures], 0
        started = told = time.monotonic()
        loss_of_late = 0.0
        for step, batch in enumerate(self._batches(rows)):
            for group in optimiser.param_groups:
                group["lr"] = recipe.rate * _height(step / steps, recipe.warm_up)
            loss = functional.cross_entropy(self._logits(batch), torch.from_numpy(labels[batch]))
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(figures, 1.0)
            optimiser.step()
            if step >= steps * (1 - recipe.averaged):
                averaged += 1
                for average, figure in zip(averages, figures, strict=True):
                    average += (figure.detach() - average) / averaged
            loss_of_late += (float(loss.detach()) - loss_of_late) / min(step + 1, 50)
            if time.monotonic() - told > _PROGRESS_SECONDS:
                told = time.monotonic()
                report(f"step {step + 1} of {steps} after {told - started:.0f} s, loss {loss_of_late:.3f}")
        with torch.no_grad():
            for average, figure in zip(averages, figures, strict=True):
                figure.copy_(average)

    def logits(self, rows: Rows) -> NDArray[np.float32]:
        """Return the label tokens' scores of the named rows, `[rows, labels]`."""
        found = np.zeros((len(rows), len(self._trunk.labels)), dtype=np.float32)
        order = np.argsort(self._trunk.lengths[rows], kind="stable")
        with torch.no_grad():
            for at in range(0, len(order), _READ_TOGETHER):
                places = order[at : at + _READ_TOGETHER]
                found[places] = self._logits(rows[places]).numpy()
        return found

    def adapter(self) -> Adapter:
        """Return what was fitted."""
        return Adapter(
            {
                key: (down.detach().numpy().copy(), up.detach().numpy().copy())
                for key, (down, up) in self._changes.items()
            }
        )

    def _logits(self, rows: Rows) -> Tensor:
        trunk = self._trunk
        prefix, hidden = trunk.prefix, padded([trunk.states[row] for row in rows]).float()
        before = prefix.shape[1]
        turns = turns_of(self._checkpoint, 0, before + hidden.shape[1])
        for layer in self._layers:
            prefix, past = layer(prefix, turns[:, :before], None)
            hidden, _ = layer(hidden, turns[:, before:], past)
        answers = hidden[torch.arange(len(rows)), torch.from_numpy(trunk.lengths[rows]) - 1]
        epsilon = self._checkpoint.shape.norm_epsilon
        return functional.rms_norm(answers, self._norm.shape, self._norm, epsilon) @ self._label_rows.T

    def _new(self, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
        inputs, outputs = shape
        down = torch.randn(inputs, self._recipe.rank, generator=self._draw) / math.sqrt(inputs)
        return down.requires_grad_(), torch.zeros(self._recipe.rank, outputs, requires_grad=True)

    def _batches(self, rows: Rows) -> Iterator[Rows]:
        draw = np.random.RandomState(self._recipe.seed)
        size = self._recipe.batch
        for _ in range(self._recipe.epochs):
            shuffled = draw.permutation(rows)
            batches: list[Rows] = []
            for at in range(0, len(shuffled), size * _SORTED_TOGETHER):
                near = shuffled[at : at + size * _SORTED_TOGETHER]
                near = near[np.argsort(self._trunk.lengths[near], kind="stable")]
                batches += [near[start : start + size] for start in range(0, len(near), size)]
            for place in draw.permutation(len(batches)):
                yield batches[place]


def _height(done: float, warm_up: float) -> float:
    """Return the share of the highest rate to learn with, after that share of the steps."""
    return min(done / warm_up, (1 - done) / (1 - warm_up)) if warm_up else 1 - done
