"""Follow the venue: refill what was missed, apply what happens, acknowledge what the pacers have done."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from servers.market_data.domain import Acknowledgement, Prints, VenueSession
from servers.market_data.market import Market
from servers.market_data.pacing import Pacers
from servers.market_data.ports import Venue
from servers.market_data.subscriptions import Signal
from servers.model.clock import Clock
from servers.model.errors import TapelineError
from servers.model.market import MarketTime

FIRST_BACKOFF_SECONDS = 0.05
MAX_BACKOFF_SECONDS = 0.5
KEEP_ALIVE_SECONDS = 0.5
"""The venue drops a pacer that is silent for 2 s: it hears from us at least this often."""


class FeedLog(Protocol):
    """Where the feed tells what happened."""

    def info(self, event: str, **fields: object) -> object:
        """Tell something ordinary."""
        ...

    def warning(self, event: str, **fields: object) -> object:
        """Tell something that a person may want to look at."""
        ...


class VenueFeed:
    """The one subscription to the venue, for as long as the server runs.

    Args:
        on_session: called with each session that the venue reports at connection, before its prints.
        on_prints: called with the symbol of each run that is new on the tape.
        on_other_venue: called when a tape that was kept turned out to be of another venue.
    """

    def __init__(
        self,
        venue: Venue,
        market: Market,
        pacers: Pacers,
        *,
        wall_clock: Clock,
        log: FeedLog,
        on_session: Callable[[VenueSession], None] = lambda _session: None,
        on_prints: Callable[[str], None] = lambda _symbol: None,
        on_other_venue: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._venue = venue
        self._market = market
        self._pacers = pacers
        self._wall_clock = wall_clock
        self._log = log
        self._on_session = on_session
        self._on_prints = on_prints
        self._on_other_venue = on_other_venue
        self._changed = Signal()
        self._in_step = asyncio.Event()
        self.reconnect_count = 0
        self.malformed_count = 0
        pacers.on_change = self._changed.set

    @property
    def is_in_step(self) -> bool:
        """Return whether the tape holds all that the venue has printed."""
        return self._in_step.is_set()

    async def wait_in_step(self, timeout_seconds: float) -> bool:
        """Wait until the tape holds all that the venue has printed; False when that takes too long."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._in_step.wait()
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Follow the venue until cancelled, connecting again after every break."""
        pause = FIRST_BACKOFF_SECONDS
        is_told = False
        while True:
            try:
                async for _ in self._follow():
                    pause, is_told = FIRST_BACKOFF_SECONDS, False
            except TapelineError as error:
                if not is_told:
                    self._log.warning("the venue's feed broke", reason=error.reason, detail=error.message)
                    is_told = True
            finally:
                self._in_step.clear()
            self.reconnect_count += 1
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, MAX_BACKOFF_SECONDS)

    async def _follow(self) -> AsyncIterator[None]:
        # Yields after every event of one connection.
        market = self._market
        session = await self._venue.session()
        self._on_session(session)
        for symbol in sorted({status.symbol for status in session.statuses} & set(market.tapes)):
            if not await self._is_same_venue(symbol):
                await self._start_over(symbol)
            await self._refill(symbol)
        market.meet_venue(session)
        resume_after = {symbol: tape.last_sequence for symbol, tape in market.tapes.items()}
        async for event in self._venue.follow(resume_after, self._acknowledgements()):
            if isinstance(event, Prints):
                await self._take(event)
            else:
                market.apply(event)
                if isinstance(event, MarketTime) and not self._in_step.is_set():
                    self._in_step.set()
                    self._log.info("in step with the venue", market_time_nanos=event.event_time_nanos)
            yield

    async def _take(self, prints: Prints) -> None:
        """Put a run on the tape; when prints are missing before it, fetch those first."""
        tape = self._market.tapes.get(prints.symbol)
        if tape is not None and prints.first_sequence <= tape.last_sequence and not tape.agrees_with(prints):
            await self._start_over(prints.symbol)
            await self._refill(prints.symbol, before_sequence=prints.first_sequence)
        elif tape is not None and prints.first_sequence > tape.last_sequence + 1:
            missing_from = tape.last_sequence + 1
            await self._refill(prints.symbol, before_sequence=prints.first_sequence)
            if prints.first_sequence > tape.last_sequence + 1:
                self._log.warning(
                    "prints are missing and the venue does not have them",
                    symbol=prints.symbol,
                    first_sequence=missing_from,
                    last_sequence=prints.first_sequence - 1,
                )
        self._put(prints)

    async def _is_same_venue(self, symbol: str) -> bool:
        """Return whether the venue's tape has our last print, or has nothing to say about it."""
        tape = self._market.tapes[symbol]
        if not len(tape):
            return True
        try:
            for after in (tape.last_sequence - 1, tape.last_sequence):
                async for prints in self._venue.list_trades(symbol, after):
                    return tape.agrees_with(prints)
        except TapelineError as error:
            if error.reason != "SEQUENCE_AHEAD":
                raise
            return False
        return True

    async def _start_over(self, symbol: str) -> None:
        self._log.warning("the tape is not this venue's and starts over", symbol=symbol)
        self._market.clear_tape(symbol)
        if self._on_other_venue is not None:
            await self._on_other_venue()

    async def _refill(self, symbol: str, before_sequence: int | None = None) -> None:
        after = self._market.tapes[symbol].last_sequence
        async for prints in self._venue.list_trades(symbol, after):
            if before_sequence is not None and prints.first_sequence >= before_sequence:
                return
            self._put(prints)

    def _put(self, prints: Prints) -> None:
        try:
            prints.validate()
        except ValueError as error:
            self.malformed_count += 1
            self._log.warning("a malformed run of prints was left out", detail=str(error))
            return
        if self._market.apply(prints):
            self._on_prints(prints.symbol)

    async def _acknowledgements(self) -> AsyncIterator[Acknowledgement]:
        said: Acknowledgement | None = None
        while True:
            for pacer in self._pacers.drop_silent(self._wall_clock.now_nanos()):
                self._log.warning("a pacer is silent and no longer holds the venue", subscriber=pacer.name)
            now = self._pacers.acknowledgement(self._market.time.event_time_nanos)
            if said is None or now != said or not now.is_idle:
                said = now
                yield now
            try:
                async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                continue
