"""The one way in which state changes: into the journal first, then into the book."""

from __future__ import annotations

from collections.abc import Sequence

from servers.decision.domain.book import DecisionBook
from servers.decision.domain.decision import Event
from servers.decision.ports import DecisionJournal, Effect
from servers.model.errors import AlreadyExists


class Recorder:
    """Journal and book, which agree."""

    def __init__(self, journal: DecisionJournal, book: DecisionBook) -> None:
        self.book = book
        self._journal = journal
        self.executions_sequence = 0

    async def restore(self) -> None:
        """Fold the journal."""
        async for event in self._journal.replay():
            self.book.apply(event)
        self.executions_sequence = self._journal.executions_sequence

    async def append(
        self, events: Sequence[Event], effect: Effect | None = None, executions_sequence: int | None = None
    ) -> None:
        """Keep events, and what comes with them; nothing happens without events."""
        if not events:
            return
        await self._journal.append(events, effect, executions_sequence)
        for event in events:
            self.book.apply(event)

    def kept(self, effect: Effect) -> Event | None:
        """Return the first answer to a request. Raises AlreadyExists REQUEST_ID_REUSED for other content."""
        kept = self._journal.answer(effect.request_id)
        if kept is None:
            return None
        if kept.content_hash != effect.content_hash:
            raise AlreadyExists("REQUEST_ID_REUSED", request_id=effect.request_id.partition("/")[2])
        return kept.event
