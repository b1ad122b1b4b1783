"""Where the converted weights lie."""

from __future__ import annotations

import os
from pathlib import Path

GRAPH_NAME = "decoder.onnx"
QUANTISED_GRAPH_NAME = "decoder.int8.onnx"
VOCABULARY_NAME = "vocabulary.json"
LABEL_ROWS_NAME = "labels.npy"
SHAPE_NAME = "shape.json"
PREFIX_NAME = "prefix.npy"
RECIPE_NAME = "recipe.json"
"""What the folder was made of."""
FOLDER_VARIABLE = "MARKET_LLM_WEIGHTS"


def weights_folder() -> Path:
    """Return the folder that `prepare` fills: `MARKET_LLM_WEIGHTS`, or `build/triton` of the repository."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named) if named else Path(__file__).resolve().parent.parent / "build" / "triton"
