"""X through tweepy, against a local server that speaks its protocol and misbehaves."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from servers.news.adapters.platforms.following import PolledPosts
from servers.news.adapters.platforms.session import PacedSession
from servers.news.adapters.platforms.x import ADDRESS, XPlatform, XPosts, hear
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

QUERY = "$ACME lang:en"
LIMIT, WINDOW = 300, 900


class XServer:
    """Recent search, look-up, rules and the filtered stream."""

    def __init__(self, things: list[Thing], pause: FastPause, gate: Gate) -> None:
        self.things = things
        self.pause = pause
        self.gate = gate
        self.rules: list[dict[str, str]] = [{"id": "1", "value": "something else"}]
        self.streams = 0
        self.sent = 0
        self.app = web.Application()
        self.app.router.add_get("/2/tweets/search/recent", self.search)
        self.app.router.add_get("/2/tweets/search/stream", self.stream)
        self.app.router.add_get("/2/tweets/search/stream/rules", self.list_rules)
        self.app.router.add_post("/2/tweets/search/stream/rules", self.change_rules)
        self.app.router.add_get("/2/tweets", self.look_up)

    def tweet(self, thing: Thing, version: str = "") -> dict[str, Any]:
        now = self.pause.seconds
        is_edited = bool(thing.edited) and thing.edited <= now
        ids = [str(thing.id), f"{thing.id}9"] if is_edited else [str(thing.id)]
        wanted = version or ids[-1]
        return {
            "id": wanted,
            "text": thing.text_at(now) if wanted == ids[-1] else thing.text,
            "author_id": "77",
            "created_at": datetime.fromtimestamp(thing.written, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "edit_history_tweet_ids": ids,
        }

    @staticmethod
    def users() -> dict[str, Any]:
        return {"users": [{"id": "77", "public_metrics": {"followers_count": 1_234}}]}

    def refused(self, request: web.Request) -> web.Response | None:
        fate = self.gate.enter()
        headers = {"x-rate-limit-remaining": str(self.gate.remaining)}
        if fate == "limited":
            headers = {
                "x-rate-limit-remaining": "0",
                "x-rate-limit-reset": str(int(self.gate.closed_until) + 1),
            }
            return web.json_response({"title": "Too Many Requests"}, status=429, headers=headers)
        if fate == "failed":
            return web.json_response({"title": "Service Unavailable"}, status=503)
        if fate == "lost":
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        return None

    async def search(self, request: web.Request) -> web.Response:
        if (refusal := self.refused(request)) is not None:
            return refusal
        assert request.headers["Authorization"] == "Bearer secret"
        assert request.query["query"] == QUERY
        since = datetime.fromisoformat(request.query["start_time"].replace("Z", "+00:00")).timestamp()
        now = self.pause.seconds
        found = [one for one in reversed(self.things) if one.is_there(now) and one.written >= since]
        start = int(request.query.get("next_token", "0"))
        size = int(request.query["max_results"])
        meta = {"next_token": str(start + size)} if len(found) > start + size else {}
        data = [self.tweet(one) for one in found[start : start + size]]
        return web.json_response({"data": data, "includes": self.users(), "meta": meta})

    async def look_up(self, request: web.Request) -> web.Response:
        if (refusal := self.refused(request)) is not None:
            return refusal
        data, errors = [], []
        for asked in request.query["ids"].split(","):
            thing = next(one for one in self.things if asked in (str(one.id), f"{one.id}9"))
            if thing.is_there(self.pause.seconds):
                data.append(self.tweet(thing, asked))
            else:
                kind = "https://api.twitter.com/2/problems/resource-not-found"
                errors.append({"resource_id": asked, "value": asked, "type": kind})
        answer: dict[str, Any] = {"includes": self.users()}
        return web.json_response({**answer, **({"data": data} if data else {}), "errors": errors})

    async def list_rules(self, request: web.Request) -> web.Response:
        return self.refused(request) or web.json_response({"data": self.rules})

    async def change_rules(self, request: web.Request) -> web.Response:
        if (refusal := self.refused(request)) is not None:
            return refusal
        body = await request.json()
        for one in body.get("add", ()):
            self.rules.append({"id": "2", "value": one["value"]})
        gone = set(body.get("delete", {}).get("ids", ()))
        self.rules = [rule for rule in self.rules if rule["id"] not in gone]
        return web.json_response({"data": self.rules, "meta": {}})

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Send a few minutes of the world, then lose the connection; time goes on with what is sent."""
        if (refusal := self.refused(request)) is not None:
            return refusal
        self.streams += 1
        response = web.StreamResponse()
        await response.prepare(request)
        ends = self.pause.seconds + 240
        while self.pause.seconds < ends:
            before = self.pause.seconds
            await self.pause.sleep(20)
            await response.write(b"\r\n")
            for thing in self.things:
                if before < thing.written <= self.pause.seconds:
                    line = {
                        "data": self.tweet(thing),
                        "includes": self.users(),
                        "matching_rules": [{"id": "2"}],
                    }
                    await response.write(json.dumps(line).encode() + b"\r\n")
                    self.sent += 1
            # The reader has its turn before time goes on.
            for _ in range(20):
                await asyncio.sleep(0.0005)
        if self.streams % 3 == 0:
            problem = {
                "errors": [{"title": "operational-disconnect", "disconnect_type": "UpstreamDisconnect"}]
            }
            await response.write(json.dumps(problem).encode() + b"\r\n")
        assert request.transport is not None
        if self.streams % 3 == 1:
            request.transport.abort()
        return response


def prepared(things: list[Thing], end: float = HOUR + 900) -> tuple[XServer, FastPause]:
    pause = FastPause(end)
    return XServer(things, pause, Gate(pause, LIMIT, WINDOW)), pause


def platform_of(address: str, pause: FastPause) -> XPlatform:
    session = PacedSession(RateLimit(LIMIT, WINDOW), pause, hear, {ADDRESS: address})
    return XPlatform("secret", QUERY, session)


def expected(server: XServer) -> dict[str, str]:
    now = server.pause.seconds
    return {str(one.id): one.text_at(now) for one in server.things if one.is_there(now)}


async def test_an_hour_of_refusals_loses_nothing_and_breaks_no_limit_of_search() -> None:
    server, pause = prepared(world())
    collector = Collector()
    async with serving(server.app) as address:
        source = PolledPosts(
            platform_of(address, pause), pause, Lines(), poll_seconds=1.0, review_seconds=60.0
        )
        await run_out(source, collector, pause)
    assert server.gate.violations == 0
    assert min(server.gate.mischief.values()) > 10
    assert len(server.gate.requests) > 600
    assert collector.posts == expected(server)
    assert collector.repeated == 0
    assert {str(one.id) for one in server.things if one.deleted} >= collector.gone


async def test_the_stream_with_search_behind_it_loses_nothing_over_an_hour_of_disconnects() -> None:
    server, pause = prepared(world())
    collector = Collector()
    async with serving(server.app) as address:
        platform = platform_of(address, pause)
        polled = PolledPosts(platform, pause, Lines(), poll_seconds=1.0, review_seconds=60.0)
        source = XPosts(platform, polled, pause, Lines())
        await run_out(source, collector, pause)
    assert server.gate.violations == 0
    assert server.streams > 5
    assert server.sent > 100
    assert collector.posts == expected(server)
    assert collector.repeated == 0
    assert [rule["value"] for rule in server.rules] == [QUERY]
