"""Reddit through asyncpraw: new submissions and comments of subreddits, and how older ones stand.

Reddit tells nobody of edits and deletions: things of the last day are asked for again, a hundred a request. A
thing whose author or text is gone counts as deleted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import aiohttp
import asyncpraw
import asyncprawcore
from asyncprawcore.rate_limit import RateLimiter
from asyncprawcore.sessions import FiniteRetryStrategy

from servers.model.nanos import NANO
from servers.news.adapters.platforms.following import RefusedError
from servers.news.adapters.platforms.session import Hint, PacedSession, number, retry_after
from servers.news.domain.post import Action, PostKind, SourcePost

GONE = frozenset({"[deleted]", "[removed]"})
MOST_THINGS = 1_000
"""Reddit lists no more of anything."""
LIMIT_WINDOW_SECONDS = 600


def hear(headers: Mapping[str, str], now_nanos: int) -> Hint:
    """Read Reddit's headers: requests left, and the seconds until the reset."""
    reset = number(headers.get("x-ratelimit-reset"))
    remaining = number(headers.get("x-ratelimit-remaining"))
    return remaining, None if reset is None else now_nanos + round(reset * NANO)


class _NoLimiter(RateLimiter):
    """The session waits instead, for every request and on the clock that it is given."""

    async def delay(self) -> None:
        return

    def update(self, *, response_headers: Mapping[str, str]) -> None:
        return


class _NoRetry(FiniteRetryStrategy):
    """Whoever follows Reddit waits and asks again."""

    def should_retry_on_failure(self) -> bool:
        return False


class RedditPlatform:
    """`Platform` of some subreddits.

    Args:
        subreddits: their names, without `r/`.
        session: paced; takes the place of the library's own.
    """

    review_batch = 100

    def __init__(
        self,
        client_id: str,
        client_secret: str,
        user_agent: str,
        subreddits: Sequence[str],
        session: PacedSession,
        name: str = "reddit",
    ) -> None:
        self.name = name
        self._subreddits = "+".join(subreddits)
        self._session = session
        self._reddit = asyncpraw.Reddit(
            client_id=client_id,
            client_secret=client_secret,
            user_agent=user_agent,
            check_for_updates=False,
            requestor_kwargs={"session": session},
        )
        core: Any = self._reddit._core
        core._rate_limiter = _NoLimiter(window_size=LIMIT_WINDOW_SECONDS)
        core._retry_strategy_class = _NoRetry

    async def poll(self, since_nanos: int) -> Sequence[SourcePost]:
        subreddit = await self._reddit.subreddit(self._subreddits)
        things = [
            *await self._since(subreddit.new(limit=MOST_THINGS), since_nanos),
            *await self._since(subreddit.comments(limit=MOST_THINGS), since_nanos),
        ]
        return [self._post(one) for one in things if not _is_gone(one)]

    async def review(self, platform_ids: Sequence[str]) -> tuple[Sequence[SourcePost], set[str]]:
        things = [one async for one in self._asked(self._reddit.info(fullnames=list(platform_ids)))]
        gone = {str(one["name"]) for one in things if _is_gone(one)}
        return [self._post(one) for one in things if not _is_gone(one)], gone

    async def close(self) -> None:
        await self._reddit.close()

    async def _since(self, listing: AsyncIterator[Any], since_nanos: int) -> list[dict[str, Any]]:
        found = []
        async for one in self._asked(listing):
            if one["created_utc"] * NANO < since_nanos:
                break
            found.append(one)
        return found

    async def _asked(self, things: AsyncIterator[Any]) -> AsyncIterator[dict[str, Any]]:
        try:
            async for one in things:
                yield vars(one)
        except asyncprawcore.TooManyRequests as error:
            headers = error.response.headers
            known = retry_after(headers, 0) is not None or "x-ratelimit-reset" in headers
            raise RefusedError("HTTP 429", 0.0 if known else None, is_limit=True) from error
        except asyncprawcore.ResponseException as error:
            raise RefusedError(f"HTTP {error.response.status}") from error
        except (asyncprawcore.RequestException, aiohttp.ClientError, OSError, TimeoutError) as error:
            cause = getattr(error, "original_exception", error)
            raise RefusedError(f"connection: {type(cause).__name__}") from error

    def _post(self, thing: Mapping[str, Any]) -> SourcePost:
        text = thing["body"] if "body" in thing else f"{thing['title']}\n{thing['selftext']}".strip()
        return SourcePost(
            str(thing["name"]),
            self.name,
            PostKind.SOCIAL,
            str(thing.get("author_fullname") or thing.get("author") or ""),
            round(thing["created_utc"] * 1_000) * 1_000_000,
            text,
            0,
            Action.EDITED if thing.get("edited") else Action.WRITTEN,
        )


def _is_gone(thing: Mapping[str, Any]) -> bool:
    return (
        thing.get("author") is None
        or str(thing.get("body", thing.get("selftext", ""))) in GONE
        or bool(thing.get("removed_by_category"))
    )
