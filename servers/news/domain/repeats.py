"""Posts that say again what another said: first word for word, then nearly.

A text without its links, mentions, case and punctuation is compared exactly; then by the share of three-word
runs that two texts have in common, estimated from the least hashes. Source: Broder, "On the resemblance and
containment of documents", 1997.
"""

from __future__ import annotations

import re
import zlib
from collections import OrderedDict
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

HASHES, BANDS = 32, 8
ROWS = HASHES // BANDS
NEARLY = 0.7
"""Share of common runs from which two texts are one."""
RUN_WORDS = 3
FEWEST_WORDS = 5
"""Shorter texts are only compared word for word."""
_PRIME = (1 << 31) - 1
_NOISE = re.compile(r"https?://\S+|@\w+|[^\w\s$%.+-]", re.UNICODE)
_generator = np.random.default_rng(20_240_101)
_FACTORS = _generator.integers(1, _PRIME, HASHES, dtype=np.int64)
_OFFSETS = _generator.integers(0, _PRIME, HASHES, dtype=np.int64)


def canonical(text: str) -> str:
    """Return the text without what changes from copy to copy."""
    return " ".join(_NOISE.sub(" ", text.casefold()).split())


class Repeats:
    """Remembers the texts of the last `capacity` original posts, as hashes alone.

    Args:
        capacity: originals that are remembered; the oldest go first.
    """

    def __init__(self, capacity: int = 20_000) -> None:
        self._capacity = capacity
        self._exact: dict[bytes, str] = {}
        self._bands: dict[tuple[int, bytes], list[str]] = {}
        self._known: OrderedDict[str, tuple[bytes, NDArray[np.int64] | None]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def original_of(self, post_id: str, text: str) -> str:
        """Return the id of the post that said it first; when this is the first, remember it and return ''."""
        plain = canonical(text)
        digest = blake2b(plain.encode(), digest_size=16).digest()
        first = self._exact.get(digest)
        if first is not None:
            return "" if first == post_id else first
        sketch = _sketch(plain)
        if sketch is not None:
            near = self._nearest(post_id, sketch)
            if near:
                return near
        self._remember(post_id, digest, sketch)
        return ""

    def forget(self, post_id: str) -> None:
        """Remember nothing of a post."""
        known = self._known.pop(post_id, None)
        if known is None:
            return
        digest, sketch = known
        self._exact.pop(digest, None)
        if sketch is not None:
            for key in _keys(sketch):
                others = [other for other in self._bands.get(key, ()) if other != post_id]
                if others:
                    self._bands[key] = others
                else:
                    self._bands.pop(key, None)

    def _remember(self, post_id: str, digest: bytes, sketch: NDArray[np.int64] | None) -> None:
        self.forget(post_id)
        self._exact[digest] = post_id
        self._known[post_id] = (digest, sketch)
        if sketch is not None:
            for key in _keys(sketch):
                self._bands.setdefault(key, []).append(post_id)
        while len(self._known) > self._capacity:
            self.forget(next(iter(self._known)))

    def _nearest(self, post_id: str, sketch: NDArray[np.int64]) -> str:
        best, nearest = NEARLY, ""
        for other in {other for key in _keys(sketch) for other in self._bands.get(key, ())}:
            theirs = self._known[other][1]
            if other == post_id or theirs is None:
                continue
            alike = float(np.mean(sketch == theirs))
            if alike >= best:
                best, nearest = alike, other
        return nearest


def _sketch(plain: str) -> NDArray[np.int64] | None:
    words = plain.split()
    if len(words) < FEWEST_WORDS:
        return None
    runs = {" ".join(words[i : i + RUN_WORDS]) for i in range(len(words) - RUN_WORDS + 1)}
    hashes = np.fromiter((zlib.crc32(run.encode()) % _PRIME for run in runs), np.int64, len(runs))
    least: NDArray[np.int64] = ((_FACTORS[:, None] * hashes[None, :] + _OFFSETS[:, None]) % _PRIME).min(
        axis=1
    )
    return least


def _keys(sketch: NDArray[np.int64]) -> list[tuple[int, bytes]]:
    return [(band, sketch[band * ROWS : (band + 1) * ROWS].tobytes()) for band in range(BANDS)]
