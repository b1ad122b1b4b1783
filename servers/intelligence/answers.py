"""Answers that are kept for a while, and really forgotten when a post is deleted.

A key is a keyed hash of the text's SHA-256 and the version, under a secret that lives and dies with the
process: what is kept is scores, never words, and nobody can test a guess of a text against it.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple

from servers.intelligence.domain.sentiment import RawAnswer

FORGOTTEN_SECONDS = 120.0
"""How long it is remembered that something was forgotten: longer than anything can be in flight."""


class _Kept(NamedTuple):
    answer: RawAnswer
    until: float
    item_ids: set[str]


class KeptAnswers:
    """The cache of answers: at most `most_entries`, each for `ttl_seconds` of a monotonic clock."""

    def __init__(self, most_entries: int, ttl_seconds: float) -> None:
        self._most_entries = most_entries
        self._ttl_seconds = ttl_seconds
        self._secret = secrets.token_bytes(32)
        self._kept: OrderedDict[tuple[bytes, str], _Kept] = OrderedDict()
        self._texts_of: dict[str, set[bytes]] = {}
        self._versions_of: dict[bytes, set[str]] = {}
        self._forgotten: OrderedDict[bytes | str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, digest: bytes, version: str, item_id: str, now: float) -> RawAnswer | None:
        """Return the answer of a version to a text, and note that this item rests on it too."""
        text = self._text(digest)
        kept = self._kept.get((text, version))
        if kept is None:
            return None
        if kept.until <= now:
            self._remove(text, version)
            return None
        self._kept.move_to_end((text, version))
        kept.item_ids.add(item_id)
        self._texts_of.setdefault(item_id, set()).add(text)
        return kept.answer

    def put(
        self, digest: bytes, version: str, item_id: str, answer: RawAnswer, asked_at: float, now: float
    ) -> None:
        """Keep an answer, unless its text or its item was forgotten since it was asked for."""
        text = self._text(digest)
        for name in (text, item_id):
            if self._forgotten.get(name, float("-inf")) >= asked_at:
                return
        if not self._most_entries:
            return
        previous = self._kept.pop((text, version), None)
        item_ids = {item_id} if previous is None else previous.item_ids | {item_id}
        self._kept[text, version] = _Kept(answer, now + self._ttl_seconds, item_ids)
        self._texts_of.setdefault(item_id, set()).add(text)
        self._versions_of.setdefault(text, set()).add(version)
        while len(self._kept) > self._most_entries:
            self._remove(*next(iter(self._kept)))

    def forget(self, item_ids: Iterable[str], digests: Iterable[bytes], now: float) -> int:
        """Remove what is kept of items and of texts (SHA-256 digests); return how many answers that were."""
        texts = {self._text(digest) for digest in digests}
        for item_id in item_ids:
            self._note(item_id, now)
            texts |= self._texts_of.get(item_id, set())
        removed = 0
        for text in texts:
            self._note(text, now)
            for version in list(self._versions_of.get(text, ())):
                self._remove(text, version)
                removed += 1
        return removed

    def expire(self, now: float) -> None:
        """Drop what has had its time."""
        for key in [key for key, kept in self._kept.items() if kept.until <= now]:
            self._remove(*key)
        while self._forgotten and next(iter(self._forgotten.values())) < now - FORGOTTEN_SECONDS:
            self._forgotten.popitem(last=False)

    def _note(self, name: bytes | str, now: float) -> None:
        self._forgotten[name] = now
        self._forgotten.move_to_end(name)

    def _remove(self, text: bytes, version: str) -> None:
        kept = self._kept.pop((text, version))
        versions = self._versions_of[text]
        versions.discard(version)
        if not versions:
            del self._versions_of[text]
            for item_id in kept.item_ids:
                self._leave(item_id, text)
            return
        # Another version's answer stands: its items keep pointing at the text.
        for other in versions:
            self._kept[text, other].item_ids.update(kept.item_ids)

    def _leave(self, item_id: str, text: bytes) -> None:
        texts = self._texts_of.get(item_id)
        if texts is not None:
            texts.discard(text)
            if not texts:
                del self._texts_of[item_id]

    def _text(self, digest: bytes) -> bytes:
        return blake2b(digest, key=self._secret, digest_size=16).digest()
