"""Markouts, control orders and the quality score, and how they reach the report."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from servers.execution.adapters.memory import OPEN_NANOS
from servers.execution.domain.parameters import Algorithm, Parameters
from servers.execution.domain.quality import (
    PastDay,
    completion,
    control_orders,
    interval_sigma,
    markouts,
    quality,
)
from servers.execution.domain.tape import Prints, Tape
from servers.execution.ports import VolumeCurve
from servers.model.market import TradeFlag
from servers.model.nanos import NANO, Money
from servers.model.order import Fill, Liquidity, Side

BIN = 300 * NANO


def tape_of(*rows: tuple[int, float, int]) -> Tape:
    tape = Tape("ACME")
    times, prices, sizes = zip(*rows, strict=True)
    flags = np.full(len(rows), TradeFlag.ELIGIBLE, dtype=np.int64)
    at, price, size = (
        np.array([round(value * NANO) for value in column], dtype=np.int64)
        for column in (times, prices, sizes)
    )
    tape.add(Prints("ACME", 1, at, price, size, flags))
    return tape


def fill(seconds: int, price: float, shares: int, liquidity: Liquidity) -> Fill:
    return Fill(
        "V", f"X{seconds}", "demo", "C", "E", "ACME", Side.BUY, shares * NANO, round(price * NANO),
        Money("USD"), liquidity, seconds * NANO,
    )  # fmt: skip


def test_a_markout_is_a_cost_when_the_price_comes_back_and_a_gain_when_it_goes_on() -> None:
    tape = tape_of((0, 100.0, 10), (5, 99.0, 10), (61, 101.0, 10), (70, 101.0, 10))
    fills = [fill(0, 100.0, 30, Liquidity.TAKER), fill(60, 100.0, 10, Liquidity.MAKER)]
    after_1, after_10, after_60, after_300 = markouts(Side.BUY, fills, tape)
    assert after_1.taker_bps == pytest.approx(0.0)
    assert after_1.maker_bps == pytest.approx(-100.0)
    assert after_1.cost_bps == pytest.approx(-25.0)
    assert after_10.taker_bps == pytest.approx(100.0)
    assert after_60.fill_count == 1
    assert after_60.taker_bps == pytest.approx(100.0)
    assert after_300.fill_count == 0
    assert math.isnan(after_300.cost_bps)


def day(prices: list[float], volumes: list[float]) -> PastDay:
    return PastDay(np.arange(len(prices), dtype=np.int64) * BIN, np.array(prices), np.array(volumes))


def test_a_control_order_follows_the_mean_curve_of_the_sessions_before_it() -> None:
    days = [day([10.0, 10.0, 10.0], [100, 200, 100]), day([10.0, 11.0, 12.0], [200, 100, 100])]
    (control,) = control_orders(days, Side.BUY, 0, 3 * BIN)
    average, vwap = (10 + 2 * 11 + 12) / 4, (2 * 10 + 11 + 12) / 4
    assert control.tracking_error_bps == pytest.approx((average / vwap - 1) * 1e4)
    sigma = math.sqrt(math.log(1.1) ** 2 + math.log(12 / 11) ** 2)
    assert control.shortfall_sigmas == pytest.approx((average / 10 - 1) / sigma)
    assert control_orders(days, Side.SELL, 0, 3 * BIN)[0].shortfall_sigmas < 0


def test_a_bin_without_a_trade_passes_its_weight_on() -> None:
    quiet = PastDay(np.array([0, 2 * BIN]), np.array([10.0, 12.0]), np.array([100.0, 100.0]))
    (control,) = control_orders([day([10.0] * 3, [100, 200, 100]), quiet], Side.BUY, 0, 3 * BIN)
    assert control.tracking_error_bps == pytest.approx(((10 + 3 * 12) / 4 / 11 - 1) * 1e4)


def test_sessions_that_say_nothing_make_no_control_order() -> None:
    assert control_orders([day([10.0, 11.0], [1, 1])], Side.BUY, 0, 2 * BIN) == []
    flat = [day([10.0, 10.0], [1, 1])] * 3
    assert control_orders(flat, Side.BUY, 0, 2 * BIN) == []
    assert control_orders([], Side.BUY, 0, BIN) == []


def test_the_score_weighs_its_components_and_is_unknown_without_control_orders() -> None:
    few = control_orders([day([10.0, 11.0, 12.0], [1, 2, 1])] * 3, Side.BUY, 0, 3 * BIN)
    assert quality(few, 0.0, -9.0, 1.0, 1.0).tracking is not None
    assert quality(few, 0.0, -9.0, 1.0, 1.0).score is None
    controls = 2 * control_orders(
        [day([10.0, 11.0, 12.0], [1, 2, 1]), day([10.0, 11.0, 12.0], [3, 1, 1])] * 2, Side.BUY, 0, 3 * BIN
    )
    best = quality(controls, 0.0, -9.0, 1.0, 1.0)
    assert best.score == pytest.approx(100.0)
    worst = quality(controls, 1e6, 9.0, 0.5, 0.0)
    assert worst.score == pytest.approx(10.0)
    unknown = quality([], 0.0, 0.0, 1.0, 1.0)
    assert unknown.score is None
    assert "no earlier sessions" in unknown.note
    assert quality(controls, math.nan, math.nan, 1.0, 1.0).score is None


def test_completion_is_of_what_limit_and_cap_allowed() -> None:
    prices = np.array([10, 11, 12], dtype=np.int64)
    sizes = np.array([100, 100, 100], dtype=np.int64)
    assert completion(15, 100, 0, Side.BUY, 0.1, prices, sizes) == pytest.approx(0.5)
    assert completion(15, 100, 11, Side.BUY, 0.1, prices, sizes) == pytest.approx(0.75)
    assert completion(10, 10, 0, Side.BUY, 0.1, prices, sizes) == 1.0
    assert completion(0, 10, 9, Side.BUY, 0.1, prices, sizes) == 1.0


def test_the_volatility_of_an_interval_is_that_of_its_bins() -> None:
    times = np.array([0, 300, 600], dtype=np.int64) * NANO
    prices = np.array([100, 110, 99], dtype=np.int64) * NANO
    expected = math.sqrt(math.log(1.1) ** 2 + math.log(0.9) ** 2)
    assert interval_sigma(prices, times, 0, 600 * NANO) == pytest.approx(expected)
    assert math.isnan(interval_sigma(prices[:1], times[:1], 0, BIN - 1))


async def test_a_report_has_the_day_the_participation_prices_markouts_and_a_score(make_world: Any) -> None:
    def rising(step: int) -> list[float]:
        return [30 + 0.01 * step + 0.001 * index for index in range(78)]

    curve = VolumeCurve([1 / 78] * 78, 300 * NANO, 60, 23_400_000.0)
    world = await make_world(curve=curve)
    world.market.days = [day(rising(number), [1e5 + 1e3 * number] * 78) for number in range(8)]
    asked = Parameters(
        "demo", "ACME", Side.BUY, 10_000 * NANO, Algorithm.ADAPTIVE_VWAP, horizon_nanos=900 * NANO,
        start_time_nanos=OPEN_NANOS + 60 * NANO,
    )  # fmt: skip
    execution_id = await world.start(asked)
    await world.run(60 + 60 + 910)
    report = world.book.parents[execution_id].report
    assert report.benchmark("day_vwap").price == pytest.approx(30.0, abs=0.01)
    assert "from the open to the end of the horizon" in report.benchmark("day_vwap").note
    assert report.benchmark("day_vwap_continuous").price == report.benchmark("day_vwap").price
    assert report.benchmark("pwp_5").price == pytest.approx(30.0, abs=0.01)
    assert [markout.horizon_nanos for markout in report.markouts] == [n * NANO for n in (1, 10, 60, 300)]
    assert report.markouts[0].fill_count > 0
    assert report.quality.control_count == 7
    assert report.quality.completion == 1.0
    assert 0.9 < report.quality.conformance <= 1.0
    assert report.quality.score is not None
    stored = [event.report async for event in world.durable.replay() if event.report is not None]
    assert stored[0].quality == report.quality
    assert stored[0].markouts[0].cost_bps == report.markouts[0].cost_bps


async def test_a_participation_price_that_volume_did_not_reach_is_unknown(make_world: Any) -> None:
    world = await make_world()
    asked = Parameters("demo", "ACME", Side.BUY, 50_000 * NANO, Algorithm.POV, horizon_nanos=300 * NANO)
    execution_id = await world.start(asked)
    await world.run(60 + 310)
    benchmark = world.book.parents[execution_id].report.benchmark("pwp_5")
    assert benchmark.price_nanos == 0
    assert "1,000,000 eligible shares did not trade" in benchmark.note
