"""What risk is asked, and what it learns from orders, executions and portfolio."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from servers.model.order import Fill, OrderTerms, Side


@dataclass(frozen=True, slots=True)
class OrderCheck:
    """One order to be checked; with `replace_request_id`, new terms of an order that is live."""

    account: str
    client_order_id: str
    terms: OrderTerms
    execution_id: str = ""
    replace_request_id: str = ""


@dataclass(frozen=True, slots=True)
class ExecutionCheck:
    """One parent order to be checked. Quantity in 1e-9 shares; a limit of 0 is none."""

    execution_id: str
    account: str
    symbol: str
    side: Side
    quantity_nanos: int
    limit_price_nanos: int = 0


class OrderEventKind(IntEnum):
    """The numbers are those of tapeline.orders.v1.OrderEventKind."""

    ACCEPTED = 1
    REJECTED = 2
    CONFIRMED = 3
    FILLED = 4
    CANCEL_REQUESTED = 5
    CANCELLED = 6
    CANCEL_REJECTED = 7
    REPLACE_REQUESTED = 8
    REPLACED = 9
    REPLACE_REJECTED = 10
    EXPIRED = 11
    DONE_FOR_DAY = 12
    UNKNOWN = 13
    BUSTED = 14
    CORRECTED = 15


@dataclass(frozen=True, slots=True)
class OrderFact:
    """One event of the order journal, as far as risk needs it."""

    sequence: int
    kind: OrderEventKind
    account: str
    client_order_id: str
    execution_id: str
    terms: OrderTerms
    leaves_nanos: int
    is_final: bool
    fill: Fill | None = None
    corrected_fill: Fill | None = None
    request_id: str = ""
    requested_terms: OrderTerms | None = None


@dataclass(frozen=True, slots=True)
class ParentFact:
    """One event of the execution journal, as far as risk needs it."""

    sequence: int
    execution_id: str
    account: str
    symbol: str
    side: Side
    quantity_nanos: int
    is_final: bool


class AdjustmentKind(IntEnum):
    """The numbers are those of tapeline.portfolio.v1.AdjustmentKind."""

    OPENING = 1
    SPLIT = 2
    DIVIDEND = 3
    SYMBOL_CHANGE = 4


@dataclass(frozen=True, slots=True)
class AdjustmentFact:
    """One of portfolio's adjustments, as far as risk needs it."""

    sequence: int
    kind: AdjustmentKind
    account: str = ""
    symbol: str = ""
    quantity_nanos: int = 0
    ratio_numerator: int = 1
    ratio_denominator: int = 1
    new_symbol: str = ""
    effective_time_nanos: int = 0
