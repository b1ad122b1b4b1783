"""Protobuf to market data's values and back: the only file that knows both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from tapeline.exchange.v1 import exchange_service_pb2 as exchange_pb
from tapeline.marketdata.v1 import bar_pb2
from tapeline.marketdata.v1 import market_data_service_pb2 as pb
from tapeline.trading.v1 import market_pb2

from servers.market_data.domain import (
    NANOS_PER_MINUTE,
    Bar,
    BestQuote,
    IndicatorSeries,
    IndicatorSpec,
    MarketRequest,
    Prints,
    QuoteUpdate,
    VenueEvent,
    VenueSession,
    VolumeCurve,
    VolumeProfile,
    Vwap,
)
from servers.market_data.history import BarColumns
from servers.market_data.subscriptions import MarketEvent
from servers.model.calendar import Session
from servers.model.market import MarketTime, Quote
from servers.model.nanos import NANO, divide_half_even
from servers.wire.trading import quote_to_wire, status_from_wire, status_to_wire, time_from_wire, time_to_wire

ELIGIBILITY_RULE = (
    "prints that the venue's feed flags as eligible, less those cancelled since; off-exchange prints count"
)

RECORDED_FLOW = "recorded"

# ---------------------------------------------------------------------- from the venue


def prints_from_wire(message: market_pb2.TradeBatch) -> Prints:
    """Return a run of prints without looking into its columns."""
    return Prints(
        message.symbol,
        message.count,
        message.first_sequence,
        message.event_time_nanos,
        message.price_nanos,
        message.size_nanos,
        message.flags,
        message.cancelled_sequence,
        message.receive_time_nanos,
    )


def venue_event_from_wire(message: exchange_pb.StreamMarketDataResponse) -> VenueEvent | None:
    """Return what happened; None for what market data has no use for (depth, an empty batch)."""
    kind = message.WhichOneof("event")
    if kind == "trades":
        return prints_from_wire(message.trades)
    if kind == "quotes":
        return _best_quote(message.quotes)
    if kind == "time":
        return time_from_wire(message.time)
    if kind == "status":
        return status_from_wire(message.status)
    return None


def _best_quote(batch: market_pb2.QuoteBatch) -> BestQuote | None:
    columns = (
        batch.bid_price_nanos,
        batch.bid_size_nanos,
        batch.ask_price_nanos,
        batch.ask_size_nanos,
        batch.event_time_nanos,
    )
    if any(len(column) < 8 for column in columns):
        return None
    bid, bid_size, ask, ask_size, time = (
        int.from_bytes(column[-8:], "little", signed=True) for column in columns
    )
    return BestQuote(batch.symbol, bid, bid_size, ask, ask_size, time, max(1, batch.count))


def venue_session_from_wire(message: exchange_pb.GetSessionResponse) -> VenueSession:
    return VenueSession(
        time_from_wire(message.time),
        tuple(status_from_wire(status) for status in message.statuses),
        message.session_date,
        message.calendar,
        message.flow != RECORDED_FLOW if message.flow else None,
        message.eligibility_rule,
    )


def history_from_wire(bars: Sequence[exchange_pb.HistoryBar]) -> BarColumns:
    """Return minute bars in columns; the venue gives no VWAP and no count."""
    zeros = np.zeros(len(bars), np.int64)
    return BarColumns(
        NANOS_PER_MINUTE,
        np.array([bar.start_time_nanos for bar in bars], np.int64),
        np.array([bar.open_price_nanos for bar in bars], np.int64),
        np.array([bar.high_price_nanos for bar in bars], np.int64),
        np.array([bar.low_price_nanos for bar in bars], np.int64),
        np.array([bar.close_price_nanos for bar in bars], np.int64),
        np.array([bar.volume for bar in bars], np.float64),
        zeros,
        zeros,
    )


# ---------------------------------------------------------------------- to the reader


def prints_to_wire(prints: Prints, sent_nanos: int = 0) -> market_pb2.TradeBatch:
    """Return a batch; one that comes off the tape left here at `sent_nanos` (wall time)."""
    return market_pb2.TradeBatch(
        symbol=prints.symbol,
        count=prints.count,
        first_sequence=prints.first_sequence,
        event_time_nanos=prints.event_time_nanos,
        price_nanos=prints.price_nanos,
        size_nanos=prints.size_nanos,
        flags=prints.flags,
        cancelled_sequence=prints.cancelled_sequence,
        receive_time_nanos=prints.receive_time_nanos or sent_nanos,
    )


def market_request_from_wire(message: pb.StreamMarketRequest) -> MarketRequest:
    return MarketRequest(
        tuple(message.symbols),
        dict(message.resume_after_sequence),
        message.pace,
        message.acknowledged_time_nanos,
        message.subscriber,
        message.idle,
    )


def market_event_to_wire(event: MarketEvent) -> pb.StreamMarketResponse:
    """Return one thing of StreamMarket; prints are put together once and shared by all readers."""
    if isinstance(event, Prints):
        if event.encoded is None:
            event.encoded = pb.StreamMarketResponse(trades=prints_to_wire(event))
        response: pb.StreamMarketResponse = event.encoded
        return response
    if isinstance(event, MarketTime):
        return pb.StreamMarketResponse(time=time_to_wire(event))
    if isinstance(event, Quote):
        return pb.StreamMarketResponse(quote=quote_to_wire(event))
    return pb.StreamMarketResponse(status=status_to_wire(event))


def trades_to_wire(event: Prints | MarketTime) -> pb.StreamTradesResponse:
    if isinstance(event, Prints):
        return pb.StreamTradesResponse(trades=prints_to_wire(event))
    return pb.StreamTradesResponse(time=time_to_wire(event))


def quotes_to_wire(update: QuoteUpdate) -> pb.StreamQuotesResponse:
    return pb.StreamQuotesResponse(
        quotes=[quote_to_wire(quote) for quote in update.quotes],
        conflated_count=update.conflated_count,
        time=time_to_wire(update.time),
    )


def bar_to_wire(symbol: str, bar: Bar) -> bar_pb2.Bar:
    return bar_pb2.Bar(
        symbol=symbol,
        start_time_nanos=bar.start_time_nanos,
        length_nanos=bar.length_nanos,
        open_price_nanos=bar.open_price_nanos,
        high_price_nanos=bar.high_price_nanos,
        low_price_nanos=bar.low_price_nanos,
        close_price_nanos=bar.close_price_nanos,
        vwap_nanos=bar.vwap_nanos,
        volume=bar.volume,
        trade_count=bar.trade_count,
    )


def vwap_to_wire(
    vwap: Vwap, *, without_auctions: bool, own_fills_on_tape: bool | None, eligibility_rule: str = ""
) -> pb.GetVwapResponse:
    rule = (eligibility_rule or ELIGIBILITY_RULE) + ("; auction prints left out" if without_auctions else "")
    if not vwap.quantity_nanos:
        return pb.GetVwapResponse(
            vwap=float("nan"), eligibility_rule=rule, own_fills_on_tape=own_fills_on_tape
        )
    return pb.GetVwapResponse(
        vwap_nanos=divide_half_even(vwap.notional_attos, vwap.quantity_nanos),
        vwap=vwap.notional_attos / (vwap.quantity_nanos * NANO),
        volume=vwap.quantity_nanos / NANO,
        trade_count=vwap.trade_count,
        eligibility_rule=rule,
        own_fills_on_tape=own_fills_on_tape,
    )


def profile_to_wire(profile: VolumeProfile) -> pb.GetVolumeProfileResponse:
    return pb.GetVolumeProfileResponse(
        rows=[
            bar_pb2.VolumeAtPrice(price_nanos=price, volume=volume)
            for price, volume in zip(profile.price_nanos, profile.volume, strict=True)
        ],
        point_of_control_nanos=profile.point_of_control_nanos,
        value_area_low_nanos=profile.value_area_low_nanos,
        value_area_high_nanos=profile.value_area_high_nanos,
    )


def curve_to_wire(curve: VolumeCurve) -> pb.GetVolumeCurveResponse:
    return pb.GetVolumeCurveResponse(
        shares=curve.shares,
        bin_nanos=curve.bin_nanos,
        sessions=curve.sessions,
        median_daily_volume=curve.median_daily_volume,
    )


def specs_from_wire(messages: Iterable[pb.IndicatorSpec]) -> tuple[IndicatorSpec, ...]:
    return tuple(IndicatorSpec(message.name, dict(message.parameters)) for message in messages)


def indicators_to_wire(starts: Iterable[int], series: Iterable[IndicatorSeries]) -> pb.GetIndicatorsResponse:
    return pb.GetIndicatorsResponse(
        start_time_nanos=starts,
        series=[pb.IndicatorSeries(name=one.name, output=one.output, values=one.values) for one in series],
    )


def session_to_wire(
    calendar: str, date: str, time_zone: str, session: Session | None
) -> pb.GetSessionResponse:
    if session is None:
        return pb.GetSessionResponse(calendar=calendar, date=date, time_zone=time_zone)
    return pb.GetSessionResponse(
        calendar=session.calendar,
        date=session.date,
        time_zone=session.time_zone,
        open_time_nanos=session.open_time_nanos,
        close_time_nanos=session.close_time_nanos,
        is_half_day=session.is_half_day,
    )
