"""All parent orders in one place: their state, their markets, and the one way in which they change.

One lock makes every decision, its journal entry and its effect on the state one step; what leaves the
process (a child, an answer, an event) leaves after the journal has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from servers.execution.domain.events import Event
from servers.execution.domain.parent import ParentOrder
from servers.execution.domain.placing import Tuning
from servers.execution.domain.tape import Tape
from servers.execution.domain.view import Execution, execution_view
from servers.execution.domain.working import WorkingParent
from servers.execution.ports import Effect, ExecutionJournal, Recorded
from servers.model.errors import NotFound, ResourceExhausted
from servers.model.instrument import Instrument
from servers.model.market import Quote, TradingStatus

STORE_RETRY_SECONDS = 0.5


class ParentBook:
    """The parents of this server.

    Args:
        on_change: called with a parent's id after each change that readers may see.

    Attributes:
        lock: held by whoever decides.
        working: parents that still follow the market.
        tapes: the markets they follow, by symbol.
        statuses, quotes: the last ones of every symbol of the present feed, which tells them once: a parent
            that comes later begins with them.
        now_nanos: the last market time.
        orders_sequence: how far the facts of orders were taken in.
    """

    def __init__(
        self, journal: ExecutionJournal, tuning: Tuning, on_change: Callable[[str], None] = lambda _: None
    ) -> None:
        self.journal = journal
        self.tuning = tuning
        self.on_change = on_change
        self.lock = asyncio.Lock()
        self.parents: dict[str, ParentOrder] = {}
        self.working: dict[str, WorkingParent] = {}
        self.tapes: dict[str, Tape] = {}
        self.statuses: dict[str, TradingStatus] = {}
        self.quotes: dict[str, Quote] = {}
        self.now_nanos = 0
        self.orders_sequence = 0
        self.symbols_changed = asyncio.Event()

    def view(self, execution_id: str) -> Execution:
        """Return one parent. Raises NotFound EXECUTION_NOT_FOUND."""
        parent = self.find(execution_id)
        return execution_view(parent, self.working.get(execution_id), self.now_nanos)

    @property
    def symbols(self) -> list[str]:
        """Symbols of the parents that still follow the market."""
        return sorted({working.parent.parameters.symbol for working in self.working.values()})

    @property
    def is_idle(self) -> bool:
        """Whether no parent follows the market, or waits to."""
        return not self.working and not self.unjoined

    @property
    def unjoined(self) -> list[str]:
        """Parents that were restored and do not follow the market yet."""
        return [key for key, parent in self.parents.items() if not parent.is_over and key not in self.working]

    def adopt(self, parent: ParentOrder, instrument: Instrument) -> WorkingParent:
        """Let a parent follow the market from now on."""
        symbol = parent.parameters.symbol
        if symbol not in self.tapes or parent.execution_id not in self.working:
            self.symbols_changed.set()
        self.tape_of(symbol)
        working = self.working[parent.execution_id] = WorkingParent(parent, instrument, self.tuning)
        return working

    def tape_of(self, symbol: str) -> Tape:
        """Return the tape of a symbol; a new one begins with what its feed last said."""
        tape = self.tapes.get(symbol)
        if tape is None:
            tape = self.tapes[symbol] = Tape(symbol)
            if symbol in self.statuses:
                tape.on_status(self.statuses[symbol])
            if symbol in self.quotes:
                tape.on_quote(self.quotes[symbol])
        return tape

    def forget_market(self) -> None:
        """Forget what a feed said that has ended."""
        self.statuses.clear()
        self.quotes.clear()

    async def commit(
        self, parent: ParentOrder, events: Sequence[Event], effect: tuple[str, bytes] | None = None
    ) -> None:
        records = []
        for event in events:
            parent.apply(event)
            records.append(self.recorded(parent, event))
        kept = None if effect is None else Effect(effect[0], effect[1], records[-1].execution)
        await self.store(records, None, kept)
        self.on_change(parent.execution_id)

    async def store(
        self, records: Sequence[Recorded], orders_sequence: int | None, effect: Effect | None
    ) -> None:
        # The state has moved already, so these events must get in: wait for space.
        while True:
            try:
                await self.journal.append(records, orders_sequence, effect)
            except ResourceExhausted:
                await asyncio.sleep(STORE_RETRY_SECONDS)
            else:
                return

    def recorded(self, parent: ParentOrder, event: Event) -> Recorded:
        working = self.working.get(parent.execution_id)
        return Recorded(
            event, execution_view(parent, working, event.event_time_nanos), parent.unsent_quantity_nanos
        )

    def of(self, symbol: str) -> list[WorkingParent]:
        """Return the working parents of a symbol."""
        return [working for working in self.working.values() if working.parent.parameters.symbol == symbol]

    def find(self, execution_id: str) -> ParentOrder:
        """Return a parent. Raises NotFound EXECUTION_NOT_FOUND."""
        parent = self.parents.get(execution_id)
        if parent is None:
            raise NotFound("EXECUTION_NOT_FOUND", execution_id=execution_id[:64])
        return parent

    def release(self, parent: ParentOrder) -> None:
        """Let a parent that is over go, and its market when nobody else follows it."""
        del self.working[parent.execution_id]
        symbol = parent.parameters.symbol
        if not any(other.parent.parameters.symbol == symbol for other in self.working.values()):
            del self.tapes[symbol]
            self.symbols_changed.set()
