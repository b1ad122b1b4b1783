"""What a text says word for word: hashed n-grams of words and of characters, weighted by rarity.

The hashing trick (Weinberger et al. 2009) with CRC-32, which is the same on every machine; sublinear counts
and unit length as usual for TF-IDF. No vocabulary is kept.
"""

from __future__ import annotations

import itertools
import math
import re
import zlib
from collections import Counter
from collections.abc import Iterator

WORD_BUCKETS = 1 << 15
CHARACTER_BUCKETS = 1 << 16
BUCKETS = WORD_BUCKETS + CHARACTER_BUCKETS

_LINK = re.compile(r"https?://\S+|www\.\S+")
_WORD = re.compile(r"\w\w+|[$%+-]")
_CHARACTER_LENGTHS = (3, 4, 5)

Family = Counter[int]
"""Bucket -> how often."""


def families(text: str) -> tuple[Family, Family]:
    """Return the text's word n-grams (one and two words) and its n-grams of 3 to 5 characters, as buckets.

    Links are left out: a shortened address says nothing, and hashing it invents words.
    """
    clean = _LINK.sub(" ", text.lower())
    return Counter(_word_buckets(clean)), Counter(_character_buckets(clean))


def unit_weights(family: Family, rarity: dict[int, float]) -> dict[int, float]:
    """Return weights of unit length: (1 + log count) times rarity; buckets without rarity are left out."""
    weights = {
        bucket: (1.0 + math.log(count)) * rarity[bucket]
        for bucket, count in family.items()
        if bucket in rarity
    }
    length = math.sqrt(sum(weight * weight for weight in weights.values()))
    return {bucket: weight / length for bucket, weight in weights.items()}


def _word_buckets(text: str) -> Iterator[int]:
    words = _WORD.findall(text)
    for word in words:
        yield zlib.crc32(word.encode()) % WORD_BUCKETS
    for first, second in itertools.pairwise(words):
        yield zlib.crc32(f"{first} {second}".encode()) % WORD_BUCKETS


def _character_buckets(text: str) -> Iterator[int]:
    for word in text.split():
        padded = f" {word} "
        for length in _CHARACTER_LENGTHS:
            for start in range(max(len(padded) - length + 1, 1)):
                gram = padded[start : start + length]
                yield WORD_BUCKETS + zlib.crc32(gram.encode()) % CHARACTER_BUCKETS
