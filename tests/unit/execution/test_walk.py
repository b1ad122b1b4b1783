"""A parent order from command to report, over the practice market."""

from __future__ import annotations

from typing import Any

import pytest

from servers.execution.adapters.memory import OPEN_NANOS, Step
from servers.execution.domain.events import ExecutionState
from servers.execution.domain.parameters import Algorithm, CompletionRule, Parameters
from servers.execution.ports import VolumeCurve
from servers.model.errors import InvalidInput
from servers.model.nanos import NANO
from servers.model.order import Liquidity, Side


def parent(quantity: int, side: Side = Side.BUY, **asked: object) -> Parameters:
    given: dict[str, Any] = {"algorithm": Algorithm.TWAP, "horizon_nanos": 600 * NANO, **asked}
    return Parameters("demo", "ACME", side, quantity * NANO, **given)


async def test_a_twap_started_before_the_open_fills_and_is_reported_at_the_end_of_its_horizon(
    make_world: Any,
) -> None:
    world = await make_world()
    execution_id = await world.start(parent(20_000))
    assert world.state(execution_id) is ExecutionState.PENDING
    await world.run(60 + 590)
    assert world.state(execution_id) is ExecutionState.FILLED
    assert world.book.parents[execution_id].report is None
    await world.run(15)
    done = world.book.parents[execution_id]
    report = done.report
    assert done.filled_quantity_nanos == 20_000 * NANO
    assert report.residual_quantity_nanos == 0
    assert report.interval_start_time_nanos == OPEN_NANOS
    assert report.interval_end_time_nanos == OPEN_NANOS + 600 * NANO
    assert report.peak_window_participation_rate <= 0.1
    assert report.interval_trade_count == 1_200 + sum(
        fill.liquidity is Liquidity.TAKER for fill in done.fills.values()
    )
    assert report.eligibility_rule == "every print of the practice venue"
    assert not world.book.working
    assert not world.book.tapes


async def test_a_static_vwap_follows_the_curve_of_its_symbol(make_world: Any) -> None:
    bins = 78
    front_loaded = [3.0] + [1.0] * (bins - 1)
    curve = VolumeCurve([share / sum(front_loaded) for share in front_loaded], 300 * NANO, 60, 1e6)
    world = await make_world(curve=curve)
    execution_id = await world.start(parent(16_000, algorithm=Algorithm.STATIC_VWAP))
    await world.run(60 + 300)
    working = world.book.working[execution_id]
    assert working.parent.plan.fallback == ""
    assert working.scheduled_nanos(OPEN_NANOS + 300 * NANO) > 11_500 * NANO
    await world.run(310)
    assert world.state(execution_id) is ExecutionState.FILLED


async def test_a_vwap_without_history_takes_a_typical_curve_and_says_so(make_world: Any) -> None:
    world = await make_world()
    execution_id = await world.start(parent(5_000, algorithm=Algorithm.STATIC_VWAP))
    await world.run(60 + 605)
    report = world.book.parents[execution_id].report
    assert report.residual_quantity_nanos == 0
    assert "no volume history" in report.fallback


async def test_a_parent_too_large_for_its_cap_stops_at_the_cap_and_says_why(make_world: Any) -> None:
    world = await make_world()
    execution_id = await world.start(parent(200_000))
    await world.run(60 + 610)
    done = world.book.parents[execution_id]
    report = done.report
    assert done.state is ExecutionState.DONE
    assert report.residual_reason == "PARTICIPATION_CAP"
    assert "200,000 shares are left" in report.residual_message
    assert 0.08 < report.peak_window_participation_rate <= 0.1
    assert report.residual_quantity_nanos + done.filled_quantity_nanos == 200_000 * NANO


async def test_a_limit_price_that_the_market_has_left_keeps_a_residual(make_world: Any) -> None:
    world = await make_world(lambda now: Step(mid_ticks=3_010))
    execution_id = await world.start(parent(10_000, limit_price_nanos=30 * NANO))
    await world.run(60 + 610)
    report = world.book.parents[execution_id].report
    assert report.residual_quantity_nanos == 10_000 * NANO
    assert report.residual_reason == "LIMIT_PRICE"
    assert all(
        child.child.terms.limit_price_nanos <= 30 * NANO
        for child in world.book.parents[execution_id].children.values()
    )


async def test_a_sell_earns_the_spread_when_it_rests_and_pays_when_it_crosses(make_world: Any) -> None:
    world = await make_world(own_on_tape=False)
    execution_id = await world.start(parent(20_000, Side.SELL))
    await world.run(60 + 605)
    report = world.book.parents[execution_id].report
    assert report.maker_quantity_nanos > report.taker_quantity_nanos
    assert report.shortfall.spread_e18 < 0
    assert report.own_fills_in_benchmark is False
    assert report.interval_vwap_other > 0


async def test_a_horizon_past_the_close_is_clipped_and_the_report_says_so(make_world: Any) -> None:
    world = await make_world(step_nanos=60 * NANO)
    execution_id = await world.start(
        parent(1_000, horizon_nanos=0, start_time_nanos=OPEN_NANOS + 6 * 3600 * NANO)
    )
    asked = world.book.parents[execution_id].parameters
    assert asked.end_time_nanos == world.venue.close_nanos
    await world.run(60 + 23_400 + 300)
    report = world.book.parents[execution_id].report
    assert "clipped to the close" in report.benchmark("interval_vwap").note
    assert report.benchmark("close").price == pytest.approx(30.01)


async def test_a_clean_up_may_exceed_the_cap_up_to_its_own(make_world: Any) -> None:
    world = await make_world()
    execution_id = await world.start(
        parent(90_000, completion_rule=CompletionRule.CLEAN_UP, clean_up_participation_rate=0.5)
    )
    await world.run(60 + 610)
    report = world.book.parents[execution_id].report
    assert 0.1 < report.peak_window_participation_rate < 0.5


async def test_children_of_a_clean_up_rest_under_its_own_cap(make_world: Any) -> None:
    def in_bursts(now: int) -> Step:
        return Step(volume=5_000 if now // NANO % 5 == 0 else 0, depth=0)

    world = await make_world(in_bursts, own_on_tape=False)
    asked = parent(
        150_000,
        horizon_nanos=1_200 * NANO,
        max_participation_rate=0.1,
        completion_rule=CompletionRule.CLEAN_UP,
        clean_up_participation_rate=0.4,
    )
    execution_id = await world.start(asked)
    await world.run(60 + 1_139)
    before = world.book.parents[execution_id].filled_quantity_nanos
    await world.run(70)
    # 60,000 shares trade in the last minute, and what rests meets a quarter of them.
    assert world.book.parents[execution_id].filled_quantity_nanos - before >= 14_000 * NANO


async def test_a_parent_whose_market_moves_on_while_it_is_planned_arrives_when_it_is_followed(
    make_world: Any,
) -> None:
    world = await make_world(lambda now: Step(mid_ticks=3_000 if now < OPEN_NANOS + 105 * NANO else 3_030))
    await world.run(60 + 100)
    check = world.risk.check

    async def slow_check(execution_id: str, parameters: Parameters) -> Any:
        for _ in range(10):
            world.venue.advance()
        return await check(execution_id, parameters)

    world.risk.check = slow_check
    execution_id = await world.start(parent(60, horizon_nanos=60 * NANO))
    await world.run(70)
    done = world.book.parents[execution_id]
    start, end = done.report.interval_start_time_nanos, done.report.interval_end_time_nanos
    facts = await world.market.tape_facts("ACME", start, end)
    assert start == OPEN_NANOS + 110 * NANO
    assert done.report.benchmark("arrival").price == pytest.approx(30.3)
    assert done.report.benchmark("interval_vwap").price == facts.vwap
    assert done.report.interval_trade_count == facts.trade_count


async def test_a_parent_that_never_could_trade_ends_with_all_of_it_left(make_world: Any) -> None:
    from servers.model.market import MarketPhase

    world = await make_world(lambda now: Step(phase=MarketPhase.HALTED))
    execution_id = await world.start(parent(1_000))
    await world.run(60 + 605)
    done = world.book.parents[execution_id]
    assert done.state is ExecutionState.DONE
    assert done.report.residual_quantity_nanos == 1_000 * NANO
    assert not done.children


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"quantity_nanos": NANO // 2}, "quantity_nanos"),
        ({"limit_price_nanos": NANO // 1_000}, "limit_price_nanos"),
        ({"max_participation_rate": 1.5}, "max_participation_rate"),
        ({"clean_up_participation_rate": 0.05}, "clean_up_participation_rate"),
        ({"horizon_nanos": 1}, "horizon_nanos"),
        ({"horizon_nanos": 600 * NANO, "end_time_nanos": OPEN_NANOS}, "horizon_nanos"),
        ({"horizon_nanos": 0, "start_time_nanos": 5, "end_time_nanos": 5}, "end_time_nanos"),
        ({"slice_nanos": 3}, "slice_nanos"),
    ],
)
async def test_a_request_outside_its_ranges_is_refused_and_leaves_nothing(
    make_world: Any, asked: Any, field: Any
) -> None:
    world = await make_world()
    fields = {"algorithm": Algorithm.TWAP, "horizon_nanos": 600 * NANO, "quantity_nanos": 100 * NANO, **asked}
    with pytest.raises(InvalidInput) as refusal:
        await world.engine.start("r", Parameters("demo", "ACME", Side.BUY, **fields), "")
    assert refusal.value.metadata["field"] == field
    assert not world.book.parents
    assert world.journal.last_sequence == 0


async def test_a_start_after_the_close_is_refused(make_world: Any) -> None:
    world = await make_world()
    with pytest.raises(InvalidInput) as refusal:
        await world.start(parent(100, start_time_nanos=world.venue.close_nanos))
    assert refusal.value.reason == "HORIZON_INVALID"
