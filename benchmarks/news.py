"""News: 100,000 posts with copies, spam, edits and deletions through the pipeline into a real database.

Everything is real but the reader, which answers at once: what an LLM takes is measured by `llm`, and what is
above its budget is shed by intelligence. Memory is what this process grew by at its peak.
"""

import asyncio
import random
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.report import Options, Row
from servers.model.clock import WallClock
from servers.model.nanos import NANO
from servers.news.adapters.store import SqlPostStore
from servers.news.domain.desk import Desk
from servers.news.domain.linking import Linker
from servers.news.domain.post import Action, PostKind, Reading, SourcePost
from servers.news.engine import NewsEngine
from servers.news.ports import Question
from servers.news.publishing import Publisher

POSTS = 100_000
GROUP = 200
START = 1_700_000_000 * NANO
SECONDS_APART = 3
"""100,000 posts are three and a half days."""
SYMBOLS = 50
RELEVANT_A_DAY = 10_000
SECRET = "zq-planted-once-and-nowhere-else-7731"
WORDS = [
    "guidance",
    "margin",
    "revenue",
    "order",
    "contract",
    "plant",
    "supplier",
    "buyback",
    "dividend",
    "upgrade",
    "downgrade",
    "probe",
    "recall",
    "launch",
    "patent",
    "strike",
    "debt",
    "cash",
    "quarter",
    "outlook",
    "demand",
    "price",
    "cost",
    "merger",
    "stake",
    "board",
    "chief",
    "auditor",
    "export",
    "tariff",
    "shortage",
    "record",
    "surprise",
    "weak",
    "strong",
    "soft",
    "firm",
    "late",
    "early",
    "quiet",
    "crowded",
    "stretched",
    "cheap",
    "dear",
]


class InstantReader:
    """Answers at once, and counts."""

    def __init__(self) -> None:
        self.items = 0
        self.forgotten = 0

    async def read(self, questions: Sequence[Question]) -> list[Reading]:
        self.items += len(questions)
        return [Reading(0.5, 0.9, "instant", True, True, False)] * len(questions)

    async def forget(self, post_ids: Sequence[str]) -> None:
        self.forgotten += len(post_ids)


class NoSpans:
    """Traces nothing."""

    @contextmanager
    def span(self, name: str, traceparent: str, **attributes: str) -> Iterator[str]:
        yield traceparent


class NoLog:
    """Keeps no lines."""

    def info(self, event: str, **facts: object) -> None:
        return

    warning = info


class Feed:
    """Posts as platforms deliver them, and what should become of them.

    Of a hundred about 60 are new, 15 copy another's text, 5 are delivered again, 8 are spam, 5 are edited and
    7 deleted. One new or edited post in a thousand carries the planted text.
    """

    def __init__(self) -> None:
        self.unique: set[str] = set()
        self.copies: set[str] = set()
        self.spam: set[str] = set()
        self.deleted: set[str] = set()
        self.planted = 0
        self._chance = random.Random(20)
        self._recent: list[SourcePost] = []

    def __iter__(self) -> Iterator[SourcePost]:
        for number in range(POSTS):
            post = self._next(number)
            if post.action is Action.DELETED:
                self.deleted.add(post.post_id)
            else:
                self.unique.add(post.post_id)
            yield post

    def _next(self, number: int) -> SourcePost:
        draw, chance = self._chance.random(), self._chance
        time_nanos = START + number * SECONDS_APART * NANO
        earlier = chance.choice(self._recent[-2_000:]) if self._recent else None
        if draw < 0.15 and earlier is not None:
            post = self._post(number, time_nanos, f"RT @someone: {earlier.text} https://t.co/{number}")
            self.copies.add(post.post_id)
            return post
        if draw < 0.20 and earlier is not None:
            return earlier
        if draw < 0.28:
            text = f"GUARANTEED PROFIT!!! join our group {number} free signals $S1 $S2 $S3 $S4 $S5 t.me/x"
            post = self._post(number, time_nanos, text, followers=3)
            self.spam.add(post.post_id)
            return post
        if draw < 0.40 and earlier is not None:
            self._recent.remove(earlier)
            action = Action.EDITED if draw < 0.33 else Action.DELETED
            text = self._words(number) if action is Action.EDITED else ""
            return SourcePost(
                earlier.platform_id, earlier.source, earlier.kind, "", time_nanos, text, 0, action
            )
        post = self._post(number, time_nanos, self._words(number))
        self._recent.append(post)
        del self._recent[:-4_000]
        return post

    def _words(self, number: int) -> str:
        words = " ".join(self._chance.choices(WORDS, k=14))
        planted = f" {SECRET}" if number % 1_000 == 500 else ""
        self.planted += bool(planted)
        return f"$S{self._chance.randrange(SYMBOLS)} {words}{planted}"

    def _post(self, number: int, time_nanos: int, text: str, followers: int = 400) -> SourcePost:
        author = f"u{self._chance.randrange(5_000)}"
        return SourcePost(str(number), "board", PostKind.SOCIAL, author, time_nanos, text, followers)


async def run(options: Options) -> list[Row]:
    """Replay the feed; return throughput, memory and what the pipeline got wrong."""
    feed = Feed()
    posts = list(feed)
    before_mib = _peak_mib()
    with tempfile.TemporaryDirectory() as folder:
        store = SqlPostStore(f"sqlite:///{folder}/news.db")
        await store.open()
        reader = InstantReader()
        engine = NewsEngine(
            Desk(Linker({f"S{number}": (f"Company {number}",) for number in range(SYMBOLS)})),
            store,
            reader,
            Publisher(),
            tracing=NoSpans(),
            clock=WallClock(),
            log=NoLog(),
            salt="salt",
        )
        began = time.perf_counter()
        for start in range(0, POSTS, GROUP):
            group = posts[start : start + GROUP]
            await engine.take(group)
            engine.advance(group[-1].event_time_nanos)
            while await engine.read_some():
                pass
            if start % 10_000 == 0:
                options.progress(f"{start:,} of {POSTS:,} posts")
        seconds = time.perf_counter() - began
        peak_mib = _peak_mib() - before_mib
        facts = await _facts(feed, store)
        leaks = await _leaks_after_deletion(engine, store, Path(folder))
        await store.close()
    relevant_a_second = reader.items / seconds
    return [
        Row(
            "posts_per_second",
            POSTS / seconds,
            "1/s",
            None,
            "min",
            f"{POSTS:,} in {seconds:.0f} s, one process",
        ),
        Row(
            "relevant_posts_per_day",
            relevant_a_second * 86_400,
            "1/day",
            RELEVANT_A_DAY,
            "min",
            "without the LLM",
        ),
        Row("peak_memory", peak_mib, "MiB", None, "max", "growth of the process"),
        Row("unique_posts_lost", facts["lost"], "posts", 0, "max", f"of {len(feed.unique):,}"),
        Row("posts_stored_twice", facts["twice"], "posts", 0, "max", "5 % were delivered again"),
        Row("deleted_posts_with_text", facts["undeleted"], "posts", 0, "max", f"of {len(feed.deleted):,}"),
        Row("copies_missed", facts["copies_missed"], "share", None, "max", f"of {len(feed.copies):,}"),
        Row("originals_taken_for_copies", facts["false_copies"], "share", None, "max", "random words"),
        Row("spam_missed", facts["spam_missed"], "share", None, "max", f"of {len(feed.spam):,}"),
        Row(
            "files_with_deleted_text", leaks, "files", 0, "max", f"{feed.planted} planted posts, all deleted"
        ),
    ]


async def _facts(feed: Feed, store: SqlPostStore) -> dict[str, float]:
    kept = await store.since(0)
    by_id = {post.post_id: post for post in kept}
    originals = [
        post
        for post in kept
        if post.text and post.post_id not in feed.copies and post.post_id not in feed.spam
    ]
    copies = [by_id[one] for one in feed.copies if one in by_id and by_id[one].text]
    spam = [by_id[one] for one in feed.spam if one in by_id and by_id[one].text]
    return {
        "lost": len(feed.unique - by_id.keys()),
        "twice": len(kept) - len(by_id),
        "undeleted": sum(bool(by_id[one].text) for one in feed.deleted if one in by_id),
        "copies_missed": sum(not post.is_duplicate for post in copies) / max(1, len(copies)),
        "false_copies": sum(post.is_duplicate for post in originals) / max(1, len(originals)),
        "spam_missed": sum(post.spam_score < 0.5 for post in spam) / max(1, len(spam)),
    }


async def _leaks_after_deletion(engine: NewsEngine, store: SqlPostStore, folder: Path) -> int:
    """Delete whatever still carries the planted text; return how many files still have it."""
    for post in await store.since(0):
        if SECRET in post.text:
            await engine.delete(post.post_id)

    def count() -> int:
        return sum(SECRET.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())

    return await asyncio.to_thread(count)


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
