"""A trained model: what it answers with, how it was fitted, and its version, which is its content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from servers.model.errors import InvalidInput
from servers.signals.domain import live
from servers.signals.domain.model import LinearModel
from servers.signals.domain.panel import Group

ALL_GROUPS = (Group.PRICE, Group.REGIME, Group.NEWS, Group.SOCIAL)
PRICE_GROUPS = (Group.PRICE, Group.REGIME)


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """Two models of one training: with posts, and from prices alone.

    Attributes:
        half_life_nanos: half of the expected move has come so long after a signal.
        horizon_nanos: the label's.
        description: the training in words, with its scores.
    """

    name: str
    with_posts: LinearModel
    price_only: LinearModel
    half_life_nanos: int
    horizon_nanos: int
    description: str
    recipe: Mapping[str, Any]

    @property
    def version(self) -> str:
        """Return the name with a digest of every figure."""
        content = json.dumps(self.to_json(), sort_keys=True)
        return f"{self.name}/{hashlib.sha256(content.encode()).hexdigest()[:12]}"

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {
            "name": self.name,
            "half_life_seconds": self.half_life_nanos // 1_000_000_000,
            "horizon_seconds": self.horizon_nanos // 1_000_000_000,
            "description": self.description,
            "recipe": dict(self.recipe),
            "with_posts": _linear_json(self.with_posts),
            "price_only": _linear_json(self.price_only),
        }


def names_of(groups: tuple[Group, ...]) -> tuple[str, ...]:
    """Return the features of some groups in the order that models use."""
    return tuple(name for group in groups for name in live.NAMES[group])


def from_json(table: Mapping[str, Any]) -> TrainedModel:
    """Return the model of a file. Raises InvalidInput MODEL_INVALID that says what is wrong."""
    try:
        model = TrainedModel(
            name=str(table["name"]),
            with_posts=_linear(table["with_posts"]),
            price_only=_linear(table["price_only"]),
            half_life_nanos=int(table["half_life_seconds"]) * 1_000_000_000,
            horizon_nanos=int(table["horizon_seconds"]) * 1_000_000_000,
            description=str(table["description"]),
            recipe=dict(table["recipe"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput("MODEL_INVALID", f"the model lacks or misstates {error}") from error
    for linear, groups in ((model.with_posts, ALL_GROUPS), (model.price_only, PRICE_GROUPS)):
        if linear.names != names_of(groups):
            raise InvalidInput("MODEL_INVALID", f"the model was trained on other features: {linear.names}")
        figures = np.concatenate([linear.means, linear.scales, linear.coefficients])
        lengths = {len(linear.names), len(linear.means), len(linear.scales), len(linear.coefficients)}
        if len(lengths) != 1 or not np.isfinite(figures).all() or (linear.scales <= 0).any():
            raise InvalidInput("MODEL_INVALID", "a figure of the model is out of range or missing")
    if model.half_life_nanos <= 0 or model.horizon_nanos <= 0:
        raise InvalidInput("MODEL_INVALID", "half-life and horizon must be above 0")
    return model


def _linear_json(model: LinearModel) -> dict[str, Any]:
    return {
        "features": {
            name: [float(mean), float(scale), float(coefficient)]
            for name, mean, scale, coefficient in zip(
                model.names, model.means, model.scales, model.coefficients, strict=True
            )
        },
        "intercept": model.intercept,
        "slope": model.slope,
        "offset": model.offset,
    }


def _linear(table: Mapping[str, Any]) -> LinearModel:
    figures = np.array(list(table["features"].values()), dtype=np.float64).reshape(-1, 3)
    return LinearModel(
        tuple(table["features"]),
        figures[:, 0],
        figures[:, 1],
        figures[:, 2],
        float(table["intercept"]),
        float(table["slope"]),
        float(table["offset"]),
    )
