"""Posts in a database: SQLite on one machine, PostgreSQL by its URL.

A deletion is a deletion: SQLite overwrites what it frees (`secure_delete`) and its write-ahead log is emptied
before the call returns, so no file keeps the text.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, TypeVar

import sqlalchemy as sql

from servers.news.domain.post import LinkKind, Post, PostKind, PostLink, PostState, Reading

_T = TypeVar("_T")
_metadata = sql.MetaData()
_posts = sql.Table(
    "posts",
    _metadata,
    sql.Column("post_id", sql.String, primary_key=True),
    sql.Column("sequence", sql.BigInteger, nullable=False, unique=True),
    sql.Column("event_time_nanos", sql.BigInteger, nullable=False, index=True),
    sql.Column("create_time_nanos", sql.BigInteger, nullable=False, index=True),
    sql.Column("entities", sql.String, nullable=False),
    sql.Column("state", sql.Integer, nullable=False),
    sql.Column("text", sql.String, nullable=False),
    sql.Column("facts", sql.String, nullable=False),
)
_unforgotten = sql.Table(
    "unforgotten", _metadata, sql.Column("post_id", sql.String, primary_key=True, nullable=False)
)
"""Posts that the reader has to forget and has not confirmed."""
_marks = sql.Table(
    "marks",
    _metadata,
    sql.Column("name", sql.String, primary_key=True, nullable=False),
    sql.Column("value", sql.BigInteger, nullable=False),
)
"""The sequence of the newest change outlives its post."""
_SEQUENCE = "sequence"
_IN_ONE_STATEMENT = 500


class SqlPostStore:
    """`PostStore` over SQLAlchemy Core. All statements run one after another on a thread of its own.

    Args:
        url: SQLAlchemy URL, such as `sqlite:////data/news.db`.
    """

    def __init__(self, url: str) -> None:
        self._engine = sql.create_engine(url)
        self._is_sqlite = self._engine.dialect.name == "sqlite"
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="news-store")
        self._sequence = 0
        if self._is_sqlite:
            sql.event.listen(self._engine, "connect", _prepare_sqlite)

    async def open(self) -> None:
        """Make the table where it is missing, and take up the sequence."""
        await self._run(self._open)

    async def close(self) -> None:
        """Close the connections."""
        await self._run(self._engine.dispose)
        self._thread.shutdown()

    @property
    def last_sequence(self) -> int:
        return self._sequence

    async def put(self, posts: Sequence[Post], over: Sequence[str] = ()) -> list[int]:
        return await self._run(lambda: self._put(posts, over))

    async def unforgotten(self, size: int) -> list[str]:
        def select() -> list[str]:
            with self._engine.connect() as connection:
                return list(connection.scalars(sql.select(_unforgotten.c.post_id).limit(size)))

        return await self._run(select)

    async def confirm_forgotten(self, post_ids: Sequence[str]) -> None:
        await self._run(lambda: self._confirm(post_ids))

    async def known(self, post_ids: Sequence[str]) -> set[str]:
        return await self._run(lambda: self._known(post_ids))

    async def get(self, post_id: str) -> Post | None:
        found = await self._select(sql.select(_posts).where(_posts.c.post_id == post_id))
        return found[0][1] if found else None

    async def since(self, event_time_nanos: int) -> list[Post]:
        statement = sql.select(_posts).where(_posts.c.event_time_nanos >= event_time_nanos)
        return [post for _, post in await self._select(statement.order_by(_posts.c.event_time_nanos))]

    async def page(self, entity: str, before: int, size: int) -> list[tuple[int, Post]]:
        statement = sql.select(_posts).order_by(_posts.c.sequence.desc()).limit(size)
        if before:
            statement = statement.where(_posts.c.sequence < before)
        if entity:
            statement = statement.where(_posts.c.entities.contains(f" {entity} ", autoescape=True))
        return await self._select(statement)

    async def expire(self, before_nanos: int) -> int:
        return await self._run(lambda: self._expire(before_nanos))

    # -- On the thread ----------------------------------------------------------------------------

    def _open(self) -> None:
        _metadata.create_all(self._engine)
        with self._engine.connect() as connection:
            marked = connection.scalar(sql.select(_marks.c.value).where(_marks.c.name == _SEQUENCE))
            newest = connection.scalar(sql.select(sql.func.max(_posts.c.sequence)))
        self._sequence = max(marked or 0, newest or 0)
        if marked is None:
            with self._engine.begin() as connection:
                connection.execute(_marks.insert().values(name=_SEQUENCE, value=self._sequence))

    def _put(self, posts: Sequence[Post], over: Sequence[str]) -> list[int]:
        rows = []
        for post in posts:
            self._sequence += 1
            rows.append(_row(self._sequence, post))
        with self._engine.begin() as connection:
            for part in _parts(rows):
                connection.execute(
                    _posts.delete().where(_posts.c.post_id.in_([row["post_id"] for row in part]))
                )
                # Of several changes of one post in a group the last one stands.
                connection.execute(_posts.insert(), list({row["post_id"]: row for row in part}.values()))
            for ids in _parts(list(dict.fromkeys(over))):
                connection.execute(_unforgotten.delete().where(_unforgotten.c.post_id.in_(ids)))
                connection.execute(_unforgotten.insert(), [{"post_id": post_id} for post_id in ids])
            connection.execute(_marks.update().where(_marks.c.name == _SEQUENCE).values(value=self._sequence))
        if any(post.state is not PostState.LIVE for post in posts):
            self._leave_no_trace()
        return [row["sequence"] for row in rows]

    def _known(self, post_ids: Sequence[str]) -> set[str]:
        found: set[str] = set()
        with self._engine.connect() as connection:
            for part in _parts(post_ids):
                found.update(
                    connection.scalars(sql.select(_posts.c.post_id).where(_posts.c.post_id.in_(part)))
                )
        return found

    def _confirm(self, post_ids: Sequence[str]) -> None:
        with self._engine.begin() as connection:
            for part in _parts(post_ids):
                connection.execute(_unforgotten.delete().where(_unforgotten.c.post_id.in_(part)))

    def _expire(self, before_nanos: int) -> int:
        with self._engine.begin() as connection:
            count = connection.execute(
                _posts.delete().where(_posts.c.create_time_nanos < before_nanos)
            ).rowcount
        if count:
            self._leave_no_trace()
        return count

    def _leave_no_trace(self) -> None:
        if self._is_sqlite:
            with self._engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    async def _select(self, statement: sql.Select[Any]) -> list[tuple[int, Post]]:
        def select() -> list[tuple[int, Post]]:
            with self._engine.connect() as connection:
                return [(row.sequence, _post(row)) for row in connection.execute(statement)]

        return await self._run(select)

    async def _run(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _parts(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Yield as many at a time as one statement may name."""
    for start in range(0, len(values), _IN_ONE_STATEMENT):
        yield values[start : start + _IN_ONE_STATEMENT]


def _prepare_sqlite(connection: Any, record: object) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "secure_delete=ON", "temp_store=MEMORY"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _row(sequence: int, post: Post) -> dict[str, Any]:
    facts = asdict(post)
    for name in ("post_id", "event_time_nanos", "create_time_nanos", "state", "text"):
        facts.pop(name)
    return {
        "post_id": post.post_id,
        "sequence": sequence,
        "event_time_nanos": post.event_time_nanos,
        "create_time_nanos": post.create_time_nanos,
        "entities": "".join(f" {link.entity} " for link in post.links),
        "state": int(post.state),
        "text": post.text,
        "facts": json.dumps(facts),
    }


def _post(row: Any) -> Post:
    facts = json.loads(row.facts)
    links = tuple(
        PostLink(
            link["entity"],
            LinkKind(link["kind"]),
            link["confidence"],
            None if link["reading"] is None else Reading(*link["reading"]),
        )
        for link in facts.pop("links")
    )
    return Post(
        post_id=row.post_id,
        event_time_nanos=row.event_time_nanos,
        create_time_nanos=row.create_time_nanos,
        state=PostState(row.state),
        text=row.text,
        links=links,
        kind=PostKind(facts.pop("kind")),
        **facts,
    )
