"""The tape across breaks: gaps, restarts of either side, a torn file, another venue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
from tapeline.marketdata.v1 import market_data_service_pb2 as pb

from servers.runtime.status import reason_of

NANO = 1_000_000_000


def sequences(batches: Any) -> list[int]:
    return [
        number for made in batches for number in range(made.first_sequence, made.first_sequence + made.count)
    ]


async def tape(market_data: Any, symbol: str = "ACME", **request: Any) -> list[int]:
    batches, token = [], ""
    while True:
        page = await market_data.stub.ListTrades(
            pb.ListTradesRequest(symbol=symbol, page_token=token, page_size=2, **request)
        )
        batches.extend(page.batches)
        token = page.next_page_token
        if not token:
            return sequences(batches)


async def test_prints_of_before_the_start_are_on_the_tape(venue: Any, start: Any) -> None:
    for _ in range(5):
        venue.trade("ACME", [50.0] * 100, [1] * 100)
    market_data = await start()
    await market_data.in_step()
    assert await tape(market_data) == list(range(1, 501))
    assert await tape(market_data, after_sequence=250) == list(range(251, 501))


async def test_a_hole_in_the_feed_is_filled_from_the_venues_list(venue: Any, market_data: Any) -> None:
    venue.trade("ACME", [50.0] * 3, [1] * 3)
    venue.trade("ACME", [51.0] * 4, [1] * 4, is_sent=False)
    venue.trade("ACME", [52.0] * 2, [1] * 2)
    await market_data.has("ACME", 9)
    assert await tape(market_data) == list(range(1, 10))
    assert market_data.component._market.tapes["ACME"].gap_count == 0


async def test_a_hole_that_the_venue_cannot_fill_is_counted_and_passed_over(
    venue: Any, market_data: Any
) -> None:
    venue.trade("ACME", [50.0] * 3, [1] * 3)
    venue.trade("ACME", [51.0] * 2, [1] * 2, first_sequence=11)
    await market_data.has("ACME", 12)
    assert await tape(market_data) == [1, 2, 3, 11, 12]
    assert await tape(market_data, after_sequence=5) == [11, 12]
    assert market_data.component._market.tapes["ACME"].gap_count == 1
    call = market_data.stub.StreamTrades(
        pb.StreamTradesRequest(symbols=["ACME"], resume_after_sequence={"ACME": 1})
    )
    got: list[int] = []
    while got[-1:] != [12]:
        response = await call.read()
        got += sequences([response.trades]) if response.HasField("trades") else []
    assert got == [2, 3, 11, 12]
    call.cancel()


async def test_a_duplicate_run_leaves_nothing_twice(venue: Any, market_data: Any) -> None:
    made = venue.trade("ACME", [50.0, 51.0, 52.0], [1, 2, 3])
    venue.send(_trades(made))
    venue.trade("ACME", [53.0], [4])
    await market_data.has("ACME", 4)
    assert await tape(market_data) == [1, 2, 3, 4]


async def test_a_malformed_run_is_left_out_and_the_next_fills_the_hole(venue: Any, market_data: Any) -> None:
    made = venue.trade("ACME", [50.0, 51.0], [1, 2], is_sent=False)
    broken = type(made)()
    broken.CopyFrom(made)
    broken.price_nanos = b"\0" * 7
    venue.send(_trades(broken))
    venue.trade("ACME", [52.0], [1])
    await market_data.has("ACME", 3)
    assert await tape(market_data) == [1, 2, 3]
    assert market_data.component._feed.malformed_count == 1


async def test_the_feed_comes_back_after_the_venue_does(
    venue: Any, market_data: Any, eventually: Any
) -> None:
    venue.trade("ACME", [50.0] * 3, [1] * 3)
    await market_data.has("ACME", 3)
    await venue.stop()
    await eventually(lambda: not market_data.component._feed.is_in_step)
    quote = await market_data.stub.GetQuote(pb.GetQuoteRequest(symbol="ACME"))
    assert quote.quote.last_price_nanos == 50 * NANO
    venue.trade("ACME", [51.0] * 2, [1] * 2)
    await venue.start()
    await market_data.has("ACME", 5)
    await market_data.in_step()
    assert await tape(market_data) == [1, 2, 3, 4, 5]


async def test_a_restart_gives_the_same_vwap_to_the_last_unit(venue: Any, start: Any) -> None:
    first = await start()
    await first.in_step()
    for number in range(20):
        venue.trade("ACME", [50 + number / 7, 50 - number / 13], [100 + number, 33])
    venue.time(1.0)
    await first.has("ACME", 40)
    request = pb.GetVwapRequest(symbol="ACME")
    before = await first.stub.GetVwap(request)
    await first.stop()
    venue.trade("ACME", [60.0], [1000])
    second = await start()
    await second.has("ACME", 41)
    assert await tape(second) == list(range(1, 42))
    until = await second.stub.GetVwap(request)
    assert until.trade_count == before.trade_count + 1
    exact = (before.vwap * before.volume + 60.0 * 1000) / (before.volume + 1000)
    assert until.vwap == pytest.approx(exact, rel=1e-14)


async def test_the_kept_tape_serves_before_the_venue_is_there(venue: Any, start: Any, tmp_path: Path) -> None:
    first = await start()
    await first.in_step()
    venue.trade("ACME", [50.0, 51.0, 52.0], [1, 2, 3], flags=[1, 33, 1], cancelled=[0, 1, 0])
    venue.trade("BOLT", [120.0] * 1000, [1] * 1000)
    await first.has("ACME", 3)
    await first.has("BOLT", 1000)
    vwap = await first.stub.GetVwap(pb.GetVwapRequest(symbol="ACME"))
    await first.stop()
    await venue.stop()
    (file,) = (tmp_path / "market_data" / "tape").glob("*.tape")
    with file.open("ab") as torn:
        torn.write(b"1PAT" + b"\x07" * 30)
    second = await start()
    assert await tape(second) == [1, 2, 3]
    assert await tape(second, "BOLT") == list(range(1, 1001))
    vwap.ClearField("own_fills_on_tape")  # known from the venue alone
    assert await second.stub.GetVwap(pb.GetVwapRequest(symbol="ACME")) == vwap
    assert vwap.trade_count == 1
    assert file.read_bytes()[-4:] != b"\x07" * 4
    await venue.start()


async def test_a_kept_tape_of_another_venue_is_let_go(venue: Any, start: Any) -> None:
    first = await start()
    await first.in_step()
    venue.trade("ACME", [50.0] * 3, [1] * 3)
    await first.has("ACME", 3)
    await first.stop()
    venue.prints["ACME"].clear()
    venue.trade("ACME", [70.0] * 5, [2] * 5)
    second = await start()
    await second.has("ACME", 5)
    vwap = await second.stub.GetVwap(pb.GetVwapRequest(symbol="ACME"))
    assert (vwap.vwap, vwap.trade_count) == (70.0, 5)


async def test_readers_are_told_when_the_venue_starts_its_sequences_over(
    venue: Any, market_data: Any
) -> None:
    venue.trade("ACME", [50.0] * 3, [1] * 3)
    await market_data.has("ACME", 3)
    trades = market_data.stub.StreamTrades(
        pb.StreamTradesRequest(symbols=["ACME"], resume_after_sequence={"ACME": 0})
    )
    market = market_data.stub.StreamMarket()
    await market.write(pb.StreamMarketRequest(symbols=["ACME"], resume_after_sequence={"ACME": 0}))
    for call in (trades, market):
        while not (await call.read()).HasField("trades"):
            pass
    venue.prints["ACME"].clear()
    venue.trade("ACME", [70.0] * 2, [2] * 2)
    for call in (trades, market):
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await read_on(call)
        assert reason_of(refusal.value) == "SEQUENCE_EXPIRED"
    assert await tape(market_data) == [1, 2]


async def test_a_symbol_that_only_the_venue_knows_is_served_with_a_note(venue: Any, start: Any) -> None:
    venue.symbols.append("BAC")
    venue.prints["BAC"] = []
    venue.trade("BAC", [14.0] * 2, [100] * 2)
    market_data = await start()
    await market_data.has("BAC", 2)
    listed = await market_data.stub.ListInstruments(pb.ListInstrumentsRequest(symbols=["BAC"]))
    (instrument,) = listed.instruments
    assert instrument.tick_bands[0].tick_size_nanos == 100_000
    assert (instrument.lot_size_nanos, instrument.currency_code, instrument.calendar) == (NANO, "USD", "XNYS")


async def read_on(call: Any) -> None:
    while True:
        await call.read()


def _trades(made: Any) -> Any:
    from tapeline.exchange.v1 import exchange_service_pb2

    return exchange_service_pb2.StreamMarketDataResponse(trades=made)
