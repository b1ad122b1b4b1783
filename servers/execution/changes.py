"""Who waits for which parent to change."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Watch:
    """One reader of one parent: how often it has changed since the reader last looked."""

    def __init__(self) -> None:
        self._count = 0
        self._event = asyncio.Event()

    def note(self) -> None:
        """Count a change."""
        self._count += 1
        self._event.set()

    async def changed(self) -> None:
        """Return when there has been a change since the last `take`."""
        await self._event.wait()

    def take(self) -> int:
        """Return the changes since the last call, and forget them."""
        count, self._count = self._count, 0
        self._event.clear()
        return count


class Changes:
    """All readers, by parent."""

    def __init__(self) -> None:
        self._watches: dict[str, set[Watch]] = {}

    def note(self, execution_id: str) -> None:
        """Tell the readers of a parent that it has changed."""
        for watch in self._watches.get(execution_id, ()):
            watch.note()

    @contextmanager
    def watch(self, execution_id: str) -> Iterator[Watch]:
        """Be told of a parent's changes."""
        watch = Watch()
        watches = self._watches.setdefault(execution_id, set())
        watches.add(watch)
        try:
            yield watch
        finally:
            watches.discard(watch)
            if not watches:
                self._watches.pop(execution_id, None)
