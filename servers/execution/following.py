"""The loops that keep parents alive: the market, the facts of orders, the kill switch, and a tick.

The market paces: time is acknowledged when everything up to it has been worked through and the children
it led to are acknowledged and, where they cross, final. So results do not depend on how fast this process
runs; while a peer is away, the last acknowledgement is repeated and the venue waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass

import structlog

from servers.execution.booking import FactBooking
from servers.execution.conducting import Conductor, Sending
from servers.execution.domain.tape import Prints
from servers.execution.engine import ExecutionEngine
from servers.execution.ports import Market, MarketFeed, MarketMessage, Orders, Risk
from servers.model.errors import AlreadyExists, FailedPrecondition, InvalidInput, NotFound, TapelineError
from servers.model.market import MarketTime, Quote, TradingStatus

_LEAST_PATIENCE_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Timing:
    """Wall-clock times of the loops, in seconds."""

    settle_seconds: float = 1.0
    repeat_acknowledgement_seconds: float = 0.5
    silent_tick_seconds: float = 1.0
    first_pause_seconds: float = 0.05
    longest_pause_seconds: float = 0.5
    subscribed_seconds: float = 2.0


class Follower:
    """Runs the loops around one engine. A loop that dies takes the process down through `fail`."""

    def __init__(
        self,
        engine: ExecutionEngine,
        conductor: Conductor,
        booking: FactBooking,
        *,
        market: Market,
        orders: Orders,
        risk: Risk,
        log: structlog.typing.FilteringBoundLogger,
        fail: Callable[[BaseException], None],
        timing: Timing = Timing(),  # frozen
    ) -> None:
        self._engine = engine
        self._book = engine.book
        self._conductor = conductor
        self._booking = booking
        self._market = market
        self._orders = orders
        self._risk = risk
        self._log = log
        self._fail = fail
        self._timing = timing
        self._tasks: list[asyncio.Task[None]] = []
        self._feed: MarketFeed | None = None
        self._subscribed: set[str] = set()
        self._worked_through_nanos = 0
        self._heard = 0.0
        self._patience_seconds = timing.settle_seconds
        self._progressed = asyncio.Condition()

    def start(self) -> None:
        """Start the loops."""
        for name, loop in (
            ("follow market", self._follow_market),
            ("follow orders", self._follow_orders),
            ("follow risk", self._follow_risk),
            ("tick", self._tick_when_silent),
        ):
            self._begin(name, loop())

    async def stop(self) -> None:
        """End the loops; parents stay as they are in the journal."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._feed is not None:
            self._feed.close()

    async def subscribed(self, symbol: str) -> bool:
        """Wait, for a bounded time, until the market of `symbol` is followed. Return whether it is."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._timing.subscribed_seconds
        async with self._progressed:
            while loop.time() < ends:
                tape = self._book.tapes.get(symbol)
                if tape is None or (symbol in self._subscribed and tape.phase):
                    return tape is not None
                try:
                    async with asyncio.timeout_at(ends):
                        await self._progressed.wait()
                except TimeoutError:
                    return False
        return False

    async def tick(self) -> None:
        """Let parents stop, cancel or end now, without waiting for the market; nothing new is sent."""
        sendings = await self._conductor.on_time(MarketTime(self._book.now_nanos), may_send=False)
        for sending in sendings:
            try:
                await self._conductor.send(sending)
            except TapelineError as error:
                self._log.info("cancel not sent", reason=error.reason)

    # -- The market ---------------------------------------------------------------------------------

    async def _follow_market(self) -> None:
        pause_seconds = self._timing.first_pause_seconds
        while True:
            if not self._book.symbols and not self._book.unjoined:
                self._book.symbols_changed.clear()
                await self._book.symbols_changed.wait()
            try:
                await self._engine.rejoin()
                async with asyncio.TaskGroup() as group:
                    renewing = group.create_task(self._renew_subscription())
                    await self._follow_feed()
                    renewing.cancel()
            except* TapelineError as errors:
                reason = errors.exceptions[0]
                self._log.info("market data ended", reason=str(reason))
            self._feed = None
            self._subscribed.clear()
            self._book.forget_market()
            if self._heard:
                pause_seconds = self._timing.first_pause_seconds
                self._heard = 0.0
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, self._timing.longest_pause_seconds)

    async def _follow_feed(self) -> None:
        feed = self._feed = self._market.feed()
        try:
            self._book.symbols_changed.clear()
            tapes = self._book.tapes
            feed.subscribe({symbol: tapes[symbol].last_sequence or None for symbol in self._book.symbols})
            self._subscribed.update(self._book.symbols)
            feed.acknowledge(self._worked_through_nanos, is_idle=self._book.is_idle)
            async for message in feed.messages():
                self._heard = asyncio.get_running_loop().time()
                await self._take(feed, message)
        finally:
            feed.close()

    async def _renew_subscription(self) -> None:
        while True:
            await self._book.symbols_changed.wait()
            self._book.symbols_changed.clear()
            added = set(self._book.symbols) - self._subscribed
            if added and self._feed is not None:
                self._subscribed.update(added)
                self._feed.subscribe(dict.fromkeys(self._subscribed))

    async def _take(self, feed: MarketFeed, message: MarketMessage) -> None:
        conductor = self._conductor
        match message:
            case Prints():
                if not conductor.on_prints(message):
                    await self._refill(message.symbol)
                    conductor.on_prints(message)
            case Quote():
                conductor.on_quote(message)
            case TradingStatus():
                conductor.on_status(message)
            case MarketTime():
                sendings = await conductor.on_time(message)
                if sendings:
                    await self._deliver(sendings)
                self._worked_through_nanos = message.event_time_nanos
                feed.acknowledge(message.event_time_nanos, is_idle=self._book.is_idle)
                async with self._progressed:
                    self._progressed.notify_all()

    async def _refill(self, symbol: str) -> None:
        tape = self._book.tapes[symbol]
        self._log.info("prints missing", symbol=symbol, after_sequence=tape.last_sequence)
        async for prints in self._market.trades(symbol, tape.last_sequence, 0):
            self._conductor.on_prints(prints)

    async def _deliver(self, sendings: Sequence[Sending]) -> None:
        await asyncio.gather(*(self._send_surely(sending) for sending in sendings))
        # A venue that answers crossing children in market time cannot answer while it waits for us: what is
        # not final soon counts as working, and patience shrinks until the venue answers at once again.
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._patience_seconds
        while not all(self._conductor.is_settled(sending) for sending in sendings):
            self._booking.arrived.clear()
            try:
                async with asyncio.timeout_at(ends):
                    await self._booking.arrived.wait()
            except TimeoutError:
                self._patience_seconds = max(self._patience_seconds / 2, _LEAST_PATIENCE_SECONDS)
                return
        self._patience_seconds = min(2 * self._patience_seconds, self._timing.settle_seconds)

    async def _send_surely(self, sending: Sending) -> None:
        execution_id = sending.parent.execution_id
        pause_seconds = self._timing.first_pause_seconds
        while True:
            try:
                await self._conductor.send(sending)
            except (InvalidInput, AlreadyExists, NotFound, FailedPrecondition) as error:
                self._log.error("children refused", reason=error.reason, execution_id=execution_id)
                await self._booking.refuse_children(execution_id, sending.children, error)
                return
            except TapelineError as error:
                # The outcome is not known: the same children again, under the same ids.
                self._log.info("orders away", reason=error.reason, execution_id=execution_id)
            else:
                return
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, self._timing.longest_pause_seconds)

    async def _tick_when_silent(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._timing.repeat_acknowledgement_seconds)
            feed = self._feed
            if feed is not None and self._worked_through_nanos:
                feed.acknowledge(self._worked_through_nanos, is_idle=self._book.is_idle)
            if not self._book.is_idle and loop.time() - self._heard > self._timing.silent_tick_seconds:
                await self.tick()

    # -- Orders and risk ----------------------------------------------------------------------------

    async def _follow_orders(self) -> None:
        is_resent = False
        pause_seconds = self._timing.first_pause_seconds
        while True:
            try:
                async for page in self._orders.facts(self._book.orders_sequence):
                    pause_seconds = self._timing.first_pause_seconds
                    await self._booking.on_facts(page)
                    if not is_resent:
                        is_resent = True
                        self._begin("resend", self._resend())  # beside the facts, which must not wait
            except TapelineError as error:
                self._log.info("order events ended", reason=error.reason)
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, self._timing.longest_pause_seconds)

    async def _resend(self) -> None:
        await asyncio.gather(*map(self._send_surely, self._conductor.unfinished()))

    async def _follow_risk(self) -> None:
        async for switches in self._risk.kill_switches():
            await self._engine.on_kill_switches(switches)
            if not self._book.is_idle:
                await self.tick()

    def _begin(self, name: str, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)
