"""Files of posts: CSV (`id,time_ms,source,kind,author,followers,text[,action]`) or JSON lines, also .gz.

JSON lines carry the same names, or those of the StockNet collection (`id`, `created_at`, `text`, `user`,
`followers`). A malformed row is an error that names it, and nothing of the file is delivered.
"""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from servers.model.errors import InvalidInput
from servers.model.nanos import INT64_MAX, NANO
from servers.news.domain.post import Action, PostKind, SourcePost
from servers.news.ports import Take

GROUP = 200
_KINDS = {"": PostKind.SOCIAL, "social": PostKind.SOCIAL, "news": PostKind.NEWS}
_ACTIONS = {"": Action.WRITTEN, "written": Action.WRITTEN, "edited": Action.EDITED, "deleted": Action.DELETED}


class FilePosts:
    """`PostSource` that replays a file.

    Args:
        path: the file.
        source: name of the source of rows that name none.
        speed: seconds of the file's time in a second of the machine's; 0 goes as fast as posts are taken.
    """

    name = "file"

    def __init__(self, path: Path, source: str = "file", speed: float = 0.0) -> None:
        self._path = path
        self._source = source
        self._speed = speed

    async def run(self, take: Take) -> None:
        posts = load_posts(self._path, self._source)
        last = posts[0].event_time_nanos if posts else 0
        for start in range(0, len(posts), GROUP):
            group = posts[start : start + GROUP]
            if self._speed > 0:
                for post in group:
                    await asyncio.sleep((post.event_time_nanos - last) / NANO / self._speed)
                    last = post.event_time_nanos
                    await take([post])
            else:
                await take(group)


def load_posts(path: Path, source: str = "file") -> list[SourcePost]:
    """Return the posts of a file in order of time. Raises InvalidInput FILE_MALFORMED with row and column."""
    try:
        with _opened(path) as lines:
            rows = csv.DictReader(lines) if ".csv" in path.suffixes else _json_rows(lines, path)
            first = 2 if ".csv" in path.suffixes else 1
            posts = [_post(row, number, path, source) for number, row in enumerate(rows, first)]
    except (OSError, UnicodeDecodeError, EOFError, zlib.error, csv.Error) as error:
        raise InvalidInput("FILE_MALFORMED", f"{path}: {error}") from error
    return sorted(posts, key=lambda post: (post.event_time_nanos, post.action))


def _opened(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _json_rows(lines: IO[str], path: Path) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InvalidInput(
                "FILE_MALFORMED", f"{path}, row {number}: not JSON: {error}", row=number
            ) from error
        if not isinstance(row, dict):
            raise InvalidInput("FILE_MALFORMED", f"{path}, row {number}: not an object", row=number)
        yield row


def _post(row: Mapping[str, Any], number: int, path: Path, source: str) -> SourcePost:
    def refuse(column: str, why: str) -> InvalidInput:
        return InvalidInput(
            "FILE_MALFORMED", f"{path}, row {number}, {column}: {why}", row=number, column=column
        )

    action = _ACTIONS.get(str(row.get("action") or "").lower())
    if action is None:
        raise refuse("action", f"{row['action']!r} is none of written, edited, deleted")
    kind = _KINDS.get(str(row.get("kind") or "").lower())
    if kind is None:
        raise refuse("kind", f"{row['kind']!r} is neither news nor social")
    text = str(row.get("text") or "")
    if not text.strip() and action is not Action.DELETED:
        raise refuse("text", "is empty")
    followers = row.get("followers") or 0
    try:
        follower_count = int(followers)
    except (TypeError, ValueError):
        raise refuse("followers", f"{followers!r} is not a whole number") from None
    if not 0 <= follower_count <= INT64_MAX:
        raise refuse("followers", f"{follower_count} is out of range")
    # In StockNet's rows `source` is the program that wrote the post.
    named = "" if row.get("created_at") else str(row.get("source") or "")
    return SourcePost(
        str(row.get("id") or f"{path.name}-{number}"),
        named or source,
        kind,
        str(row.get("author") or row.get("user") or ""),
        _time_nanos(row, refuse),
        text,
        follower_count,
        action,
    )


def _time_nanos(row: Mapping[str, Any], refuse: Any) -> int:
    if row.get("time_ms") not in (None, ""):
        try:
            time_nanos = int(row["time_ms"]) * 1_000_000
        except (TypeError, ValueError):
            raise refuse("time_ms", f"{row['time_ms']!r} is not a whole number of milliseconds") from None
        if not 0 <= time_nanos <= INT64_MAX:
            raise refuse("time_ms", f"{row['time_ms']} is out of range")
        return time_nanos
    written = row.get("created_at")
    if not written:
        raise refuse("time_ms", "is missing")
    for form in ("%a %b %d %H:%M:%S %z %Y", "%Y-%m-%dT%H:%M:%S%z"):
        try:
            return round(datetime.strptime(str(written), form).astimezone(UTC).timestamp()) * NANO
        except ValueError:
            continue
    raise refuse("created_at", f"{written!r} is not a time")
