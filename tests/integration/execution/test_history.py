"""Earlier sessions over gRPC: what a report compares with, on either side of a change of the clocks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import grpc
import pytest
from tapeline.marketdata.v1 import bar_pb2, market_data_service_pb2_grpc
from tapeline.marketdata.v1 import market_data_service_pb2 as md
from tapeline.trading.v1 import instrument_pb2

from servers.execution.adapters.market import GrpcMarket
from servers.model.errors import Unavailable
from servers.model.nanos import NANO

NEW_YORK = ZoneInfo("America/New_York")
BIN = 300 * NANO


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp()) * NANO


def bar(start: str, price: int, volume: float, vwap: int = 0) -> bar_pb2.Bar:
    prices = dict.fromkeys(
        ("open_price_nanos", "high_price_nanos", "low_price_nanos", "close_price_nanos"), price * NANO
    )
    return bar_pb2.Bar(
        symbol="ACME",
        start_time_nanos=at(start),
        length_nanos=BIN,
        volume=volume,
        vwap_nanos=vwap * NANO,
        **prices,
    )


# The clocks went forward on 2024-03-10: 09:30 is 14:30 UTC before and 13:30 UTC after.
BARS = [
    bar("2024-03-08T09:25", 9, 50),
    bar("2024-03-08T09:30", 10, 100, 11),
    bar("2024-03-08T09:40", 12, 300),
    bar("2024-03-11T09:30", 13, 200),
    bar("2024-03-11T09:35", 14, 0),
]


class MarketData(market_data_service_pb2_grpc.MarketDataServiceServicer):
    def __init__(self) -> None:
        self.asked: list[md.ListBarsRequest] = []
        self.dates: list[str] = []
        self.half_days: set[str] = set()
        self.is_away = False

    async def GetSession(self, request: Any, context: Any) -> Any:
        day = request.date or "2024-03-12"
        self.dates.append(request.date)
        close = "13:00" if day in self.half_days else "16:00"
        return md.GetSessionResponse(
            time_zone="America/New_York",
            open_time_nanos=at(f"{day}T09:30"),
            close_time_nanos=at(f"{day}T{close}"),
        )

    async def ListInstruments(self, request: Any, context: Any) -> Any:
        named = {"ACME": "XNYS", "BOLT": "XNYS", "CRUX": "XBOM", "DUNE": "XNYS"}
        return md.ListInstrumentsResponse(
            instruments=[
                instrument_pb2.Instrument(
                    symbol=symbol,
                    calendar=calendar,
                    currency_code="USD",
                    lot_size_nanos=NANO,
                    min_quantity_nanos=NANO,
                    tick_bands=[instrument_pb2.TickBand(tick_size_nanos=NANO // 100)],
                    listing_state=instrument_pb2.LISTING_STATE_LISTED,
                    short_sale_state=instrument_pb2.SHORT_SALE_STATE_PERMITTED,
                )
                for symbol, calendar in named.items()
                if not request.symbols or symbol in request.symbols
            ]
        )

    async def ListBars(self, request: Any, context: Any) -> Any:
        if self.is_away:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        self.asked.append(request)
        first = int(request.page_token or 0)
        token = str(first + 2) if first + 2 < len(BARS) else ""
        return md.ListBarsResponse(bars=BARS[first : first + 2], next_page_token=token)


@pytest.fixture
async def market() -> AsyncIterator[tuple[GrpcMarket, MarketData]]:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    market_data = MarketData()  # type: ignore[abstract]  # the rest is not called
    market_data_service_pb2_grpc.add_MarketDataServiceServicer_to_server(market_data, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield GrpcMarket(channel), market_data
    await server.stop(None)


async def test_bars_of_earlier_sessions_count_from_the_open_of_their_own_day(market: Any) -> None:
    grpc_market, market_data = market
    days = await grpc_market.past_days("ACME", at("2024-03-12T09:30"))
    assert [day.offsets.tolist() for day in days] == [[0, 2 * BIN], [0]]
    assert [day.prices.tolist() for day in days] == [[11.0, 12.0], [13.0]]
    assert [day.volumes.tolist() for day in days] == [[100.0, 300.0], [200.0]]
    assert len(market_data.asked) == 3
    assert market_data.asked[0].end_time_nanos == at("2024-03-12T09:30")


async def test_history_that_cannot_be_had_is_an_error_that_the_report_can_do_without(market: Any) -> None:
    grpc_market, market_data = market
    market_data.is_away = True
    with pytest.raises(Unavailable):
        await grpc_market.past_days("ACME", at("2024-03-12T09:30"))


async def test_days_carry_their_date_and_the_length_of_their_session(market: Any) -> None:
    grpc_market, market_data = market
    market_data.half_days.add("2024-03-08")
    days = await grpc_market.past_days("ACME", at("2024-03-12T09:30"))
    hours = [(day.date, day.length_nanos / 3_600 / NANO) for day in days]
    assert hours == [("2024-03-08", 3.5), ("2024-03-11", 6.5)]


async def test_a_day_that_traded_to_the_usual_close_is_not_asked_for(
    market: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    grpc_market, market_data = market
    monkeypatch.setitem(globals(), "BARS", [bar("2024-03-11T09:30", 13, 200), bar("2024-03-11T15:55", 13, 9)])
    (day,) = await grpc_market.past_days("ACME", at("2024-03-12T09:30"))
    assert day.length_nanos == 6.5 * 3_600 * NANO
    assert market_data.dates == [""]


async def test_peers_are_the_other_names_of_the_calendar(market: Any) -> None:
    grpc_market, _ = market
    assert await grpc_market.peers("ACME") == ["BOLT", "DUNE"]
