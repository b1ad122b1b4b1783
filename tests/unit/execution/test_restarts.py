"""A server that dies: its parents go on, no child is sent twice, nothing is booked twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from servers.execution.adapters.memory import OPEN_NANOS, Step
from servers.execution.domain.events import Event, EventKind, ExecutionState
from servers.execution.domain.parameters import Algorithm, Parameters
from servers.execution.domain.parent import ParentOrder
from servers.model.kill_switch import KillSwitches
from servers.model.nanos import NANO
from servers.model.order import OrderState, Side


def parent(quantity: int, **asked: object) -> Parameters:
    given: dict[str, Any] = {"algorithm": Algorithm.TWAP, "horizon_nanos": 600 * NANO, **asked}
    return Parameters("demo", "ACME", Side.BUY, quantity * NANO, **given)


def booked_by_venue(world: Any) -> int:
    return sum(fact.fill.quantity_nanos for fact in world.venue.facts if fact.fill is not None)


async def test_a_parent_goes_on_after_restarts_and_fills_exactly_its_quantity(make_world: Any) -> None:
    world = await make_world()
    execution_id = await world.start(parent(20_000))
    await world.run(60)
    for _ in range(5):
        await world.run(100)
        await world.restart()
    await world.run(120)
    done = world.book.parents[execution_id]
    assert done.state is ExecutionState.FILLED
    assert done.filled_quantity_nanos == 20_000 * NANO == booked_by_venue(world)
    replans = [event async for event in world.durable.replay() if event.kind is EventKind.REPLANNED]
    assert [event.reason for event in replans] == ["RESTARTED"] * 5


async def test_the_interval_vwap_after_a_restart_counts_every_print_since_arrival(make_world: Any) -> None:
    world = await make_world()
    execution_id = await world.start(parent(5_000))
    await world.run(60 + 200)
    await world.end()
    world.venue.feeds.clear()
    for _ in range(30):
        world.venue.advance()
    await world.begin()
    await world.run(380)
    report = world.book.parents[execution_id].report
    inside = [
        int(time)
        for prints in world.venue.prints
        for time in prints.times
        if OPEN_NANOS <= time < OPEN_NANOS + 600 * NANO
    ]
    assert report.interval_trade_count == len(inside)
    assert report.residual_quantity_nanos == 0


@pytest.mark.parametrize("is_after", [False, True])
async def test_a_submission_with_an_unknown_outcome_is_repeated_until_it_is_known(
    make_world: Any, is_after: Any
) -> None:
    world = await make_world()
    execution_id = await world.start(parent(10_000))
    await world.run(60 + 50)
    world.orders.fail_submissions = [is_after] * 3
    await world.run(100)
    assert not world.orders.fail_submissions
    await world.run(460)
    done = world.book.parents[execution_id]
    assert done.state is ExecutionState.FILLED
    assert booked_by_venue(world) == 10_000 * NANO


async def test_a_child_that_was_journalled_and_never_sent_is_sent_after_the_restart(make_world: Any) -> None:
    world = await make_world()
    execution_id = await world.start(parent(10_000))
    await world.run(60 + 50)
    world.orders.fail_submissions = [False] * 1_000
    children = len(world.book.parents[execution_id].children)
    while len(world.book.parents[execution_id].children) == children:
        world.venue.advance()
        await world.until(lambda: world.book.now_nanos == world.venue.now_nanos)
    await world.end()
    world.orders.fail_submissions = []
    unsent = [key for key in world.book.parents[execution_id].children if key not in world.venue.known]
    assert unsent
    await world.begin()
    await world.until(lambda: all(key in world.venue.known for key in unsent))
    await world.run(600)
    done = world.book.parents[execution_id]
    assert done.report.residual_quantity_nanos + booked_by_venue(world) == 10_000 * NANO


async def test_a_child_that_orders_refuses_after_the_restart_takes_nobody_with_it(make_world: Any) -> None:
    world = await make_world(lambda _: Step(volume=40))
    execution_id = await world.start(parent(10_000, max_participation_rate=1.0))
    await world.run(60 + 50)
    while not world.venue.resting:
        await world.run(1)
    record = world.book.parents[execution_id]
    at_venue = next(iter(world.venue.resting))
    unsent = replace(record.children[at_venue].child, client_order_id=record.next_child_id())
    sent = Event(EventKind.CHILD, execution_id, world.book.now_nanos, record.state, child=unsent)
    await world.book.commit(record, [sent])
    await world.end()
    world.orders.is_stopped = True
    await world.begin()
    children = world.book.parents[execution_id].children
    await world.until(lambda: children[unsent.client_order_id].state is OrderState.REJECTED)
    assert at_venue in world.venue.resting
    assert at_venue in world.book.parents[execution_id].working


async def test_a_kill_switch_that_is_on_at_the_restart_stops_restored_parents(make_world: Any) -> None:
    world = await make_world()
    execution_id = await world.start(parent(10_000))
    await world.run(60 + 100)
    await world.end()
    world.market.is_away = True  # so that risk is heard first
    await world.begin()
    world.risk.switch(KillSwitches(accounts=frozenset({"demo"})))
    await world.until(lambda: world.engine._switches.stop("demo"))
    world.market.is_away = False
    await world.until(lambda: bool(world.book.working))
    assert world.state(execution_id) is ExecutionState.STOPPING
    await world.run(5)
    assert world.state(execution_id) is ExecutionState.CANCELLED
    assert world.book.parents[execution_id].report.residual_reason == "KILL_SWITCH"


async def test_a_paused_parent_may_be_resumed_before_it_has_its_market_back(make_world: Any) -> None:
    world = await make_world()
    execution_id = await world.start(parent(10_000))
    await world.run(60 + 100)
    await world.engine.pause("p", execution_id)
    await world.run(3)
    await world.end()
    world.market.is_away = True
    await world.begin()
    await world.engine.resume("r", execution_id)
    assert world.state(execution_id) is ExecutionState.RUNNING
    world.market.is_away = False
    await world.run(520)
    assert world.state(execution_id) is ExecutionState.FILLED


async def test_a_pause_and_a_finished_parent_survive_a_restart(make_world: Any) -> None:
    world = await make_world()
    paused = await world.start(parent(10_000), "r1")
    await world.run(60 + 100)
    await world.engine.pause("p", paused)
    await world.run(3)
    await world.restart()
    await world.run(50)
    assert world.state(paused) is ExecutionState.PAUSED
    await world.engine.cancel("c", paused)
    await world.run(3)
    report = world.book.parents[paused].report
    await world.restart()
    assert repr(world.book.parents[paused].report) == repr(report)
    assert not world.book.parents[paused].children  # the journal keeps them
    assert world.book.view(paused).child_count == report.child_count > 0
    assert world.book.unjoined == []


async def test_a_parent_waits_for_market_data_that_is_away_at_the_restart(make_world: Any) -> None:
    world = await make_world()
    execution_id = await world.start(parent(10_000))
    await world.run(60 + 100)
    await world.end()
    world.market.is_away = True
    await world.begin()
    await world.until(lambda: world.book.orders_sequence == len(world.venue.facts))
    assert world.book.unjoined == [execution_id]
    world.market.is_away = False
    await world.run(520)
    assert world.state(execution_id) is ExecutionState.FILLED


async def test_replaying_the_journal_gives_the_live_state(make_world: Any) -> None:
    world = await make_world()
    execution_id = await world.start(parent(20_000))
    await world.run(60 + 605)
    live = world.book.parents[execution_id]
    replayed = None
    async for event in world.durable.replay():
        if replayed is None:
            replayed = ParentOrder.from_event(event)
        else:
            replayed.apply(event)
    for record in live.children.values():
        record.is_cancel_requested = False
    assert repr(replayed) == repr(live)  # NaN of the report equals itself here
