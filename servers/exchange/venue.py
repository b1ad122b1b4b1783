"""The venue's session: it moves market time, changes phases, and tells subscribers what happened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any, Protocol

from servers.exchange.clock import VenueClock
from servers.exchange.engine import ExchangeEngine
from servers.exchange.ports import Level, Market, QuoteColumns
from servers.exchange.session import PhaseChange, phase_at, phases_of
from servers.exchange.tape import Prints, TapeFile
from servers.model.calendar import Session
from servers.model.clock import NANOS_PER_SECOND, Clock
from servers.model.errors import FailedPrecondition, NotFound
from servers.model.market import MarketPhase, MarketTime, TradingStatus

HEARTBEAT_NANOS = 50_000_000
DEPTH_NANOS = 100_000_000
DEPTH_LEVELS = 10
LEAST_CHUNK_NANOS = 2 * NANOS_PER_SECOND
CHUNK_WALL_SECONDS = 0.01
"""Market time goes in pieces of what passes in so much wall time, or of two seconds if that is more."""
RESERVED_WALL_SECONDS = 0.4
MIN_RESERVED_SECONDS = 5.0


class SessionSource(Protocol):
    """Which sessions the venue holds, and the markets of each."""

    async def first(self, kept: Mapping[str, Any] | None) -> tuple[Session, dict[str, Market]]:
        """Return the session to begin with, or to go on with after a restart, and its markets."""
        ...

    async def following(
        self, session: Session, markets: Mapping[str, Market]
    ) -> tuple[Session, dict[str, Market]] | None:
        """Return the next session and its markets; None when there is none."""
        ...


class VenueLog(Protocol):
    """What the venue keeps beside orders."""

    async def keep_clock(self, state: dict[str, Any]) -> None:
        """Keep the clock and prices."""
        ...

    async def wait_for(self, sequence: int) -> None:
        """Return when a report is committed."""
        ...


class Publisher(Protocol):
    """Where market data goes."""

    @property
    def wants_depth(self) -> bool:
        """Whether anybody reads depth."""
        ...

    def prints(self, prints: Prints) -> None: ...
    def quotes(self, symbol: str, columns: QuoteColumns) -> None: ...
    def depth(self, symbol: str, bids: list[Level], asks: list[Level], time_nanos: int) -> None: ...
    def status(self, status: TradingStatus) -> None: ...
    def time(self, time: MarketTime) -> None: ...
    def flush(self) -> None:
        """Send what was given since the last time, in order."""
        ...


class Venue:
    """One venue with one calendar. `run` is its only mover of time."""

    def __init__(
        self,
        engine: ExchangeEngine,
        source: SessionSource,
        clock: VenueClock,
        log: VenueLog,
        publisher: Publisher,
        wall_clock: Clock,
        *,
        pre_open_seconds: float,
        closing_seconds: float,
        reopening_seconds: float,
        tape_file: Callable[[str], TapeFile] | None = None,
        on_session_end: Callable[[Session], None] = lambda _session: None,
        on_pacer_dropped: Callable[[str], None] = lambda _name: None,
    ) -> None:
        self.engine = engine
        self.clock = clock
        self.statuses: dict[str, TradingStatus] = {}
        self.session: Session
        self.published_nanos = 0
        self.pacers_dropped = 0
        self._source = source
        self._log = log
        self._publisher = publisher
        self._wall = wall_clock
        self._pre_open_seconds = pre_open_seconds
        self._closing_seconds = closing_seconds
        self._reopening_nanos = round(reopening_seconds * NANOS_PER_SECOND)
        self._make_tape_file = tape_file
        self._tape_files: dict[str, TapeFile] = {}
        self._on_session_end = on_session_end
        self._on_pacer_dropped = on_pacer_dropped
        self._plan: tuple[PhaseChange, ...] = ()
        self._next_change = 0
        self._reopenings: dict[str, int] = {}
        self._published: dict[str, int] = {}
        self._reserved_nanos = 0
        self._last_heartbeat = 0
        self._last_depth = 0
        self._wake = asyncio.Event()
        self._is_finished = False
        self._is_status_new = False

    # -- start
    async def start(self, kept: dict[str, Any] | None) -> None:
        """Begin, or go on from what was kept. Orders that worked before a restart are cancelled."""
        self.session, self.engine.markets = await self._source.first(kept)
        self._plan = phases_of(self.session, self._pre_open_seconds, self._closing_seconds)
        time = self._plan[0].time_nanos
        if kept is not None and kept["session"]["date"] == self.session.date:
            time = max(int(kept["time_nanos"]), time)
            self.clock.is_held = bool(kept["held"])
            await self._go_on(kept, time)
        else:
            if kept is not None:
                time = max(int(kept["time_nanos"]), time)
            await self._begin(time)

    async def _begin(self, time: int) -> None:
        session = self.session
        self.clock.jump(time)
        self._next_change = 0
        self._reopenings.clear()
        self.engine.phases = dict.fromkeys(self.engine.markets, MarketPhase.CLOSED)
        for symbol, market in self.engine.markets.items():
            self._published[symbol] = market.tape.first_sequence - 1
            if self._make_tape_file is not None:
                file = self._tape_files.setdefault(symbol, self._make_tape_file(symbol))
                file.begin(market.tape, session.open_time_nanos)
            market.begin_session(session.open_time_nanos, session.close_time_nanos)
        await self._reserve(time)
        await self._step(time)
        await self.engine.begin_session()

    async def _go_on(self, kept: Mapping[str, Any], time: int) -> None:
        self.clock.jump(time)
        self.engine.now_nanos = time
        await self.engine.cancel_all("VENUE_RESTARTED")
        phase = phase_at(self._plan, time)
        self._next_change = sum(change.time_nanos <= time for change in self._plan)
        for symbol, market in self.engine.markets.items():
            if self._make_tape_file is not None:
                market.tape.first_sequence = int(kept["sequences"].get(symbol, 0)) + 1
                file = self._tape_files[symbol] = self._make_tape_file(symbol)
                file.load(market.tape, self.session.open_time_nanos)
            is_halted = symbol in kept["halted"] and phase is MarketPhase.CONTINUOUS
            now = MarketPhase.HALTED if is_halted else phase
            market.resume(self.session.open_time_nanos, self.session.close_time_nanos, time, now)
            self.engine.phases[symbol] = now
            sequence = int(kept["status_sequences"].get(symbol, 0)) + 1
            self.statuses[symbol] = self._status(symbol, now, time, "", sequence)
            self._published[symbol] = market.tape.last_sequence
        await self._reserve(time)
        await self._tell(time)

    # -- time
    async def run(self) -> None:
        """Move market time until cancelled."""
        while True:
            wall = self._wall.now_nanos()
            for pacer in self.clock.drop_silent(wall):
                self.pacers_dropped += 1
                self._on_pacer_dropped(pacer.name)
            allowed = self.clock.allowed_nanos(wall)
            target = min(allowed, self.clock.now_nanos + self._chunk_nanos(), self._next_boundary())
            is_running = not self._is_finished and not self.clock.is_held
            if is_running and (target > self.clock.now_nanos or self._next_boundary() <= target):
                await self._step(target)
                self.clock.advance(target, wall - round((allowed - target) / self.clock.speed))
                if self._next_change == len(self._plan):
                    await self._next_session()
            if self._wall.now_nanos() - self._last_heartbeat >= HEARTBEAT_NANOS:
                self._say_time()
                self._publisher.flush()
            behind = allowed - self.clock.now_nanos
            await self._pause(0.0 if behind > 0 and not self._is_finished else self._tick())

    def wake(self) -> None:
        """Look again at once: the session was controlled."""
        self._wake.set()

    def _chunk_nanos(self) -> int:
        return max(round(self.clock.speed * CHUNK_WALL_SECONDS * NANOS_PER_SECOND), LEAST_CHUNK_NANOS)

    def _tick(self) -> float:
        return 0.01 if self.clock.speed >= 20 else 0.04

    async def _pause(self, seconds: float) -> None:
        if seconds == 0.0:
            await asyncio.sleep(0)
            return
        self._wake.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    def _next_boundary(self) -> int:
        times = list(self._reopenings.values())
        if self._next_change < len(self._plan):
            times.append(self._plan[self._next_change].time_nanos)
        return min(times, default=2**63 - 1)

    async def _step(self, target: int) -> None:
        """Let everything happen up to `target`, phase changes at it included, and tell of it."""
        if target > self._reserved_nanos:
            await self._reserve(target)
        for market in self.engine.markets.values():
            market.advance(target)
        self.clock.now_nanos = target
        await self.engine.collect(target)
        await self._tell(target)
        while self._next_change < len(self._plan) and self._plan[self._next_change].time_nanos <= target:
            change = self._plan[self._next_change]
            self._next_change += 1
            for symbol in self.engine.markets:
                is_halted = self.engine.phases[symbol] is MarketPhase.HALTED
                if not is_halted or change.phase is MarketPhase.CLOSED:
                    self._enter(symbol, change.phase)
            if change.phase is MarketPhase.CLOSING_AUCTION:
                self._reopenings.clear()
            await self.engine.collect(target)
            if change.phase is MarketPhase.CLOSED:
                await self.engine.end_session()
            await self._tell(target)
        for symbol in [symbol for symbol, time in self._reopenings.items() if time <= target]:
            del self._reopenings[symbol]
            self._enter(symbol, MarketPhase.CONTINUOUS)
            await self.engine.collect(target)
            await self._tell(target)

    async def _next_session(self) -> None:
        self._on_session_end(self.session)
        last = max((int(market.tape.rows()[-1, 0]) for market in self.engine.markets.values()
                    if len(market.tape.rows())), default=0)  # fmt: skip
        self.clock.jump(last)
        await self._tell(self.clock.now_nanos)
        following = await self._source.following(self.session, self.engine.markets)
        if following is None:
            self._is_finished = True
            return
        self.session, self.engine.markets = following
        self._plan = phases_of(self.session, self._pre_open_seconds, self._closing_seconds)
        await self._begin(max(self._plan[0].time_nanos, self.clock.now_nanos))

    def _enter(self, symbol: str, phase: MarketPhase, reason: str = "") -> None:
        now = self.clock.now_nanos
        market = self.engine.markets[symbol]
        market.enter_phase(phase, now)
        market.advance(now)
        self.engine.phases[symbol] = phase
        before = self.statuses.get(symbol)
        status = self._status(symbol, phase, now, reason, before.sequence + 1 if before else 1)
        self.statuses[symbol] = status
        self._is_status_new = True
        self._tell_prints(symbol, market)
        self._publisher.status(status)

    def _status(
        self, symbol: str, phase: MarketPhase, time: int, reason: str, sequence: int
    ) -> TradingStatus:
        return TradingStatus(
            symbol, phase, time, reason, self.session.open_time_nanos, self.session.close_time_nanos, sequence
        )

    # -- telling
    async def _tell(self, time: int) -> None:
        await self._log.wait_for(self.engine.last_sequence)
        if self._is_status_new:
            self._is_status_new = False
            await self._reserve(time)
        is_depth_due = self._publisher.wants_depth and time >= self._last_depth + DEPTH_NANOS
        for symbol, market in self.engine.markets.items():
            self._tell_prints(symbol, market)
            quotes = market.take_quotes()
            if quotes.length:
                self._publisher.quotes(symbol, quotes)
            if is_depth_due:
                self._publisher.depth(symbol, *market.depth(DEPTH_LEVELS), time)
        if is_depth_due:
            self._last_depth = time
        self.published_nanos = max(time, self.published_nanos)
        self._say_time()
        self._publisher.flush()

    def _tell_prints(self, symbol: str, market: Market) -> None:
        tape = market.tape
        if tape.last_sequence == self._published[symbol]:
            return
        if symbol in self._tape_files:
            self._tape_files[symbol].save(tape)
        for prints in tape.after(self._published[symbol]):
            self._publisher.prints(prints)
        self._published[symbol] = tape.last_sequence

    def _say_time(self) -> None:
        self._last_heartbeat = self._wall.now_nanos()
        self._publisher.time(self.time())

    def time(self) -> MarketTime:
        """Return the clock as subscribers know it."""
        is_held = self.clock.is_held
        return MarketTime(self.published_nanos, 0.0 if is_held else self.clock.speed, is_held)

    def published_sequence(self, symbol: str) -> int:
        """Return the sequence of the last print that went out."""
        return self._published[symbol]

    # -- what outlives the process
    async def _reserve(self, target: int) -> None:
        """Keep a time that market time will not pass before it is kept again; a restart begins there."""
        seconds = max(RESERVED_WALL_SECONDS * self.clock.speed, MIN_RESERVED_SECONDS)
        self._reserved_nanos = target + round(seconds * NANOS_PER_SECOND)
        await self._log.keep_clock(self._state(self._reserved_nanos))

    def _state(self, time: int) -> dict[str, Any]:
        markets = self.engine.markets
        return {
            "session": asdict(self.session),
            "time_nanos": time,
            "held": self.clock.is_held,
            "halted": [s for s, phase in self.engine.phases.items() if phase is MarketPhase.HALTED],
            "sequences": {symbol: market.tape.last_sequence for symbol, market in markets.items()},
            "first_sequences": {symbol: market.tape.first_sequence for symbol, market in markets.items()},
            "status_sequences": {symbol: status.sequence for symbol, status in self.statuses.items()},
            "markets": {symbol: market.state() for symbol, market in markets.items()},
        }

    # -- control
    async def release(self) -> None:
        """Let a held clock run."""
        self.clock.is_held = False
        await self._reserve(self.clock.now_nanos)
        self.wake()

    async def hold(self) -> None:
        """Stop the clock where it is."""
        self.clock.is_held = True
        await self._reserve(self.clock.now_nanos)

    def set_speed(self, speed: float) -> None:
        self.clock.speed = speed
        self.wake()

    async def halt(self, symbol: str, reason: str) -> None:
        """Halt a symbol, all for an empty one.

        Raises FailedPrecondition MARKET_CLOSED out of continuous trading.
        """
        for name in self._chosen(symbol, MarketPhase.CONTINUOUS):
            self._enter(name, MarketPhase.HALTED, reason)
        await self._controlled()

    async def resume(self, symbol: str) -> None:
        """Resume a halted symbol, all for an empty one, through a reopening auction."""
        for name in self._chosen(symbol, MarketPhase.HALTED):
            self._enter(name, MarketPhase.REOPENING_AUCTION)
            self._reopenings[name] = self.clock.now_nanos + self._reopening_nanos
        await self._controlled()

    async def _controlled(self) -> None:
        await self.engine.collect(self.clock.now_nanos)
        await self._tell(self.clock.now_nanos)

    def _chosen(self, symbol: str, phase: MarketPhase) -> Iterable[str]:
        if symbol and symbol not in self.engine.markets:
            raise NotFound("SYMBOL_UNKNOWN", symbol=symbol)
        names = [symbol] if symbol else list(self.engine.markets)
        chosen = [name for name in names if self.engine.phases[name] is phase]
        if not chosen:
            raise FailedPrecondition("MARKET_CLOSED", f"nothing is in phase {phase.name}", phase=phase.name)
        return chosen

    def close(self) -> None:
        """Close the tapes' files."""
        for file in self._tape_files.values():
            file.close()
