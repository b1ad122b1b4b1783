"""A news engine with everything in memory; the reader is a first-class fake that tests can stop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from servers.model.clock import ManualClock
from servers.model.errors import Unavailable
from servers.model.nanos import NANO
from servers.news.adapters.memory import MemoryPostStore
from servers.news.domain.desk import Desk
from servers.news.domain.linking import Linker
from servers.news.domain.post import PostKind, Reading, SourcePost
from servers.news.engine import NewsEngine
from servers.news.ports import Question
from servers.news.publishing import Publisher

NOON = 1_700_000_000 * NANO
NAMES = {"ACME": ("Acme Corporation", "Acme"), "BOLT": ("Bolt Motors", "Bolt"), "CRUX": ("Crux Mining",)}


class WordReader:
    """Reads `up` as bullish and `down` as bearish; remembers what it was asked and told to forget."""

    def __init__(self) -> None:
        self.is_up = True
        self.asked: list[Question] = []
        self.forgotten: list[str] = []

    async def read(self, questions: Sequence[Question]) -> list[Reading]:
        if not self.is_up:
            raise Unavailable("PEER_UNAVAILABLE", "intelligence is down")
        self.asked += questions
        return [self._reading(question.text) for question in questions]

    async def forget(self, post_ids: Sequence[str]) -> None:
        if not self.is_up:
            raise Unavailable("PEER_UNAVAILABLE", "intelligence is down")
        self.forgotten += post_ids

    @staticmethod
    def _reading(text: str) -> Reading:
        score = 0.9 if "up" in text else -0.9 if "down" in text else 0.0
        return Reading(score, 0.5 if "unsure" in text else 0.95, "words/1", True, True, "shed" in text)


class Spans:
    """Numbers traces."""

    def __init__(self) -> None:
        self.names: list[str] = []

    @contextmanager
    def span(self, name: str, traceparent: str, **attributes: str) -> Iterator[str]:
        self.names.append(name)
        yield traceparent or f"00-{len(self.names):032x}-{len(self.names):016x}-01"


class Lines:
    """A log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, event: str, **facts: object) -> object:
        self.lines.append(event)
        return None

    warning = info


class Room:
    """An engine and what surrounds it."""

    def __init__(self, store: Any = None) -> None:
        self.store = MemoryPostStore() if store is None else store
        self.reader = WordReader()
        self.log = Lines()
        self.spans = Spans()
        self.publisher = Publisher()
        self.engine = NewsEngine(
            Desk(Linker(NAMES)),
            self.store,
            self.reader,
            self.publisher,
            tracing=self.spans,
            clock=ManualClock(NOON),
            log=self.log,
            salt="salt",
        )

    async def read_all(self) -> None:
        """Have everything read and forgotten that waits for it."""
        while await self.engine.read_some():
            pass
        while await self.engine.forget_some():
            pass


def post(number: int = 1, text: str = "$ACME goes up", seconds: float = 0.0, **fields: Any) -> SourcePost:
    """Return a post as a source delivers it."""
    given: dict[str, Any] = {
        "source": "board",
        "kind": PostKind.SOCIAL,
        "author": f"a{number}",
        "follower_count": 500,
    }
    given |= fields
    return SourcePost(str(number), event_time_nanos=NOON + round(seconds * NANO), text=text, **given)
