"""Orders and fills as values, shared by every server that handles them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum

from servers.model.errors import InvalidInput
from servers.model.nanos import INT64_MAX, Money, divide_half_even

CLIENT_ORDER_ID = re.compile(r"[A-Za-z0-9\-_.:]{1,64}")
ACCOUNT = re.compile(r"[A-Za-z0-9\-_]{1,32}")
SYMBOL = re.compile(r"[A-Z0-9.\-/]{1,32}")


class Side(IntEnum):
    """Buy or sell; the numbers are those of tapeline.trading.v1.Side."""

    BUY = 1
    SELL = 2

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> Side:
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(IntEnum):
    """The numbers are those of tapeline.trading.v1.OrderType."""

    MARKET = 1
    LIMIT = 2
    MARKET_ON_CLOSE = 3
    LIMIT_ON_CLOSE = 4

    @property
    def has_limit(self) -> bool:
        return self in (OrderType.LIMIT, OrderType.LIMIT_ON_CLOSE)

    @property
    def is_on_close(self) -> bool:
        return self in (OrderType.MARKET_ON_CLOSE, OrderType.LIMIT_ON_CLOSE)


class TimeInForce(IntEnum):
    """The numbers are those of tapeline.trading.v1.TimeInForce."""

    DAY = 1
    IOC = 2
    FOK = 3
    GTC = 4
    GTD = 5


class OrderState(IntEnum):
    """The numbers are those of tapeline.trading.v1.OrderState."""

    PENDING_NEW = 1
    NEW = 2
    PARTIALLY_FILLED = 3
    FILLED = 4
    PENDING_CANCEL = 5
    CANCELLED = 6
    PENDING_REPLACE = 7
    REJECTED = 8
    EXPIRED = 9
    DONE_FOR_DAY = 10
    UNKNOWN = 11

    @property
    def is_final(self) -> bool:
        return self in FINAL_STATES


FINAL_STATES = frozenset({OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED, OrderState.EXPIRED})


class Liquidity(IntEnum):
    """The numbers are those of tapeline.trading.v1.Liquidity."""

    UNSPECIFIED = 0
    MAKER = 1
    TAKER = 2
    AUCTION = 3


@dataclass(frozen=True, slots=True)
class OrderTerms:
    """What is asked for: the part of an order that its author writes.

    Quantities are in 1e-9 shares, prices in 1e-9 currency units, times in UTC epoch nanoseconds of
    market time. 0 stands for "none" in the last four fields.
    """

    symbol: str
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    quantity_nanos: int
    limit_price_nanos: int = 0
    display_quantity_nanos: int = 0
    is_post_only: bool = False
    expire_time_nanos: int = 0

    def validate(self) -> None:
        """Check what holds for every order, whatever its instrument.

        Raises InvalidInput with the field in its metadata.
        """
        check_symbol(self.symbol)
        check_range("quantity_nanos", self.quantity_nanos, 1, INT64_MAX)
        check_range("display_quantity_nanos", self.display_quantity_nanos, 0, self.quantity_nanos)
        if self.order_type.has_limit:
            check_range("limit_price_nanos", self.limit_price_nanos, 1, INT64_MAX)
        elif self.limit_price_nanos:
            raise _invalid(
                "limit_price_nanos", self.limit_price_nanos, f"{self.order_type.name} takes no limit price"
            )
        if self.time_in_force is TimeInForce.GTD:
            check_range("expire_time_nanos", self.expire_time_nanos, 1, INT64_MAX)
        elif self.expire_time_nanos:
            raise _invalid("expire_time_nanos", self.expire_time_nanos, "only a GTD order expires at a time")
        if self.order_type.is_on_close and self.time_in_force is not TimeInForce.DAY:
            raise _invalid("time_in_force", self.time_in_force.name, "orders for the close are DAY orders")
        immediate = self.time_in_force in (TimeInForce.IOC, TimeInForce.FOK)
        if self.order_type is not OrderType.LIMIT and (self.is_post_only or self.display_quantity_nanos):
            raise _invalid(
                "order_type", self.order_type.name, "only a LIMIT order is post-only or an iceberg"
            )
        if immediate and (self.is_post_only or self.display_quantity_nanos):
            raise _invalid(
                "time_in_force", self.time_in_force.name, "an IOC or FOK order never rests in the book"
            )


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why an order was refused: a value that the journal keeps, not an error."""

    reason: str
    message: str = ""
    limit: str = ""
    value: str = ""
    bound: str = ""


@dataclass(frozen=True, slots=True)
class Fill:
    """One trade of one of our orders, as the venue reported it."""

    venue: str
    venue_execution_id: str
    account: str
    client_order_id: str
    execution_id: str
    symbol: str
    side: Side
    quantity_nanos: int
    price_nanos: int
    fee: Money
    liquidity: Liquidity
    event_time_nanos: int

    @property
    def notional_attos(self) -> int:
        """Price times quantity in 1e-18 currency units, exact."""
        return self.price_nanos * self.quantity_nanos


@dataclass(frozen=True, slots=True)
class Order:
    """An order with what has become of it. Average price comes from `filled_notional_attos`."""

    client_order_id: str
    account: str
    terms: OrderTerms
    state: OrderState
    filled_quantity_nanos: int = 0
    filled_notional_attos: int = 0
    execution_id: str = ""
    venue_order_id: str = ""
    rejection: Rejection | None = None
    create_time_nanos: int = 0
    last_sequence: int = 0
    traceparent: str = ""

    @property
    def leaves_quantity_nanos(self) -> int:
        """What may still fill; 0 in a final state."""
        return 0 if self.state.is_final else self.terms.quantity_nanos - self.filled_quantity_nanos

    @property
    def average_price_nanos(self) -> int:
        """Average fill price, rounded half to even; 0 when nothing is filled."""
        if not self.filled_quantity_nanos:
            return 0
        return divide_half_even(self.filled_notional_attos, self.filled_quantity_nanos)


def check_client_order_id(value: str) -> str:
    """Return `value`, or raise InvalidInput: 1 to 64 of A-Z, a-z, 0-9, '-', '_', '.', ':'."""
    if not value:
        raise InvalidInput("REQUEST_ID_MISSING", "client_order_id is empty", field="client_order_id")
    if not CLIENT_ORDER_ID.fullmatch(value):
        raise _invalid("client_order_id", value, "takes 1 to 64 of A-Z, a-z, 0-9, '-', '_', '.', ':'")
    return value


def check_request_id(value: str) -> str:
    """Return `value`, or raise InvalidInput; the same characters as a client order id."""
    if not value:
        raise InvalidInput("REQUEST_ID_MISSING", "request_id is empty", field="request_id")
    if not CLIENT_ORDER_ID.fullmatch(value):
        raise _invalid("request_id", value, "takes 1 to 64 of A-Z, a-z, 0-9, '-', '_', '.', ':'")
    return value


def check_account(value: str) -> str:
    """Return `value`, or raise InvalidInput: 1 to 32 of A-Z, a-z, 0-9, '-', '_'."""
    if not value:
        raise InvalidInput("FIELD_MISSING", "account is empty", field="account")
    if not ACCOUNT.fullmatch(value):
        raise _invalid("account", value, "takes 1 to 32 of A-Z, a-z, 0-9, '-', '_'")
    return value


def check_symbol(value: str) -> str:
    """Return `value`, or raise InvalidInput: 1 to 32 of A-Z, 0-9, '.', '-', '/'."""
    if not value:
        raise InvalidInput("FIELD_MISSING", "symbol is empty", field="symbol")
    if not SYMBOL.fullmatch(value):
        raise _invalid("symbol", value, "takes 1 to 32 of A-Z, 0-9, '.', '-', '/'")
    return value


def check_range(field: str, value: int, low: int, high: int) -> int:
    """Return `value`, or raise InvalidInput when it lies outside [low, high]."""
    if not low <= value <= high:
        raise InvalidInput(
            "VALUE_OUT_OF_RANGE",
            f"{field} is {value}, outside {low} to {high}",
            field=field,
            value=value,
            low=low,
            high=high,
        )
    return value


def _invalid(field: str, value: object, why: str) -> InvalidInput:
    return InvalidInput(
        "FIELD_INVALID", f"{field} {str(value)[:80]!r}: {why}", field=field, value=str(value)[:80]
    )
