"""Posts in a database: SQLite on one machine, PostgreSQL by its URL.

A deletion is a deletion. What a person wrote, and the digest of who wrote it, lies apart from all else, in
rows that are only ever added at the end, and are overwritten with zeros in their place when they have to go.
(SQLite's `secure_delete` alone does not do: where it splits or joins the pages of a tree, copies of rows that
moved stay behind in the free space of a page.) The write-ahead log is emptied before the call returns, so no
file keeps a text.
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
_records = sql.Table(
    "post_records",
    _metadata,
    sql.Column("post_id", sql.String, primary_key=True),
    sql.Column("sequence", sql.BigInteger, nullable=False, unique=True),
    sql.Column("event_time_nanos", sql.BigInteger, nullable=False, index=True),
    sql.Column("create_time_nanos", sql.BigInteger, nullable=False, index=True),
    sql.Column("entities", sql.String, nullable=False),
    sql.Column("state", sql.Integer, nullable=False),
    sql.Column("facts", sql.String, nullable=False),
    sql.Column("content_id", sql.BigInteger, nullable=False),
)
_contents = sql.Table(
    "post_contents",
    _metadata,
    sql.Column("content_id", sql.BigInteger().with_variant(sql.Integer, "sqlite"), primary_key=True),
    sql.Column("content", sql.LargeBinary, nullable=False),
)
"""What was written and who wrote it, as JSON. Rows are added with rising ids and never moved."""
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
_EVERYTHING = sql.select(_records, _contents.c.content).join(
    _contents, _contents.c.content_id == _records.c.content_id
)
_SEQUENCE = "sequence"
_IN_ONE_STATEMENT = 500
FEWEST_DEAD = 1_000
"""Contents of zeros that are not worth writing the file anew."""


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
        self._last_content_id = 0
        self._has_traces = False
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
        found = await self._select(_EVERYTHING.where(_records.c.post_id == post_id))
        return found[0][1] if found else None

    async def since(self, event_time_nanos: int) -> list[Post]:
        statement = _EVERYTHING.where(_records.c.event_time_nanos >= event_time_nanos)
        return [post for _, post in await self._select(statement.order_by(_records.c.event_time_nanos))]

    async def page(self, entity: str, before: int, size: int) -> list[tuple[int, Post]]:
        statement = _EVERYTHING.order_by(_records.c.sequence.desc()).limit(size)
        if before:
            statement = statement.where(_records.c.sequence < before)
        if entity:
            statement = statement.where(_records.c.entities.contains(f" {entity} ", autoescape=True))
        return await self._select(statement)

    async def expire(self, before_nanos: int) -> int:
        return await self._run(lambda: self._expire(before_nanos))

    # -- On the thread ----------------------------------------------------------------------------

    def _open(self) -> None:
        _metadata.create_all(self._engine)
        with self._engine.connect() as connection:
            marked = connection.scalar(sql.select(_marks.c.value).where(_marks.c.name == _SEQUENCE))
            newest = connection.scalar(sql.select(sql.func.max(_records.c.sequence)))
            self._last_content_id = connection.scalar(sql.select(sql.func.max(_contents.c.content_id))) or 0
        self._sequence = max(marked or 0, newest or 0)
        if marked is None:
            with self._engine.begin() as connection:
                connection.execute(_marks.insert().values(name=_SEQUENCE, value=self._sequence))

    def _put(self, posts: Sequence[Post], over: Sequence[str]) -> list[int]:
        first = self._sequence + 1
        self._sequence += len(posts)
        # Of several changes of one post in a group the last one stands.
        last = {post.post_id: (first + place, post) for place, post in enumerate(posts)}
        with self._engine.begin() as connection:
            for part in _parts(list(last.values())):
                self._put_part(connection, part)
            for ids in _parts(list(dict.fromkeys(over))):
                connection.execute(_unforgotten.delete().where(_unforgotten.c.post_id.in_(ids)))
                connection.execute(_unforgotten.insert(), [{"post_id": post_id} for post_id in ids])
            connection.execute(_marks.update().where(_marks.c.name == _SEQUENCE).values(value=self._sequence))
        if self._has_traces or any(post.state is not PostState.LIVE for post in posts):
            self._leave_no_trace()
        return list(range(first, self._sequence + 1))

    def _put_part(self, connection: sql.Connection, part: Sequence[tuple[int, Post]]) -> None:
        are_these = _records.c.post_id.in_([post.post_id for _, post in part])
        before = {row.post_id: row for row in connection.execute(_EVERYTHING.where(are_these))}
        rows: list[dict[str, Any]] = []
        added: list[dict[str, Any]] = []
        over: list[tuple[int, int]] = []
        for sequence, post in part:
            content, kept = _content(post), before.get(post.post_id)
            if kept is not None and kept.content == content:
                rows.append(_row(sequence, post, kept.content_id))
                continue
            if kept is not None:
                over.append((kept.content_id, len(kept.content)))
            self._last_content_id += 1
            added.append({"content_id": self._last_content_id, "content": content})
            rows.append(_row(sequence, post, self._last_content_id))
        _overwrite(connection, over)
        if added:
            connection.execute(_contents.insert(), added)
        connection.execute(_records.delete().where(are_these))
        connection.execute(_records.insert(), rows)

    def _known(self, post_ids: Sequence[str]) -> set[str]:
        found: set[str] = set()
        with self._engine.connect() as connection:
            for part in _parts(post_ids):
                found.update(
                    connection.scalars(sql.select(_records.c.post_id).where(_records.c.post_id.in_(part)))
                )
        return found

    def _confirm(self, post_ids: Sequence[str]) -> None:
        with self._engine.begin() as connection:
            for part in _parts(post_ids):
                connection.execute(_unforgotten.delete().where(_unforgotten.c.post_id.in_(part)))

    def _expire(self, before_nanos: int) -> int:
        are_old = _records.c.create_time_nanos < before_nanos
        with self._engine.begin() as connection:
            old = [
                (row.content_id, len(row.content)) for row in connection.execute(_EVERYTHING.where(are_old))
            ]
            _overwrite(connection, old)
            connection.execute(_records.delete().where(are_old))
        if old:
            self._tidy()
        if old or self._has_traces:
            self._leave_no_trace()
        return len(old)

    def _tidy(self) -> None:
        """Drop contents that are but zeros once they are the most, and write the file anew: no row moves."""
        with self._engine.begin() as connection:
            live = connection.scalar(sql.select(sql.func.count()).select_from(_records)) or 0
            dead = (connection.scalar(sql.select(sql.func.count()).select_from(_contents)) or 0) - live
            if dead < max(live, FEWEST_DEAD):
                return
            ids = sql.select(_records.c.content_id)
            connection.execute(_contents.delete().where(_contents.c.content_id.not_in(ids)))
        if self._is_sqlite:
            with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("VACUUM")

    def _leave_no_trace(self) -> None:
        """Empty the write-ahead log; when somebody else reads the file just now, with the next change."""
        if self._is_sqlite:
            with self._engine.connect() as connection:
                row = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
            self._has_traces = bool(row[0])

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
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "secure_delete=ON",
        "temp_store=MEMORY",
        "busy_timeout=1000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _overwrite(connection: sql.Connection, contents: Sequence[tuple[int, int]]) -> None:
    """Write zeros over contents, given their ids and lengths: a row of the same length stays in its place."""
    if contents:
        connection.execute(
            _contents.update().where(_contents.c.content_id == sql.bindparam("id")),
            [{"id": content_id, "content": bytes(length)} for content_id, length in contents],
        )


def _content(post: Post) -> bytes:
    return json.dumps({"text": post.text, "author_digest": post.author_digest}).encode()


def _row(sequence: int, post: Post, content_id: int) -> dict[str, Any]:
    facts = asdict(post)
    for name in ("post_id", "event_time_nanos", "create_time_nanos", "state", "text", "author_digest"):
        facts.pop(name)
    return {
        "post_id": post.post_id,
        "sequence": sequence,
        "event_time_nanos": post.event_time_nanos,
        "create_time_nanos": post.create_time_nanos,
        "entities": "".join(f" {link.entity} " for link in post.links),
        "state": int(post.state),
        "facts": json.dumps(facts),
        "content_id": content_id,
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
        links=links,
        kind=PostKind(facts.pop("kind")),
        **json.loads(row.content),
        **facts,
    )
