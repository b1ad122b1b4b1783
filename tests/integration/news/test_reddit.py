"""Reddit through asyncpraw, against a local server that speaks its protocol and misbehaves."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from servers.news.adapters.platforms.following import PolledPosts
from servers.news.adapters.platforms.reddit import RedditPlatform, hear
from servers.news.adapters.platforms.session import PacedSession
from servers.news.domain.pacing import RateLimit
from tests.integration.news.platforms import (
    HOUR,
    Collector,
    FastPause,
    Gate,
    Lines,
    Thing,
    run_out,
    serving,
    world,
)

LIMIT, WINDOW = 60, 60


class RedditServer:
    """Listings of submissions and comments, things by their full names, tokens."""

    def __init__(self, things: list[Thing], pause: FastPause, gate: Gate) -> None:
        self.things = things
        self.pause = pause
        self.gate = gate
        self.tokens = 0
        self.app = web.Application()
        self.app.router.add_post("/api/v1/access_token", self.token)
        self.app.router.add_get("/r/{names}/new", self.listing)
        self.app.router.add_get("/r/{names}/comments/", self.listing)
        self.app.router.add_get("/api/info/", self.info)

    @staticmethod
    def name(thing: Thing) -> str:
        return f"t3_{thing.id}" if thing.id % 2 else f"t1_{thing.id}"

    def thing(self, thing: Thing) -> dict[str, Any]:
        now = self.pause.seconds
        is_there = thing.is_there(now)
        data: dict[str, Any] = {
            "id": str(thing.id),
            "name": self.name(thing),
            "author": "someone" if is_there else "[deleted]",
            "created_utc": thing.written,
            "edited": thing.edited if thing.edited and thing.edited <= now else False,
        }
        if is_there:
            data["author_fullname"] = "t2_77"
        if thing.id % 2:
            data |= {"title": thing.text_at(now), "selftext": "" if is_there else "[removed]"}
            return {"kind": "t3", "data": data}
        return {"kind": "t1", "data": data | {"body": thing.text_at(now) if is_there else "[deleted]"}}

    def refused(self, request: web.Request) -> web.Response | None:
        fate = self.gate.enter()
        if fate == "limited":
            wait = str(int(self.gate.closed_until - self.pause.seconds) + 1)
            headers = {"x-ratelimit-remaining": "0", "x-ratelimit-used": "60", "x-ratelimit-reset": wait}
            return web.json_response({"error": 429}, status=429, headers=headers)
        if fate == "failed":
            return web.json_response({"error": 503}, status=503)
        if fate == "lost":
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        return None

    def answer(self, things: list[Thing], after: str | None = None) -> web.Response:
        data = {"children": [self.thing(one) for one in things], "after": after, "before": None}
        headers = {
            "x-ratelimit-remaining": str(self.gate.remaining),
            "x-ratelimit-used": str(LIMIT - self.gate.remaining),
            "x-ratelimit-reset": "2",
        }
        return web.json_response({"kind": "Listing", "data": data}, headers=headers)

    async def token(self, request: web.Request) -> web.Response:
        if (refusal := self.refused(request)) is not None:
            return refusal
        self.tokens += 1
        return web.json_response({"access_token": "secret", "expires_in": 86_400, "scope": "*"})

    async def listing(self, request: web.Request) -> web.Response:
        if (refusal := self.refused(request)) is not None:
            return refusal
        assert request.headers["Authorization"] == "bearer secret"
        assert request.match_info["names"] == "stocks+investing"
        kind = 1 if request.path.endswith("new") else 0
        now = self.pause.seconds
        found = [one for one in reversed(self.things) if one.id % 2 == kind and one.written <= now]
        if (after := request.query.get("after")) is not None:
            found = found[[self.name(one) for one in found].index(after) + 1 :]
        page = found[: int(request.query["limit"])]
        return self.answer(page, self.name(page[-1]) if len(found) > len(page) else None)

    async def info(self, request: web.Request) -> web.Response:
        if (refusal := self.refused(request)) is not None:
            return refusal
        asked = request.query["id"].split(",")
        return self.answer([one for one in self.things if self.name(one) in asked])


# asyncprawcore 4.0 still passes its token request's password to aiohttp in the deprecated way.
@pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The 'auth' parameter is deprecated:DeprecationWarning")
async def test_an_hour_of_refusals_loses_nothing_and_breaks_no_limit() -> None:
    things = world(every=90)
    pause = FastPause(HOUR + 900)
    server = RedditServer(things, pause, Gate(pause, LIMIT, WINDOW, share=0.03))
    collector = Collector()
    async with serving(server.app) as address:
        routes = {"https://www.reddit.com": address, "https://oauth.reddit.com": address}
        session = PacedSession(RateLimit(LIMIT, WINDOW), pause, hear, routes)
        platform = RedditPlatform("id", "secret", "tapeline tests", ["stocks", "investing"], session)
        source = PolledPosts(platform, pause, Lines(), poll_seconds=1.0, review_seconds=60.0)
        await run_out(source, collector, pause)
    assert server.gate.violations == 0
    assert min(server.gate.mischief.values()) > 10
    assert len(server.gate.requests) > 1_000
    now = pause.seconds
    assert collector.posts == {server.name(one): one.text_at(now) for one in things if one.is_there(now)}
    assert collector.repeated == 0
    assert server.tokens == 1
