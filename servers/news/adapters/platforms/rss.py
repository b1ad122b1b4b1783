"""News feeds, RSS and Atom, through feedparser; asked for with their own validators: most answers are empty.

An article whose text changes under the same id is an edit. Feeds have no word for a deletion: an article that
was withdrawn is taken back by `DeletePost`, or goes when its retention is over.
"""

from __future__ import annotations

import asyncio
import calendar
import html
import re
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
import feedparser

from servers.model.nanos import NANO
from servers.news.adapters.platforms.following import RefusedError
from servers.news.adapters.platforms.session import TOO_MANY, PacedSession, Pause, retry_after
from servers.news.domain.post import PostKind, SourcePost, joined

LONGEST_FEED = 8 * 2**20
OK, NOT_MODIFIED = 200, 304
_TAG = re.compile(r"<[^>]+>")
_SURROGATES = re.compile(
    rb"(?:&#(?:[xX]0*[dD][89a-fA-F][0-9a-fA-F]{2}"
    rb"|0*5(?:5(?:29[6-9]|[3-9]\d\d)|6\d{3}|7(?:[0-2]\d\d|3[0-3]\d|34[0-3])));)+"
)
"""References to halves of characters, such as an emoji written as two; feedparser fails on them."""
_PARSER_FAILURES = (AttributeError, LookupError, RecursionError, TypeError, ValueError)


class RssPlatform:
    """`Platform` of one feed.

    Args:
        name: of the feed: source of its posts, and their author where an article names none.
        session: paced.
    """

    review_batch = 0

    def __init__(self, name: str, url: str, session: PacedSession, pause: Pause) -> None:
        self.name = name
        self._url = url
        self._session = session
        self._pause = pause
        self._validators: dict[str, str] = {}

    async def poll(self, since_nanos: int) -> Sequence[SourcePost]:
        """Return every article that the feed lists: what is old and known is not handed on."""
        now = self._pause.now_nanos()
        try:
            async with self._session.request("GET", self._url, headers=self._validators) as answer:
                if answer.status == NOT_MODIFIED:
                    return []
                if answer.status != OK:
                    until = retry_after(answer.headers, now)
                    raise RefusedError(
                        f"HTTP {answer.status}",
                        None if until is None else max(0, until - now) / NANO,
                        is_limit=answer.status in TOO_MANY,
                    )
                body = await answer.content.read(LONGEST_FEED)
                while not answer.content.at_eof() and len(body) < LONGEST_FEED:
                    body += await answer.content.read(LONGEST_FEED - len(body))
                validators = _validators(answer.headers)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise RefusedError(f"connection: {type(error).__name__}") from error
        try:
            feed = await asyncio.to_thread(feedparser.parse, _SURROGATES.sub(_joined, body))
        except _PARSER_FAILURES as error:
            raise RefusedError(f"not a feed: {type(error).__name__}") from error
        if feed.bozo and not feed.entries:
            raise RefusedError(f"not a feed: {type(feed.bozo_exception).__name__}")
        self._validators = validators  # only now: what could not be read is asked for again
        return [post for entry in feed.entries if (post := self._post(entry, now)) is not None]

    async def review(self, platform_ids: Sequence[str]) -> tuple[Sequence[SourcePost], set[str]]:
        return [], set()

    async def close(self) -> None:
        await self._session.close()

    def _post(self, entry: Mapping[str, Any], now_nanos: int) -> SourcePost | None:
        platform_id = entry.get("id") or entry.get("link")
        title, summary = _plain(entry.get("title", "")), _plain(entry.get("summary", ""))
        text = title if summary in ("", title) else f"{title}\n{summary}"
        if not platform_id or not text:
            return None
        written = entry.get("published_parsed") or entry.get("updated_parsed")
        time = now_nanos if written is None else min(now_nanos, calendar.timegm(written) * NANO)
        return SourcePost(
            str(platform_id), self.name, PostKind.NEWS, entry.get("author") or self.name, time, text
        )


def _joined(references: re.Match[bytes]) -> bytes:
    numbers = references.group().decode().replace("&#", "").split(";")[:-1]
    halves = "".join(chr(int(one[1:], 16) if one[0] in "xX" else int(one)) for one in numbers)
    return "".join(f"&#{ord(one)};" for one in joined(halves)).encode()


def _validators(headers: Mapping[str, str]) -> dict[str, str]:
    pairs = (("ETag", "If-None-Match"), ("Last-Modified", "If-Modified-Since"))
    return {ask: headers[said] for said, ask in pairs if said in headers}


def _plain(markup: str) -> str:
    return " ".join(html.unescape(_TAG.sub(" ", markup)).split())
