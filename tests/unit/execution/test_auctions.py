"""The opening and the closing auction: who joins them, and what an interruption leaves of it."""

from __future__ import annotations

from typing import Any

import pytest

from servers.execution.adapters.memory import OPEN_NANOS, Step
from servers.execution.domain.events import ExecutionState
from servers.execution.domain.parameters import Algorithm, CompletionRule, Parameters
from servers.model.nanos import NANO
from servers.model.order import Liquidity, OrderType, Rejection, Side


def parent(quantity: int, **asked: object) -> Parameters:
    given: dict[str, Any] = {"algorithm": Algorithm.TWAP, "horizon_nanos": 600 * NANO, **asked}
    return Parameters("demo", "ACME", Side.BUY, quantity * NANO, **given)


def thin(now: int) -> Step:
    return Step(volume=10, depth=1)


def until_the_close(world: Any) -> Parameters:
    start = world.venue.close_nanos - 1_200 * NANO
    rule = CompletionRule.CLOSING_AUCTION
    return parent(10_000, start_time_nanos=start, completion_rule=rule, horizon_nanos=1_200 * NANO)


async def run_to_the_close(world: Any, seconds_before: int = 0) -> None:
    await world.run((world.venue.close_nanos - world.venue.now_nanos) / NANO - seconds_before)


async def cross_the_close(world: Any, execution_id: str) -> Any:
    await run_to_the_close(world)
    world.venue.cross_close(30 * NANO)
    await world.until(lambda: not world.book.parents[execution_id].working)
    await world.run(20)
    return world.book.parents[execution_id]


async def test_a_residual_goes_into_the_closing_auction_when_asked(make_world: Any) -> None:
    world = await make_world(thin, step_nanos=5 * NANO)
    execution_id = await world.start(until_the_close(world))
    await run_to_the_close(world)
    working = world.book.parents[execution_id].working
    assert [record.child.terms.order_type for record in working.values()] == [OrderType.MARKET_ON_CLOSE]
    done = await cross_the_close(world, execution_id)
    assert done.state is ExecutionState.FILLED
    assert done.report.auction_quantity_nanos > 9_000 * NANO


async def test_the_second_parent_of_a_symbol_knows_the_session_that_was_told_to_the_first(
    make_world: Any,
) -> None:
    world = await make_world(thin, step_nanos=5 * NANO)
    first = await world.start(parent(1, horizon_nanos=60 * NANO))
    await world.run(60 + 200)
    assert world.book.parents[first].is_over
    assert world.book.is_idle
    second = await world.start(until_the_close(world), "r2")
    done = await cross_the_close(world, second)
    assert done.state is ExecutionState.FILLED
    assert done.report.auction_quantity_nanos > 9_000 * NANO


async def test_a_pause_takes_the_residual_out_of_the_closing_auction_and_a_resume_puts_it_back(
    make_world: Any,
) -> None:
    world = await make_world(thin, step_nanos=5 * NANO)
    execution_id = await world.start(until_the_close(world))
    await run_to_the_close(world, seconds_before=200)
    record = world.book.parents[execution_id]
    assert [child.is_for_auction for child in record.working.values()] == [True]
    await world.engine.pause("p", execution_id)
    await world.run(10)
    assert not record.working
    await world.engine.resume("r", execution_id)
    await world.run(10)
    assert [child.is_for_auction for child in record.working.values()] == [True]
    assert (await cross_the_close(world, execution_id)).state is ExecutionState.FILLED


async def test_a_child_for_the_close_that_is_refused_is_sent_again(make_world: Any) -> None:
    world = await make_world(thin, step_nanos=5 * NANO)
    execution_id = await world.start(until_the_close(world))
    await run_to_the_close(world, seconds_before=310)
    world.orders.rejection = Rejection("POSITION_ABOVE_LIMIT")
    await world.run(60)
    world.orders.rejection = None
    refused = [child for child in world.book.parents[execution_id].children.values() if child.is_for_auction]
    assert len(refused) > 1
    assert (await cross_the_close(world, execution_id)).state is ExecutionState.FILLED


async def test_a_child_for_the_close_is_not_sent_twice_after_a_restart(make_world: Any) -> None:
    world = await make_world(thin, step_nanos=5 * NANO)
    execution_id = await world.start(until_the_close(world))
    await run_to_the_close(world, seconds_before=200)
    await world.restart()
    await world.run(60)
    children = world.book.parents[execution_id].children.values()
    assert [child.is_for_auction for child in children].count(True) == 1
    assert (await cross_the_close(world, execution_id)).state is ExecutionState.FILLED


async def test_the_opening_auction_gets_the_first_slice_when_asked(make_world: Any) -> None:
    world = await make_world()
    world.venue.quote = type(world.venue.quote)("ACME", last_price_nanos=30 * NANO)
    execution_id = await world.start(parent(12_000, join_opening_auction=True))
    await world.run(30)
    children = world.book.parents[execution_id].children
    assert [record.child.terms.quantity_nanos for record in children.values()] == [100 * NANO]
    await world.run(640)
    assert world.state(execution_id) is ExecutionState.FILLED


async def test_a_parent_that_the_opening_auction_fills_alone_arrives_with_the_first_price(
    make_world: Any,
) -> None:
    world = await make_world()
    world.venue.quote = type(world.venue.quote)("ACME", last_price_nanos=30 * NANO)
    asked = parent(500, join_opening_auction=True, slice_nanos=600 * NANO)
    execution_id = await world.start(asked)
    await world.run(59)
    record = world.book.parents[execution_id]
    ((key, order),) = world.venue.resting.items()
    world.venue._fill(key, order, order.leaves, 30 * NANO, OPEN_NANOS, Liquidity.AUCTION)
    await world.until(lambda: record.state is ExecutionState.FILLED)
    await world.run(620)
    assert record.state is ExecutionState.FILLED
    assert record.report.interval_start_time_nanos == record.arrival_time_nanos
    assert 0 <= record.arrival_time_nanos - OPEN_NANOS <= NANO
    assert record.report.benchmark("arrival").price == pytest.approx(30.0)
