"""Slow answers that several callers may want at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")


class SharedAnswers(Generic[Key, Answer]):
    """One flight a key: whoever asks waits for the same work, and one who gives up does not end it."""

    def __init__(self) -> None:
        self._flights: dict[Key, asyncio.Task[Answer]] = {}

    async def get(
        self, key: Key, work: Callable[[], Coroutine[Any, Any, Answer]], *, keep: Callable[[Key], bool]
    ) -> Answer:
        """Return the answer under a key, or begin the work for it; what it raises is not kept.

        Args:
            keep: whether the answer under another key may still be asked for; it is let go otherwise.
        """
        flight = self._flights.get(key)
        if flight is None or (flight.done() and (flight.cancelled() or flight.exception() is not None)):
            for other in [other for other in self._flights if not keep(other)]:
                del self._flights[other]
            flight = self._flights[key] = asyncio.create_task(work())
        return await asyncio.shield(flight)
