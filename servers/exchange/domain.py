"""What the venue knows of orders: as they stand, as reports of facts, what they cost, what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from servers.model.instrument import Instrument, ListingState
from servers.model.market import MarketPhase
from servers.model.nanos import NANO, Money
from servers.model.order import (
    Fill,
    Liquidity,
    Order,
    OrderState,
    OrderTerms,
    Rejection,
    Side,
    TimeInForce,
)

VENUE = "PRACTICE"
OrderKey = tuple[str, str]


class ReportKind(IntEnum):
    """The numbers are those of tapeline.exchange.v1.ReportKind."""

    ACCEPTED = 1
    REJECTED = 2
    FILL = 3
    CANCELLED = 4
    REPLACED = 5
    CANCEL_REJECTED = 6
    REPLACE_REJECTED = 7
    EXPIRED = 8
    DONE_FOR_DAY = 9
    BUSTED = 10
    CORRECTED = 11


@dataclass(frozen=True, slots=True)
class NewOrder:
    """One order as its author sends it."""

    account: str
    client_order_id: str
    terms: OrderTerms
    execution_id: str = ""
    traceparent: str = ""

    @property
    def key(self) -> OrderKey:
        return self.account, self.client_order_id

    def is_same_as(self, other: NewOrder) -> bool:
        """Return whether a repeat asks for the same; its trace may differ."""
        return (self.key, self.terms, self.execution_id) == (other.key, other.terms, other.execution_id)


@dataclass(frozen=True, slots=True)
class Report:
    """One fact about one order. `sequence` counts over all accounts without a gap."""

    sequence: int
    kind: ReportKind
    account: str
    client_order_id: str
    venue_order_id: str
    terms: OrderTerms
    filled_quantity_nanos: int
    leaves_quantity_nanos: int
    event_time_nanos: int
    fill: Fill | None = None
    corrected_fill: Fill | None = None
    rejection: Rejection | None = None
    reason: str = ""
    request_id: str = ""
    traceparent: str = ""


@dataclass(slots=True)
class VenueOrder:
    """An order as it stands at the venue. `number` names it inside the venue."""

    number: int
    entry: NewOrder
    terms: OrderTerms
    state: OrderState = OrderState.NEW
    filled_quantity_nanos: int = 0
    filled_notional_attos: int = 0
    last_sequence: int = 0
    first_report_sequence: int = 0
    rejection: Rejection | None = None

    @property
    def venue_order_id(self) -> str:
        return f"V{self.number}"

    @property
    def leaves_quantity_nanos(self) -> int:
        """What may still fill, in 1e-9 shares; 0 in a final state."""
        return 0 if self.state.is_final else self.terms.quantity_nanos - self.filled_quantity_nanos

    @property
    def is_final(self) -> bool:
        return self.state.is_final

    def add_fill(self, quantity_nanos: int, price_nanos: int) -> None:
        """Book one fill."""
        self.filled_quantity_nanos += quantity_nanos
        self.filled_notional_attos += quantity_nanos * price_nanos
        is_filled = self.filled_quantity_nanos >= self.terms.quantity_nanos
        self.state = OrderState.FILLED if is_filled else OrderState.PARTIALLY_FILLED

    def amend_fill(self, before: Fill, quantity_nanos: int, price_nanos: int) -> None:
        """Take a fill back and book it with other terms (quantity 0: not at all); a final state stays."""
        self.filled_quantity_nanos += quantity_nanos - before.quantity_nanos
        self.filled_notional_attos += quantity_nanos * price_nanos - before.notional_attos

    def as_order(self) -> Order:
        """Return the order as a value for whoever asks."""
        return Order(
            client_order_id=self.entry.client_order_id,
            account=self.entry.account,
            terms=self.terms,
            state=self.state,
            filled_quantity_nanos=self.filled_quantity_nanos,
            filled_notional_attos=self.filled_notional_attos,
            execution_id=self.entry.execution_id,
            venue_order_id=self.venue_order_id,
            rejection=self.rejection,
            last_sequence=self.last_sequence,
            traceparent=self.entry.traceparent,
        )

    def apply(self, report: Report) -> None:
        """Bring the order to where a report of it says that it stands: how a restart rebuilds it."""
        kind = report.kind
        self.last_sequence = report.sequence
        self.terms = report.terms
        if kind is ReportKind.REJECTED:
            self.state, self.rejection = OrderState.REJECTED, report.rejection
        elif kind is ReportKind.FILL and report.fill is not None:
            self.add_fill(report.fill.quantity_nanos, report.fill.price_nanos)
        elif kind is ReportKind.CANCELLED:
            self.state = OrderState.CANCELLED
        elif kind is ReportKind.EXPIRED:
            self.state = OrderState.EXPIRED
        elif kind is ReportKind.DONE_FOR_DAY:
            self.state = OrderState.DONE_FOR_DAY
        elif kind is ReportKind.BUSTED and report.fill is not None:
            self.amend_fill(report.fill, 0, 0)
        elif kind is ReportKind.CORRECTED and report.fill is not None and report.corrected_fill is not None:
            after = report.corrected_fill
            self.amend_fill(report.fill, after.quantity_nanos, after.price_nanos)
        if not report.leaves_quantity_nanos and kind is ReportKind.REPLACED:
            self.state = OrderState.FILLED


class Happening(NamedTuple):
    """What befell a participant's order in a market: a fill, or a cancellation with its reason."""

    number: int
    quantity_nanos: int
    price_nanos: int
    liquidity: Liquidity
    reason: str
    time_nanos: int

    @property
    def is_fill(self) -> bool:
        return not self.reason


@dataclass(frozen=True, slots=True)
class FeeSchedule:
    """What a fill costs: nanos of currency a share by liquidity, and millionths of a sale as tax."""

    maker_nanos_per_share: int = 0
    taker_nanos_per_share: int = 0
    auction_nanos_per_share: int = 0
    sale_tax_millionths: int = 0

    def fee(
        self, currency: str, side: Side, liquidity: Liquidity, quantity_nanos: int, price_nanos: int
    ) -> Money:
        """Return fee and tax of one fill, exact in 1e-18 units of currency (tax rounded up)."""
        rate = {
            Liquidity.MAKER: self.maker_nanos_per_share,
            Liquidity.TAKER: self.taker_nanos_per_share,
        }.get(liquidity, self.auction_nanos_per_share)
        attos = rate * quantity_nanos
        if side is Side.SELL:
            attos += -(-quantity_nanos * price_nanos * self.sale_tax_millionths // 1_000_000)
        return Money(currency, attos)


OPEN_FOR_ENTRY: Mapping[MarketPhase, bool] = {
    MarketPhase.PRE_OPEN: True,
    MarketPhase.OPENING_AUCTION: True,
    MarketPhase.CONTINUOUS: True,
    MarketPhase.REOPENING_AUCTION: True,
    MarketPhase.CLOSING_AUCTION: True,
    MarketPhase.HALTED: False,
    MarketPhase.CLOSED: False,
    MarketPhase.UNSPECIFIED: False,
}
_IMMEDIATE = frozenset({TimeInForce.IOC, TimeInForce.FOK})


def check_terms(
    terms: OrderTerms,
    instrument: Instrument,
    phase: MarketPhase,
    reference_price_nanos: int,
    band: float,
    now_nanos: int,
) -> Rejection | None:
    """Return why the venue does not take an order with these terms now, or None if it does.

    `band` is the share of the reference price by which a limit may lie away from it; 0 checks none.
    """
    if instrument.listing_state is not ListingState.LISTED:
        return Rejection("NOT_LISTED", f"{instrument.symbol} is {instrument.listing_state.name.lower()}")
    if not OPEN_FOR_ENTRY[phase]:
        return Rejection("MARKET_CLOSED", "the market takes no orders", "phase", phase.name)
    if not instrument.is_on_lot(terms.quantity_nanos):
        return _off("OFF_LOT", "quantity", terms.quantity_nanos, "lot", instrument.lot_size_nanos)
    if terms.quantity_nanos < instrument.min_quantity_nanos:
        return _off(
            "BELOW_MIN_QUANTITY", "quantity", terms.quantity_nanos, "min", instrument.min_quantity_nanos
        )
    if terms.display_quantity_nanos and not instrument.is_on_lot(terms.display_quantity_nanos):
        return _off("OFF_LOT", "display", terms.display_quantity_nanos, "lot", instrument.lot_size_nanos)
    if terms.time_in_force is TimeInForce.GTD and terms.expire_time_nanos <= now_nanos:
        return _off("EXPIRED_ON_ENTRY", "expire_time", terms.expire_time_nanos, "now", now_nanos)
    if phase is not MarketPhase.CONTINUOUS and terms.time_in_force in _IMMEDIATE:
        return Rejection(
            "IMMEDIATE_IN_AUCTION", "IOC and FOK trade in continuous phases", "phase", phase.name
        )
    if terms.order_type.has_limit:
        return check_price(terms.limit_price_nanos, instrument, reference_price_nanos, band)
    return None


def check_price(
    price_nanos: int, instrument: Instrument, reference_price_nanos: int, band: float
) -> Rejection | None:
    """Return why a limit price is not taken, or None if it is."""
    tick = instrument.tick_at(price_nanos)
    if price_nanos % tick:
        return _off("OFF_TICK", "limit_price", price_nanos, "tick", tick)
    width = round(reference_price_nanos * band)
    if width and abs(price_nanos - reference_price_nanos) > width:
        low, high = reference_price_nanos - width, reference_price_nanos + width
        return Rejection(
            "PRICE_OUT_OF_BAND",
            f"limit price {price_nanos} lies outside {low} to {high}",
            "price_band",
            str(price_nanos),
            f"{low}..{high}",
        )
    return None


def shares(quantity_nanos: int) -> float:
    """Return a quantity in shares, for statistics."""
    return quantity_nanos / NANO


def _off(reason: str, what: str, value: int, limit: str, bound: int) -> Rejection:
    return Rejection(reason, f"{what} {value} breaks {limit} {bound}", limit, str(value), str(bound))
