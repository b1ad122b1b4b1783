"""Signals as a real server between market_data, news and intelligence that say what a test has them say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tapeline.intelligence.v1 import intelligence_service_pb2, intelligence_service_pb2_grpc, regime_pb2
from tapeline.marketdata.v1 import bar_pb2, market_data_service_pb2_grpc
from tapeline.marketdata.v1 import market_data_service_pb2 as md
from tapeline.news.v1 import news_service_pb2, news_service_pb2_grpc, sentiment_pb2
from tapeline.signals.v1 import signal_pb2, signals_service_pb2_grpc
from tapeline.signals.v1 import signals_service_pb2 as pb
from tapeline.trading.v1 import instrument_pb2, market_pb2

from servers.model.nanos import NANO
from servers.runtime.channels import Channels
from servers.runtime.running import RunningServer
from servers.runtime.server import make_context, start_server
from servers.runtime.status import error_info
from servers.signals.__main__ import build
from servers.signals.settings import SignalsSettings

MINUTE = 60 * NANO
OPEN = 1_767_623_400 * NANO
SYMBOLS = ("ACME", "BOLT")
PATIENCE_SECONDS = 20.0


class Peers(
    market_data_service_pb2_grpc.MarketDataServiceServicer,
    news_service_pb2_grpc.NewsServiceServicer,
    intelligence_service_pb2_grpc.IntelligenceServiceServicer,
):
    """The three, at one address."""

    def __init__(self) -> None:
        self.minutes = 60.0
        self.sentiments: asyncio.Queue[sentiment_pb2.EntitySentiment | None] = asyncio.Queue()
        self.is_intelligence_away = False
        closes = 20.0 * np.exp(np.cumsum(5e-4 * np.random.default_rng(1).standard_normal(390)))
        self.closes = np.rint(closes * NANO).astype(np.int64).tolist()

    async def serve(self) -> tuple[grpc.aio.Server, str]:
        """Serve all three on one port of loopback; return the server and its address."""
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        market_data_service_pb2_grpc.add_MarketDataServiceServicer_to_server(self, server)
        news_service_pb2_grpc.add_NewsServiceServicer_to_server(self, server)
        intelligence_service_pb2_grpc.add_IntelligenceServiceServicer_to_server(self, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, f"127.0.0.1:{port}"

    @property
    def now(self) -> int:
        return OPEN + round(self.minutes * MINUTE)

    async def ListInstruments(self, request: Any, context: Any) -> Any:
        after = int(request.page_token or 0)  # a page for each: signals has to turn it
        return md.ListInstrumentsResponse(
            instruments=[instrument_pb2.Instrument(symbol=SYMBOLS[after])],
            next_page_token=str(after + 1) if after + 1 < len(SYMBOLS) else "",
        )

    async def GetSession(self, request: Any, context: Any) -> Any:
        return md.GetSessionResponse(open_time_nanos=OPEN, close_time_nanos=OPEN + 390 * MINUTE)

    async def ListBars(self, request: Any, context: Any) -> Any:
        first = max(0, (request.start_time_nanos - OPEN) // MINUTE)
        chosen = range(first, min(390, int(self.minutes) + 1))
        begin = int(request.page_token or 0)
        page = chosen[begin : begin + 25]
        return md.ListBarsResponse(
            bars=[
                bar_pb2.Bar(
                    symbol=request.symbol,
                    start_time_nanos=OPEN + at * MINUTE,
                    length_nanos=MINUTE,
                    close_price_nanos=self.closes[at],
                    volume=100.0 + at % 7,
                )
                for at in page
            ],
            next_page_token=str(begin + 25) if begin + 25 < len(chosen) else "",
        )

    async def StreamQuotes(self, request: Any, context: Any) -> Any:
        while True:
            yield md.StreamQuotesResponse(time=market_pb2.MarketTime(event_time_nanos=self.now))
            self.minutes += 0.05
            await asyncio.sleep(0.02)

    async def StreamSentiment(self, request: Any, context: Any) -> Any:
        yield news_service_pb2.StreamSentimentResponse(is_snapshot=True)
        while (sentiment := await self.sentiments.get()) is not None:
            yield news_service_pb2.StreamSentimentResponse(sentiments=[sentiment])

    async def ClassifyRegime(self, request: Any, context: Any) -> Any:
        if self.is_intelligence_away:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        assert len(request.close_prices_nanos) >= 8 * 40
        return intelligence_service_pb2.ClassifyRegimeResponse(
            regime=regime_pb2.REGIME_TREND,
            features=regime_pb2.RegimeFeatures(
                efficiency_ratio=0.5, variance_ratio=1.2, volatility_ratio=0.9
            ),
        )

    def say(self, score: float, **changes: Any) -> None:
        social = sentiment_pb2.Aggregate(
            score=score,
            effective_author_count=5,
            author_count=6,
            source_count=2,
            post_count=7,
            volume_zscore=3.0,
            llm_share=1.0,
            calibrated_share=1.0,
            newest_time_nanos=self.now,
            model_versions=["market_llm/1"],
        )
        values: dict[str, Any] = {
            "entity": "ACME",
            "social": social,
            "post_ids": ["simulated:1", "simulated:2"],
            "traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01",
            "author_count": 6,
            "source_count": 2,
            "event_time_nanos": self.now,
        }
        self.sentiments.put_nowait(sentiment_pb2.EntitySentiment(**(values | changes)))


@dataclass
class Desk:
    peers: Peers
    stub: Any
    running: RunningServer

    async def signal_where(self, is_wanted: Any, symbol: str = "ACME") -> signal_pb2.Signal:
        """Return the first streamed signal that is wanted."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for message in self.stub.StreamSignals(pb.StreamSignalsRequest(symbols=[symbol])):
                for signal in message.signals:
                    assert signal.symbol == symbol
                    if is_wanted(signal):
                        found: signal_pb2.Signal = signal
                        return found
        raise AssertionError("the stream ended")


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    # They serve what signals calls; the rest stays unimplemented.
    peers = Peers()  # type: ignore[abstract]
    peer_server, address = await peers.serve()
    quick: dict[str, Any] = {"drain_notice_seconds": 0, "drain_seconds": 0.2, "log_level": "error"}
    settings = SignalsSettings(
        port=0,
        data_dir=tmp_path,
        peers=dict.fromkeys(("market_data", "news", "intelligence"), address),
        least_wall_seconds=0.05,
        refresh_seconds=5.0,
        stream_pause_seconds=0.0,
        **quick,
    )
    context = await make_context("signals", settings)
    running = await start_server(settings, context, await build(settings, context))
    own = running.context
    channels = Channels({"signals": running.address}, tracer=own.telemetry.tracer, calls=own.telemetry.calls)
    stub = signals_service_pb2_grpc.SignalsServiceStub(channels.channel("signals"))
    try:
        yield Desk(peers, stub, running)
    finally:
        await channels.close()
        await running.stop()
        peers.sentiments.put_nowait(None)
        await peer_server.stop(None)


async def test_a_post_becomes_a_signal_that_can_be_explained(desk: Desk) -> None:
    before = await desk.signal_where(lambda signal: signal.flags.price_only)
    assert before.regime == signal_pb2.SIGNAL_REGIME_TREND
    desk.peers.say(0.8)
    signal = await desk.signal_where(lambda signal: not signal.flags.price_only)
    assert signal.probability_up > signal.price_only_probability_up
    assert list(signal.post_ids) == ["simulated:1", "simulated:2"]
    assert (signal.author_count, signal.source_count) == (6, 2)
    assert signal.traceparent.startswith("00-" + "a" * 32)
    assert signal.flags.is_calibrated
    assert signal.volatility_bps > 0
    assert signal.half_life_nanos > 0
    assert signal.model_version.startswith("simulated/")
    told = await desk.stub.ExplainSignal(pb.ExplainSignalRequest(symbol="ACME"))
    total = told.base_log_odds + sum(part.log_odds for part in told.contributions)
    assert total == pytest.approx(told.model_log_odds)
    assert "6 authors of 2 sources" in told.text
    assert "planted effect" in told.model_description


async def test_lists_page_and_answers_name_what_is_wrong(desk: Desk) -> None:
    for symbol in SYMBOLS:
        await desk.signal_where(bool, symbol)
    first = await desk.stub.ListSignals(pb.ListSignalsRequest(page_size=1))
    second = await desk.stub.ListSignals(pb.ListSignalsRequest(page_size=1, page_token=first.next_page_token))
    assert [signal.symbol for page in (first, second) for signal in page.signals] == list(SYMBOLS)
    assert not second.next_page_token
    one = await desk.stub.GetSignal(pb.GetSignalRequest(symbol="BOLT"))
    assert one.event_time_nanos >= one.signal.event_time_nanos > OPEN
    refused = {
        "SYMBOL_UNKNOWN": desk.stub.GetSignal(pb.GetSignalRequest(symbol="NONE")),
        "FIELD_MISSING": desk.stub.ExplainSignal(pb.ExplainSignalRequest()),
        "SIGNAL_NOT_FOUND": desk.stub.ExplainSignal(pb.ExplainSignalRequest(symbol="ACME", signal_id="x")),
        "PAGE_SIZE_INVALID": desk.stub.ListSignals(pb.ListSignalsRequest(page_size=-1)),
        "PAGE_TOKEN_INVALID": desk.stub.ListSignals(pb.ListSignalsRequest(page_token="?")),
        "VALUE_OUT_OF_RANGE": desk.stub.ListSignals(pb.ListSignalsRequest(symbols=["A"] * 1_001)),
    }
    for reason, call in refused.items():
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        info = error_info(caught.value)
        assert info is not None
        assert info.reason == reason


async def test_news_that_is_lost_or_malformed_leaves_prices(desk: Desk) -> None:
    desk.peers.say(0.8)
    await desk.signal_where(lambda signal: not signal.flags.price_only)
    desk.peers.say(7.0)  # cannot be: dropped, with a word in the log
    desk.peers.say(0.8, is_pump_suspected=True)
    await desk.signal_where(lambda signal: signal.flags.pump_suspected)
    desk.peers.sentiments.put_nowait(None)  # the stream ends; the next one begins with nothing
    await desk.signal_where(lambda signal: signal.flags.price_only)


async def test_without_intelligence_there_is_no_regime(desk: Desk) -> None:
    desk.peers.is_intelligence_away = True
    signal = await desk.signal_where(
        lambda signal: signal.regime == signal_pb2.SIGNAL_REGIME_UNSPECIFIED, "BOLT"
    )
    missing = {feature.name for feature in signal.features if feature.is_missing}
    assert "efficiency_ratio" in missing


async def test_metrics_show_signals_and_the_model(desk: Desk) -> None:
    await desk.signal_where(bool)
    registry = desk.running.context.telemetry.registry
    assert registry.get_sample_value("tapeline_signals_made_total") >= 1  # type: ignore[operator]
    version = (await desk.stub.GetSignal(pb.GetSignalRequest(symbol="ACME"))).signal.model_version
    assert registry.get_sample_value("tapeline_signals_model_info", {"version": version}) == 1.0
