"""Recorded files drive the venue: the tape is the file's, and a broken file starts nothing."""

from __future__ import annotations

import csv
import lzma
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tapeline.exchange.v1 import exchange_service_pb2
from tapeline.trading.v1 import market_pb2

from servers.calendars import Calendars
from servers.exchange.recorded_file import load_day
from servers.exchange.sources import RecordedSource
from servers.model.errors import InvalidInput
from servers.model.market import MarketPhase
from servers.reference import load_instruments
from tests.integration.exchange.exchange_client import NANO, Start, eventually

OPEN_MS = 1_381_152_600_000  # 2013-10-07 09:30 in New York
HEADER = "symbol,time_ms,price,size,exchange,sale_condition\n"


def write_trades(folder: Path, days: int = 1) -> Path:
    """Write a small file of two symbols: off-exchange, average-price and closing prints among others."""
    lines = [HEADER]
    for day in range(days):
        open_ms = OPEN_MS + day * 86_400_000
        for symbol, price in (("AAA", 10.0), ("BBB", 20.0)):
            lines.append(f"{symbol},{open_ms - 3_600_000},{price},100,P,2000\n")
            for step in range(600):
                venue = "D" if step % 7 == 0 else "N"
                condition = "100000" if step % 50 == 49 else "1"
                shown = price + 0.01 * (step % 3)
                lines.append(
                    f"{symbol},{open_ms + step * 30_000},{shown:.2f},{100 + step % 5},{venue},{condition}\n"
                )
            lines.append(f"{symbol},{open_ms + 23_400_000 + 5_000},{price},5000,N,80\n")
            lines.append(f"{symbol},{open_ms + 25_000_000},{price},10,P,2000\n")
    path = folder / "trades.csv"
    path.write_text("".join(lines))
    return path


async def test_the_file_goes_out_print_by_print_and_orders_take_part(
    start: Start, background: Any, tmp_path: Path
) -> None:
    path = write_trades(tmp_path)
    settings = {"flow": "recorded", "recorded_file": path, "symbols": "AAA", "speed": 20_000, "hold": True}
    async with start(**{**settings, "date": "2013-10-07"}) as client:
        background(client.follow_reports())
        background(client.follow_market(resume_after_sequence={"AAA": 0}))
        session = await client.stub.GetSession(exchange_service_pb2.GetSessionRequest())
        assert (session.flow, session.eligibility_rule.split(";")[0]) == ("recorded", "regular session")
        await client.submit("AAA", shares=1_000)
        await client.submit("AAA", side=2, shares=300, order_type=3)
        await client.control(1)
        closed = market_pb2.MARKET_PHASE_CLOSED
        await eventually(lambda: any(status.phase == closed for status in client.of("status")))
        with path.open() as lines:
            rows = [row for row in csv.DictReader(lines) if row["symbol"] == "AAA"]
        await eventually(lambda: sum(batch.count for batch in client.of("trades")) == len(rows))
        batches = client.of("trades")
        prices, sizes, flags = (
            np.concatenate([np.frombuffer(getattr(batch, name), np.int64) for batch in batches])
            for name in ("price_nanos", "size_nanos", "flags")
        )
        assert prices.tolist() == [round(float(row["price"]) * NANO) for row in rows]
        eligible = [row for row in rows if row["sale_condition"] in ("1", "80")]
        cash = math.fsum(float(row["price"]) * float(row["size"]) for row in eligible)
        vwap = cash / math.fsum(float(row["size"]) for row in eligible)
        counts = (flags & 1) != 0
        ours = np.average(prices[counts], weights=sizes[counts].astype(float)) / NANO
        assert abs(ours / vwap - 1) < 1e-9
        fills = [report.fill for report in client.reports if report.HasField("fill")]
        bought = [fill for fill in fills if fill.side == 1]
        assert sum(fill.quantity_nanos for fill in bought) == 1_000 * NANO
        assert min(fill.event_time_nanos for fill in bought) >= OPEN_MS * 1_000_000
        assert sum(fill.quantity_nanos for fill in fills if fill.side == 2) == 300 * NANO
        served = [fill.event_time_nanos for fill in bought]
        assert len(served) == len(set(served))


async def test_dates_follow_each_other_and_sequences_go_on(tmp_path: Path) -> None:
    source = RecordedSource(
        write_trades(tmp_path, days=2),
        load_instruments(),
        Calendars(),
        "XNYS",
        date="",
        symbols=frozenset(),
        profile="",
        print_share=1.0,
        note=lambda *_args, **_fields: None,
    )
    session, markets = await source.first(None)
    assert (session.date, sorted(markets)) == ("2013-10-07", ["AAA", "BBB"])
    assert source.history("AAA", session, 5) == []
    for market in markets.values():
        market.begin_session(session.open_time_nanos, session.close_time_nanos)
        market.enter_phase(MarketPhase.CLOSED, session.close_time_nanos)
        market.advance(session.close_time_nanos)
    last = markets["AAA"].tape.last_sequence
    following = await source.following(session, markets)
    assert following is not None
    assert following[0].date == "2013-10-08"
    assert following[1]["AAA"].tape.first_sequence == last + 1
    bars = source.history("AAA", following[0], 5)
    assert sum(bar.volume for bar in bars) > 60_000
    assert await source.following(*following) is None


@pytest.mark.parametrize(
    ("line", "column"),
    [("AAA,1381152600000,-1,100,N,1\n", "price"), ("AAA,1381152600000,1,100,N,zz\n", "sale_condition")],
)
async def test_a_broken_file_names_row_and_column_and_starts_nothing(
    start: Start, tmp_path: Path, line: str, column: str
) -> None:
    path = tmp_path / "broken.csv"
    path.write_text(HEADER + "AAA,1381152600000,1,100,N,1\n" + line)
    with pytest.raises(InvalidInput) as caught:
        async with start(flow="recorded", recorded_file=path, date="2013-10-07"):
            pass
    assert caught.value.reason == "FILE_MALFORMED"
    assert column in caught.value.message


async def test_symbols_and_dates_that_the_file_lacks_are_refused(start: Start, tmp_path: Path) -> None:
    path = write_trades(tmp_path)
    for wrong in ({"symbols": "ZZZ", "date": "2013-10-07"}, {"date": "2013-10-06"}, {"date": "2013-10-09"}):
        with pytest.raises(InvalidInput):
            async with start(**{"flow": "recorded", "recorded_file": path, **wrong}):
                pass


def test_the_vwap_of_a_recorded_day_is_that_of_the_file(recorded_data: Path) -> None:
    path = recorded_data / "market" / "us_trades_2013.csv.xz"
    session = Calendars().session_for("XNYS", "2013-10-07")
    assert session is not None
    trades = load_day(path, session, ["BAC"])["BAC"]
    excluded = (
        0x2
        | 0x4
        | 0x8
        | 0x200
        | 0x400
        | 0x800
        | 0x2000
        | 0x4000
        | 0x100000
        | 0x1000000
        | 0x2000000
        | 0x4000000
    )
    cash, size, count = [], [], 0
    with lzma.open(path, "rt") as lines:
        for line in lines:
            if not line.startswith("BAC,"):
                continue
            _, time_ms, price, shares, _, condition, _ = line.split(",")
            time, mask = int(time_ms) * 1_000_000, int(condition, 16)
            is_auction = (
                bool(mask & 0x1C0) and session.open_time_nanos <= time < session.close_time_nanos + 10**13
            )
            if (session.contains(time) or is_auction) and not mask & excluded:
                cash.append(float(price) * float(shares))
                size.append(float(shares))
                count += 1
    counts = (trades.flags & 1) != 0
    assert int(counts.sum()) == count > 50_000
    ours = math.fsum((trades.price_nanos[counts] / NANO * (trades.size_nanos[counts] / NANO)).tolist())
    volume = math.fsum((trades.size_nanos[counts] / NANO).tolist())
    assert abs(ours / volume / (math.fsum(cash) / math.fsum(size)) - 1) < 1e-9
