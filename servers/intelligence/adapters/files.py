"""What intelligence reads from files: words, calibrations, labelled texts."""

from __future__ import annotations

import csv
import math
import tomllib
from pathlib import Path
from typing import Any

from servers.intelligence.domain.calibration import UNCALIBRATED, Calibration, Calibrations
from servers.intelligence.domain.lexicon import Lexicon
from servers.intelligence.domain.sentiment import Label
from servers.intelligence.ports import LabelledText
from servers.model.errors import InvalidInput

LEXICON_FILE = Path(__file__).resolve().parents[1] / "lexicon.toml"
CALIBRATION_FILE = Path(__file__).resolve().parents[3] / "triton_models" / "head" / "calibration.toml"
"""Comes with the head of the model that is in the tree."""
SIMULATED_FILE = Path(__file__).resolve().parents[1] / "simulated.toml"
"""Of the simulated world's sources, whose texts are drawn from phrases."""
_LABELS = {label.name.lower(): label for label in Label}


def load_lexicon(path: Path = LEXICON_FILE) -> Lexicon:
    """Return the word list. Raises InvalidInput FILE_MALFORMED."""
    content = _toml(path)
    try:
        words = {
            " ".join(word.split()): float(weight)
            for weight, listed in content["weights"].items()
            for word in listed
        }
        return Lexicon(
            words,
            frozenset(content["negations"]),
            {word: float(factor) for word, factor in content["intensifiers"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _malformed(path, str(error)) from error


def load_calibrations(path: Path | None) -> Calibrations:
    """Return the calibrations of a TOML file.

    Without a path these are what comes with the tree's model and with the simulated world.

    `[versions."1".sources.NAME]` holds `temperature`, `bias` (three numbers) and, if need be,
    `confidence_ceiling`; `[sources.NAME]` the same for every version that has no such table of its own, and
    `[uncalibrated]` that of all other sources. Raises InvalidInput FILE_MALFORMED.
    """
    if path is not None:
        return _calibrations(path)
    simulated = _calibrations(SIMULATED_FILE)
    if not CALIBRATION_FILE.exists():
        return simulated
    model = _calibrations(CALIBRATION_FILE)
    versions = {
        version: {**simulated.versions.get(version, {}), **model.versions.get(version, {})}
        for version in {*simulated.versions, *model.versions}
    }
    return Calibrations(model.sources, versions, model.uncalibrated)


def _calibrations(file: Path) -> Calibrations:
    content = _toml(file)
    try:
        versions = content.get("versions", {})
        return Calibrations(
            _sources(content),
            {version: _sources(entry) for version, entry in versions.items()},
            _calibration(content["uncalibrated"]) if "uncalibrated" in content else UNCALIBRATED,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _malformed(file, str(error)) from error


def _sources(content: dict[str, Any]) -> dict[str, Calibration]:
    return {source: _calibration(entry) for source, entry in content.get("sources", {}).items()}


def _calibration(entry: dict[str, Any]) -> Calibration:
    temperature, ceiling = float(entry["temperature"]), float(entry.get("confidence_ceiling", 1.0))
    first, second, third = (float(value) for value in entry["bias"])
    if not (math.isfinite(temperature) and temperature > 0 and math.isfinite(first + second + third)):
        raise ValueError("temperature has to be above 0 and biases finite")
    if not 0 < ceiling <= 1:
        raise ValueError("confidence_ceiling has to lie above 0 and at most at 1")
    return Calibration(temperature, (first, second, third), ceiling)


def load_labelled(path: Path | None) -> list[LabelledText]:
    """Return labelled texts of a CSV with the columns text, label (bearish, neutral, bullish) and source.

    `source` may be missing. Raises InvalidInput FILE_MALFORMED with row and column.
    """
    if path is None:
        return []
    made: list[LabelledText] = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            for column in ("text", "label"):
                if column not in (reader.fieldnames or ()):
                    raise _malformed(path, f"row 1: there is no column {column}")
            for number, row in enumerate(reader, start=2):
                label = _LABELS.get((row["label"] or "").strip().lower())
                if label is None:
                    raise _malformed(path, f"row {number}, column label: {row['label']!r} is no label")
                if not row["text"]:
                    raise _malformed(path, f"row {number}, column text: empty")
                made.append(LabelledText(row["text"], label, row.get("source") or ""))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _malformed(path, str(error)) from error
    return made


def _toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise _malformed(path, str(error)) from error


def _malformed(path: Path, reason: str) -> InvalidInput:
    return InvalidInput("FILE_MALFORMED", f"{path}: {reason}", file=path)
