"""Write the tape to its store as it grows, a little behind, and never in the feed's way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from servers.market_data.domain import Prints
from servers.market_data.feed import FeedLog
from servers.market_data.market import Market
from servers.market_data.ports import TapeStore
from servers.market_data.subscriptions import Signal
from servers.model.instrument import Instrument


class TapeRecorder:
    """Keeps the store as long as the tape.

    A disk that takes nothing costs no print: the tape stands in memory and can be refilled from the
    venue, so the recorder says so once, goes on, and writes what is missing when the disk is back.

    Args:
        interval_seconds: how long prints gather before they are written and synced.
        instrument_for: gives reference data of a symbol that is in the store and in no instruments file.
    """

    def __init__(
        self,
        market: Market,
        store: TapeStore,
        *,
        interval_seconds: float,
        log: FeedLog,
        instrument_for: Callable[[str], Instrument],
    ) -> None:
        self._market = market
        self._store = store
        self._interval_seconds = interval_seconds
        self._log = log
        self._instrument_for = instrument_for
        self._grown = Signal()
        self._symbols: set[str] = set()
        self._stored: dict[str, int] = {}
        self.is_failing = False
        self.stored_count = 0

    def restore(self) -> int:
        """Put what the store keeps on the tape; return the number of prints. Before `run`."""
        count = 0
        for (open_nanos, close_nanos), prints in self._store.load():
            if prints.symbol not in self._market.tapes:
                self._market.add_instrument(self._instrument_for(prints.symbol))
            self._market.restore_session(prints.symbol, open_nanos, close_nanos)
            count += self._market.apply(prints)
            self._stored[prints.symbol] = prints.last_sequence
        return count

    def mark(self, symbol: str) -> None:
        """Note that a symbol's tape has grown."""
        self._symbols.add(symbol)
        self._grown.set()

    async def start_over(self) -> None:
        """Let go of everything: the tape that was kept is another venue's."""
        self._stored.clear()
        self._symbols.update(self._market.tapes)
        await self._store.clear()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._grown.wait()
            await asyncio.sleep(self._interval_seconds)
            await self.flush()

    async def flush(self) -> None:
        """Write and sync what has been printed since the last time."""
        symbols, self._symbols = sorted(self._symbols), set()
        runs: dict[tuple[int, int], list[Prints]] = {}
        reached: dict[str, int] = {}
        for symbol in symbols:
            tape = self._market.tapes[symbol]
            reached[symbol] = tape.last_sequence
            read = tape.read(self._stored.get(symbol, 0), tape.last_sequence)
            runs.setdefault(self._market.session(symbol), []).extend(read)
        try:
            for session, kept in runs.items():
                await self._store.append(session, kept)
                self.stored_count += sum(prints.count for prints in kept)
        except OSError as error:
            self._symbols.update(symbols)
            if not self.is_failing:
                self._log.warning("the tape cannot be written; it stands in memory alone", detail=str(error))
            self.is_failing = True
            return
        self.is_failing = False
        self._stored.update(reached)

    async def close(self) -> None:
        """Write the rest and close the store."""
        await self.flush()
        await self._store.close()
