"""Telegram through telethon: the history of channels, and how older messages stand.

Channels are asked for what came after the last message that was handed on, so that an interruption loses
nothing. A message that is asked for by its id and is not there was deleted; one with an edit date was edited.
Flood waits are Telegram's own rate limit: they are waited out to the second, and one second more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

from telethon import TelegramClient, errors, functions, types

from servers.model.nanos import NANO
from servers.news.adapters.platforms.following import RefusedError
from servers.news.adapters.platforms.session import Pause
from servers.news.domain.pacing import RateLimit
from servers.news.domain.post import Action, PostKind, SourcePost

_T = TypeVar("_T")
PAGE = 100


def client_of(session: Any, api_id: int, api_hash: str) -> TelegramClient:
    """Return a client that refuses rather than waits: whoever follows Telegram waits."""
    return TelegramClient(
        session, api_id, api_hash, flood_sleep_threshold=0, request_retries=1, receive_updates=False
    )


class TelegramPlatform:
    """`Platform` of some channels that the account has joined, or that are public.

    Args:
        client: of `client_of`, not yet connected.
        channels: user names or input peers.
        limit: of requests; flood waits take precedence.
    """

    review_batch = 100

    def __init__(
        self,
        client: TelegramClient,
        channels: Sequence[str | types.TypeInputChannel],
        limit: RateLimit,
        pause: Pause,
        name: str = "telegram",
    ) -> None:
        self.name = name
        self._client = client
        self._channels = list(channels)
        self._limit = limit
        self._pause = pause
        self._peers: dict[int, types.TypeInputChannel] = {}
        self._subscribers: dict[int, int] = {}
        self._last: dict[int, int] = {}

    async def poll(self, since_nanos: int) -> Sequence[SourcePost]:
        if not self._client.is_connected():
            await self._asked(self._client.connect())
        await self._resolve()
        posts: list[SourcePost] = []
        newest: dict[int, int] = {}
        for channel_id, peer in self._peers.items():
            found, newest[channel_id] = await self._history(channel_id, peer, since_nanos)
            posts += found
        # Moved on only now: after an interruption on the way all of it is asked for again.
        self._last |= newest
        return posts

    async def review(self, platform_ids: Sequence[str]) -> tuple[Sequence[SourcePost], set[str]]:
        posts: list[SourcePost] = []
        gone: set[str] = set()
        for channel_id, peer in self._peers.items():
            ids = [int(one.split("/")[1]) for one in platform_ids if one.startswith(f"{channel_id}/")]
            if not ids:
                continue
            request = functions.channels.GetMessagesRequest(peer, [types.InputMessageID(one) for one in ids])
            found = (await self._request(request)).messages
            there = {message.id for message in found if isinstance(message, types.Message)}
            gone |= {f"{channel_id}/{one}" for one in ids if one not in there}
            posts += self._posts(channel_id, found)
        return posts, gone

    async def close(self) -> None:
        await self._client.disconnect()

    async def _resolve(self) -> None:
        while self._channels:
            named = self._channels[0]
            channel: Any = named
            if isinstance(named, str):
                channel = await self._asked(self._client.get_input_entity(named))
            full = await self._request(functions.channels.GetFullChannelRequest(channel))
            self._peers[channel.channel_id] = channel
            self._subscribers[channel.channel_id] = full.full_chat.participants_count or 0
            self._channels.pop(0)

    async def _history(
        self, channel_id: int, peer: types.TypeInputChannel, since_nanos: int
    ) -> tuple[list[SourcePost], int]:
        last = newest = self._last.get(channel_id, 0)
        posts: list[SourcePost] = []
        below = 0
        while True:
            request = functions.messages.GetHistoryRequest(
                peer,
                offset_id=below,
                offset_date=None,
                add_offset=0,
                limit=PAGE,
                max_id=0,
                min_id=last,
                hash=0,
            )
            messages = (await self._request(request)).messages
            recent = [one for one in messages if last or one.date.timestamp() * NANO >= since_nanos]
            posts += self._posts(channel_id, recent)
            newest = max([newest, *(message.id for message in messages)])
            if len(recent) < PAGE:
                return posts, newest
            below = min(message.id for message in messages)

    def _posts(self, channel_id: int, messages: Sequence[Any]) -> list[SourcePost]:
        return [
            SourcePost(
                f"{channel_id}/{message.id}",
                self.name,
                PostKind.SOCIAL,
                str(channel_id),
                round(message.date.timestamp()) * NANO,
                message.message,
                self._subscribers.get(channel_id, 0),
                Action.WRITTEN if message.edit_date is None else Action.EDITED,
            )
            for message in messages
            if isinstance(message, types.Message) and message.message
        ]

    async def _request(self, request: Any) -> Any:
        while (seconds := self._limit.wait_seconds(self._pause.now_nanos())) > 0:
            await self._pause.sleep(seconds)
        self._limit.sent(self._pause.now_nanos())
        return await self._asked(self._client(request))

    async def _asked(self, answer: Awaitable[_T]) -> _T:
        try:
            return await answer
        except errors.FloodWaitError as error:
            raise RefusedError("flood wait", error.seconds + 1.0, is_limit=True) from error
        except errors.RPCError as error:
            raise RefusedError(f"Telegram: {type(error).__name__}") from error
        except (ConnectionError, OSError, TimeoutError) as error:
            raise RefusedError(f"connection: {type(error).__name__}") from error
