"""News: 100,000 posts with copies, spam, edits and deletions through the pipeline into a real database.

Everything is real but the reader, which answers at once: what an LLM takes is measured by `llm`, and what is
above its budget is shed by intelligence. Memory is what this process grew by at its peak.
"""

import asyncio
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import _pumps
from benchmarks._month import simulated_month
from benchmarks._post_feed import SECRET, SYMBOLS, Feed, what_is_kept
from benchmarks.report import Options, Row
from servers.model.clock import WallClock
from servers.news.adapters.store import SqlPostStore
from servers.news.domain.desk import Desk
from servers.news.domain.linking import Linker
from servers.news.domain.post import Reading
from servers.news.engine import NewsEngine
from servers.news.ports import Question
from servers.news.publishing import Publisher

POSTS = 100_000
GROUP = 200
RELEVANT_A_DAY = 10_000
MONTHS, VOICES, TWO_MINUTES_SECONDS = (1, 2, 3), (12, 20), 120.0


class InstantReader:
    """Answers at once, and counts."""

    def __init__(self) -> None:
        self.items = 0

    async def read(self, questions: Sequence[Question]) -> list[Reading]:
        self.items += len(questions)
        return [Reading(0.5, 0.9, "instant", True, True, False)] * len(questions)

    async def forget(self, post_ids: Sequence[str]) -> None:
        return


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


async def run(options: Options) -> list[Row]:
    """Replay the feed; return throughput, memory and what the pipeline got wrong."""
    feed = Feed(POSTS)
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
            while await engine.forget_some():
                pass
            if start % 10_000 == 0:
                options.progress(f"{start:,} of {POSTS:,} posts")
        seconds = time.perf_counter() - began
        peak_mib = _peak_mib() - before_mib
        kept = await what_is_kept(feed, store)
        leaks = await _leaks_after_deletion(engine, store, Path(folder))
        await store.close()
    relevant_a_second = reader.items / seconds
    options.progress("the posts are in; now the simulated month and the announcements of pumps")
    return [
        *_month_rows(),
        *_pump_rows(),
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
        Row("unique_posts_lost", kept.lost, "posts", 0, "max", f"of {len(feed.unique):,}"),
        Row("posts_stored_twice", kept.twice, "posts", 0, "max", "5 % were delivered again"),
        Row("deleted_posts_with_text", kept.undeleted, "posts", 0, "max", f"of {len(feed.deleted):,}"),
        Row("copies_missed", kept.copies_missed, "share", None, "max", f"of {len(feed.copies):,}"),
        Row("originals_taken_for_copies", kept.false_copies, "share", None, "max", "random words"),
        Row("spam_missed", kept.spam_missed, "share", None, "max", f"of {len(feed.spam):,}"),
        Row(
            "files_with_deleted_text", leaks, "files", 0, "max", f"{feed.planted} planted posts, all deleted"
        ),
    ]


def _month_rows() -> list[Row]:
    """Measure what is alerted in simulated months, and how soon a planted burst is."""
    rows = []
    for voices in VOICES:
        months = [simulated_month(seed, voices) for seed in MONTHS]
        seconds = [one for month in months for one in month.seconds]
        soon = sum(one is not None and one <= TWO_MINUTES_SECONDS for one in seconds) / len(seconds)
        alerts = sum(month.alerts for month in months)
        wrong = sum(month.false_alerts for month in months) / max(1, alerts)
        pumps = sum(month.called_pumps for month in months) / max(1, alerts)
        note = f"{len(seconds)} bursts of {voices} authors, {len(months)} months"
        rows += [
            Row(f"bursts_of_{voices}_alerted", soon, "share", None, "min", f"in two minutes; {note}"),
            Row(f"false_alert_share_{voices}", wrong, "share", 0.15, "max", f"of {alerts} alerts; {note}"),
            Row(f"bursts_called_pumps_{voices}", pumps, "share", None, "max", "there is no pump in them"),
        ]
    return rows


def _pump_rows() -> list[Row]:
    """Measure PUMP_SUSPECTED on the groups and the posts that no rule was made with."""
    if not _pumps.is_there():
        return [Row("pump_recall", None, "share", None, "min", "../shared/data is not there")]
    found = _pumps.measure("held_out")
    ordinary = f"of {found.ordinary:,} real posts, held out"
    return [
        Row(
            "pump_recall", found.found / found.announced, "share", None, "min", f"{found.announced} held out"
        ),
        Row("pump_false_share", found.alerts / found.ordinary, "share", None, "max", ordinary),
        Row("pump_false_share_by_words", found.calls / found.ordinary, "share", None, "max", ordinary),
    ]


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
