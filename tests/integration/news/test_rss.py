"""Feeds through feedparser, against a local server with validators, refusals and lost connections."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from xml.sax.saxutils import escape

from aiohttp import web

from servers.news.adapters.platforms.following import PolledPosts
from servers.news.adapters.platforms.rss import RssPlatform
from servers.news.adapters.platforms.session import PacedSession, hear_nothing
from servers.news.domain.pacing import RateLimit
from servers.news.domain.post import PostKind
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

LIMIT, WINDOW = 60, 3_600
LISTED = 40


class FeedServer:
    """One RSS 2.0 feed of the last articles; an unchanged one is answered with 304."""

    def __init__(self, things: list[Thing], pause: FastPause, gate: Gate) -> None:
        self.things = things
        self.pause = pause
        self.gate = gate
        self.unchanged = 0
        self.app = web.Application()
        self.app.router.add_get("/old", self.moved)
        self.app.router.add_get("/feed.xml", self.feed)

    async def moved(self, request: web.Request) -> web.Response:
        raise web.HTTPMovedPermanently("/feed.xml")

    async def feed(self, request: web.Request) -> web.Response:
        fate = self.gate.enter()
        if fate == "limited":
            return web.Response(status=429, headers={"Retry-After": "31"})
        if fate == "failed":
            return web.Response(body=b"<html>maintenance")
        if fate == "lost":
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        now = self.pause.seconds
        listed = [one for one in self.things if one.written <= now][-LISTED:]
        items = "".join(
            f"<item><guid>{one.id}</guid><title>{escape(one.text_at(now))}</title>"
            f"<description>&lt;p&gt;More of it &amp;amp; so on.&lt;/p&gt;</description>"
            f"<pubDate>{format_datetime(datetime.fromtimestamp(one.written, UTC))}</pubDate></item>"
            for one in listed
        )
        tag = f'"{hash(items)}"'
        if request.headers.get("If-None-Match") == tag:
            self.unchanged += 1
            return web.Response(status=304)
        text = f'<?xml version="1.0"?><rss version="2.0"><channel><title>N</title>{items}</channel></rss>'
        return web.Response(text=text, content_type="application/rss+xml", headers={"ETag": tag})


async def test_an_hour_of_refusals_loses_no_article_that_the_feed_still_lists() -> None:
    things = world(every=150)
    for thing in things:
        thing.deleted = 0.0
    pause = FastPause(HOUR + 1_800)
    server = FeedServer(things, pause, Gate(pause, LIMIT, WINDOW, share=0.12))
    collector = Collector()
    async with serving(server.app) as address:
        session = PacedSession(RateLimit(LIMIT, WINDOW), pause, hear_nothing)
        platform = RssPlatform("newswire", f"{address}/feed.xml", session, pause)
        source = PolledPosts(platform, pause, Lines(), poll_seconds=60.0, review_seconds=60.0)
        await run_out(source, collector, pause)
    assert server.gate.violations == 0
    assert sum(server.gate.mischief.values()) > 5
    assert server.unchanged > 0
    now = pause.seconds
    assert collector.posts == {str(one.id): f"{one.text_at(now)}\nMore of it & so on." for one in things}
    assert collector.repeated == 0


async def test_halves_of_characters_cost_a_feed_nothing_but_themselves() -> None:
    titles = (
        "up &#xD83D;&#xDE80; now",
        "up &#55357;&#56960; now",
        "down &#xD83D; now",
        "flat &#128640;",
    )
    items = "".join(
        f"<item><guid>{at}</guid><title>{title}</title></item>" for at, title in enumerate(titles)
    )
    app = web.Application()

    async def feed(_: web.Request) -> web.Response:
        body = f'<?xml version="1.0"?><rss version="2.0"><channel>{items}</channel></rss>'
        return web.Response(body=body.encode(), content_type="application/rss+xml")

    app.router.add_get("/feed.xml", feed)
    pause = FastPause(HOUR)
    async with serving(app) as address:
        session = PacedSession(RateLimit(LIMIT, WINDOW), pause, hear_nothing)
        platform = RssPlatform("newswire", f"{address}/feed.xml", session, pause)
        posts = await platform.poll(0)
        await platform.close()
    rocket = chr(0x1F680)
    assert [post.text for post in posts] == [
        f"up {rocket} now",
        f"up {rocket} now",
        "down \N{REPLACEMENT CHARACTER} now",
        f"flat {rocket}",
    ]


async def test_a_feed_that_has_moved_is_followed_and_its_articles_are_news() -> None:
    things = world(seconds=600, every=150)
    pause = FastPause(HOUR)
    await pause.sleep(700)
    server = FeedServer(things, pause, Gate(pause, LIMIT, WINDOW, share=0.0))
    async with serving(server.app) as address:
        limit = RateLimit(2, WINDOW)
        platform = RssPlatform("newswire", f"{address}/old", PacedSession(limit, pause, hear_nothing), pause)
        posts = await platform.poll(0)
        await platform.close()
    assert {post.kind for post in posts} == {PostKind.NEWS}
    assert {post.author for post in posts} == {"newswire"}
    assert len(posts) == len(things)
    assert limit.wait_seconds(pause.now_nanos()) > 0, "a redirection counts as a request"
