"""What the portfolio server does: take in facts once they are durable, and tell what changed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from servers.model.errors import InvalidInput, NotFound, Unavailable
from servers.model.instrument import Instrument
from servers.model.market import Quote
from servers.model.nanos import NANO, Money
from servers.portfolio.domain.adjustments import Adjustment, AdjustmentKind
from servers.portfolio.domain.ledger import Key, Ledger
from servers.portfolio.domain.position import PositionHistory
from servers.portfolio.ports import FillFact, LedgerJournal


@dataclass(frozen=True, slots=True)
class Holding:
    """A position with its mark. A mark of 0 says that none is known yet."""

    account: str
    symbol: str
    history: PositionHistory
    mark_price_nanos: int
    mark_time_nanos: int

    @property
    def unrealised_attos(self) -> int:
        return self.history.state.unrealised_attos(self.mark_price_nanos)


class PortfolioEngine:
    """The ledger, its marks, and those who want to hear of changes.

    Args:
        journal: keeps what is entered.
        patience_seconds: how long an adjustment of a symbol waits for the instruments, which come from
            market_data soon after the start.
    """

    def __init__(self, journal: LedgerJournal, patience_seconds: float = 2.0) -> None:
        self.ledger = Ledger()
        self.sequence = 0
        self.orders_sequence = 0
        self.instruments: dict[str, Instrument] = {}
        self._instruments_told = asyncio.Event()
        self._patience_seconds = patience_seconds
        self._journal = journal
        self._marks: dict[str, Quote] = {}
        self._market_now_nanos = 0
        self._listeners: list[Callable[[Key], None]] = []
        self._recording = asyncio.Lock()
        self._begun = 0
        self._ended = 0

    async def restore(self) -> None:
        """Take in again all that was saved after what the ledger holds: nothing, or a snapshot."""
        async for sequence, fact in self._journal.load(self.sequence):
            self._enter([fact], sequence)
        self.orders_sequence = self._journal.orders_sequence

    # -- Facts ------------------------------------------------------------------------------------

    async def take_fills(self, facts: Sequence[FillFact], orders_sequence: int) -> None:
        """Take in what order events up to a sequence say of fills; those taken in before are skipped."""
        new = [fact for fact in facts if fact.sequence > self.orders_sequence]
        if new:
            sequence = await self._journal.save_fills(new, max(orders_sequence, self.orders_sequence))
            self._tell(self._enter(new, sequence))
        self.orders_sequence = max(self.orders_sequence, orders_sequence)

    async def save_sequence(self) -> None:
        """Keep how far the order events were read, when no fill has done so."""
        if self.orders_sequence > self._journal.orders_sequence:
            await self._journal.save_fills((), self.orders_sequence)

    @property
    def is_whole(self) -> bool:
        """Whether no fact broke off while it was entered."""
        return self._begun == self._ended

    def _enter(self, facts: Sequence[FillFact | Adjustment], sequence: int) -> list[Key]:
        """Enter facts that the journal holds up to `sequence`, and return what they changed."""
        self._begun += 1
        changed: list[Key] = []
        for fact in facts:
            changed += self.ledger.adjust(fact) if isinstance(fact, Adjustment) else self._apply(fact)
        self.sequence = sequence
        self._ended += 1
        return changed

    def _apply(self, fact: FillFact) -> list[Key]:
        if fact.corrected is not None:
            return self.ledger.correct(fact.fill, fact.corrected, fact.sequence)
        ledger = self.ledger
        changed = ledger.bust(fact.fill) if fact.is_bust else ledger.book(fact.fill, fact.sequence)
        return [] if changed is None else [changed]

    def take_instruments(self, instruments: Iterable[Instrument]) -> None:
        """Take in all that market_data knows."""
        self.instruments.update((instrument.symbol, instrument) for instrument in instruments)
        self._instruments_told.set()

    async def record_adjustment(self, request_id: str, asked: Adjustment) -> Adjustment:
        """Record an adjustment once, and return it with its sequence.

        Raises NotFound SYMBOL_UNKNOWN, and Unavailable PEER_UNAVAILABLE while the instruments, and so
        the currency of an opening position, are not known yet. Raises InvalidInput FIELD_INVALID for cash of
        a symbol in another currency than the symbol trades in, VALUE_OUT_OF_RANGE for a time that the
        market has not reached.
        """
        if asked.symbol and self._journal.first_answer(request_id, asked) is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._patience_seconds):
                    await self._instruments_told.wait()
        async with self._recording:
            first = self._journal.first_answer(request_id, asked)
            if first is not None:
                return first
            adjustment = await self._journal.save_adjustment(request_id, asked, self._complete(asked))
            self._tell(self._enter([adjustment], adjustment.sequence))
            return adjustment

    def _complete(self, asked: Adjustment) -> Adjustment:
        """Return the adjustment with the instrument's currency, which an opening has to carry."""
        if self._market_now_nanos and asked.effective_time_nanos > self._market_now_nanos:
            # It would count at once, here and in risk: a split of tomorrow doubles no position of today.
            early_seconds = (asked.effective_time_nanos - self._market_now_nanos) / NANO
            raise InvalidInput(
                "VALUE_OUT_OF_RANGE",
                f"it takes effect {early_seconds:,.0f} s after the market's time: record it then",
                field="effective_time_nanos",
            )
        if not asked.symbol:
            return asked
        if not self._instruments_told.is_set():
            raise Unavailable("PEER_UNAVAILABLE", "market_data has not told the instruments yet")
        instrument = self.instruments.get(asked.symbol)
        if instrument is None:
            raise NotFound("SYMBOL_UNKNOWN", f"no instrument {asked.symbol}", symbol=asked.symbol)
        if asked.kind is AdjustmentKind.OPENING and asked.cash is None:
            return replace(asked, cash=Money(instrument.currency_code))
        if asked.cash is not None and asked.cash.currency_code != instrument.currency_code:
            raise InvalidInput(
                "FIELD_INVALID",
                f"{asked.symbol} trades in {instrument.currency_code}, not in {asked.cash.currency_code}",
                field="cash",
            )
        return asked

    # -- Marks ------------------------------------------------------------------------------------

    def take_quotes(self, quotes: Iterable[Quote]) -> None:
        """Mark positions to the mid, or to the last eligible price where a side is missing."""
        moved: set[str] = set()
        for quote in quotes:
            before = self._marks.get(quote.symbol)
            self._market_now_nanos = max(self._market_now_nanos, quote.event_time_nanos)
            if not quote.reference_price_nanos:
                continue
            self._marks[quote.symbol] = quote
            if before is None or before.reference_price_nanos != quote.reference_price_nanos:
                moved.add(quote.symbol)
        if self._listeners:
            self._tell(
                key
                for key, history in self.ledger.positions.items()
                if key[1] in moved and history.state.quantity_nanos
            )

    # -- Views ------------------------------------------------------------------------------------

    def holding(self, key: Key) -> Holding | None:
        """Return one position; None when there never was one."""
        history = self.ledger.positions.get(key)
        if history is None:
            return None
        mark = self._marks.get(key[1])
        if mark is None:
            return Holding(*key, history, 0, 0)
        return Holding(*key, history, mark.reference_price_nanos, mark.event_time_nanos)

    def holdings(self, account: str) -> list[Holding]:
        """Return the positions of an account by symbol, or with "" of all by account and symbol."""
        return self.page(account, ("", ""), len(self.ledger.positions))

    def page(self, account: str, after: Key, count: int) -> list[Holding]:
        """Return up to `count` positions by account and symbol, after a key."""
        keys = sorted(key for key in self.ledger.positions if key > after and account in ("", key[0]))
        found = (self.holding(key) for key in keys[:count])
        return [holding for holding in found if holding is not None]

    def listen(self, listener: Callable[[Key], None]) -> Callable[[], None]:
        """Call `listener` with the key of whatever changes; return how to stop that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _tell(self, keys: Iterable[Key]) -> None:
        for key in keys:
            for listener in list(self._listeners):
                listener(key)
