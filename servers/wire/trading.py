"""Conversions of tapeline.trading.v1: orders, fills, instruments, quotes.

`*_from_wire` raises InvalidInput for what can never be right; `*_to_wire` never fails. Conversions of
facts that another server vouches for (`order_from_wire`, `fill_from_wire`) trust their enums.
"""

from __future__ import annotations

from tapeline.trading.v1 import fill_pb2, instrument_pb2, market_pb2, order_pb2, side_pb2

from servers.model.errors import InvalidInput
from servers.model.instrument import Instrument, ListingState, ShortSaleState, TickBand
from servers.model.market import MarketPhase, MarketTime, Quote, TradingStatus
from servers.model.order import (
    Fill,
    Liquidity,
    Order,
    OrderState,
    OrderTerms,
    OrderType,
    Rejection,
    Side,
    TimeInForce,
)
from servers.wire.money import money_from_wire, money_to_wire, nanos_from_timestamp, timestamp_from_nanos

_SIDES = {side.value: side for side in Side}
_ORDER_TYPES = {kind.value: kind for kind in OrderType}
_TIMES_IN_FORCE = {kind.value: kind for kind in TimeInForce}


def side_from_wire(value: int, field: str = "side") -> Side:
    """Return the side; raises InvalidInput ENUM_UNSPECIFIED for 0 and unknown numbers."""
    side = _SIDES.get(value)
    if side is None:
        raise _unspecified(field, value)
    return side


def side_to_wire(side: Side) -> side_pb2.Side.ValueType:
    return side_pb2.Side.ValueType(side.value)


def terms_from_wire(message: order_pb2.OrderTerms) -> OrderTerms:
    """Return validated terms; raises InvalidInput that names the field."""
    order_type = _ORDER_TYPES.get(message.order_type)
    if order_type is None:
        raise _unspecified("order_type", message.order_type)
    time_in_force = _TIMES_IN_FORCE.get(message.time_in_force)
    if time_in_force is None:
        raise _unspecified("time_in_force", message.time_in_force)
    terms = OrderTerms(
        message.symbol,
        side_from_wire(message.side),
        order_type,
        time_in_force,
        message.quantity_nanos,
        message.limit_price_nanos,
        message.display_quantity_nanos,
        message.post_only,
        message.expire_time_nanos,
    )
    terms.validate()
    return terms


def terms_to_wire(terms: OrderTerms) -> order_pb2.OrderTerms:
    return order_pb2.OrderTerms(
        symbol=terms.symbol,
        side=side_pb2.Side.ValueType(terms.side),
        order_type=order_pb2.OrderType.ValueType(terms.order_type),
        time_in_force=order_pb2.TimeInForce.ValueType(terms.time_in_force),
        quantity_nanos=terms.quantity_nanos,
        limit_price_nanos=terms.limit_price_nanos,
        display_quantity_nanos=terms.display_quantity_nanos,
        post_only=terms.is_post_only,
        expire_time_nanos=terms.expire_time_nanos,
    )


def rejection_from_wire(message: order_pb2.Rejection) -> Rejection:
    return Rejection(message.reason, message.message, message.limit, message.value, message.bound)


def rejection_to_wire(rejection: Rejection) -> order_pb2.Rejection:
    return order_pb2.Rejection(
        reason=rejection.reason,
        message=rejection.message,
        limit=rejection.limit,
        value=rejection.value,
        bound=rejection.bound,
    )


def order_from_wire(message: order_pb2.Order) -> Order:
    """Return an order that another server vouches for. Its notional is average price times filled."""
    return Order(
        client_order_id=message.client_order_id,
        account=message.account,
        terms=terms_from_wire(message.terms),
        state=OrderState(message.state),
        filled_quantity_nanos=message.filled_quantity_nanos,
        filled_notional_attos=message.average_price_nanos * message.filled_quantity_nanos,
        execution_id=message.execution_id,
        venue_order_id=message.venue_order_id,
        rejection=rejection_from_wire(message.rejection) if message.HasField("rejection") else None,
        create_time_nanos=nanos_from_timestamp(message.create_time),
        last_sequence=message.last_sequence,
        traceparent=message.traceparent,
    )


def order_to_wire(order: Order) -> order_pb2.Order:
    return order_pb2.Order(
        client_order_id=order.client_order_id,
        account=order.account,
        terms=terms_to_wire(order.terms),
        state=order_pb2.OrderState.ValueType(order.state),
        filled_quantity_nanos=order.filled_quantity_nanos,
        leaves_quantity_nanos=order.leaves_quantity_nanos,
        average_price_nanos=order.average_price_nanos,
        execution_id=order.execution_id,
        venue_order_id=order.venue_order_id,
        rejection=rejection_to_wire(order.rejection) if order.rejection else None,
        create_time=timestamp_from_nanos(order.create_time_nanos),
        last_sequence=order.last_sequence,
        traceparent=order.traceparent,
    )


def fill_from_wire(message: fill_pb2.Fill) -> Fill:
    """Return a fill that another server vouches for."""
    return Fill(
        venue=message.venue,
        venue_execution_id=message.venue_execution_id,
        account=message.account,
        client_order_id=message.client_order_id,
        execution_id=message.execution_id,
        symbol=message.symbol,
        side=side_from_wire(message.side),
        quantity_nanos=message.quantity_nanos,
        price_nanos=message.price_nanos,
        fee=money_from_wire(message.fee, "fee"),
        liquidity=Liquidity(message.liquidity),
        event_time_nanos=message.event_time_nanos,
    )


def fill_to_wire(fill: Fill) -> fill_pb2.Fill:
    return fill_pb2.Fill(
        venue=fill.venue,
        venue_execution_id=fill.venue_execution_id,
        account=fill.account,
        client_order_id=fill.client_order_id,
        execution_id=fill.execution_id,
        symbol=fill.symbol,
        side=side_pb2.Side.ValueType(fill.side),
        quantity_nanos=fill.quantity_nanos,
        price_nanos=fill.price_nanos,
        fee=money_to_wire(fill.fee),
        liquidity=fill_pb2.Liquidity.ValueType(fill.liquidity),
        event_time_nanos=fill.event_time_nanos,
    )


def instrument_from_wire(message: instrument_pb2.Instrument) -> Instrument:
    return Instrument(
        symbol=message.symbol,
        venue=message.venue,
        currency_code=message.currency_code,
        tick_bands=tuple(
            TickBand(band.from_price_nanos, band.tick_size_nanos) for band in message.tick_bands
        ),
        lot_size_nanos=message.lot_size_nanos,
        min_quantity_nanos=message.min_quantity_nanos,
        calendar=message.calendar,
        listing_state=ListingState(message.listing_state),
        short_sale_state=ShortSaleState(message.short_sale_state or ShortSaleState.PROHIBITED),
        display_name=message.display_name,
        aliases=tuple(message.aliases),
    )


def instrument_to_wire(instrument: Instrument) -> instrument_pb2.Instrument:
    return instrument_pb2.Instrument(
        symbol=instrument.symbol,
        display_name=instrument.display_name,
        venue=instrument.venue,
        currency_code=instrument.currency_code,
        tick_bands=[
            instrument_pb2.TickBand(
                from_price_nanos=band.from_price_nanos, tick_size_nanos=band.tick_size_nanos
            )
            for band in instrument.tick_bands
        ],
        lot_size_nanos=instrument.lot_size_nanos,
        min_quantity_nanos=instrument.min_quantity_nanos,
        calendar=instrument.calendar,
        listing_state=instrument_pb2.ListingState.ValueType(instrument.listing_state),
        short_sale_state=instrument_pb2.ShortSaleState.ValueType(instrument.short_sale_state),
        aliases=instrument.aliases,
    )


def quote_from_wire(message: market_pb2.Quote) -> Quote:
    return Quote(
        message.symbol,
        message.bid_price_nanos,
        message.bid_size_nanos,
        message.ask_price_nanos,
        message.ask_size_nanos,
        message.last_price_nanos,
        message.event_time_nanos,
        MarketPhase(message.phase),
    )


def quote_to_wire(quote: Quote) -> market_pb2.Quote:
    return market_pb2.Quote(
        symbol=quote.symbol,
        bid_price_nanos=quote.bid_price_nanos,
        bid_size_nanos=quote.bid_size_nanos,
        ask_price_nanos=quote.ask_price_nanos,
        ask_size_nanos=quote.ask_size_nanos,
        last_price_nanos=quote.last_price_nanos,
        event_time_nanos=quote.event_time_nanos,
        phase=market_pb2.MarketPhase.ValueType(quote.phase),
    )


def status_from_wire(message: market_pb2.TradingStatus) -> TradingStatus:
    return TradingStatus(
        message.symbol,
        MarketPhase(message.phase),
        message.event_time_nanos,
        message.reason,
        message.session_open_time_nanos,
        message.session_close_time_nanos,
        message.sequence,
    )


def status_to_wire(status: TradingStatus) -> market_pb2.TradingStatus:
    return market_pb2.TradingStatus(
        symbol=status.symbol,
        phase=market_pb2.MarketPhase.ValueType(status.phase),
        event_time_nanos=status.event_time_nanos,
        reason=status.reason,
        session_open_time_nanos=status.session_open_time_nanos,
        session_close_time_nanos=status.session_close_time_nanos,
        sequence=status.sequence,
    )


def time_from_wire(message: market_pb2.MarketTime) -> MarketTime:
    return MarketTime(message.event_time_nanos, message.speed, message.held)


def time_to_wire(time: MarketTime) -> market_pb2.MarketTime:
    return market_pb2.MarketTime(event_time_nanos=time.event_time_nanos, speed=time.speed, held=time.is_held)


def _unspecified(field: str, value: int) -> InvalidInput:
    return InvalidInput(
        "ENUM_UNSPECIFIED", f"{field} is {value}: unspecified or unknown", field=field, value=value
    )
