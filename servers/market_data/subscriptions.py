"""What a stream's reader is owed, between the market that writes and the gRPC call that reads.

All of it runs on one event loop. A `MarketSubscription` queues events in the venue's order; a
`TradeCursor` keeps only its place on the tape, so history and live prints are one thing; a
`QuoteSubscription` keeps only which quotes have changed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator

from servers.market_data.domain import MAX_BATCH_PRINTS, Prints
from servers.market_data.tape import SymbolTape
from servers.model.errors import OutOfRange
from servers.model.market import MarketTime, Quote, TradingStatus

MarketEvent = Prints | Quote | TradingStatus | MarketTime


class Signal:
    """Wake one reader; a set signal stays set until the reader takes it."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """Wake the reader."""
        self._event.set()

    async def wait(self) -> None:
        """Return when there is something to read, and forget that there was."""
        await self._event.wait()
        self._event.clear()


class MarketSubscription:
    """Trades, quotes, phases and market time of some symbols, in one order, nothing dropped."""

    def __init__(self, symbols: Iterable[str], limit_prints: int) -> None:
        self.symbols = set(symbols)
        self.signal = Signal()
        self._limit_prints = limit_prints
        self._limit_events = max(1_000, limit_prints // 10)
        self._events: deque[MarketEvent] = deque()
        self._prints = 0
        self._is_cut_off = False
        self._is_void = False

    def push(self, event: MarketEvent) -> None:
        """Queue one event. A reader that is too far behind is cut off: it keeps nothing from here on."""
        if self._is_cut_off or self._is_void:
            return
        if isinstance(event, Prints):
            self._prints += event.count
        self._events.append(event)
        if self._prints > self._limit_prints or len(self._events) > self._limit_events:
            self._is_cut_off = True
            self._events.clear()
        self.signal.set()

    def void(self) -> None:
        """Cut the reader off: a tape that it reads has been started over."""
        self._is_void = True
        self._events.clear()
        self.signal.set()

    def take(self) -> list[MarketEvent]:
        """Return what has been queued.

        Raises OutOfRange: STREAM_TOO_SLOW when the reader fell behind, SEQUENCE_EXPIRED when a tape was
        started over.
        """
        if self._is_void:
            raise started_over()
        if self._is_cut_off:
            raise too_slow(self._limit_prints)
        events = list(self._events)
        self._events.clear()
        self._prints = 0
        return events


class TradeCursor:
    """A reader's place on one symbol's tape."""

    def __init__(self, tape: SymbolTape, after_sequence: int | None, limit_prints: int) -> None:
        self._tape = tape
        self._sequence = tape.last_sequence if after_sequence is None else after_sequence
        if self._sequence == 0:  # everything: from the oldest print that is kept
            self._sequence = tape.trimmed_sequence
        self._limit_prints = limit_prints
        self._is_live = False
        self._generation = tape.generation

    def take(self) -> Iterator[Prints]:
        """Yield what has been printed since, in runs of at most 1,000, up to what stands on the tape now.

        A reader is catching up at first and may be any distance behind; once it was level with the tape
        it is live, and one that then falls further behind than the limit gets OutOfRange STREAM_TOO_SLOW.
        """
        tape = self._tape
        if tape.generation != self._generation:
            raise started_over()
        end = tape.last_sequence
        if self._sequence < tape.trimmed_sequence:
            raise too_slow(self._limit_prints) if self._is_live else expired(tape)
        row = tape.row_after(self._sequence)
        if self._is_live and len(tape) - row > self._limit_prints:
            raise too_slow(self._limit_prints)
        while self._sequence < end and row < len(tape):
            prints = tape.slice(row, len(tape), MAX_BATCH_PRINTS)
            self._sequence = prints.last_sequence
            yield prints
            if tape.generation != self._generation:
                raise started_over()
            if self._sequence < tape.trimmed_sequence:
                raise too_slow(self._limit_prints)
            row = tape.row_after(self._sequence)
        self._is_live = True


class QuoteSubscription:
    """Which symbols' quotes have changed since the reader last looked."""

    def __init__(self, symbols: Iterable[str]) -> None:
        self.symbols = frozenset(symbols)
        self.signal = Signal()
        self.conflated_count = 0
        self._changed: set[str] = set()
        self._seen: dict[str, int] = {}

    def mark(self, symbol: str) -> None:
        """Note that a quote has changed."""
        self._changed.add(symbol)

    def wake(self) -> None:
        """Let the reader look, if anything has changed."""
        self.signal.set()

    def take(self, update_counts: dict[str, int]) -> list[str]:
        """Return the symbols that have changed, and count the updates that nobody will see."""
        changed = sorted(self._changed)
        self._changed.clear()
        for symbol in changed:
            count = update_counts.get(symbol, 0)
            self.conflated_count += max(0, count - self._seen.get(symbol, count - 1) - 1)
            self._seen[symbol] = count
        return changed


def too_slow(limit_prints: int) -> OutOfRange:
    """Return the refusal of a reader that fell behind."""
    return OutOfRange("STREAM_TOO_SLOW", limit_prints=limit_prints)


def started_over() -> OutOfRange:
    """Return the refusal of a place on a tape that has been started over."""
    return OutOfRange("SEQUENCE_EXPIRED", "the venue's sequences have started over: begin anew")


def expired(tape: SymbolTape) -> OutOfRange:
    """Return the refusal of a place on the tape that is no longer kept."""
    return OutOfRange(
        "SEQUENCE_EXPIRED",
        f"{tape.symbol}: prints up to sequence {tape.trimmed_sequence} are no longer kept",
        symbol=tape.symbol,
        oldest_sequence=tape.trimmed_sequence + 1,
    )
