"""A practice market in memory: first-class stand-ins for market data, orders and risk.

`PracticeVenue` is a one-symbol market that moves when it is told to: prints and quotes come from a function
of the step, resting children fill when enough trades through them, crossing children fill at the far touch
up to what it shows. `PracticeMarket`, `PracticeOrders` and `PracticeRisk` show it through execution's ports.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from native.slippage import round_half_even
from servers.execution.domain.events import Child
from servers.execution.domain.parameters import Parameters, SessionTimes
from servers.execution.domain.quality import PastDay
from servers.execution.domain.tape import Prints
from servers.execution.ports import (
    MarketMessage,
    OrderFact,
    OrderFactKind,
    OrderFacts,
    TapeFacts,
    VolumeCurve,
)
from servers.model.clock import NANOS_PER_SECOND
from servers.model.errors import FailedPrecondition, NotFound, Unavailable
from servers.model.instrument import Instrument, TickBand
from servers.model.kill_switch import KillSwitches
from servers.model.market import MarketPhase, MarketTime, Quote, TradeFlag, TradingStatus
from servers.model.nanos import NANO, Money
from servers.model.order import Fill, Liquidity, OrderState, OrderType, Rejection, Side, TimeInForce

TICK = NANO // 100
OPEN_NANOS = 1_700_000_000 * NANOS_PER_SECOND
DAY_SECONDS = 23_400


def practice_instrument(symbol: str = "ACME") -> Instrument:
    """Return a listed instrument with a tick of 0.01 and a lot of one share."""
    return Instrument(symbol, "PRACTICE", "USD", (TickBand(0, TICK),), NANO, NANO, "XNYS")


@dataclass(slots=True)
class Step:
    """What happens in one step of the market: prints at the touch, then the touch.

    Attributes:
        volume: shares that trade, half of them at each side of the spread.
        mid_ticks: mid in half-open ticks; the touch is one tick around it.
        depth: shares shown at each touch.
    """

    volume: int = 1_000
    mid_ticks: int = 3_000
    depth: int = 2_000
    phase: MarketPhase = MarketPhase.CONTINUOUS


@dataclass(slots=True)
class _Resting:
    child: Child
    account: str
    execution_id: str
    filled: int = 0

    @property
    def leaves(self) -> int:
        return self.child.terms.quantity_nanos - self.filled


@dataclass
class PracticeVenue:
    """A market of one symbol on a clock of its own.

    Args:
        script: what happens in the step that begins at a market time.
        step_nanos: length of a step in market nanoseconds.
        own_on_tape: whether own fills print.
        is_silent: send nothing but the time.
    """

    script: Callable[[int], Step]
    symbol: str = "ACME"
    step_nanos: int = NANOS_PER_SECOND
    own_on_tape: bool = True
    now_nanos: int = OPEN_NANOS - 60 * NANOS_PER_SECOND
    prints: list[Prints] = field(default_factory=list)
    facts: list[OrderFact] = field(default_factory=list)
    known: dict[str, _Resting] = field(default_factory=dict)
    resting: dict[str, _Resting] = field(default_factory=dict)
    feeds: list[PracticeFeed] = field(default_factory=list)
    facts_changed: asyncio.Event = field(default_factory=asyncio.Event)
    quote: Quote = field(init=False)
    phase: MarketPhase = MarketPhase.PRE_OPEN
    submissions: int = 0
    is_silent: bool = False

    def __post_init__(self) -> None:
        self.quote = Quote(self.symbol, phase=self.phase)

    @property
    def close_nanos(self) -> int:
        """End of the session."""
        return OPEN_NANOS + DAY_SECONDS * NANOS_PER_SECOND

    def status(self) -> TradingStatus:
        """Return the present phase."""
        return TradingStatus(self.symbol, self.phase, self.now_nanos, "", OPEN_NANOS, self.close_nanos)

    def advance(self) -> None:
        """Let one step happen and send it to every feed."""
        step = self.script(self.now_nanos)
        start, self.now_nanos = self.now_nanos, self.now_nanos + self.step_nanos
        phase = step.phase
        if start < OPEN_NANOS:
            phase = MarketPhase.PRE_OPEN
        elif start >= self.close_nanos:
            phase = MarketPhase.CLOSED
        if phase is not self.phase:
            self.phase = phase
            self._send(TradingStatus(self.symbol, phase, start, "", OPEN_NANOS, self.close_nanos))
        if phase is MarketPhase.CONTINUOUS and not self.is_silent:
            bid = (step.mid_ticks - 1) * TICK
            ask = (step.mid_ticks + 1) * TICK
            self._trade(start, step, bid, ask)
            self.quote = Quote(
                self.symbol, bid, step.depth * NANO, ask, step.depth * NANO, bid, self.now_nanos, phase
            )
            self._send(self.quote)
        self._send(MarketTime(self.now_nanos, 200.0))

    def _trade(self, start: int, step: Step, bid: int, ask: int) -> None:
        half = step.volume // 2
        if not half:
            return
        # What trades at a price meets the orders that rest there or better; half of it is somebody else's.
        for price, side in ((bid, Side.BUY), (ask, Side.SELL)):
            left = half // 2 * NANO
            for key, order in list(self.resting.items()):
                limit = order.child.terms.limit_price_nanos
                is_met = limit >= price if side is Side.BUY else limit <= price
                if order.child.terms.side is not side or not is_met or not left:
                    continue
                quantity = min(order.leaves, left)
                left -= quantity
                self._fill(key, order, quantity, limit, start + self.step_nanos // 2, Liquidity.MAKER)
        self._print([(start + 1, bid, half * NANO), (start + self.step_nanos // 2, ask, half * NANO)])

    def submit(self, account: str, execution_id: str, child: Child) -> None:
        """Take in one child; one that is known already changes nothing."""
        self.submissions += 1
        if child.client_order_id in self.known:
            if self.known[child.client_order_id].child != child:
                raise AssertionError(f"{child.client_order_id} was sent twice with different content")
            return
        order = self.known[child.client_order_id] = _Resting(child, account, execution_id)
        key, terms = child.client_order_id, child.terms
        if terms.order_type is not OrderType.LIMIT:
            self.resting[key] = order
            return
        is_buy = terms.side is Side.BUY
        far = self.quote.ask_price_nanos if is_buy else self.quote.bid_price_nanos
        crosses = bool(far) and (terms.limit_price_nanos >= far if is_buy else terms.limit_price_nanos <= far)
        if terms.is_post_only and crosses:
            self._fact(OrderFactKind.REJECTED, order, OrderState.REJECTED, Rejection("POST_ONLY_WOULD_CROSS"))
            return
        if terms.time_in_force is not TimeInForce.IOC:
            self.resting[key] = order
            return
        if crosses and self.phase is MarketPhase.CONTINUOUS:
            shown = self.quote.ask_size_nanos if is_buy else self.quote.bid_size_nanos
            quantity = min(order.leaves, shown)
            self._fill(key, order, quantity, far, self.now_nanos, Liquidity.TAKER)
            if self.own_on_tape:
                self._print([(self.now_nanos, far, quantity)])
        if order.leaves:
            self._fact(OrderFactKind.CANCELLED, order, OrderState.CANCELLED)

    def cancel(self, client_order_id: str) -> bool:
        """Take a resting child out. Return False when there is none."""
        order = self.resting.pop(client_order_id, None)
        if order is None:
            return False
        self._fact(OrderFactKind.CANCELLED, order, OrderState.CANCELLED)
        return True

    def bust(self, fill: Fill) -> None:
        """Take back a fill."""
        order = self.known[fill.client_order_id]
        order.filled -= fill.quantity_nanos
        state = OrderState.CANCELLED
        self._fact(OrderFactKind.BUSTED, order, state, fill=fill)

    def cross_close(self, price: int) -> None:
        """Fill every child for the closing auction at one price, at the close."""
        for key, order in list(self.resting.items()):
            if order.child.terms.order_type.is_on_close:
                self._fill(key, order, order.leaves, price, self.close_nanos, Liquidity.AUCTION)

    def _fill(
        self, key: str, order: _Resting, quantity: int, price: int, time: int, liquidity: Liquidity
    ) -> None:
        if quantity <= 0:
            return
        order.filled += quantity
        state = OrderState.PARTIALLY_FILLED
        if not order.leaves:
            state = OrderState.FILLED
            self.resting.pop(key, None)
        fill = Fill(
            "PRACTICE", f"X{len(self.facts) + 1}", order.account, key, order.execution_id, self.symbol,
            order.child.terms.side, quantity, price, Money("USD", quantity // 1_000 * NANO), liquidity, time,
        )  # fmt: skip
        self._fact(OrderFactKind.FILLED, order, state, fill=fill)

    def _fact(
        self,
        kind: OrderFactKind,
        order: _Resting,
        state: OrderState,
        rejection: Rejection | None = None,
        fill: Fill | None = None,
    ) -> None:
        sequence = len(self.facts) + 1
        child = order.child
        self.facts.append(
            OrderFact(
                sequence, kind, order.execution_id, child.client_order_id, state, fill, rejection=rejection
            )
        )
        self.facts_changed.set()

    def _print(self, rows: Sequence[tuple[int, int, int]]) -> None:
        first = self.prints[-1].last_sequence + 1 if self.prints else 1
        times, prices, sizes = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
        flags = np.full(len(rows), TradeFlag.ELIGIBLE, dtype=np.int64)
        batch = Prints(self.symbol, first, times, prices, sizes, flags)
        self.prints.append(batch)
        self._send(batch)

    def _send(self, message: MarketMessage) -> None:
        for feed in self.feeds:
            feed.put(message)


class PracticeFeed:
    """A `MarketFeed` of a practice venue."""

    def __init__(self, venue: PracticeVenue) -> None:
        self._venue = venue
        self._queue: asyncio.Queue[MarketMessage | None] = asyncio.Queue()
        self.acknowledged_nanos = 0
        self.is_idle = False
        self.acknowledged = asyncio.Event()

    def subscribe(self, resume_after: Mapping[str, int | None]) -> None:
        venue = self._venue
        after = resume_after.get(venue.symbol)
        if venue.symbol not in resume_after or self in venue.feeds:
            return
        if after is not None:
            for prints in venue.prints:
                self.put(prints.after(after))
        self.put(venue.status())
        self.put(venue.quote)
        self.put(MarketTime(venue.now_nanos, 200.0))
        venue.feeds.append(self)

    def acknowledge(self, time_nanos: int, *, is_idle: bool) -> None:
        self.acknowledged_nanos = max(self.acknowledged_nanos, time_nanos)
        self.is_idle = is_idle
        self.acknowledged.set()

    def put(self, message: MarketMessage) -> None:
        """Queue one message."""
        if not isinstance(message, Prints) or len(message.times):
            self._queue.put_nowait(message)

    async def messages(self) -> AsyncIterator[MarketMessage]:
        while (message := await self._queue.get()) is not None:
            yield message
        raise Unavailable("PEER_UNAVAILABLE", "the practice feed was closed")

    def close(self) -> None:
        if self in self._venue.feeds:
            self._venue.feeds.remove(self)
        self._queue.put_nowait(None)


class PracticeMarket:
    """A `Market` over a practice venue."""

    def __init__(self, venue: PracticeVenue, curve: VolumeCurve = VolumeCurve()) -> None:  # noqa: B008  # frozen
        self._venue = venue
        self.curve = curve
        self.days: Sequence[PastDay] = ()
        self.is_away = False

    async def instrument(self, symbol: str) -> Instrument:
        self._check(symbol)
        return practice_instrument(symbol)

    async def now_nanos(self, symbol: str) -> int:
        self._check(symbol)
        return self._venue.now_nanos

    async def session(self, symbol: str) -> SessionTimes:
        self._check(symbol)
        return SessionTimes(OPEN_NANOS, self._venue.close_nanos)

    async def volume_curve(self, symbol: str) -> VolumeCurve:
        self._check(symbol)
        return self.curve

    async def tape_facts(
        self, symbol: str, start_nanos: int, end_nanos: int, *, exclude_auctions: bool = False
    ) -> TapeFacts:
        self._check(symbol)
        end_nanos = end_nanos or self._venue.now_nanos + 1
        volume, notional, count = 0, 0, 0
        for prints in self._venue.prints:
            inside = (prints.times >= start_nanos) & (prints.times < end_nanos)
            if exclude_auctions:
                inside &= (prints.flags & TradeFlag.AUCTION) == 0
            rows = zip(prints.prices[inside].tolist(), prints.sizes[inside].tolist(), strict=True)
            for price, size in rows:
                volume, notional, count = volume + size, notional + price * size, count + 1
        vwap_nanos = round_half_even(notional, volume) if volume else 0
        vwap = notional / (volume * NANO) if volume else math.nan
        rule = "every print of the practice venue"
        return TapeFacts(rule, self._venue.own_on_tape, volume / NANO, vwap, vwap_nanos, count)

    async def past_days(self, symbol: str, before_nanos: int) -> Sequence[PastDay]:
        self._check(symbol)
        return self.days

    async def peers(self, symbol: str) -> Sequence[str]:
        self._check(symbol)
        return ()

    async def trades(self, symbol: str, after_sequence: int, start_nanos: int) -> AsyncIterator[Prints]:
        self._check(symbol)
        for prints in list(self._venue.prints):
            fresh = prints.after(after_sequence)
            if len(fresh.times) and fresh.times[-1] >= start_nanos:
                yield fresh

    def feed(self) -> PracticeFeed:
        return PracticeFeed(self._venue)

    def _check(self, symbol: str) -> None:
        if self.is_away:
            raise Unavailable("PEER_UNAVAILABLE", "the practice market is away")
        if symbol != self._venue.symbol:
            raise NotFound("SYMBOL_UNKNOWN", symbol=symbol)


class PracticeOrders:
    """An `Orders` over a practice venue.

    Attributes:
        fail_submissions: so many next submissions fail, before (False) or after (True) the venue has them.
        is_stopped: refuse every basket that holds something new, whole.
    """

    def __init__(self, venue: PracticeVenue) -> None:
        self._venue = venue
        self.fail_submissions: list[bool] = []
        self.rejection: Rejection | None = None
        self.is_stopped = False

    async def submit(self, account: str, execution_id: str, children: Sequence[Child]) -> None:
        is_after = self.fail_submissions.pop(0) if self.fail_submissions else None
        if is_after is False:
            raise Unavailable("PEER_UNAVAILABLE", "lost before orders had it")
        if self.is_stopped and any(child.client_order_id not in self._venue.known for child in children):
            raise FailedPrecondition("KILL_SWITCH_ON", account=account)
        for child in children:
            if self.rejection is not None:
                order = _Resting(child, account, execution_id)
                self._venue.known[child.client_order_id] = order
                self._venue._fact(OrderFactKind.REJECTED, order, OrderState.REJECTED, self.rejection)
            else:
                self._venue.submit(account, execution_id, child)
        if is_after is True:
            raise Unavailable("PEER_UNAVAILABLE", "lost after orders had it")

    async def cancel(self, account: str, client_order_id: str, request_id: str) -> bool:
        return self._venue.cancel(client_order_id)

    async def facts(self, after_sequence: int) -> AsyncIterator[OrderFacts]:
        venue = self._venue
        while True:
            venue.facts_changed.clear()
            reached = len(venue.facts)
            yield OrderFacts(venue.facts[after_sequence:reached], reached)
            after_sequence = reached
            if len(venue.facts) > reached:
                continue
            await venue.facts_changed.wait()


class PracticeRisk:
    """A `Risk` that says what it is told to."""

    def __init__(self) -> None:
        self.rejection: Rejection | None = None
        self.is_away = False
        self.checked: list[str] = []
        self._switches: asyncio.Queue[KillSwitches] = asyncio.Queue()

    async def check(self, execution_id: str, parameters: Parameters) -> Rejection | None:
        if self.is_away:
            raise Unavailable("RISK_UNAVAILABLE")
        self.checked.append(execution_id)
        return self.rejection

    def switch(self, switches: KillSwitches) -> None:
        """Change the kill switches."""
        self._switches.put_nowait(switches)

    async def kill_switches(self) -> AsyncIterator[KillSwitches]:
        yield KillSwitches()
        while True:
            yield await self._switches.get()
