"""Labelled texts from files, told apart by a hash of what they say."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BEARISH, NEUTRAL, BULLISH = 0, 1, 2
HELD_OUT_PERCENT = 15
"""Share of the hashes that nothing is fitted on."""

_LINK = re.compile(r"https?://\S+|www\.\S+")
_NOT_A_WORD = re.compile(r"[^a-z0-9$%]+")
# A dictionary in Python's form, but names with an apostrophe break it: only the polarities are read.
_OF_AN_ENTITY = re.compile(r":\s*['\"](\w+)['\"]\s*[,}]")
_TWITTER = {"0": BEARISH, "1": BULLISH, "2": NEUTRAL}
_POLARITY = {"negative": BEARISH, "neutral": NEUTRAL, "positive": BULLISH}
_STOCKTWITS = {"bearish": BEARISH, "bullish": BULLISH}


@dataclass(frozen=True)
class Example:
    """A text, its label, and the fold that its hash puts it in (0 to 99)."""

    text: str
    label: int
    fold: int

    @property
    def is_held_out(self) -> bool:
        """Tell whether nothing may be fitted on it."""
        return self.fold < HELD_OUT_PERCENT


def normalised(text: str) -> str:
    """Return what a text says, without links, case, spacing and punctuation: near copies become one."""
    return _NOT_A_WORD.sub(" ", _LINK.sub(" ", text.lower())).strip()


def fold_of(text: str) -> int:
    """Return the text's fold: SHA-256 of its normalised form, first eight bytes, modulo 100."""
    digest = hashlib.sha256(normalised(text).encode()).digest()
    return int.from_bytes(digest[:8], "big") % 100


def read_examples(path: Path) -> list[Example]:
    """Return a labelled file's examples; the header says which of the known forms it has.

    `text,label` (0 bearish, 1 bullish, 2 neutral); `Title,Decisions` with a polarity for each entity, of
    which rows with one polarity are taken; `original,senti_label` of StockTwits. Copies of a text that
    disagree are left out, those that agree count once.

    Raises ValueError for another header or an unknown label, with the row.
    """
    found: dict[str, Example | None] = {}
    for text, label in _rows(path):
        key = normalised(text)
        seen = found.get(key, Example(text, label, fold_of(text)))
        found[key] = seen if seen is not None and seen.label == label else None
    return [example for example in found.values() if example is not None]


def _rows(path: Path) -> Iterator[tuple[str, int]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        header = set(reader.fieldnames or ())
        for number, row in enumerate(reader, start=2):
            try:
                if {"text", "label"} <= header:
                    yield row["text"], _TWITTER[row["label"]]
                elif {"Title", "Decisions"} <= header:
                    polarities = set(_OF_AN_ENTITY.findall(row["Decisions"]))
                    if len(polarities) == 1:
                        yield row["Title"], _POLARITY[polarities.pop()]
                elif {"original", "senti_label"} <= header:
                    yield row["original"], _STOCKTWITS[row["senti_label"]]
                else:
                    raise ValueError(
                        f"{path}: no known form of labelled file has the header {sorted(header)}"
                    )
            except KeyError as error:
                raise ValueError(f"{path}, row {number}: {error!r} is no known label") from error
