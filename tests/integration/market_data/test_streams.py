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
            assert response is not grpc.aio.EOF
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


async def test_resuming_sends_history_then_live_without_gap_or_duplicate(
    venue: Any, market_data: Any
) -> None:
    for _ in range(5):
        venue.trade("ACME", [50.0] * 700, [1] * 700)
    venue.time(1.0)
    for stream in ("trades", "market"):
        if stream == "trades":
            call = market_data.stub.StreamTrades(
                pb.StreamTradesRequest(symbols=["ACME"], resume_after_sequence={"ACME": 1000})
            )
        else:
            call = market_data.stub.StreamMarket()
            await call.write(pb.StreamMarketRequest(symbols=["ACME"], resume_after_sequence={"ACME": 1000}))
        before = venue.last_sequence("ACME")
        await read(call, lambda got: "trades" in kinds(got))
        venue.trade("ACME", [51.0] * 3, [1] * 3)
        venue.time(1.0)
        call.cancel()
        if stream == "trades":
            call = market_data.stub.StreamTrades(
                pb.StreamTradesRequest(symbols=["ACME"], resume_after_sequence={"ACME": 1000})
            )
        else:
            call = market_data.stub.StreamMarket()
            await call.write(pb.StreamMarketRequest(symbols=["ACME"], resume_after_sequence={"ACME": 1000}))
        got = await read(
            call,
            lambda got: sequences(one.trades for one in got if one.HasField("trades"))[-1:] == [before + 3],
        )
        batches = [one.trades for one in got if one.HasField("trades")]
        assert sequences(batches) == list(range(1001, before + 4))
        assert max(made.count for made in batches) <= 1000
        call.cancel()


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
