"""Subscribers of market data: what each is owed, in the order in which it happened."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Any

from servers.model.errors import OutOfRange, Unavailable


class Subscription:
    """One reader's queue. Nothing in it is dropped: a reader that falls behind is cut off."""

    def __init__(self, symbols: Iterable[str], *, include_depth: bool, limit: int) -> None:
        self.symbols = frozenset(symbols)
        self.include_depth = include_depth
        self._limit = limit
        self._messages: deque[Any] = deque()
        self._arrived = asyncio.Event()
        self._is_cut_off = False
        self._is_closed = False

    def push(self, messages: Iterable[Any]) -> None:
        """Queue messages."""
        if self._is_cut_off:
            return
        self._messages.extend(messages)
        if len(self._messages) > self._limit:
            self._is_cut_off = True
            self._messages.clear()
        self._arrived.set()

    async def take(self) -> list[Any]:
        """Wait for messages and return all that are queued.

        Raises OutOfRange STREAM_TOO_SLOW when the reader fell behind, Unavailable SHUTTING_DOWN at the end.
        """
        await self._arrived.wait()
        self._arrived.clear()
        if self._is_cut_off:
            raise OutOfRange("STREAM_TOO_SLOW", limit_messages=self._limit)
        if self._is_closed:
            raise Unavailable("SHUTTING_DOWN")
        messages = list(self._messages)
        self._messages.clear()
        return messages

    def close(self) -> None:
        """End the stream."""
        self._is_closed = True
        self._arrived.set()


class Feed:
    """All subscriptions. A message is of one symbol, or of none and for everybody."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()

    def __len__(self) -> int:
        return len(self._subscriptions)

    @property
    def wants_depth(self) -> bool:
        return any(subscription.include_depth for subscription in self._subscriptions)

    def join(self, subscription: Subscription) -> None:
        self._subscriptions.add(subscription)

    def leave(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)

    def publish(self, messages: Iterable[tuple[str, bool, Any]]) -> None:
        """Give each reader what it asked for: messages as (symbol or empty, is depth, message)."""
        batch = list(messages)
        for subscription in self._subscriptions:
            subscription.push(
                message
                for symbol, is_depth, message in batch
                if (not symbol or symbol in subscription.symbols)
                and (not is_depth or subscription.include_depth)
            )

    def close(self) -> None:
        """End all streams."""
        for subscription in self._subscriptions:
            subscription.close()
