"""What local servers of platforms share: a fast clock, a world of posts that change, a watched limit."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from servers.model.nanos import NANO
from servers.news.domain.post import Action, SourcePost

START = 1_700_000_000
HOUR = 3_600


class FastPause:
    """`Pause` whose waits are over at once; from `end` on they last for ever."""

    def __init__(self, end_seconds: float) -> None:
        self._now = START * NANO
        self._end = (START + end_seconds) * NANO
        self.is_over = asyncio.Event()

    def now_nanos(self) -> int:
        return self._now

    @property
    def seconds(self) -> float:
        return self._now / NANO

    async def sleep(self, seconds: float) -> None:
        self._now += round(seconds * NANO)
        if self._now >= self._end:
            self.is_over.set()
            await asyncio.Event().wait()
        await asyncio.sleep(0)


@dataclass
class Thing:
    """One post of the world: when it is written, edited and deleted, in epoch seconds (0: never)."""

    id: int
    written: float
    text: str
    edited: float = 0.0
    deleted: float = 0.0

    def text_at(self, seconds: float) -> str:
        return f"{self.text}, corrected" if self.edited and self.edited <= seconds else self.text

    def is_there(self, seconds: float) -> bool:
        return self.written <= seconds and not (self.deleted and self.deleted <= seconds)


def world(seconds: int = HOUR, every: int = 9, seed: int = 5) -> list[Thing]:
    """Return an hour of posts, a tenth of them edited and a tenth deleted later in it."""
    chance = random.Random(seed)
    things = []
    for number in range(seconds // every):
        written = START + number * every + chance.random()
        thing = Thing(1_000 + number, written, f"$ACME thought number {number}")
        draw = chance.random()
        change = min(written + chance.uniform(100, 1_000), START + seconds)
        if draw < 0.1:
            thing.edited = change
        elif draw < 0.2:
            thing.deleted = change
        things.append(thing)
    return things


class Gate:
    """A platform's own limit, and the mischief of one hour: refusals, errors, lost connections."""

    def __init__(
        self, pause: FastPause, requests: int, window: float, *, seed: int = 11, share: float = 0.06
    ):
        self.requests: list[float] = []
        self.violations = 0
        self.mischief = {"limited": 0, "failed": 0, "lost": 0}
        self._pause = pause
        self._allowed = requests
        self._window = window
        self._chance = random.Random(seed)
        self._share = share
        self._recent: deque[float] = deque()
        self.closed_until = 0.0

    def enter(self) -> str:
        """Count a request; return what becomes of it: served, limited, failed or lost."""
        now = self._pause.seconds
        self.requests.append(now)
        self._recent.append(now)
        while self._recent[0] <= now - self._window:
            self._recent.popleft()
        # A request while the platform has said to wait is a breach as much as one above the limit.
        self.violations += len(self._recent) > self._allowed or now < self.closed_until
        draw = self._chance.random() if now < START + HOUR else 1.0
        for number, kind in enumerate(("limited", "failed", "lost")):
            if draw < self._share * (number + 1):
                self.mischief[kind] += 1
                if kind == "limited":
                    self.closed_until = now + 30
                return kind
        return "served"

    @property
    def remaining(self) -> int:
        return max(0, self._allowed - len(self._recent))


@dataclass
class Collector:
    """Takes posts as the engine does, and holds each delivery against its rules."""

    posts: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    repeated: int = 0

    async def take(self, delivered: Sequence[SourcePost]) -> None:
        for post in delivered:
            if post.action is Action.DELETED:
                self.gone.add(post.platform_id)
                self.posts.pop(post.platform_id, None)
            elif post.action is Action.WRITTEN:
                self.repeated += post.platform_id in self.posts
                self.posts[post.platform_id] = post.text
            else:
                self.posts[post.platform_id] = post.text


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """Serve on a free port; gives the address."""
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield site.name if not site.name.endswith(":0") else _address(runner)
    finally:
        await runner.cleanup()


def _address(runner: web.AppRunner) -> str:
    host, port = runner.addresses[0][:2]
    return f"http://{host}:{port}"


async def run_out(source: object, collector: Collector, pause: FastPause, seconds: float = 60.0) -> None:
    """Run a source until the fast clock's end; what it raises is raised."""
    running = asyncio.create_task(source.run(collector.take))  # type: ignore[attr-defined]
    over = asyncio.create_task(pause.is_over.wait())
    try:
        async with asyncio.timeout(seconds):
            await asyncio.wait({running, over}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running
    finally:
        over.cancel()
        running.cancel()
        await asyncio.gather(running, over, return_exceptions=True)


class Lines:
    """A `Log` that counts."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, object]]] = []

    def info(self, event: str, **facts: object) -> None:
        self.lines.append((event, facts))

    def warning(self, event: str, **facts: object) -> None:
        self.lines.append((event, facts))
