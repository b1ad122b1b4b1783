"""The trained model on disk."""

from __future__ import annotations

import json
from pathlib import Path

from servers.model.errors import InvalidInput
from servers.signals.domain.trained import TrainedModel, from_json


def load_model(path: Path) -> TrainedModel:
    """Return the model of a file. Raises InvalidInput MODEL_INVALID that names file and reason."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput("MODEL_INVALID", f"{path}: {error}", file=path) from error
    if not isinstance(table, dict):
        raise InvalidInput("MODEL_INVALID", f"{path}: no JSON object", file=path)
    try:
        return from_json(table)
    except InvalidInput as error:
        raise InvalidInput(error.reason, f"{path}: {error.message}", file=path) from error
