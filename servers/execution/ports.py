"""What execution needs from others: a market, a router of orders, a keeper of limits, a journal."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import AbstractContextManager
from enum import IntEnum
from typing import NamedTuple, Protocol, TypeVar

from servers.execution.domain.events import Child, Event
from servers.execution.domain.parameters import Parameters, SessionTimes
from servers.execution.domain.quality import PastDay
from servers.execution.domain.tape import Prints
from servers.execution.domain.view import Execution
from servers.model.errors import TapelineError
from servers.model.instrument import Instrument
from servers.model.kill_switch import KillSwitches
from servers.model.market import MarketTime, Quote, TradingStatus
from servers.model.order import Fill, OrderState, Rejection

Answer = TypeVar("Answer")


class VolumeCurve(NamedTuple):
    """Share of a session's volume in each bin from the open; empty without history."""

    shares: Sequence[float] = ()
    bin_nanos: int = 0
    sessions: int = 0
    median_daily_volume: float = 0.0


class TapeFacts(NamedTuple):
    """What the owner of the tape says about it; None where it does not say.

    Attributes:
        volume: eligible shares in the interval that was asked for.
        vwap: their VWAP in currency units; NaN when nothing printed.
        trade_count: their prints.
    """

    eligibility_rule: str = ""
    own_fills_on_tape: bool | None = None
    volume: float = 0.0
    vwap: float = math.nan
    vwap_nanos: int = 0
    trade_count: int = 0


MarketMessage = Prints | Quote | TradingStatus | MarketTime


class MarketFeed(Protocol):
    """One subscription to trades, quotes, phases and market time, in one order."""

    def subscribe(self, resume_after: Mapping[str, int | None]) -> None:
        """Take these symbols, all of them at each call; None begins now, a sequence after that print."""
        ...

    def acknowledge(self, time_nanos: int, *, is_idle: bool) -> None:
        """Say that everything up to a market time is worked through, and whether anything is paced for."""
        ...

    def messages(self) -> AsyncIterator[MarketMessage]:
        """Yield what comes until the connection ends. Raises Unavailable when it does."""
        ...

    def close(self) -> None:
        """End the subscription."""
        ...


class Market(Protocol):
    """Reference data, sessions, history and the live market. Calls raise Unavailable when it is away."""

    async def instrument(self, symbol: str) -> Instrument:
        """Return reference data. Raises NotFound SYMBOL_UNKNOWN."""
        ...

    async def now_nanos(self, symbol: str) -> int:
        """Return the present market time; 0 when nothing is known of it yet."""
        ...

    async def session(self, symbol: str) -> SessionTimes:
        """Return the session that is on, or is next."""
        ...

    async def volume_curve(self, symbol: str) -> VolumeCurve:
        """Return the intraday curve over trailing sessions."""
        ...

    async def tape_facts(
        self, symbol: str, start_nanos: int, end_nanos: int, *, exclude_auctions: bool = False
    ) -> TapeFacts:
        """Return what the tape's owner says about an interval of it; 0 is the session's start, and now."""
        ...

    async def past_days(self, symbol: str, before_nanos: int) -> Sequence[PastDay]:
        """Return the bars of sessions before the one that opens at `before_nanos`, oldest first."""
        ...

    async def peers(self, symbol: str) -> Sequence[str]:
        """Return other symbols of the same calendar, in the order of their names."""
        ...

    def trades(self, symbol: str, after_sequence: int, start_nanos: int) -> AsyncIterator[Prints]:
        """Yield the tape's prints above a sequence and from a time on, oldest first, up to now."""
        ...

    def feed(self) -> MarketFeed:
        """Return a new subscription."""
        ...


class OrderFactKind(IntEnum):
    """The numbers are those of tapeline.orders.v1.OrderEventKind; others do not concern a parent."""

    REJECTED = 2
    FILLED = 4
    CANCELLED = 6
    CANCEL_REJECTED = 8
    EXPIRED = 11
    BUSTED = 14
    CORRECTED = 15
    OTHER = 0


class OrderFact(NamedTuple):
    """One event of one child, as orders tells it."""

    sequence: int
    kind: OrderFactKind
    execution_id: str
    client_order_id: str
    state: OrderState
    fill: Fill | None = None
    corrected_fill: Fill | None = None
    rejection: Rejection | None = None
    reason: str = ""


class OrderFacts(NamedTuple):
    """Facts in order, and how far the owner's sequence is covered by them."""

    facts: Sequence[OrderFact]
    sequence_reached: int


class Orders(Protocol):
    """Routes children. Calls raise Unavailable when the outcome is not known; they may be repeated."""

    async def submit(self, account: str, execution_id: str, children: Sequence[Child]) -> None:
        """Hand over up to 256 children and return when they are acknowledged; refusals come as facts."""
        ...

    async def cancel(self, account: str, client_order_id: str, request_id: str) -> bool:
        """Ask for a cancel. Return False when orders does not know the order, or it is final."""
        ...

    def facts(self, after_sequence: int) -> AsyncIterator[OrderFacts]:
        """Yield facts about children above a sequence, then new ones, until the connection ends."""
        ...


class Risk(Protocol):
    """Knows the limits."""

    async def check(self, execution_id: str, parameters: Parameters) -> Rejection | None:
        """Check and reserve a parent order. Raises Unavailable RISK_UNAVAILABLE when it cannot answer."""
        ...

    def kill_switches(self) -> AsyncIterator[KillSwitches]:
        """Yield the switches now and after every change, for ever; a lost connection is made again."""
        ...


class KeptAnswer(NamedTuple):
    """The first answer to a request id, with the hash of what was asked."""

    content_hash: bytes
    execution: Execution


class Recorded(NamedTuple):
    """An event with the parent after it and how much of it is unsent, ready for the journal."""

    event: Event
    execution: Execution
    unsent_quantity_nanos: int


class Effect(NamedTuple):
    """The answer to remember under a request id."""

    request_id: str
    content_hash: bytes
    execution: Execution
    is_permanent: bool = False


class ExecutionJournal(Protocol):
    """Keeps the events of parents for ever, answers to requests, and how far orders was followed."""

    @property
    def epoch(self) -> int:
        """The number of this writer; later writers have higher ones."""
        ...

    async def append(
        self, records: Sequence[Recorded], orders_sequence: int | None = None, effect: Effect | None = None
    ) -> None:
        """Store all of it, or nothing, and return when it is synced."""
        ...

    def replay(self) -> AsyncIterator[Event]:
        """Yield every event, from the first."""
        ...

    def answer(self, request_id: str) -> KeptAnswer | None:
        """Return the first answer under a request id."""
        ...

    def orders_sequence(self) -> int:
        """Return the sequence up to which the facts of orders were taken in."""
        ...


class Tracing(Protocol):
    """Spans under a parent order's own trace."""

    def span(self, name: str, execution_id: str, traceparent: str) -> AbstractContextManager[str]:
        """Work under a span and yield its traceparent. Past a bound of spans a trace is only linked."""
        ...


async def answer_or(answer: Awaitable[Answer], otherwise: Answer) -> Answer:
    """Return an answer that the parent can do without, or `otherwise` when it cannot be had."""
    try:
        return await answer
    except TapelineError:
        return otherwise
