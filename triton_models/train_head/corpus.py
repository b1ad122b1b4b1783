"""Labelled texts from files, told apart by a hash of what they say."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BEARISH, NEUTRAL, BULLISH = 0, 1, 2
HELD_OUT_PERCENT = 15
"""Share of the hashes that nothing is fitted on."""
HELD_OUT_RULE = f"SHA-256 of the normalised text, first 8 bytes, modulo 100, below {HELD_OUT_PERCENT}"
FOLDS = 3
"""Parts that take turns at being left out: a text's hash modulo this."""

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


@dataclass(frozen=True)
class Corpus:
    """All examples, file behind file."""

    names: tuple[str, ...]
    paths: tuple[Path, ...]
    examples: list[Example]
    source: NDArray[np.int64]
    labels: NDArray[np.int64]
    folds: NDArray[np.int64]

    def provenance(self) -> list[dict[str, str | int]]:
        """Return name, file, SHA-256 and count of texts of each source, for a recipe."""
        return [
            {
                "source": name,
                "file": path.name,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "texts": int((self.source == number).sum()),
            }
            for number, (name, path) in enumerate(zip(self.names, self.paths, strict=True))
        ]

    def rows(self, *, held_out: bool, source: int | None = None) -> NDArray[np.int64]:
        """Return the rows that may be fitted on, or those that may not, of one source or all."""
        wanted = (self.folds < HELD_OUT_PERCENT) == held_out
        if source is not None:
            wanted &= self.source == source
        return np.flatnonzero(wanted)


def normalised(text: str) -> str:
    """Return what a text says, without links, case, spacing and punctuation: near copies become one."""
    return _NOT_A_WORD.sub(" ", _LINK.sub(" ", text.lower())).strip()


def key_of(text: str) -> int:
    """Return what near copies of a text share: SHA-256 of its normalised form, the first eight bytes."""
    return int.from_bytes(hashlib.sha256(normalised(text).encode()).digest()[:8], "big")


def fold_of(text: str) -> int:
    """Return the text's fold: its key modulo 100."""
    return key_of(text) % 100


def read_corpus(named: Sequence[str]) -> Corpus:
    """Return the examples of `NAME=FILE` pairs.

    Raises ValueError for one that is no such pair, or a file of no known form.
    """
    pairs = [pair.partition("=") for pair in named]
    if wrong := [pair for pair, (name, _, path) in zip(named, pairs, strict=True) if not (name and path)]:
        raise ValueError(f"{wrong[0]}: say NAME=FILE")
    names = tuple(name for name, _, _ in pairs)
    paths = tuple(Path(path) for _, _, path in pairs)
    read = [read_examples(path) for path in paths]
    examples = [example for one in read for example in one]
    return Corpus(
        names,
        paths,
        examples,
        np.repeat(np.arange(len(read)), [len(one) for one in read]),
        np.array([example.label for example in examples]),
        np.array([example.fold for example in examples]),
    )


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
