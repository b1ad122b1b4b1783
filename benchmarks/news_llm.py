"""News with the LLM: 100,000 posts at full speed through real servers and a real Triton, most of them shed.

First, without a budget, how many posts one thread of the LLM reads: what a day could bring. Then a file of
posts with copies, spam, edits and deletions as fast as it goes, with a budget of texts a second: the most
relevant are read by the LLM, the rest gets the word list's answer and is told as shed.
"""

import asyncio
import tempfile
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from benchmarks._news_mesh import NewsMesh, news_mesh, replay_settings
from benchmarks._post_feed import SECRET, Feed, Kept, Shares, what_is_kept, write_csv
from benchmarks.report import Options, Row
from servers.local.triton import is_installed
from servers.news.adapters.store import SqlPostStore
from servers.news.domain.post import SourcePost

POSTS = 100_000
BUDGET_TEXTS_PER_SECOND, QUEUE_AGE_SECONDS = 10.0, 5.0
PATIENCE_POSTS = 1_500
"""So many are left when the file has ended, and are read by the LLM in turn."""
RELEVANT = 200
"""Posts of the first part: linked, unique, not spam."""
RELEVANT_A_DAY = 10_000
DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Replay:
    """What came out of a replay. Memory is that of the process and its children at its peak, MiB."""

    posts: int
    taken_seconds: float
    read_seconds: float
    asked: int
    read_by_llm: int
    shed: int
    other_fallbacks: int
    peak_mib: dict[str, float]
    kept: Kept
    files_with_planted_text: list[str]


async def run(options: Options) -> list[Row]:
    """Measure the capacity, then replay the file."""
    if not is_installed():
        return [Row("replayed_posts_per_second", None, "1/s", None, "min", "`make setup` makes Triton")]
    with tempfile.TemporaryDirectory(prefix="tapeline-news-") as folder:
        rate = await capacity(Path(folder) / "capacity", RELEVANT)
        options.progress(f"the LLM reads {rate:.1f} posts a second; now {POSTS:,} at full speed")
        feed = Feed(POSTS)
        replayed = await replay(
            Path(folder) / "replay",
            feed,
            budget_texts_per_second=BUDGET_TEXTS_PER_SECOND,
            max_queue_age_seconds=QUEUE_AGE_SECONDS,
            patience_posts=PATIENCE_POSTS,
        )
    kept, memory = replayed.kept, replayed.peak_mib
    return [
        Row("llm_posts_per_second", rate, "1/s", None, "min", f"{RELEVANT} relevant posts, one thread"),
        Row("llm_posts_per_day", rate * DAY_SECONDS, "1/day", RELEVANT_A_DAY, "min", "through news"),
        Row(
            "replayed_posts_per_second",
            replayed.posts / replayed.taken_seconds,
            "1/s",
            None,
            "min",
            f"{replayed.posts:,} in {replayed.taken_seconds:.0f} s, all read in {replayed.read_seconds:.0f}",
        ),
        Row("read_by_llm", replayed.read_by_llm, "texts", None, "min", f"of {replayed.asked:,} asked"),
        Row("shed_share", replayed.shed / replayed.asked, "share", None, "max", "word list, marked"),
        Row("other_fallbacks", replayed.other_fallbacks, "texts", 0, "max", "failures, time-outs"),
        Row("unique_posts_lost", kept.lost, "posts", 0, "max", f"of {len(feed.unique):,}"),
        Row("posts_stored_twice", kept.twice, "posts", 0, "max", "5 % were delivered again"),
        Row("relevant_posts_unread", kept.unread, "posts", 0, "max", ""),
        Row("deleted_posts_with_text", kept.undeleted, "posts", 0, "max", f"of {len(feed.deleted):,}"),
        Row(
            "files_with_planted_text",
            len(replayed.files_with_planted_text),
            "files",
            0,
            "max",
            f"{feed.planted} planted posts, all deleted; database, journals, traces, logs",
        ),
        Row("peak_memory_news", memory["news"], "MiB", None, "max", ""),
        Row("peak_memory_intelligence", memory["intelligence"], "MiB", None, "max", ""),
        Row("peak_memory_triton", memory["triton"], "MiB", None, "max", "with the model's process"),
    ]


async def capacity(folder: Path, count: int) -> float:
    """Return how many relevant posts a second news has read by one thread of the LLM, without a budget."""
    posts = list(Feed(count, Shares(0.0, 0.0, 0.0, 0.0, 0.0)))
    async with _reading(folder, posts, intelligence={}, news={"patience_posts": str(count)}) as mesh:
        _, seconds, progress = await mesh.until_read(count)
        if progress.counts["read"] != count:
            raise RuntimeError(f"not every post was read by the LLM: {progress.counts}")
    return count / seconds


async def replay(
    folder: Path,
    feed: Feed,
    *,
    budget_texts_per_second: float,
    max_queue_age_seconds: float,
    patience_posts: int,
) -> Replay:
    """Replay a feed at full speed through real processes, then delete the planted text and look for it."""
    posts = list(feed)
    settings = {
        "budget_texts_per_second": f"{budget_texts_per_second:g}",
        "max_queue_age_seconds": f"{max_queue_age_seconds:g}",
    }
    news = {"patience_posts": str(patience_posts)}
    database = f"sqlite:///{folder}/mesh/news/news.db"
    async with _reading(folder, posts, intelligence=settings, news=news) as mesh:
        taken_seconds, read_seconds, _ = await mesh.until_read(len(feed.unique) + feed.edits)
        status = await mesh.status()
        memory = {name: mesh.peak_mib(name) for name in ("news", "intelligence", "triton")}
        kept = await _with_store(database, feed)
        await _delete_planted(mesh, database)
        found = await asyncio.to_thread(_files_with, SECRET, folder / "mesh")
    by_llm = sum(model.answered_texts for model in status.models if model.version)
    return Replay(
        posts=len(posts),
        taken_seconds=taken_seconds,
        read_seconds=read_seconds,
        asked=status.items,
        read_by_llm=by_llm,
        shed=status.shed_items,
        other_fallbacks=status.items - by_llm - status.shed_items - status.cached_items,
        peak_mib=memory,
        kept=kept,
        files_with_planted_text=found,
    )


def _reading(
    folder: Path, posts: list[SourcePost], *, intelligence: dict[str, str], news: dict[str, str]
) -> AbstractAsyncContextManager[NewsMesh]:
    """Run the mesh on posts that lie in a file outside of its own folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(posts, folder / "posts.csv")
    settings = replay_settings(folder / "mesh", folder / "posts.csv")
    settings["news"] |= news
    return news_mesh(folder / "mesh", {**settings, "intelligence": intelligence})


async def _with_store(database: str, feed: Feed) -> Kept:
    store = SqlPostStore(database)
    await store.open()
    try:
        return await what_is_kept(feed, store)
    finally:
        await store.close()


async def _delete_planted(mesh: NewsMesh, database: str) -> None:
    store = SqlPostStore(database)
    await store.open()
    try:
        planted = [post.post_id for post in await store.since(0) if SECRET in post.text]
    finally:
        await store.close()
    for post_id in planted:
        await mesh.delete(post_id)


def _files_with(text: str, folder: Path) -> list[str]:
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and text.encode() in path.read_bytes()
    ]
