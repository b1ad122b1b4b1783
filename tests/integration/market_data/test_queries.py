"""Single answers over real gRPC: what they say, and what is refused with which reason."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import grpc
import pytest
from tapeline.exchange.v1 import exchange_service_pb2
from tapeline.marketdata.v1 import market_data_service_pb2 as pb
from tapeline.trading.v1 import market_pb2

from servers.calendars import Calendars
from servers.model.errors import InvalidInput
from servers.runtime.status import reason_of

NANO = 1_000_000_000
MINUTE = 60 * NANO
DAY = 86_400 * NANO
HUGE = 2**63 - 1


def history(venue: Any, count: int) -> list[Any]:
    """Minute bars of the sessions before the venue's, flat at 50, volume 100 a minute."""
    bars = []
    for session in Calendars().sessions_before("XNYS", venue.open, count):
        bars += [
            exchange_service_pb2.HistoryBar(
                start_time_nanos=start,
                open_price_nanos=50 * NANO,
                high_price_nanos=51 * NANO,
                low_price_nanos=49 * NANO,
                close_price_nanos=50 * NANO + index,
                volume=100.0,
            )
            for index, start in enumerate(range(session.open_time_nanos, session.close_time_nanos, MINUTE))
        ]
    return bars


async def test_a_quote_carries_both_sides_the_last_eligible_price_and_the_phase(
    venue: Any, market_data: Any
) -> None:
    venue.quote("ACME", 49.99, 50.01)
    venue.trade("ACME", [50.0, 99.0], [100, 1], flags=[1, 64])
    venue.time(2.0)
    await market_data.has("ACME", 2)
    await market_data.reached(venue.now)
    answer = await market_data.stub.GetQuote(pb.GetQuoteRequest(symbol="ACME"))
    assert answer.event_time_nanos == venue.now
    quote = answer.quote
    assert (quote.bid_price_nanos, quote.ask_price_nanos) == (49_990_000_000, 50_010_000_000)
    assert (quote.bid_size_nanos, quote.ask_size_nanos) == (100 * NANO, 200 * NANO)
    assert quote.last_price_nanos == 50 * NANO
    assert quote.phase == market_pb2.MARKET_PHASE_CONTINUOUS
    assert quote.event_time_nanos == venue.now - 2 * NANO


async def test_before_the_venue_was_heard_there_is_no_quote(venue: Any, start: Any) -> None:
    await venue.stop()
    market_data = await start()
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await market_data.stub.GetQuote(pb.GetQuoteRequest(symbol="ACME"))
    assert reason_of(refusal.value) == "NO_MARKET_DATA"
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await market_data.stub.GetVolumeCurve(pb.GetVolumeCurveRequest(symbol="ACME"))
    assert reason_of(refusal.value) == "NO_MARKET_DATA"
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await market_data.stub.GetSession(pb.GetSessionRequest(symbol="ACME"))
    assert reason_of(refusal.value) == "NO_MARKET_DATA"
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await market_data.stub.GetQuote(pb.GetQuoteRequest(symbol="BAC"))
    assert reason_of(refusal.value) == "NOT_READY"
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await market_data.stub.ListInstruments(pb.ListInstrumentsRequest())
    assert reason_of(refusal.value) == "NOT_READY"
    some = await market_data.stub.ListInstruments(pb.ListInstrumentsRequest(symbols=["ACME"]))
    assert some.instruments[0].symbol == "ACME"
    vwap = await market_data.stub.GetVwap(pb.GetVwapRequest(symbol="ACME"))
    assert not vwap.HasField("own_fills_on_tape")
    await venue.start()


async def test_the_vwap_counts_eligible_prints_exactly_and_undoes_cancels(
    venue: Any, market_data: Any
) -> None:
    rows = [(50.07, 0.3, 1), (51.113333333, 170, 3), (77.0, 5000, 64), (49.0, 12, 5), (52.5, 40, 9)]
    for index, (price, size, flags) in enumerate(rows):
        venue.trade("ACME", [price], [size], flags=[flags], at=[venue.open + index * MINUTE])
    await market_data.has("ACME", 5)

    def exact(*kept: int) -> tuple[int, float, float]:
        pairs = [(round(rows[i][0] * NANO), round(rows[i][1] * NANO)) for i in kept]
        value = Fraction(sum(p * q for p, q in pairs), sum(q for _, q in pairs))
        return round(value), float(value / NANO), sum(q for _, q in pairs) / NANO

    async def vwap(**request: Any) -> tuple[int, float, float]:
        answer = await market_data.stub.GetVwap(pb.GetVwapRequest(symbol="ACME", **request))
        assert "eligible" in answer.eligibility_rule
        return answer.vwap_nanos, answer.vwap, answer.volume

    assert await vwap() == exact(0, 1, 3, 4)
    assert await vwap(exclude_auctions=True) == exact(0, 1, 4)
    assert await vwap(start_time_nanos=venue.open + MINUTE) == exact(1, 3, 4)
    assert await vwap(start_time_nanos=venue.open + 1, end_time_nanos=venue.open + 4 * MINUTE) == exact(1, 3)
    venue.trade("ACME", [51.113333333], [170], flags=[33], cancelled=[2], at=[venue.open + 5 * MINUTE])
    await market_data.has("ACME", 6)
    assert await vwap() == exact(0, 3, 4)
    nothing = await market_data.stub.GetVwap(pb.GetVwapRequest(symbol="BOLT"))
    assert nothing.own_fills_on_tape
    assert (nothing.vwap_nanos, nothing.volume, nothing.trade_count) == (0, 0.0, 0)
    assert math.isnan(nothing.vwap)


async def test_bars_come_by_page_from_history_and_then_from_the_tape(venue: Any, market_data: Any) -> None:
    venue.history["ACME"] = history(venue, 3)
    for index in range(10):
        venue.trade("ACME", [50 + index], [10], at=[venue.open + index * MINUTE])
    await market_data.has("ACME", 10)

    async def bars(length: int, **request: Any) -> list[Any]:
        found, token = [], ""
        while True:
            page = await market_data.stub.ListBars(
                pb.ListBarsRequest(
                    symbol="ACME", length_nanos=length, page_size=300, page_token=token, **request
                )
            )
            found += page.bars
            token = page.next_page_token
            if not token:
                return found

    minutes = await bars(MINUTE)
    assert len(minutes) == 3 * 390 + 10
    starts = [bar.start_time_nanos for bar in minutes]
    assert starts == sorted(set(starts))
    fives = await bars(5 * MINUTE)
    assert len(fives) == 3 * 78 + 2
    assert (fives[-2].open_price_nanos, fives[-2].close_price_nanos) == (50 * NANO, 54 * NANO)
    assert (fives[-2].vwap_nanos, fives[-2].volume, fives[-2].trade_count) == (52 * NANO, 50.0, 5)
    days = await bars(DAY)
    assert [bar.volume for bar in days] == [39_000.0] * 3 + [100.0]
    assert days[-1].start_time_nanos == venue.open
    assert {bar.length_nanos for bar in days} == {DAY}
    asked = venue.history_calls
    seconds = await bars(NANO, start_time_nanos=venue.open)
    assert [bar.trade_count for bar in seconds] == [1] * 10
    some = await bars(MINUTE, start_time_nanos=venue.open + MINUTE, end_time_nanos=venue.open + 3 * MINUTE)
    assert [bar.open_price_nanos for bar in some] == [51 * NANO, 52 * NANO]
    assert venue.history_calls == asked


async def test_the_curve_and_the_median_come_from_earlier_sessions(venue: Any, market_data: Any) -> None:
    assert not (await market_data.stub.GetVolumeCurve(pb.GetVolumeCurveRequest(symbol="BOLT"))).shares
    venue.history["ACME"] = history(venue, 5)
    curve = await market_data.stub.GetVolumeCurve(pb.GetVolumeCurveRequest(symbol="ACME"))
    assert (len(curve.shares), curve.bin_nanos, curve.sessions) == (78, 5 * MINUTE, 5)
    assert sum(curve.shares) == pytest.approx(1.0)
    assert curve.median_daily_volume == 39_000.0
    wide = await market_data.stub.GetVolumeCurve(
        pb.GetVolumeCurveRequest(symbol="ACME", bin_nanos=60 * MINUTE, sessions=2)
    )
    assert (len(wide.shares), wide.sessions) == (7, 2)


async def test_the_next_session_makes_history_of_this_one(venue: Any, market_data: Any) -> None:
    venue.trade("ACME", [50.0, 50.0], [300, 100], at=[venue.open, venue.close - 1])
    await market_data.has("ACME", 2)
    before = venue.open
    following = Calendars().next_session("XNYS", venue.close)
    venue.now, venue.open, venue.close = (
        following.open_time_nanos - 30 * MINUTE,
        following.open_time_nanos,
        following.close_time_nanos,
    )
    venue.send(exchange_service_pb2.StreamMarketDataResponse(status=venue.status("ACME")))
    venue.trade("ACME", [60.0], [10], at=[following.open_time_nanos])
    await market_data.has("ACME", 3)
    curve = await market_data.stub.GetVolumeCurve(pb.GetVolumeCurveRequest(symbol="ACME"))
    assert (curve.sessions, curve.shares[0], curve.shares[-1]) == (1, 0.75, 0.25)
    vwap = await market_data.stub.GetVwap(pb.GetVwapRequest(symbol="ACME"))
    assert (vwap.vwap, vwap.trade_count) == (60.0, 1)
    earlier = await market_data.stub.GetVwap(
        pb.GetVwapRequest(symbol="ACME", start_time_nanos=before, end_time_nanos=before + DAY // 2)
    )
    assert earlier.trade_count == 2
    bars = await market_data.stub.ListBars(pb.ListBarsRequest(symbol="ACME", length_nanos=DAY))
    assert [(bar.volume, bar.close_price_nanos) for bar in bars.bars] == [
        (400.0, 50 * NANO),
        (10.0, 60 * NANO),
    ]


async def test_files_of_history_come_before_what_the_venue_draws(
    venue: Any, start: Any, tmp_path: Path
) -> None:
    venue.history["ACME"] = history(venue, 2)
    (session,) = Calendars().sessions_before("XNYS", venue.open, 1)
    rows = [
        f"ACME,{start_nanos // 1_000_000},50,51,49,50,7\n"
        for start_nanos in range(session.open_time_nanos, session.close_time_nanos, MINUTE)
    ]
    path = tmp_path / "bars.csv"
    path.write_text("symbol,start_time_ms,open,high,low,close,volume\n" + "".join(rows))
    market_data = await start(history=[path])
    await market_data.in_step()
    days = await market_data.stub.ListBars(pb.ListBarsRequest(symbol="ACME", length_nanos=DAY))
    assert [bar.volume for bar in days.bars] == [39_000.0, 390 * 7.0]


async def test_a_malformed_file_of_history_stops_the_start(start: Any, tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    path.write_text("symbol,start_time_ms,open,high,low,close,volume\nACME,1,50,51,49,x,7\n")
    with pytest.raises(InvalidInput) as refusal:
        await start(history=[path])
    assert refusal.value.reason == "FILE_MALFORMED"


async def test_the_profile_has_the_peak_and_the_value_area(venue: Any, market_data: Any) -> None:
    venue.trade("ACME", [50.0, 50.01, 50.01, 50.02, 50.05], [10, 500, 400, 60, 30])
    await market_data.has("ACME", 5)
    profile = await market_data.stub.GetVolumeProfile(pb.GetVolumeProfileRequest(symbol="ACME"))
    assert [(row.price_nanos, row.volume) for row in profile.rows] == [
        (50_000_000_000, 10.0),
        (50_010_000_000, 900.0),
        (50_020_000_000, 60.0),
        (50_050_000_000, 30.0),
    ]
    assert profile.point_of_control_nanos == 50_010_000_000
    assert (profile.value_area_low_nanos, profile.value_area_high_nanos) == (50_010_000_000, 50_020_000_000)
    coarse = await market_data.stub.GetVolumeProfile(
        pb.GetVolumeProfileRequest(symbol="ACME", price_step_nanos=50_000_000, value_area_share=1.0)
    )
    assert [row.volume for row in coarse.rows] == [970.0, 30.0]
    empty = await market_data.stub.GetVolumeProfile(pb.GetVolumeProfileRequest(symbol="BOLT"))
    assert not empty.rows


async def test_indicators_are_talibs_over_the_last_bars(venue: Any, market_data: Any) -> None:
    venue.history["ACME"] = history(venue, 1)
    specs = [
        pb.IndicatorSpec(name="SMA", parameters={"timeperiod": 3}),
        pb.IndicatorSpec(name="BBANDS"),
        pb.IndicatorSpec(name="CDLDOJI"),
        pb.IndicatorSpec(name="OBV"),
    ]
    answer = await market_data.stub.GetIndicators(
        pb.GetIndicatorsRequest(symbol="ACME", length_nanos=MINUTE, bar_count=5, indicators=specs)
    )
    assert len(answer.start_time_nanos) == 5
    series = {(one.name, one.output): list(one.values) for one in answer.series}
    assert [round((value - 50.0) * NANO) for value in series["SMA", "real"]] == [384, 385, 386, 387, 388]
    assert set(series) >= {("BBANDS", "upperband"), ("BBANDS", "middleband"), ("BBANDS", "lowerband")}
    assert all(len(values) == 5 for values in series.values())
    whole = await market_data.stub.GetIndicators(
        pb.GetIndicatorsRequest(
            symbol="ACME",
            length_nanos=MINUTE,
            bar_count=5_000,
            indicators=[pb.IndicatorSpec(name="SMA", parameters={"timeperiod": 30})],
        )
    )
    assert [math.isnan(value) for value in whole.series[0].values] == [True] * 29 + [False] * 361
    none = await market_data.stub.GetIndicators(
        pb.GetIndicatorsRequest(symbol="BOLT", length_nanos=MINUTE, indicators=specs[:1])
    )
    assert not none.start_time_nanos
    assert not none.series[0].values


async def test_sessions_by_date_by_symbol_and_the_one_that_is_on(venue: Any, market_data: Any) -> None:
    half = await market_data.stub.GetSession(pb.GetSessionRequest(calendar="XNYS", date="2024-07-03"))
    assert half.is_half_day
    assert half.close_time_nanos - half.open_time_nanos == 210 * MINUTE
    none = await market_data.stub.GetSession(pb.GetSessionRequest(symbol="ACME", date="2024-07-04"))
    assert (none.open_time_nanos, none.date, none.time_zone) == (0, "2024-07-04", "America/New_York")
    present = await market_data.stub.GetSession(pb.GetSessionRequest(symbol="ACME"))
    assert (present.date, present.open_time_nanos) == ("2024-03-11", venue.open)
    bombay = await market_data.stub.GetSession(pb.GetSessionRequest(calendar="XBOM", date="2016-08-23"))
    assert bombay.close_time_nanos - bombay.open_time_nanos == 375 * MINUTE


async def test_instruments_come_by_symbol_and_by_page(market_data: Any) -> None:
    first = await market_data.stub.ListInstruments(pb.ListInstrumentsRequest(page_size=3))
    assert [one.symbol for one in first.instruments] == ["ACME", "BOLT", "CRUX"]
    rest = await market_data.stub.ListInstruments(
        pb.ListInstrumentsRequest(page_size=3, page_token=first.next_page_token)
    )
    assert [one.symbol for one in rest.instruments] == ["DYNE"]
    assert not rest.next_page_token
    some = await market_data.stub.ListInstruments(pb.ListInstrumentsRequest(symbols=["DYNE", "ACME", "DYNE"]))
    assert [one.symbol for one in some.instruments] == ["ACME", "DYNE"]


SMA = pb.IndicatorSpec(name="SMA")
WRONG_INDICATORS: list[tuple[str, dict[str, float], str]] = [
    ("", {}, "INDICATOR_UNKNOWN"),
    ("sma", {}, "INDICATOR_UNKNOWN"),
    ("NOPE" * 1000, {}, "INDICATOR_UNKNOWN"),
    ("MAVP", {}, "INDICATOR_UNKNOWN"),
    ("SMA", {"period": 3}, "FIELD_INVALID"),
    ("SMA", {"timeperiod": 2.5}, "FIELD_INVALID"),
    ("SMA", {"timeperiod": -1}, "FIELD_INVALID"),
    ("SMA", {"timeperiod": float("nan")}, "FIELD_INVALID"),
    ("SMA", {"timeperiod": 1e300}, "FIELD_INVALID"),
    ("BBANDS", {"nbdevup": float("inf")}, "FIELD_INVALID"),
    ("BBANDS", {"matype": 99}, "FIELD_INVALID"),
]
REFUSALS = [
    ("GetQuote", pb.GetQuoteRequest(), "FIELD_MISSING"),
    ("GetQuote", pb.GetQuoteRequest(symbol="nope"), "SYMBOL_UNKNOWN"),
    ("GetQuote", pb.GetQuoteRequest(symbol="A" * 100_000), "SYMBOL_UNKNOWN"),
    ("ListBars", pb.ListBarsRequest(length_nanos=MINUTE), "FIELD_MISSING"),
    ("ListBars", pb.ListBarsRequest(symbol="ACME"), "VALUE_OUT_OF_RANGE"),
    ("ListBars", pb.ListBarsRequest(symbol="ACME", length_nanos=-MINUTE), "VALUE_OUT_OF_RANGE"),
    ("ListBars", pb.ListBarsRequest(symbol="ACME", length_nanos=HUGE), "VALUE_OUT_OF_RANGE"),
    (
        "ListBars",
        pb.ListBarsRequest(symbol="ACME", length_nanos=MINUTE, start_time_nanos=-1),
        "VALUE_OUT_OF_RANGE",
    ),
    (
        "ListBars",
        pb.ListBarsRequest(symbol="ACME", length_nanos=MINUTE, start_time_nanos=5, end_time_nanos=5),
        "TIME_RANGE_INVALID",
    ),
    (
        "ListBars",
        pb.ListBarsRequest(symbol="ACME", length_nanos=MINUTE, start_time_nanos=HUGE),
        "TIME_RANGE_INVALID",
    ),
    ("ListBars", pb.ListBarsRequest(symbol="ACME", length_nanos=MINUTE, page_size=-1), "PAGE_SIZE_INVALID"),
    ("ListBars", pb.ListBarsRequest(symbol="ACME", length_nanos=MINUTE, page_size=5001), "PAGE_SIZE_INVALID"),
    (
        "ListBars",
        pb.ListBarsRequest(symbol="ACME", length_nanos=MINUTE, page_token="x"),
        "PAGE_TOKEN_INVALID",
    ),
    ("ListTrades", pb.ListTradesRequest(), "FIELD_MISSING"),
    ("ListTrades", pb.ListTradesRequest(symbol="ACME", after_sequence=-1), "VALUE_OUT_OF_RANGE"),
    ("ListTrades", pb.ListTradesRequest(symbol="ACME", end_time_nanos=-5), "VALUE_OUT_OF_RANGE"),
    ("ListTrades", pb.ListTradesRequest(symbol="ACME", page_size=101), "PAGE_SIZE_INVALID"),
    ("ListTrades", pb.ListTradesRequest(symbol="ACME", page_token="é" * 9_000), "PAGE_TOKEN_INVALID"),
    ("ListInstruments", pb.ListInstrumentsRequest(symbols=["ACME", "NOPE"]), "SYMBOL_UNKNOWN"),
    ("ListInstruments", pb.ListInstrumentsRequest(symbols=[""]), "FIELD_MISSING"),
    ("ListInstruments", pb.ListInstrumentsRequest(page_size=1001), "PAGE_SIZE_INVALID"),
    ("ListInstruments", pb.ListInstrumentsRequest(page_token="AAAA"), "PAGE_TOKEN_INVALID"),
    ("GetIndicators", pb.GetIndicatorsRequest(symbol="ACME", length_nanos=MINUTE), "VALUE_OUT_OF_RANGE"),
    (
        "GetIndicators",
        pb.GetIndicatorsRequest(symbol="ACME", length_nanos=MINUTE, indicators=[SMA] * 33),
        "VALUE_OUT_OF_RANGE",
    ),
    ("GetIndicators", pb.GetIndicatorsRequest(symbol="ACME", indicators=[SMA]), "VALUE_OUT_OF_RANGE"),
    (
        "GetIndicators",
        pb.GetIndicatorsRequest(symbol="ACME", length_nanos=MINUTE, bar_count=5001, indicators=[SMA]),
        "VALUE_OUT_OF_RANGE",
    ),
    *(
        (
            "GetIndicators",
            pb.GetIndicatorsRequest(
                symbol="ACME",
                length_nanos=MINUTE,
                indicators=[pb.IndicatorSpec(name=name, parameters=parameters)],
            ),
            reason,
        )
        for name, parameters, reason in WRONG_INDICATORS
    ),
    (
        "GetVolumeProfile",
        pb.GetVolumeProfileRequest(symbol="ACME", price_step_nanos=-1),
        "VALUE_OUT_OF_RANGE",
    ),
    (
        "GetVolumeProfile",
        pb.GetVolumeProfileRequest(symbol="ACME", value_area_share=1.1),
        "VALUE_OUT_OF_RANGE",
    ),
    (
        "GetVolumeProfile",
        pb.GetVolumeProfileRequest(symbol="ACME", value_area_share=float("nan")),
        "VALUE_OUT_OF_RANGE",
    ),
    ("GetVolumeProfile", pb.GetVolumeProfileRequest(symbol="NOPE"), "SYMBOL_UNKNOWN"),
    ("GetVolumeProfile", pb.GetVolumeProfileRequest(symbol="ACME", end_time_nanos=1), "TIME_RANGE_INVALID"),
    ("GetVolumeCurve", pb.GetVolumeCurveRequest(symbol="ACME", bin_nanos=NANO), "VALUE_OUT_OF_RANGE"),
    ("GetVolumeCurve", pb.GetVolumeCurveRequest(symbol="ACME", bin_nanos=-1), "VALUE_OUT_OF_RANGE"),
    ("GetVolumeCurve", pb.GetVolumeCurveRequest(symbol="ACME", sessions=61), "VALUE_OUT_OF_RANGE"),
    ("GetVolumeCurve", pb.GetVolumeCurveRequest(symbol="ACME", sessions=-1), "VALUE_OUT_OF_RANGE"),
    ("GetVolumeCurve", pb.GetVolumeCurveRequest(), "FIELD_MISSING"),
    ("GetVwap", pb.GetVwapRequest(), "FIELD_MISSING"),
    ("GetVwap", pb.GetVwapRequest(symbol="ACME", start_time_nanos=9, end_time_nanos=8), "TIME_RANGE_INVALID"),
    ("GetSession", pb.GetSessionRequest(), "FIELD_MISSING"),
    ("GetSession", pb.GetSessionRequest(calendar="NOPE"), "CALENDAR_UNKNOWN"),
    ("GetSession", pb.GetSessionRequest(calendar="XNYS", symbol="ACME"), "FIELD_INVALID"),
    ("GetSession", pb.GetSessionRequest(calendar="XNYS", date="11.03.2024"), "FIELD_INVALID"),
    ("GetSession", pb.GetSessionRequest(calendar="XNYS", date="1800-01-01"), "VALUE_OUT_OF_RANGE"),
    ("StreamTrades", pb.StreamTradesRequest(), "FIELD_MISSING"),
    ("StreamTrades", pb.StreamTradesRequest(symbols=["NOPE"]), "SYMBOL_UNKNOWN"),
    (
        "StreamTrades",
        pb.StreamTradesRequest(symbols=["ACME"], resume_after_sequence={"ACME": 10**9}),
        "SEQUENCE_AHEAD",
    ),
    (
        "StreamTrades",
        pb.StreamTradesRequest(symbols=["ACME"], resume_after_sequence={"ACME": -(10**9)}),
        "VALUE_OUT_OF_RANGE",
    ),
    ("StreamQuotes", pb.StreamQuotesRequest(), "FIELD_MISSING"),
    ("StreamQuotes", pb.StreamQuotesRequest(symbols=[str(n) for n in range(501)]), "VALUE_OUT_OF_RANGE"),
]


async def refusal_of(call: Any) -> tuple[str, str]:
    try:
        await (call.read() if hasattr(call, "read") else call)
    except grpc.aio.AioRpcError as refusal:
        return refusal.code().name, reason_of(refusal)
    return "OK", ""


async def test_every_wrong_request_is_refused_with_its_reason(market_data: Any) -> None:
    codes = {"SYMBOL_UNKNOWN": "NOT_FOUND", "CALENDAR_UNKNOWN": "NOT_FOUND", "SEQUENCE_AHEAD": "OUT_OF_RANGE"}
    answered, expected = [], []
    for method, request, reason in REFUSALS:
        what = f"{method} {str(request)[:80]}"
        answered.append((what, *await refusal_of(getattr(market_data.stub, method)(request))))
        expected.append((what, codes.get(reason, "INVALID_ARGUMENT"), reason))
    assert answered == expected
