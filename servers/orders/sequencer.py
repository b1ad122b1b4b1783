"""One order for everything that changes: decide, commit, answer.

Whatever arrives while a commit is running is decided together, over one draft, and shares the next
commit. Every decision sees those before it, committed or not, and no answer leaves before its commit.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from servers.model.errors import ResourceExhausted, TapelineError
from servers.orders.book import Draft, OrderBook
from servers.orders.domain import OrderEvent, OrderRecord
from servers.orders.ports import KeptAnswer, OrderJournal, RequestKey

Answer = TypeVar("Answer")

GROUP_DECISIONS = 512
LINGER_SECONDS = 0.005
"""How long what nobody waits for may wait for company, so that it shares the commit of what somebody does."""


class Turn(Draft):
    """One draft with what else goes into its commit."""

    def __init__(self, book: OrderBook, journal: OrderJournal) -> None:
        super().__init__(book)
        self._journal = journal
        self.answers: dict[RequestKey, KeptAnswer] = {}
        self.venue_position = 0

    def answer(self, key: RequestKey) -> KeptAnswer | None:
        """Return the first answer under a request id, from this turn or an earlier one."""
        return self.answers.get(key) or self._journal.answer(key)


class Sequencer:
    """Runs decisions in turns. `on_commit` gets the events of each turn, before its answers go out."""

    def __init__(
        self,
        book: OrderBook,
        journal: OrderJournal,
        on_commit: Callable[[Sequence[OrderEvent], Sequence[OrderRecord]], None],
    ) -> None:
        self._book = book
        self._journal = journal
        self._on_commit = on_commit
        self._waiting: list[tuple[Callable[[Turn], Any], asyncio.Future[Any]]] = []
        self._arrived = asyncio.Event()
        self._urgent = asyncio.Event()
        self.turns = 0

    def put(self, decide: Callable[[Turn], Answer], answer: asyncio.Future[Answer]) -> None:
        """Let `decide` have its turn; `answer` gets what it returns, after the commit.

        `decide` raises a refusal before it adds anything to the turn.
        """
        self._waiting.append((decide, answer))
        self._arrived.set()
        self._urgent.set()

    async def do(self, decide: Callable[[Turn], Answer], *, is_patient: bool = False) -> Answer:
        """Let `decide` have its turn and return what it returned, after the commit.

        A patient one waits a little for others.
        """
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((decide, answer))
        self._arrived.set()
        if not is_patient:
            self._urgent.set()
        return await answer

    async def run(self) -> None:
        """Take turns for ever. What this raises must end the process."""
        while True:
            await self._arrived.wait()
            if not self._urgent.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LINGER_SECONDS):
                        await self._urgent.wait()
            self._arrived.clear()
            self._urgent.clear()
            while self._waiting:
                group, self._waiting = self._waiting[:GROUP_DECISIONS], self._waiting[GROUP_DECISIONS:]
                await self._take_turn(group)

    async def _take_turn(self, group: Sequence[tuple[Callable[[Turn], Any], asyncio.Future[Any]]]) -> None:
        turn = Turn(self._book, self._journal)
        decided: list[tuple[asyncio.Future[Any], Any]] = []
        for decide, answer in group:
            try:
                decided.append((answer, decide(turn)))
            except TapelineError as refusal:
                _refuse(answer, refusal)
        if turn.events or turn.venue_position:
            try:
                await self._journal.append(turn.events, turn.records, turn.answers, turn.venue_position)
            except TapelineError as refusal:
                for answer, _ in decided:
                    _refuse(answer, refusal)
                if not isinstance(refusal, ResourceExhausted):
                    raise
                return
            turn.commit()
            self.turns += 1
            self._on_commit(turn.events, turn.records)
        for answer, value in decided:
            if not answer.done():
                answer.set_result(value)


def _refuse(answer: asyncio.Future[Any], refusal: TapelineError) -> None:
    if not answer.done():
        answer.set_exception(refusal)
        answer.exception()  # a caller that went away does not come to fetch it
