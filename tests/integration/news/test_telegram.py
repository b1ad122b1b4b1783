"""Telegram through telethon, up to its request sender, which answers with Telegram's own objects and errors.

The sender's place is taken; below it lie encryption and transport (MTProto), which are telethon's.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from telethon import TelegramClient, errors
from telethon.sessions import MemorySession
from telethon.tl import functions, types

from servers.news.adapters.platforms import telegram
from servers.news.adapters.platforms.following import PolledPosts
from servers.news.adapters.platforms.telegram import TelegramPlatform
from servers.news.domain.pacing import RateLimit
from tests.integration.news.platforms import (
    HOUR,
    START,
    Collector,
    FastPause,
    Gate,
    Lines,
    Thing,
    run_out,
    world,
)

LIMIT, WINDOW = 30, 60
CHANNELS = (41, 42)


class Forgetful(dict[int, float]):
    """Telethon remembers flood waits by the machine's clock, which hardly moves while an hour passes here."""

    def __setitem__(self, key: int, value: float) -> None:
        return


class ScriptedSender:
    """Answers requests as Telegram does: histories newest first, flood waits, errors, lost connections."""

    def __init__(self, things: list[Thing], pause: FastPause, gate: Gate) -> None:
        self.things = things
        self.pause = pause
        self.gate = gate
        self.auth_key = None

    def is_connected(self) -> bool:
        return True

    async def disconnect(self) -> None:
        return

    def send(self, request: Any, ordered: bool = False) -> asyncio.Future[Any]:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        fate = self.gate.enter()
        if fate == "limited":
            answer.set_exception(errors.FloodWaitError(request, capture=30))
        elif fate == "failed":
            answer.set_exception(errors.ChannelPrivateError(request))
        elif fate == "lost":
            answer.set_exception(ConnectionError("connection to Telegram failed"))
        else:
            answer.set_result(self.answer(request))
        return answer

    def answer(self, request: Any) -> Any:
        assert isinstance(request, functions.InvokeWithoutUpdatesRequest)
        request = request.query
        if isinstance(request, functions.channels.GetFullChannelRequest):
            full = types.ChannelFull(
                id=request.channel.channel_id,
                about="",
                read_inbox_max_id=0,
                read_outbox_max_id=0,
                unread_count=0,
                chat_photo=types.PhotoEmpty(0),
                notify_settings=types.PeerNotifySettings(),
                bot_info=[],
                pts=1,
                participants_count=5_000,
            )
            return types.messages.ChatFull(full, [], [])
        if isinstance(request, functions.messages.GetHistoryRequest):
            found = [
                one
                for one in reversed(self.of(request.peer.channel_id))
                if one.id > request.min_id
                and (not request.offset_id or one.id < request.offset_id)
                and one.is_there(self.pause.seconds)
            ]
            return self.messages([self.message(one) for one in found[: request.limit]])
        assert isinstance(request, functions.channels.GetMessagesRequest)
        wanted = {one.id for one in request.id}
        there = self.of(request.channel.channel_id)
        return self.messages(
            [
                self.message(one) if one.is_there(self.pause.seconds) else self.nothing(one)
                for one in there
                if one.id in wanted
            ]
        )

    def of(self, channel_id: int) -> list[Thing]:
        return [one for one in self.things if CHANNELS[one.id % 2] == channel_id]

    def message(self, thing: Thing) -> types.Message:
        is_edited = bool(thing.edited) and thing.edited <= self.pause.seconds
        return types.Message(
            id=thing.id,
            peer_id=types.PeerChannel(CHANNELS[thing.id % 2]),
            date=datetime.fromtimestamp(int(thing.written), UTC),
            message=thing.text_at(self.pause.seconds),
            edit_date=datetime.fromtimestamp(int(thing.edited), UTC) if is_edited else None,
        )

    @staticmethod
    def nothing(thing: Thing) -> types.MessageEmpty:
        return types.MessageEmpty(thing.id, types.PeerChannel(CHANNELS[thing.id % 2]))

    @staticmethod
    def messages(found: list[Any]) -> types.messages.ChannelMessages:
        return types.messages.ChannelMessages(
            pts=1, count=len(found), messages=found, topics=[], chats=[], users=[]
        )


def client_of(sender: ScriptedSender) -> TelegramClient:
    client = telegram.client_of(MemorySession(), 1, "hash")
    client._sender = sender
    client._flood_waited_requests = Forgetful()
    return client


def platform_of(sender: ScriptedSender, limit: RateLimit) -> TelegramPlatform:
    peers = [types.InputPeerChannel(one, access_hash=7) for one in CHANNELS]
    return TelegramPlatform(client_of(sender), peers, limit, sender.pause)


async def test_an_hour_of_flood_waits_loses_nothing_and_breaks_no_limit() -> None:
    things = world(every=8)
    pause = FastPause(HOUR + 1_200)
    sender = ScriptedSender(things, pause, Gate(pause, LIMIT, WINDOW))
    collector = Collector()
    platform = platform_of(sender, RateLimit(LIMIT, WINDOW))
    source = PolledPosts(platform, pause, Lines(), poll_seconds=5.0, review_seconds=60.0)
    await run_out(source, collector, pause)
    assert sender.gate.violations == 0
    assert min(sender.gate.mischief.values()) > 10
    now = pause.seconds
    expected = {f"{CHANNELS[one.id % 2]}/{one.id}": one.text_at(now) for one in things if one.is_there(now)}
    assert collector.posts == expected
    assert collector.repeated == 0


@pytest.mark.parametrize("seconds_back", [600, HOUR])
async def test_a_long_history_is_read_page_by_page_up_to_where_it_was_left(seconds_back: int) -> None:
    things = world(every=4)
    for thing in things:
        thing.deleted = thing.edited = 0.0
    pause = FastPause(2 * HOUR)
    await pause.sleep(HOUR)
    sender = ScriptedSender(things, pause, Gate(pause, 1_000, WINDOW, share=0.0))
    platform = platform_of(sender, RateLimit(1_000, WINDOW))
    since = START + HOUR - seconds_back
    posts = await platform.poll(since * 10**9)
    assert len(posts) == len([one for one in things if int(one.written) >= since])
    things.append(Thing(9_000, pause.seconds, "one more"))
    assert [post.text for post in await platform.poll(since * 10**9)] == ["one more"]
    assert {post.follower_count for post in posts} == {5_000}
