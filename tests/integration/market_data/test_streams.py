"""The streams over real gRPC: order, resuming, pacing, slow readers."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import numpy as np
import pytest
from tapeline.marketdata.v1 import market_data_service_pb2 as pb

from servers.runtime.status import reason_of

NANO = 1_000_000_000


def sequences(batches: Any) -> list[int]:
    return [
        sequence
        for made in batches
        for sequence in range(made.first_sequence, made.first_sequence + made.count)
    ]


async def read(call: Any, is_enough: Any, seconds: float = 5.0) -> list[Any]:
    """Read a stream until `is_enough` says so of what has come."""
    got: list[Any] = []
    async with asyncio.timeout(seconds):
        while not is_enough(got):
            response = await call.read()
            assert hasattr(response, "WhichOneof"), "the stream has ended"
            got.append(response)
    return got


def kinds(responses: list[Any]) -> list[str]:
    return [response.WhichOneof("event") for response in responses]


async def test_stream_market_sends_phases_trades_quotes_and_time_in_the_venues_order(
    venue: Any, market_data: Any
) -> None:
    call = market_data.stub.StreamMarket()
    await call.write(pb.StreamMarketRequest(symbols=["ACME"], subscriber="test"))
    first = await read(call, lambda got: len(got) == 1)
    assert first[0].status.session_open_time_nanos == venue.open
    venue.quote("ACME", 49.99, 50.01, count=3)
    venue.quote("ACME", 49.98, 50.02)
    venue.trade("ACME", [50.0, 50.01], [100, 200])
    venue.trade("BOLT", [120.0], [100])
    venue.time(1.0)
    got = await read(call, lambda got: got and got[-1].time.event_time_nanos == venue.now)
    assert [kind for kind in kinds(got) if kind != "time"] == ["trades", "quote"]
    prices = np.frombuffer(got[kinds(got).index("trades")].trades.price_nanos, "<i8")
    assert prices.tolist() == [50 * NANO, 50_010_000_000]
    quote = got[kinds(got).index("quote")].quote
    assert (quote.bid_price_nanos, quote.ask_price_nanos) == (49_980_000_000, 50_020_000_000)
    assert quote.last_price_nanos == 50_010_000_000
    call.cancel()


async def open_stream(market_data: Any, kind: str, symbols: list[str], resume: dict[str, int]) -> Any:
    if kind == "trades":
        return market_data.stub.StreamTrades(
            pb.StreamTradesRequest(symbols=symbols, resume_after_sequence=resume)
        )
    call = market_data.stub.StreamMarket()
    await call.write(pb.StreamMarketRequest(symbols=symbols, resume_after_sequence=resume))
    return call


@pytest.mark.parametrize("kind", ["trades", "market"])
async def test_resuming_sends_history_then_live_without_gap_or_duplicate(
    venue: Any, market_data: Any, kind: str
) -> None:
    for _ in range(5):
        venue.trade("ACME", [50.0] * 700, [1] * 700)
    venue.time(1.0)
    await market_data.has("ACME", 3_500)
    call = await open_stream(market_data, kind, ["ACME", "BOLT"], {"ACME": 1000, "BOLT": 0})
    printing = asyncio.create_task(print_slowly(venue, 30))
    got: list[Any] = []
    while sequences(got)[-1:] != [3_590]:
        async with asyncio.timeout(5.0):
            response = await call.read()
        if response.HasField("trades") and response.trades.symbol == "ACME":
            got.append(response.trades)
    await printing
    assert sequences(got) == list(range(1_001, 3_591))
    assert max(made.count for made in got) <= 1_000
    call.cancel()


async def print_slowly(venue: Any, times: int) -> None:
    for _ in range(times):
        venue.trade("ACME", [51.0] * 3, [1] * 3)
        venue.trade("BOLT", [120.0], [1])
        venue.time(0.5)
        await asyncio.sleep(0.002)


@pytest.mark.parametrize("kind", ["trades", "market"])
async def test_a_symbol_without_a_place_starts_now(venue: Any, market_data: Any, kind: str) -> None:
    venue.trade("ACME", [50.0] * 7, [1] * 7)
    await market_data.has("ACME", 7)
    call = await open_stream(market_data, kind, ["ACME"], {})
    await read(call, lambda got: len(got) == 1)
    venue.trade("ACME", [51.0], [1])
    venue.time(0.1)
    got = await read(call, lambda got: "trades" in kinds(got))
    assert sequences(one.trades for one in got if one.HasField("trades")) == [8]
    call.cancel()


async def test_a_longer_list_of_symbols_adds_their_history_and_their_prints(
    venue: Any, market_data: Any
) -> None:
    venue.trade("BOLT", [120.0] * 4, [1] * 4)
    await market_data.has("BOLT", 4)
    call = await open_stream(market_data, "market", ["ACME"], {})
    await read(call, lambda got: len(got) == 1)
    await call.write(pb.StreamMarketRequest(symbols=["ACME", "BOLT"], resume_after_sequence={"BOLT": 1}))
    got = await read(call, lambda got: sequences(trades_of(got))[-1:] == [4])
    venue.trade("BOLT", [121.0], [1])
    got += await read(call, lambda got: sequences(trades_of(got))[-1:] == [5])
    assert sequences(trades_of(got)) == [2, 3, 4, 5]
    # Phase and session of a symbol that joins are told as at the beginning.
    told = [one.status for one in got if one.HasField("status")]
    assert [(status.symbol, status.session_open_time_nanos) for status in told] == [("BOLT", venue.open)]
    await call.write(pb.StreamMarketRequest(symbols=["NOPE"]))
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await read(call, lambda got: False)
    assert reason_of(refusal.value) == "SYMBOL_UNKNOWN"


def trades_of(responses: list[Any]) -> list[Any]:
    return [one.trades for one in responses if one.HasField("trades")]


async def test_quotes_come_conflated_with_a_count_of_what_was_not_seen(venue: Any, market_data: Any) -> None:
    venue.quote("ACME", 49.0, 51.0)
    venue.time(0.1)
    await market_data.reached(venue.now)
    call = market_data.stub.StreamQuotes(pb.StreamQuotesRequest(symbols=["ACME", "BOLT"]))
    (first,) = await read(call, lambda got: len(got) == 1)
    assert [quote.symbol for quote in first.quotes] == ["ACME", "BOLT"]
    assert (first.quotes[0].bid_price_nanos, first.conflated_count) == (49 * NANO, 0)
    for cents in range(10):
        venue.quote("ACME", 49 + cents / 100, 51.0, count=5)
    venue.time(0.1)
    got = await read(call, lambda got: got[-1].time.event_time_nanos == venue.now if got else False)
    seen = [quote.bid_price_nanos for one in got for quote in one.quotes]
    assert seen[-1] == 49_090_000_000
    assert got[-1].conflated_count == 50 - len(seen)
    call.cancel()


@pytest.mark.parametrize("kind", ["trades", "market"])
async def test_a_reader_that_falls_behind_is_cut_off_and_catches_up_by_list(
    venue: Any, start: Any, kind: str
) -> None:
    market_data = await start(reader_limit_prints=2_000)
    await market_data.in_step()
    call = await open_stream(market_data, kind, ["ACME"], {})
    await read(call, lambda got: len(got) == 1)
    for _ in range(300):
        venue.trade("ACME", [51.0] * 1_000, [1] * 1_000)
        venue.time(0.01)
    await market_data.has("ACME", 300_000)
    got: list[Any] = []
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await read_into(got, call)
    assert refusal.value.code() is grpc.StatusCode.OUT_OF_RANGE
    assert reason_of(refusal.value) == "STREAM_TOO_SLOW"
    seen = sequences(trades_of(got))
    assert seen == list(range(1, len(seen) + 1))
    assert market_data.component._streams.cut_off_count == 1
    page = await market_data.stub.ListTrades(pb.ListTradesRequest(symbol="ACME", after_sequence=len(seen)))
    assert page.batches[0].first_sequence == len(seen) + 1


async def read_into(got: list[Any], call: Any) -> None:
    while True:
        got.append(await call.read())


async def test_a_client_that_has_said_all_goes_on_reading_and_no_longer_paces(
    venue: Any, market_data: Any
) -> None:
    call = market_data.stub.StreamMarket()
    await call.write(pb.StreamMarketRequest(symbols=["ACME"], pace=True))
    await venue.wait_heard(lambda request: not request.idle)
    await call.done_writing()
    await venue.wait_heard(lambda request: request.idle)
    venue.trade("ACME", [51.0], [1])
    await read(call, lambda got: trades_of(got))
    call.cancel()


async def test_a_stream_without_a_first_message_is_refused(market_data: Any) -> None:
    call = market_data.stub.StreamMarket()
    await call.done_writing()
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call.read()
    assert reason_of(refusal.value) == "FIELD_MISSING"


async def test_a_pacer_holds_the_venue_and_its_leaving_lets_it_go(venue: Any, market_data: Any) -> None:
    await venue.wait_heard(lambda request: request.idle)
    assert venue.requests[0].pace
    call = market_data.stub.StreamMarket()
    await call.write(pb.StreamMarketRequest(symbols=["ACME"], subscriber="execution", pace=True))
    await venue.wait_heard(lambda request: not request.idle)
    venue.time(3.0)
    await read(call, lambda got: got and got[-1].time.event_time_nanos == venue.now)
    await call.write(pb.StreamMarketRequest(acknowledged_time_nanos=venue.now))
    await venue.wait_heard(lambda request: not request.idle and request.acknowledged_time_nanos == venue.now)
    await call.write(pb.StreamMarketRequest(acknowledged_time_nanos=venue.now, idle=True))
    await venue.wait_heard(lambda request: request.idle)
    await call.write(pb.StreamMarketRequest(acknowledged_time_nanos=venue.now + 10**15))
    await venue.wait_heard(lambda request: not request.idle and request.acknowledged_time_nanos == venue.now)
    call.cancel()
    await venue.wait_heard(lambda request: request.idle)


async def test_a_silent_pacer_is_dropped(venue: Any, start: Any) -> None:
    market_data = await start(pacer_silence_seconds=0.2)
    await market_data.in_step()
    call = market_data.stub.StreamMarket()
    await call.write(pb.StreamMarketRequest(symbols=["ACME"], subscriber="execution", pace=True))
    await venue.wait_heard(lambda request: not request.idle)
    await venue.wait_heard(lambda request: request.idle)
    await call.write(pb.StreamMarketRequest(acknowledged_time_nanos=venue.now))
    await venue.wait_heard(lambda request: not request.idle)
    call.cancel()


@pytest.mark.parametrize(
    ("request_", "code", "reason"),
    [
        (pb.StreamMarketRequest(), "INVALID_ARGUMENT", "FIELD_MISSING"),
        (pb.StreamMarketRequest(symbols=["NOPE"]), "NOT_FOUND", "SYMBOL_UNKNOWN"),
        (
            pb.StreamMarketRequest(symbols=["A"] * 2 + [str(n) for n in range(500)]),
            "INVALID_ARGUMENT",
            "VALUE_OUT_OF_RANGE",
        ),
        (
            pb.StreamMarketRequest(symbols=["ACME"], resume_after_sequence={"ACME": -1}),
            "INVALID_ARGUMENT",
            "VALUE_OUT_OF_RANGE",
        ),
        (
            pb.StreamMarketRequest(symbols=["ACME"], resume_after_sequence={"BOLT": 0}),
            "INVALID_ARGUMENT",
            "FIELD_INVALID",
        ),
        (
            pb.StreamMarketRequest(symbols=["ACME"], resume_after_sequence={"ACME": 99}),
            "OUT_OF_RANGE",
            "SEQUENCE_AHEAD",
        ),
        (
            pb.StreamMarketRequest(symbols=["ACME"], acknowledged_time_nanos=-1),
            "INVALID_ARGUMENT",
            "VALUE_OUT_OF_RANGE",
        ),
    ],
)
async def test_a_wrong_subscription_is_refused(
    market_data: Any, request_: Any, code: str, reason: str
) -> None:
    call = market_data.stub.StreamMarket()
    await call.write(request_)
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call.read()
    assert (refusal.value.code().name, reason_of(refusal.value)) == (code, reason)


async def test_a_reader_that_leaves_is_forgotten(venue: Any, market_data: Any, eventually: Any) -> None:
    market = market_data.component._market
    calls = [await open_stream(market_data, kind, ["ACME"], {}) for kind in ("trades", "market")]
    calls.append(market_data.stub.StreamQuotes(pb.StreamQuotesRequest(symbols=["ACME"])))
    for call in calls:
        await call.read()
    assert market.listener_count == 3
    for call in calls:
        call.cancel()
    await eventually(lambda: market.listener_count == 0)
