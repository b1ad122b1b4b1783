"""X through tweepy: the filtered stream, recent search for what the stream missed, look-ups for deletions.

Each version of an edited post has an id of its own and names all of them; the first is the post's id here. X
tells nobody on the stream that a post was deleted: posts of the last day are looked up, a hundred a request.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import aiohttp
import tweepy
from tweepy.asynchronous import AsyncClient, AsyncStreamingClient

from servers.model.nanos import NANO
from servers.news.adapters.platforms.following import PolledPosts, RefusedError
from servers.news.adapters.platforms.session import TOO_MANY, Hint, PacedSession, Pause, number
from servers.news.domain.pacing import BackOff
from servers.news.domain.post import Action, PostKind, SourcePost
from servers.news.ports import Log, Take

ADDRESS = "https://api.twitter.com"
"""Where tweepy sends its requests."""
PAGE = 100
MOST_EDITED = 10_000
FIELDS = {
    "tweet_fields": ["author_id", "created_at", "edit_history_tweet_ids"],
    "expansions": ["author_id"],
    "user_fields": ["public_metrics"],
}


def hear(headers: Mapping[str, str], now_nanos: int) -> Hint:
    """Read X's headers: requests left, and the reset in epoch seconds."""
    reset = number(headers.get("x-rate-limit-reset"))
    return number(headers.get("x-rate-limit-remaining")), None if reset is None else round(reset * NANO)


class XPlatform:
    """`Platform` of recent search and look-up.

    Args:
        query: what to search for and to stream, in X's own language.
        session: paced; takes the place of the library's own.
    """

    review_batch = 100

    def __init__(self, bearer_token: str, query: str, session: PacedSession, name: str = "x") -> None:
        self.name = name
        self.query = query
        self.session = session
        self.bearer_token = bearer_token
        self._client = AsyncClient(bearer_token, return_type=dict)
        self._client.session = session
        self._latest: dict[str, str] = {}
        """The present version's id of posts that were edited."""

    async def poll(self, since_nanos: int) -> Sequence[SourcePost]:
        since = datetime.fromtimestamp(since_nanos // NANO, UTC)
        posts: list[SourcePost] = []
        token: str | None = None
        while True:
            answer = await self.asked(
                self._client.search_recent_tweets(
                    self.query, max_results=PAGE, start_time=since, next_token=token, **FIELDS
                )
            )
            posts += self.posts(answer)
            token = answer.get("meta", {}).get("next_token")
            if not token:
                return posts

    async def review(self, platform_ids: Sequence[str]) -> tuple[Sequence[SourcePost], set[str]]:
        asked = {self._latest.get(one, one): one for one in platform_ids}
        answer = await self.asked(self._client.get_tweets(list(asked), **FIELDS))
        gone = {
            asked.get(str(error.get("resource_id") or error.get("value")), "")
            for error in answer.get("errors", ())
            if str(error.get("type", "")).endswith(("resource-not-found", "not-authorized-for-resource"))
        }
        posts = self.posts(answer)
        newer = [ids[-1] for one in answer.get("data") or () if (ids := _versions(one))[-1] != one["id"]]
        if newer:
            posts += self.posts(await self.asked(self._client.get_tweets(newer, **FIELDS)))
        return posts, gone - {""}

    async def close(self) -> None:
        await self.session.close()

    def posts(self, answer: Mapping[str, Any]) -> list[SourcePost]:
        """Return the posts of an answer or of a line of the stream."""
        data = answer.get("data") or []
        users = {user["id"]: user for user in answer.get("includes", {}).get("users", ())}
        versions = data if isinstance(data, list) else [data]
        return [self._post(one, users) for one in versions if _versions(one)[-1] == one["id"]]

    def _post(self, data: Mapping[str, Any], users: Mapping[str, Any]) -> SourcePost:
        first = _versions(data)[0]
        if first != data["id"]:
            self._latest[first] = data["id"]
            while len(self._latest) > MOST_EDITED:
                self._latest.pop(next(iter(self._latest)))
        author = data.get("author_id", "")
        reach = users.get(author, {}).get("public_metrics", {}).get("followers_count", 0)
        written = datetime.fromisoformat(data["created_at"].replace("Z", "+00:00"))
        return SourcePost(
            first,
            self.name,
            PostKind.SOCIAL,
            author,
            round(written.timestamp() * 1_000) * 1_000_000,
            data["text"],
            reach,
            Action.WRITTEN if first == data["id"] else Action.EDITED,
        )

    async def asked(self, answer: Awaitable[dict[str, Any]]) -> dict[str, Any]:
        try:
            return await answer
        except tweepy.TooManyRequests as error:
            # The session has read the headers and will wait for the reset by itself.
            known = "x-rate-limit-reset" in error.response.headers
            raise RefusedError("HTTP 429", 0.0 if known else None, is_limit=True) from error
        except tweepy.HTTPException as error:
            raise RefusedError(f"HTTP {error.response.status}") from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise RefusedError(f"connection: {type(error).__name__}") from error


def _versions(data: Mapping[str, Any]) -> list[str]:
    return data.get("edit_history_tweet_ids") or [data["id"]]


class _Ended(Exception):
    def __init__(self, reason: str, status: int = 0) -> None:
        super().__init__(reason)
        self.status = status


class _Stream(AsyncStreamingClient):  # type: ignore[misc] # tweepy has no annotations
    """Tweepy's client of the filtered stream for one connection; whoever runs it reconnects and waits."""

    def __init__(
        self,
        bearer_token: str,
        session: PacedSession,
        heard: Callable[[bytes], Awaitable[None]],
        connected: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(bearer_token, return_type=dict)
        self.session = session
        self.ended: Exception | None = None
        self._heard = heard
        self._connected = connected

    async def on_connect(self) -> None:
        await self._connected()

    async def on_data(self, raw_data: bytes) -> None:
        await self._heard(raw_data)

    async def on_keep_alive(self) -> None:
        await self._heard(b"")

    async def on_closed(self, response: object) -> None:
        raise _Ended("closed by the platform")

    async def on_connection_error(self) -> None:
        raise _Ended("connection lost")

    async def on_request_error(self, status_code: int) -> None:
        raise _Ended(f"HTTP {status_code}", status_code)

    async def on_exception(self, exception: Exception) -> None:
        self.ended = exception


class XPosts:
    """`PostSource` of the filtered stream; what a disconnection missed comes from recent search.

    Search runs once the stream is connected again, so that no moment lies between them, and with every
    review, since its index lags. Waits are those that X prescribes: network errors 0.25 s more each time up
    to 16 s, HTTP errors 5 s doubling up to 320 s, too many connections 60 s doubling.
    """

    def __init__(
        self,
        platform: XPlatform,
        polled: PolledPosts,
        pause: Pause,
        log: Log,
        *,
        search_seconds: float = 60.0,
    ) -> None:
        self.name = platform.name
        self._polled = polled
        self._platform = platform
        self._pause = pause
        self._log = log
        self._search_nanos = round(search_seconds * NANO)
        self._searched = 0
        self._network = BackOff(0.0, 16.0, 1.0, 0.25)
        self._http = BackOff(5.0, 320.0)
        self._limited = BackOff(60.0, 960.0)
        self._has_rules = False

    async def run(self, take: Take) -> None:
        try:
            while True:
                await self._once(take)
        finally:
            await self._platform.close()

    async def _once(self, take: Take) -> None:
        async def heard(line: bytes) -> None:
            if line:
                answer = json.loads(line)
                await self._polled.watch.hand_on(self._platform.posts(answer), take)
                if "data" not in answer and "errors" in answer:
                    raise _Ended(str(answer["errors"][0].get("title", "disconnected")))
            if self._pause.now_nanos() - self._searched >= self._search_nanos:
                await self._catch_up(take)

        async def connected() -> None:
            for back_off in (self._network, self._http, self._limited):
                back_off.reset()
            await self._catch_up(take)

        stream = _Stream(self._platform.bearer_token, self._platform.session, heard, connected)
        try:
            await self._set_rules(stream)
            await stream.filter(**FIELDS)
        except RefusedError as refused:
            await self._polled.wait_out(refused)
            return
        current = asyncio.current_task()
        if current is not None and current.cancelling():
            raise asyncio.CancelledError  # tweepy ends its task quietly
        if isinstance(stream.ended, _Ended):
            await self._wait_out(stream.ended)
        elif stream.ended is not None:
            raise stream.ended

    async def _catch_up(self, take: Take) -> None:
        """Search for what was missed and look at old posts; a refusal leaves it to the next time."""
        self._searched = self._pause.now_nanos()
        try:
            await self._polled.poll(take)
            await self._polled.review(take)
        except RefusedError as refused:
            self._log.warning("a search is refused", source=self.name, reason=str(refused))

    async def _set_rules(self, stream: _Stream) -> None:
        if self._has_rules:
            return
        asked = self._platform.asked
        present = (await asked(stream.get_rules())).get("data") or []
        stale = [rule["id"] for rule in present if rule["value"] != self._platform.query]
        if stale:
            await asked(stream.delete_rules(stale))
        if len(stale) == len(present):
            await asked(stream.add_rules(tweepy.StreamRule(self._platform.query)))
        self._has_rules = True

    async def _wait_out(self, ended: _Ended) -> None:
        if ended.status in TOO_MANY:
            seconds = self._limited.next_seconds()
        else:
            seconds = (self._http if ended.status else self._network).next_seconds()
        self._log.warning("the stream has ended", source=self.name, reason=str(ended), wait_seconds=seconds)
        await self._pause.sleep(seconds)
