"""One suite for the store in memory and the real one; and that nothing is left of what was deleted."""

import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from servers.news.adapters.memory import MemoryPostStore
from servers.news.adapters.store import FEWEST_DEAD, SqlPostStore
from servers.news.domain.post import LinkKind, Post, PostKind, PostLink, PostState, Reading

SECRET = "a-planted-string-that-occurs-nowhere-else-4711"


def kept(number: int, text: str = "text", **fields: Any) -> Post:
    link = PostLink("ACME", LinkKind.CASHTAG, 1.0, Reading(0.5, 0.9, "llm/1", True, True, False))
    given: dict[str, Any] = {"links": (link,)} | fields
    return Post(
        f"board:{number}", "board", PostKind.SOCIAL, "digest", 5, 1_000 + number, number, text, **given
    )


def marked(number: int, mark: str, length: int) -> Post:
    """A post whose text and author bear a mark that occurs once."""
    return replace(kept(number, f"{mark} {'x' * length}"), author_digest=mark)


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: Any, tmp_path: Path) -> AsyncIterator[Any]:
    if request.param == "memory":
        yield MemoryPostStore()
        return
    real = SqlPostStore(f"sqlite:///{tmp_path / 'news.db'}")
    await real.open()
    yield real
    await real.close()


async def test_a_post_comes_back_as_it_was(store: Any) -> None:
    post = kept(1, "text with ünicode 🚀")
    assert await store.put([post]) == [1]
    assert await store.get("board:1") == post
    assert await store.get("board:2") is None
    assert await store.known(["board:1", "board:2"]) == {"board:1"}


async def test_a_change_gets_a_new_sequence_and_the_last_one_of_a_group_stands(store: Any) -> None:
    await store.put([kept(1), kept(2)])
    assert await store.put([kept(1, "new"), kept(1, "newer")]) == [3, 4]
    assert (await store.get("board:1")).text == "newer"
    assert [sequence for sequence, _ in await store.page("", 0, 10)] == [4, 2]
    assert store.last_sequence == 4


async def test_pages_go_from_the_newest_change_by_entity(store: Any) -> None:
    await store.put([kept(n) for n in range(5)] + [kept(9, links=())])
    assert [sequence for sequence, _ in await store.page("ACME", 0, 2)] == [5, 4]
    assert [sequence for sequence, _ in await store.page("ACME", 4, 9)] == [3, 2, 1]
    assert await store.page("ACM", 0, 9) == []
    assert [post.post_id for post in await store.since(1_003)] == ["board:3", "board:4", "board:9"]


async def test_retention_deletes_by_the_time_of_arrival(store: Any) -> None:
    await store.put([kept(n) for n in range(1, 5)])
    assert await store.expire(3) == 2
    assert [sequence for sequence, _ in await store.page("", 0, 9)] == [4, 3]
    assert await store.expire(3) == 0


async def test_the_reader_has_to_forget_until_it_confirms(store: Any) -> None:
    await store.put([kept(1), kept(2), kept(3)])
    assert await store.unforgotten(9) == []
    await store.put([kept(1).deleted(), kept(2).deleted()], ["board:1", "board:2", "board:2"])
    await store.put([kept(1).deleted()], ["board:1"])
    assert sorted(await store.unforgotten(9)) == ["board:1", "board:2"]
    assert len(await store.unforgotten(1)) == 1
    await store.confirm_forgotten(["board:1", "board:9"])
    assert await store.unforgotten(9) == ["board:2"]


async def test_what_the_reader_has_to_forget_and_the_sequence_outlast_the_posts_and_a_restart(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'news.db'}"
    store = SqlPostStore(url)
    await store.open()
    await store.put([kept(1), kept(2)])
    await store.put([kept(2).deleted()], ["board:2"])
    assert await store.expire(10**9) == 2
    assert await store.page("", 0, 9) == []
    await store.close()
    again = SqlPostStore(url)
    await again.open()
    assert again.last_sequence == 3
    assert await again.unforgotten(9) == ["board:2"]
    assert await again.put([kept(4)]) == [4]
    await again.close()


async def test_a_database_from_before_sequences_were_kept_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "news.db"
    store = SqlPostStore(f"sqlite:///{path}")
    await store.open()
    await store.put([kept(1), kept(2)])
    await store.close()
    with closing(sqlite3.connect(path)) as old:
        old.execute("DROP TABLE marks")
    again = SqlPostStore(f"sqlite:///{path}")
    await again.open()
    assert again.last_sequence == 2
    await again.close()


async def test_nothing_of_a_deleted_text_is_left_in_any_file(tmp_path: Path) -> None:
    store = SqlPostStore(f"sqlite:///{tmp_path / 'news.db'}")
    await store.open()
    secret = kept(7, f"$ACME {SECRET} " + "x" * 6_000)
    await store.put([kept(n, "y" * 3_000) for n in range(5)] + [secret])
    assert any(SECRET.encode() in path.read_bytes() for path in tmp_path.iterdir())
    await store.put([secret.deleted()])
    assert not [path.name for path in tmp_path.iterdir() if SECRET.encode() in path.read_bytes()]
    gone = await store.get("board:7")
    assert gone is not None
    assert (gone.state, gone.text, gone.links) == (PostState.DELETED, "", ())
    await store.close()
    again = SqlPostStore(f"sqlite:///{tmp_path / 'news.db'}")
    await again.open()
    assert again.last_sequence == 7
    await again.close()


async def test_of_thousands_of_posts_that_come_and_go_none_that_went_is_left_in_any_file(
    tmp_path: Path,
) -> None:
    chance = random.Random(7)
    store = SqlPostStore(f"sqlite:///{tmp_path / 'news.db'}")
    await store.open()
    live: dict[int, Post] = {}
    gone: set[str] = set()
    for start in range(0, 1_600, 40):
        changed = []
        for number in range(start, start + 40):
            live[number] = marked(number, f"<{chance.getrandbits(64):016x}>", chance.randrange(400))
            changed.append(live[number])
        for number in chance.sample(list(live), 25):
            before = live.pop(number)
            gone.add(before.author_digest)
            changed.append(before.deleted())
            if chance.random() < 0.3:
                edited = marked(number, f"<{chance.getrandbits(64):016x}>", chance.randrange(400))
                live[number] = changed[-1] = replace(edited, state=PostState.EDITED)
        await store.put(changed)
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert [mark for mark in gone if mark.encode() in content] == []
    marks = {post.author_digest for post in live.values()}
    assert all(mark.encode() in content for mark in marks)
    assert {post.text.partition(" ")[0] for post in await store.since(0) if post.text} == marks
    await store.close()


async def test_retention_makes_the_file_small_again_and_leaves_nothing(tmp_path: Path) -> None:
    store = SqlPostStore(f"sqlite:///{tmp_path / 'news.db'}")
    await store.open()
    count = 2 * FEWEST_DEAD
    await store.put([marked(number, f"<{number:016x}>", 300) for number in range(count)])
    before = (tmp_path / "news.db").stat().st_size + (tmp_path / "news.db-wal").stat().st_size
    assert await store.expire(count - 10) == count - 10
    content = (tmp_path / "news.db").read_bytes()
    assert len(content) < before / 10
    assert [number for number in range(count) if f"<{number:016x}>".encode() in content] == list(
        range(count - 10, count)
    )
    assert len(await store.since(0)) == 10
    await store.put([kept(1, "one more")])
    assert len(await store.since(0)) == 11
    await store.close()


async def test_a_log_that_somebody_reads_is_emptied_with_the_next_change(tmp_path: Path) -> None:
    store = SqlPostStore(f"sqlite:///{tmp_path / 'news.db'}")
    await store.open()
    await store.put([kept(1, SECRET)])
    with closing(sqlite3.connect(tmp_path / "news.db")) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM post_records").fetchall()
        await store.put([kept(1, SECRET).deleted()])
        assert SECRET.encode() in (tmp_path / "news.db-wal").read_bytes()
    await store.put([kept(2)])
    assert not [path.name for path in tmp_path.iterdir() if SECRET.encode() in path.read_bytes()]
    await store.close()
