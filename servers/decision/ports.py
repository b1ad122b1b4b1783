"""What decision needs from outside: the record, risk's word, execution, the market, traces."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from servers.decision.domain.decision import Decision, Event
from servers.model.nanos import Money
from servers.model.order import Rejection


class Effect(NamedTuple):
    """The answer to a request, to be kept with the events that it caused: the last of them."""

    request_id: str
    content_hash: bytes


class KeptAnswer(NamedTuple):
    """The first answer to a request id, with the hash of what was asked."""

    content_hash: bytes
    event: Event


class DecisionJournal(Protocol):
    """The durable record; events are durable when `append` returns."""

    async def append(
        self, events: Sequence[Event], effect: Effect | None = None, executions_sequence: int | None = None
    ) -> None:
        """Keep events, the answer to a request, and how far execution's events were read: all or none."""
        ...

    def replay(self) -> AsyncIterator[Event]:
        """Yield all that was kept."""
        ...

    def answer(self, request_id: str) -> KeptAnswer | None:
        """Return the first answer to a request id; None when there was none."""
        ...

    @property
    def executions_sequence(self) -> int:
        """Up to where execution's events were taken in."""
        ...


@dataclass(frozen=True, slots=True)
class Exposure:
    """One symbol of the account as risk sees it, in 1e-9 shares; orders and unsent parents as two sides."""

    position_nanos: int = 0
    buying_nanos: int = 0
    selling_nanos: int = 0
    price_nanos: int = 0

    @property
    def working_nanos(self) -> int:
        """Net of what works, negative when selling."""
        return self.buying_nanos - self.selling_nanos

    @property
    def is_working(self) -> bool:
        return bool(self.buying_nanos or self.selling_nanos)


class Risk(Protocol):
    """The risk server."""

    async def exposures(self, account: str) -> Mapping[str, Exposure]:
        """Return the account's exposure by symbol, now. Raises Unavailable."""
        ...


class Started(NamedTuple):
    """What execution answered: its id, or why it refused."""

    execution_id: str
    rejection: Rejection | None = None


class Executions(Protocol):
    """The execution server."""

    async def start(self, decision: Decision) -> Started:
        """Start the parent order of an approved decision, under its id: a repeat starts nothing.

        Raises a TapelineError that is `is_transient` when the answer is not known yet.
        """
        ...

    async def cancel(self, request_id: str, execution_id: str) -> None:
        """Cancel a parent order; one that is over already is none the worse. Raises Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class ExecutionFact:
    """A parent order as one of execution's events left it. `fees` are those of this event's fills."""

    execution_id: str
    event_time_nanos: int
    is_over: bool
    filled_quantity_nanos: int
    average_price_nanos: int
    fees: Money | None = None


@dataclass(frozen=True, slots=True)
class SymbolFacts:
    """What the past and the reference data say of a symbol.

    `daily_volatility` and `median_daily_volume` (shares) are 0 without enough history.
    """

    daily_volatility: float
    median_daily_volume: float
    session_open_nanos: int
    session_close_nanos: int
    lot_nanos: int
    is_short_sale_permitted: bool
    currency_code: str = "USD"


class History(Protocol):
    """What market_data knows of a symbol besides its quote."""

    async def facts(self, symbol: str, now_nanos: int) -> SymbolFacts:
        """Return the facts for the session that is on at a market time. Raises NotFound, Unavailable."""
        ...


class Tracing(Protocol):
    """Spans of decisions."""

    def span(self, name: str, traceparent: str, **attributes: str) -> AbstractContextManager[str]:
        """Work under a span that continues `traceparent`, or starts a trace; yields its own traceparent."""
        ...


TRANSIENT = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"})
"""Statuses after which the same request is sent again under the same id."""


class Log(Protocol):
    """The part of a structured log that decision uses."""

    def info(self, event: str, **facts: object) -> object:
        """Record something ordinary."""
        ...

    def warning(self, event: str, **facts: object) -> object:
        """Record something that somebody may want to look into."""
        ...


class Portfolio(Protocol):
    """The portfolio server."""

    async def profit_attos(self, account: str, currency_code: str) -> int:
        """Return the account's profit after fees, in 1e-18 units of a currency. Raises Unavailable."""
        ...
