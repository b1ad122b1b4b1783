"""Adaptive VWAP, percentage of volume and shortfall over the practice market: from command to report."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from servers.execution.adapters.memory import OPEN_NANOS, Step
from servers.execution.domain.events import EventKind, ExecutionState
from servers.execution.domain.parameters import Algorithm, Parameters
from servers.execution.domain.quality import PastDay
from servers.execution.metrics import OUT_OF_BAND, ExecutionCollector
from servers.execution.ports import VolumeCurve
from servers.model.errors import InvalidInput
from servers.model.nanos import NANO
from servers.model.order import Side, TimeInForce

FLAT = VolumeCurve([1 / 78] * 78, 300 * NANO, 60, 23_400_000.0)


def parent(algorithm: Algorithm, quantity: int, **asked: Any) -> Parameters:
    given: dict[str, Any] = {"horizon_nanos": 1_200 * NANO, **asked}
    return Parameters("demo", "ACME", Side.BUY, quantity * NANO, algorithm, **given)


def busy_later(now: int) -> Step:
    """Ordinary volume, three times of it from the fifth to the tenth minute."""
    is_busy = OPEN_NANOS + 300 * NANO <= now < OPEN_NANOS + 600 * NANO
    return Step(volume=3_000 if is_busy else 1_000)


async def events_of(world: Any, execution_id: str) -> list[Any]:
    return [event async for event in world.durable.replay() if event.execution_id == execution_id]


async def test_adaptive_vwap_is_ahead_of_the_curve_when_volume_came_early_and_fills(make_world: Any) -> None:
    world = await make_world(busy_later, curve=FLAT)
    execution_id = await world.start(parent(Algorithm.ADAPTIVE_VWAP, 60_000, tracking_tolerance=0.0))
    await world.run(60 + 660)
    working = world.book.working[execution_id]
    # 1.26 of some 1.8 million shares have traded after 11 of 20 minutes; the flat curve is at 0.56.
    assert 0.6 < working.scheduled_nanos(world.venue.now_nanos) / (60_000 * NANO) < 0.75
    await world.run(560)
    done = world.book.parents[execution_id]
    assert done.state is ExecutionState.FILLED
    assert done.report.fallback == ""
    assert done.report.peak_window_participation_rate <= 0.1


async def test_percentage_of_volume_keeps_its_share_and_leaves_what_volume_did_not_come_for(
    make_world: Any,
) -> None:
    world = await make_world(busy_later)
    execution_id = await world.start(parent(Algorithm.POV, 200_000, target_participation_rate=0.05))
    await world.run(60 + 1_210)
    done = world.book.parents[execution_id]
    assert done.state is ExecutionState.DONE
    assert done.report.participation_rate == pytest.approx(0.05, rel=0.03)
    assert done.report.residual_reason == "TARGET_RATE"


async def test_percentage_of_volume_is_over_early_when_the_volume_comes(make_world: Any) -> None:
    world = await make_world()
    execution_id = await world.start(parent(Algorithm.POV, 20_000))
    assert world.book.parents[execution_id].parameters.target_participation_rate == pytest.approx(0.08)
    await world.run(60 + 330)
    assert world.state(execution_id) is ExecutionState.FILLED


async def test_shortfall_trades_ahead_of_equal_slices_the_more_the_averser_to_risk(make_world: Any) -> None:
    done = []
    for aversion in (0.0, 0.1):
        world = await make_world(curve=FLAT)
        execution_id = await world.start(parent(Algorithm.SHORTFALL, 40_000, risk_aversion=aversion))
        await world.run(60 + 600)
        done.append(world.book.parents[execution_id].filled_quantity_nanos / (40_000 * NANO))
        await world.run(620)
        assert world.state(execution_id) is ExecutionState.FILLED
    assert done[0] == pytest.approx(0.51, abs=0.03)
    assert done[1] > 0.6


async def test_shortfall_without_a_daily_volume_begins_with_equal_slices_and_says_so(make_world: Any) -> None:
    world = await make_world()
    execution_id = await world.start(parent(Algorithm.SHORTFALL, 40_000, risk_aversion=0.1))
    await world.run(60 + 1_210)
    changes = [event for event in await events_of(world, execution_id) if event.kind is EventKind.FALLBACK]
    assert [(event.schedule, event.reason) for event in changes] == [
        (Algorithm.TWAP, "NO_DAILY_VOLUME"),
        (Algorithm.SHORTFALL, "RECOVERED"),
    ]
    assert changes[1].event_time_nanos == pytest.approx(OPEN_NANOS + 300 * NANO, abs=2 * NANO)
    assert "no daily volume is known yet" in world.book.parents[execution_id].report.fallback


async def test_adaptive_vwap_follows_the_static_curve_while_volumes_are_stale(make_world: Any) -> None:
    world = await make_world(curve=FLAT)
    execution_id = await world.start(parent(Algorithm.ADAPTIVE_VWAP, 20_000, horizon_nanos=2_400 * NANO))
    await world.run(60 + 300)
    world.venue.is_silent = True
    await world.run(590)
    assert world.book.view(execution_id).schedule is Algorithm.ADAPTIVE_VWAP
    await world.run(300)  # its own fills print for as long as the cap's window holds older volume
    assert world.book.view(execution_id).schedule is Algorithm.STATIC_VWAP
    world.venue.is_silent = False
    await world.run(10)
    assert world.book.view(execution_id).schedule is Algorithm.ADAPTIVE_VWAP
    await world.run(1_230)
    done = world.book.parents[execution_id]
    assert done.state is ExecutionState.FILLED
    assert "nothing was heard of the market for" in done.report.fallback
    changes = [event for event in await events_of(world, execution_id) if event.kind is EventKind.FALLBACK]
    assert [event.reason for event in changes] == ["VOLUME_STALE", "RECOVERED"]


async def test_adaptive_vwap_goes_static_when_its_average_leaves_the_vwap(make_world: Any) -> None:
    def jumps(now: int) -> Step:
        # One wild minute: the price is 1 % higher, and ten times the ordinary volume trades there.
        is_wild = OPEN_NANOS + 400 * NANO <= now < OPEN_NANOS + 460 * NANO
        return Step(volume=10_000 if is_wild else 1_000, mid_ticks=3_030 if is_wild else 3_000)

    world = await make_world(jumps, curve=FLAT)
    execution_id = await world.start(parent(Algorithm.ADAPTIVE_VWAP, 20_000, max_vwap_deviation=0.002))
    await world.run(60 + 470)
    changes = [event for event in await events_of(world, execution_id) if event.kind is EventKind.FALLBACK]
    assert (changes[0].schedule, changes[0].reason) == (Algorithm.STATIC_VWAP, "VWAP_DEVIATION")
    samples = {
        sample.labels["reason"]: sample.value
        for family in ExecutionCollector(world.book).collect()
        for sample in family.samples
        if sample.name == OUT_OF_BAND
    }
    assert samples == {"VWAP_DEVIATION": 1.0, "MARKET_IMPACT": 0.0, "FALLBACK": 1.0, "SCHEDULE": 0.0}


@pytest.mark.parametrize("algorithm", list(Algorithm))
async def test_every_algorithm_goes_on_after_a_restart_without_a_burst(
    make_world: Any, algorithm: Algorithm
) -> None:
    world = await make_world(busy_later, curve=FLAT)
    execution_id = await world.start(parent(algorithm, 40_000))
    await world.run(60 + 400)
    before = world.book.parents[execution_id].filled_quantity_nanos
    await world.restart()
    await world.run(5)
    after = world.book.parents[execution_id]
    assert 0 < before <= after.filled_quantity_nanos < before + 2_000 * NANO
    await world.run(820)
    done = world.book.parents[execution_id]
    assert done.residual_quantity_nanos == 0
    assert done.report.peak_window_participation_rate <= 0.1


async def test_an_iceberg_shows_its_slice_and_fills_as_the_whole_would(make_world: Any) -> None:
    world = await make_world()
    asked = parent(Algorithm.TWAP, 12_000, display_quantity_nanos=20 * NANO)
    execution_id = await world.start(asked)
    await world.run(60 + 1_210)
    done = world.book.parents[execution_id]
    sent = [order.child.terms for order in world.venue.known.values()]
    shown = [terms.quantity_nanos for terms in sent if terms.time_in_force is not TimeInForce.IOC]
    assert max(shown) <= 24 * NANO
    assert done.residual_quantity_nanos == 0


@pytest.mark.parametrize(
    ("algorithm", "asked", "reason", "field"),
    [
        (Algorithm.TWAP, {"risk_aversion": 0.1}, "FIELD_INVALID", "risk_aversion"),
        (Algorithm.POV, {"tracking_tolerance": 0.1}, "FIELD_INVALID", "tracking_tolerance"),
        (
            Algorithm.SHORTFALL,
            {"target_participation_rate": 0.1},
            "FIELD_INVALID",
            "target_participation_rate",
        ),
        (Algorithm.SHORTFALL, {"risk_aversion": 1.5}, "VALUE_OUT_OF_RANGE", "risk_aversion"),
        (Algorithm.ADAPTIVE_VWAP, {"tracking_tolerance": 0.3}, "VALUE_OUT_OF_RANGE", "tracking_tolerance"),
        (
            Algorithm.POV,
            {"target_participation_rate": 0.2},
            "VALUE_OUT_OF_RANGE",
            "target_participation_rate",
        ),
        (
            Algorithm.TWAP,
            {"display_quantity_nanos": 200 * NANO},
            "VALUE_OUT_OF_RANGE",
            "display_quantity_nanos",
        ),
        (Algorithm.TWAP, {"display_quantity_nanos": NANO // 2}, "FIELD_INVALID", "display_quantity_nanos"),
    ],
)
async def test_a_parameter_of_another_algorithm_or_out_of_range_is_refused(
    make_world: Any, algorithm: Any, asked: Any, reason: Any, field: Any
) -> None:
    world = await make_world()
    with pytest.raises(InvalidInput) as refusal:
        await world.start(parent(algorithm, 100, **asked))
    assert (refusal.value.reason, refusal.value.metadata["field"]) == (reason, field)


async def test_adaptive_vwap_follows_what_earlier_sessions_say_also_after_a_restart(make_world: Any) -> None:
    world = await make_world(busy_later, curve=FLAT)
    offsets = np.arange(78, dtype=np.int64) * 300 * NANO
    world.market.days = [
        PastDay(
            offsets,
            np.full(78, 30.0 + number),
            np.full(78, 300_000.0),
            f"2023-11-{number:02d}",
            78 * 300 * NANO,
        )
        for number in range(1, 9)
    ]
    execution_id = await world.start(parent(Algorithm.ADAPTIVE_VWAP, 60_000, tracking_tolerance=0.0))
    await world.run(60 + 660)
    plan = world.book.parents[execution_id].plan
    assert plan.forecast.session_count == 8
    assert plan.forecast.day_volume == pytest.approx(23_400_000.0)
    scheduled = world.book.working[execution_id].scheduled_nanos(world.venue.now_nanos)
    await world.restart()
    await world.run(10)
    assert world.book.parents[execution_id].plan == plan
    again = world.book.working[execution_id].scheduled_nanos(world.venue.now_nanos)
    assert again == pytest.approx(scheduled, rel=0.1)
    await world.run(560)
    report = world.book.parents[execution_id].report
    assert report.volume_forecast.startswith("fitted on 8 earlier sessions; 23,400,000 shares")
    assert report.interval_volatility > 0 or math.isnan(report.interval_volatility)


@pytest.mark.parametrize(
    ("curve", "said"), [(FLAT, "their mean curve"), (VolumeCurve(), "no volume history")]
)
async def test_a_forecast_that_is_not_fitted_is_said_to_be_none(
    make_world: Any, curve: VolumeCurve, said: str
) -> None:
    world = await make_world(curve=curve)
    execution_id = await world.start(parent(Algorithm.ADAPTIVE_VWAP, 6_000, horizon_nanos=120 * NANO))
    await world.run(60 + 130)
    report = world.book.parents[execution_id].report
    assert report.volume_forecast.startswith("not fitted")
    assert said in report.volume_forecast


async def test_a_parent_that_is_held_back_is_told_when_it_leaves_its_band_and_when_it_is_back(
    make_world: Any,
) -> None:
    def thin_then_deep(now: int) -> Step:
        return Step(volume=40 if now < OPEN_NANOS + 500 * NANO else 4_000)

    world = await make_world(thin_then_deep)
    execution_id = await world.start(parent(Algorithm.TWAP, 60_000))
    await world.run(60 + 450)
    assert "SCHEDULE" in world.book.view(execution_id).alerts
    await world.run(800)
    events = [event for event in await events_of(world, execution_id) if event.kind is EventKind.ALERT]
    assert [event.reason for event in events] == ["SCHEDULE", "SCHEDULE"]
    assert "behind by more than 5.0% for 120 s" in events[0].message
    assert "back in its band" in events[1].message
    assert world.book.view(execution_id).alerts == ()
