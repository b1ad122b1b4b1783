"""The market over market_data's gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import grpc
import numpy as np
from tapeline.marketdata.v1 import bar_pb2, market_data_service_pb2_grpc
from tapeline.marketdata.v1 import market_data_service_pb2 as pb
from tapeline.trading.v1 import market_pb2

from servers.execution.domain.parameters import DAY_NANOS, MINUTE_NANOS, SessionTimes
from servers.execution.domain.quality import BIN_SECONDS, PastDay
from servers.execution.domain.tape import Column, Prints
from servers.execution.ports import MarketMessage, TapeFacts, VolumeCurve
from servers.model.clock import NANOS_PER_SECOND
from servers.model.errors import NotFound, TapelineError, Unavailable
from servers.model.instrument import Instrument
from servers.model.nanos import NANO
from servers.runtime.status import from_rpc_error
from servers.wire.trading import instrument_from_wire, quote_from_wire, status_from_wire, time_from_wire

SUBSCRIBER = "execution"
_PAGE_BATCHES = 50
_PAGE_BARS = 5_000
_PAST_SECONDS = 1.5
"""The report can do without earlier sessions, and other parents wait meanwhile."""

_PAST_NANOS = 90 * DAY_NANOS
_QUIET_END_NANOS = 30 * MINUTE_NANOS
_PAGE_PEERS = 100
_NO_DATA = ("NO_MARKET_DATA", "SEQUENCE_EXPIRED")

Answer = TypeVar("Answer")


class GrpcMarket:
    """`Market` over the market_data server's channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = market_data_service_pb2_grpc.MarketDataServiceStub(channel)
        self._instruments: dict[str, Instrument] = {}

    async def instrument(self, symbol: str) -> Instrument:
        known = self._instruments.get(symbol)
        if known is not None:
            return known
        response = await _answer(self._stub.ListInstruments(pb.ListInstrumentsRequest(symbols=[symbol])))
        for message in response.instruments:
            if message.symbol == symbol:
                instrument = self._instruments[symbol] = instrument_from_wire(message)
                return instrument
        raise NotFound("SYMBOL_UNKNOWN", f"no instrument {symbol}", symbol=symbol)

    async def now_nanos(self, symbol: str) -> int:
        try:
            response = await _answer(self._stub.GetQuote(pb.GetQuoteRequest(symbol=symbol)))
        except TapelineError as error:
            if error.reason in _NO_DATA:
                return 0
            raise
        return int(response.event_time_nanos)

    async def session(self, symbol: str) -> SessionTimes:
        response = await _answer(self._stub.GetSession(pb.GetSessionRequest(symbol=symbol)))
        return SessionTimes(response.open_time_nanos, response.close_time_nanos)

    async def volume_curve(self, symbol: str) -> VolumeCurve:
        response = await _answer(self._stub.GetVolumeCurve(pb.GetVolumeCurveRequest(symbol=symbol)))
        return VolumeCurve(
            tuple(response.shares), response.bin_nanos, response.sessions, response.median_daily_volume
        )

    async def tape_facts(
        self, symbol: str, start_nanos: int, end_nanos: int, *, exclude_auctions: bool = False
    ) -> TapeFacts:
        request = pb.GetVwapRequest(
            symbol=symbol,
            start_time_nanos=start_nanos,
            end_time_nanos=end_nanos,
            exclude_auctions=exclude_auctions,
        )
        response = await _answer(self._stub.GetVwap(request))
        is_said = response.HasField("own_fills_on_tape")
        own_fills_on_tape = response.own_fills_on_tape if is_said else None
        return TapeFacts(
            response.eligibility_rule,
            own_fills_on_tape,
            response.volume,
            response.vwap,
            response.vwap_nanos,
            response.trade_count,
        )

    async def past_days(self, symbol: str, before_nanos: int) -> Sequence[PastDay]:
        session = await _answer(self._stub.GetSession(pb.GetSessionRequest(symbol=symbol)))
        bars: list[bar_pb2.Bar] = []
        token = ""
        while True:
            request = pb.ListBarsRequest(
                symbol=symbol,
                length_nanos=BIN_SECONDS * NANOS_PER_SECOND,
                start_time_nanos=max(before_nanos - _PAST_NANOS, 0),
                end_time_nanos=before_nanos,
                page_size=_PAGE_BARS,
                page_token=token,
            )
            response = await _answer(self._stub.ListBars(request, timeout=_PAST_SECONDS))
            bars.extend(response.bars)
            token = response.next_page_token
            if not token:
                return await self._dated(symbol, _days(bars, session), session)

    async def _dated(
        self, symbol: str, days: Sequence[PastDay], session: pb.GetSessionResponse
    ) -> Sequence[PastDay]:
        """Return the days with the length of their sessions; only one that ends early may be a half day."""
        full = session.close_time_nanos - session.open_time_nanos
        dated = []
        for day in days:
            length = full
            last = int(day.offsets[-1]) if len(day.offsets) else 0
            if not full - _QUIET_END_NANOS <= last < full:
                request = pb.GetSessionRequest(symbol=symbol, date=day.date)
                told = await _answer(self._stub.GetSession(request))
                length = told.close_time_nanos - told.open_time_nanos or full
            dated.append(replace(day, length_nanos=length))
        return dated

    async def peers(self, symbol: str) -> Sequence[str]:
        response = await _answer(self._stub.ListInstruments(pb.ListInstrumentsRequest(page_size=_PAGE_PEERS)))
        calendar = (await self.instrument(symbol)).calendar
        return [
            message.symbol
            for message in response.instruments
            if message.symbol != symbol and message.calendar == calendar
        ]

    async def trades(self, symbol: str, after_sequence: int, start_nanos: int) -> AsyncIterator[Prints]:
        token = ""
        while True:
            request = pb.ListTradesRequest(
                symbol=symbol,
                after_sequence=after_sequence,
                start_time_nanos=start_nanos,
                page_size=_PAGE_BATCHES,
                page_token=token,
            )
            try:
                response = await _answer(self._stub.ListTrades(request))
            except TapelineError as error:
                if error.reason in _NO_DATA:
                    return
                raise
            for batch in response.batches:
                yield prints_from_wire(batch)
            token = response.next_page_token
            if not token:
                return

    def feed(self) -> GrpcMarketFeed:
        return GrpcMarketFeed(self._stub)


class GrpcMarketFeed:
    """A `MarketFeed` over one StreamMarket call. The newest acknowledgement replaces one not yet sent."""

    def __init__(self, stub: market_data_service_pb2_grpc.MarketDataServiceStub) -> None:
        self._stub = stub
        self._subscription: pb.StreamMarketRequest | None = None
        self._acknowledgement: pb.StreamMarketRequest | None = None
        self._is_first = True
        self._arrived = asyncio.Event()
        self._call: Any = None
        self._is_closed = False

    def subscribe(self, resume_after: Mapping[str, int | None]) -> None:
        request = pb.StreamMarketRequest(
            symbols=sorted(resume_after),
            resume_after_sequence={
                symbol: sequence for symbol, sequence in resume_after.items() if sequence is not None
            },
        )
        if self._is_first:
            self._is_first = False
            request.pace = True
            request.subscriber = SUBSCRIBER
        elif self._acknowledgement is not None:
            request.idle = self._acknowledgement.idle
            request.acknowledged_time_nanos = self._acknowledgement.acknowledged_time_nanos
        self._subscription = request
        self._arrived.set()

    def acknowledge(self, time_nanos: int, *, is_idle: bool) -> None:
        self._acknowledgement = pb.StreamMarketRequest(acknowledged_time_nanos=time_nanos, idle=is_idle)
        self._arrived.set()

    async def messages(self) -> AsyncIterator[MarketMessage]:
        requests: Any = self._requests()  # grpc's stubs know synchronous iterators alone
        self._call = self._stub.StreamMarket(requests)
        try:
            async for response in self._call:
                message = _message(response)
                if message is not None:
                    yield message
        except grpc.aio.AioRpcError as error:
            raise _unavailable(error) from error
        finally:
            self.close()
        raise Unavailable("PEER_UNAVAILABLE", "market_data ended the stream")

    def close(self) -> None:
        self._is_closed = True
        self._arrived.set()
        if self._call is not None:
            self._call.cancel()

    async def _requests(self) -> AsyncIterator[pb.StreamMarketRequest]:
        while not self._is_closed:
            await self._arrived.wait()
            self._arrived.clear()
            subscription, self._subscription = self._subscription, None
            if subscription is not None:
                yield subscription
            acknowledgement = self._acknowledgement
            if acknowledgement is not None and subscription is None:
                yield acknowledgement


def prints_from_wire(batch: market_pb2.TradeBatch) -> Prints:
    """Return a batch's columns without a copy."""
    return Prints(
        batch.symbol,
        batch.first_sequence,
        _column(batch.event_time_nanos),
        _column(batch.price_nanos),
        _column(batch.size_nanos),
        _column(batch.flags),
        _column(batch.cancelled_sequence) if batch.cancelled_sequence else None,
    )


def _days(bars: Sequence[bar_pb2.Bar], session: pb.GetSessionResponse) -> list[PastDay]:
    # Sessions open at one time of day at the venue, whatever that is in UTC on the day.
    zone = ZoneInfo(session.time_zone or "UTC")
    opens = datetime.fromtimestamp(session.open_time_nanos // NANO, zone).timetz()
    by_date: dict[date, list[bar_pb2.Bar]] = {}
    for bar in bars:
        by_date.setdefault(datetime.fromtimestamp(bar.start_time_nanos // NANO, zone).date(), []).append(bar)
    days = []
    for day, mine in sorted(by_date.items()):
        open_nanos = int(datetime.combine(day, opens).timestamp()) * NANO
        inside = [bar for bar in mine if bar.start_time_nanos >= open_nanos and bar.volume > 0]
        typical = [(bar.high_price_nanos + bar.low_price_nanos + bar.close_price_nanos) / 3 for bar in inside]
        days.append(
            PastDay(
                np.array([bar.start_time_nanos - open_nanos for bar in inside], dtype=np.int64),
                np.array([bar.vwap_nanos or mean for bar, mean in zip(inside, typical, strict=True)]) / NANO,
                np.array([bar.volume for bar in inside], dtype=np.float64),
                day.isoformat(),
            )
        )
    return days


def _message(response: pb.StreamMarketResponse) -> MarketMessage | None:
    match response.WhichOneof("event"):
        case "time":
            return time_from_wire(response.time)
        case "trades":
            return prints_from_wire(response.trades)
        case "quote":
            return quote_from_wire(response.quote)
        case "status":
            return status_from_wire(response.status)
        case _:
            return None


def _column(raw: bytes) -> Column:
    return np.frombuffer(raw, dtype="<i8")


def _unavailable(error: grpc.aio.AioRpcError) -> TapelineError:
    refusal = from_rpc_error(error)
    return Unavailable("PEER_UNAVAILABLE", f"market_data: {refusal.reason}: {refusal.message}")


async def _answer(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error
