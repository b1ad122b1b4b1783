"""Commands, refusals, controls and interruptions of a running parent."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from servers.execution.adapters.memory import OPEN_NANOS, Step
from servers.execution.domain.events import EventKind, ExecutionState
from servers.execution.domain.parameters import Algorithm, Parameters
from servers.execution.ports import OrderFact, OrderFactKind
from servers.model.errors import AlreadyExists, FailedPrecondition, NotFound, Unavailable
from servers.model.kill_switch import KillSwitches
from servers.model.market import MarketPhase
from servers.model.nanos import NANO, Money
from servers.model.order import Fill, Liquidity, OrderState, Rejection, Side


def parent(quantity: int, **asked: object) -> Parameters:
    given: dict[str, Any] = {"algorithm": Algorithm.TWAP, "horizon_nanos": 600 * NANO, **asked}
    return Parameters("demo", "ACME", Side.BUY, quantity * NANO, **given)


async def tell(world: Any, kind: OrderFactKind, fill: Fill, corrected: Fill | None = None) -> None:
    """Let orders say something about a fill."""
    facts = world.venue.facts
    state = OrderState.FILLED
    key = fill.client_order_id
    facts.append(OrderFact(len(facts) + 1, kind, fill.execution_id, key, state, fill, corrected))
    world.venue.facts_changed.set()


async def events_of(world: Any, kind: Any) -> Any:
    return [event async for event in world.durable.replay() if event.kind is kind]


async def test_a_repeat_of_a_request_gets_the_first_answer_and_starts_nothing(make_world: Any) -> None:
    world = await make_world()
    first = await world.engine.start("r1", parent(1_000), "")
    await world.run(70)
    again = await world.engine.start("r1", parent(1_000), "")
    assert again == first
    assert len(world.book.parents) == 1
    assert len(world.risk.checked) == 1


async def test_two_requests_with_one_id_at_once_start_one_parent(make_world: Any) -> None:
    world = await make_world()
    views = await asyncio.gather(*(world.engine.start("r1", parent(1_000), "") for _ in range(3)))
    assert len({view.execution_id for view in views}) == 1
    assert len(world.risk.checked) == 1


async def test_a_request_id_with_other_content_is_refused(make_world: Any) -> None:
    world = await make_world()
    await world.engine.start("r1", parent(1_000), "")
    with pytest.raises(AlreadyExists) as refusal:
        await world.engine.start("r1", parent(2_000), "")
    assert refusal.value.reason == "REQUEST_ID_REUSED"


async def test_a_broken_limit_is_a_rejected_execution_and_not_an_error(make_world: Any) -> None:
    world = await make_world()
    world.risk.rejection = Rejection("POSITION_ABOVE_LIMIT", "too much", "max_position", "9", "5")
    view = await world.engine.start("r1", parent(1_000), "")
    assert view.state is ExecutionState.REJECTED
    assert view.rejection.limit == "max_position"
    assert not world.book.working
    with pytest.raises(FailedPrecondition):
        await world.engine.cancel("c", view.execution_id)


async def test_risk_out_of_reach_starts_nothing_and_the_same_request_may_come_again(make_world: Any) -> None:
    world = await make_world()
    world.risk.is_away = True
    with pytest.raises(Unavailable):
        await world.engine.start("r1", parent(1_000), "")
    assert world.journal.last_sequence == 0
    world.risk.is_away = False
    view = await world.engine.start("r1", parent(1_000), "")
    assert view.state is ExecutionState.PENDING


async def test_a_pause_cancels_children_and_a_resume_goes_on_without_a_burst(make_world: Any) -> None:
    world = await make_world()
    execution_id = await world.start(parent(10_000))
    await world.run(60 + 100)
    view = await world.engine.pause("p", execution_id)
    assert view.state is ExecutionState.PAUSED
    assert view.reason == "REQUESTED"
    await world.follower.tick()
    await world.until(lambda: not world.book.parents[execution_id].working)
    filled = world.book.parents[execution_id].filled_quantity_nanos
    await world.run(200)
    assert world.book.parents[execution_id].filled_quantity_nanos == filled
    await world.engine.resume("q", execution_id)
    before = len(world.book.parents[execution_id].children)
    await world.run(6)
    sent = list(world.book.parents[execution_id].children.values())[before:]
    assert 0 < sum(record.child.terms.quantity_nanos for record in sent) < 600 * NANO
    assert [event.reason for event in await events_of(world, EventKind.REPLANNED)] == ["RESUMED"]
    await world.run(320)
    assert world.state(execution_id) is ExecutionState.FILLED


async def test_a_cancel_ends_the_parent_with_a_report(make_world: Any) -> None:
    world = await make_world()
    execution_id = await world.start(parent(10_000))
    await world.run(60 + 100)
    view = await world.engine.cancel("c", execution_id)
    assert view.state is ExecutionState.STOPPING
    again = await world.engine.cancel("c", execution_id)
    assert again == view
    await world.run(3)
    done = world.book.parents[execution_id]
    assert done.state is ExecutionState.CANCELLED
    assert done.report.residual_reason == "CANCELLED"
    assert done.report.interval_end_time_nanos <= world.venue.now_nanos
    with pytest.raises(FailedPrecondition) as refusal:
        await world.engine.pause("p", execution_id)
    assert refusal.value.reason == "EXECUTION_FINAL"


async def test_what_is_not_possible_in_a_state_is_refused(make_world: Any) -> None:
    world = await make_world()
    execution_id = await world.start(parent(10_000))
    with pytest.raises(FailedPrecondition) as refusal:
        await world.engine.resume("q", execution_id)
    assert refusal.value.reason == "EXECUTION_STATE"
    with pytest.raises(NotFound):
        await world.engine.cancel("c", "nobody")


async def test_a_kill_switch_stops_the_parents_of_its_account_alone(make_world: Any) -> None:
    world = await make_world()
    mine = await world.start(parent(10_000), "r1")
    other = Parameters("other", "ACME", Side.BUY, 1_000 * NANO, Algorithm.TWAP, horizon_nanos=600 * NANO)
    theirs = (await world.engine.start("r2", other, "")).execution_id
    await world.run(60 + 100)
    world.risk.switch(KillSwitches(accounts=frozenset({"demo"})))
    await world.until(lambda: world.book.parents[mine].report is not None)
    assert world.state(mine) is ExecutionState.CANCELLED
    assert world.book.parents[mine].report.residual_reason == "KILL_SWITCH"
    assert world.state(theirs) is ExecutionState.RUNNING
    with pytest.raises(FailedPrecondition) as refusal:
        await world.engine.start("r3", parent(1_000), "")
    assert refusal.value.reason == "KILL_SWITCH_ON"


async def test_a_halt_cancels_children_freezes_the_schedule_and_ends_without_a_burst(make_world: Any) -> None:
    def halted_for_two_minutes(now: int) -> Step:
        since_open = (now - OPEN_NANOS) / NANO
        return Step(phase=MarketPhase.HALTED if 100 <= since_open < 220 else MarketPhase.CONTINUOUS)

    world = await make_world(halted_for_two_minutes)
    execution_id = await world.start(parent(10_000))
    await world.run(60 + 110)
    record = world.book.parents[execution_id]
    assert not record.working
    children = len(record.children)
    await world.run(105)
    assert len(record.children) == children
    await world.run(10)
    sent = list(record.children.values())[children:]
    assert 0 < sum(child.child.terms.quantity_nanos for child in sent) < 600 * NANO
    assert [event.reason for event in await events_of(world, EventKind.REPLANNED)] == ["HALT"]
    await world.run(400)
    assert world.state(execution_id) is ExecutionState.FILLED


async def test_a_silent_feed_brings_no_crossing_child(make_world: Any) -> None:
    world = await make_world(own_on_tape=False)
    execution_id = await world.start(parent(10_000))
    await world.run(60 + 100)
    tape = world.book.tapes["ACME"]
    world.venue.is_silent = True
    await world.run(12)
    children = len(world.book.parents[execution_id].children)
    await world.run(60)
    later = list(world.book.parents[execution_id].children.values())[children:]
    assert world.venue.now_nanos - tape.last_message_time_nanos > 60 * NANO
    assert not any(child.is_immediate for child in later)


async def test_children_that_are_refused_in_a_row_make_the_parent_wait_and_say_so(make_world: Any) -> None:
    world = await make_world()
    execution_id = await world.start(parent(10_000))
    await world.run(60)
    world.orders.rejection = Rejection("ORDER_RATE_ABOVE_LIMIT")
    await world.run(120)
    assert world.state(execution_id) is ExecutionState.RUNNING
    assert len(world.book.parents[execution_id].children) < 12
    (told,) = await events_of(world, EventKind.CONTROL)
    assert told.reason == "CHILDREN_REJECTED"
    assert "ORDER_RATE_ABOVE_LIMIT" in told.message
    world.orders.rejection = None
    await world.run(490)
    assert world.state(execution_id) is ExecutionState.FILLED


async def test_a_deviation_makes_the_parent_passive_then_pauses_it_and_asks(make_world: Any) -> None:
    def runs_away(now: int) -> Step:
        since_open = max((now - OPEN_NANOS) / NANO, 0)
        return Step(
            volume=1_000 if since_open < 120 else 30_000, mid_ticks=3_000 + (40 if since_open > 120 else 0)
        )

    world = await make_world(runs_away)
    execution_id = await world.start(parent(10_000))
    await world.run(60 + 300)
    assert world.state(execution_id) is ExecutionState.PAUSED
    assert world.book.parents[execution_id].reason == "VWAP_DEVIATION"
    (paused,) = await events_of(world, EventKind.PAUSED)
    assert "deviation 0.00" in paused.message
    await world.restart()
    await world.until(lambda: bool(world.book.working))
    await world.run(10)
    await world.engine.resume("q", execution_id)
    await world.run(100)
    assert world.state(execution_id) is ExecutionState.RUNNING


async def test_a_busted_fill_is_taken_back_and_done_again(make_world: Any) -> None:
    world = await make_world()
    execution_id = await world.start(parent(10_000))
    await world.run(60 + 595)
    record = world.book.parents[execution_id]
    assert world.state(execution_id) is ExecutionState.FILLED
    fill = next(iter(record.fills.values()))
    world.venue.bust(fill)
    await world.until(lambda: world.state(execution_id) is ExecutionState.RUNNING)
    assert record.filled_quantity_nanos == 10_000 * NANO - fill.quantity_nanos
    await world.run(12)
    assert record.report.residual_quantity_nanos + record.filled_quantity_nanos == 10_000 * NANO


async def test_a_bust_does_not_wake_a_parent_that_was_cancelled(make_world: Any) -> None:
    world = await make_world()
    execution_id = await world.start(parent(1_000))
    await world.run(60 + 100)
    record = world.book.parents[execution_id]
    await world.engine.cancel("c", execution_id)
    # The last child fills whole while its cancel is on the way.
    last = Fill(
        "PRACTICE", "LATE", "demo", next(iter(record.children)), execution_id, "ACME", Side.BUY,
        record.residual_quantity_nanos, 30 * NANO, Money("USD", 0), Liquidity.MAKER, world.venue.now_nanos,
    )  # fmt: skip
    await tell(world, OrderFactKind.FILLED, last)
    await world.until(lambda: record.state is ExecutionState.FILLED)
    await tell(world, OrderFactKind.BUSTED, last)
    await world.until(lambda: record.state is not ExecutionState.FILLED)
    assert world.state(execution_id) is ExecutionState.STOPPING
    count = record.child_count
    await world.run(5)
    assert world.state(execution_id) is ExecutionState.CANCELLED
    assert record.report.residual_quantity_nanos > 800 * NANO
    assert record.child_count == count


async def test_a_correction_above_the_quantity_ends_in_a_report(make_world: Any) -> None:
    world = await make_world()
    execution_id = await world.start(parent(1_000))
    await world.run(60 + 595)
    record = world.book.parents[execution_id]
    fill = list(record.fills.values())[-1]
    more = replace(fill, venue_execution_id="C1", quantity_nanos=fill.quantity_nanos + 5 * NANO)
    await tell(world, OrderFactKind.CORRECTED, fill, more)
    await world.until(lambda: record.filled_quantity_nanos == 1_005 * NANO)
    await world.run(15)
    assert record.state is ExecutionState.FILLED
    assert record.report.residual_quantity_nanos == 0
    await world.restart()
    assert repr(world.book.parents[execution_id].report) == repr(record.report)


async def test_missing_prints_are_filled_in_from_the_tape(make_world: Any) -> None:
    world = await make_world()
    execution_id = await world.start(parent(5_000))
    await world.run(60 + 100)
    feeds, world.venue.feeds = world.venue.feeds, []
    world.venue.advance()
    world.venue.feeds = feeds
    await world.run(510)
    report = world.book.parents[execution_id].report
    printed = sum(
        len(prints.times)
        for prints in world.venue.prints
        if OPEN_NANOS <= prints.times[0] < OPEN_NANOS + 600 * NANO
    )
    assert report.interval_trade_count == printed
