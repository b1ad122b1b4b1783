"""What a replace reserves: the worse of old and new, until it is known which of them stands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from servers.risk.domain.facts import OrderEventKind
from tests.unit.risk.world import LIMITED, LOOSE, SELL, START, WAIT_NANOS, World


def replace_order(world: World, quantity: int, request_id: str = "r", **more: Any) -> str:
    return world.reason("o", quantity, replace_request_id=request_id, **more)


def test_a_replace_reserves_the_worse_of_old_and_new_until_it_is_settled() -> None:
    world = World(LIMITED)
    world.check("o", 600)
    world.accept("o", 600)
    assert replace_order(world, 900) == ""
    assert world.stake() == (0, 900, 0, 0, 0)
    world.event(OrderEventKind.REPLACE_REJECTED, "o", 600, leaves=600, request_id="r")
    assert world.stake() == (0, 600, 0, 0, 0)
    assert replace_order(world, 300, "r2") == ""
    assert world.stake() == (0, 600, 0, 0, 0)
    world.event(OrderEventKind.REPLACED, "o", 300, leaves=300, request_id="r2")
    assert world.stake() == (0, 300, 0, 0, 0)


def ask(world: World, quantity: int, request_id: str, asked: int) -> None:
    kind = OrderEventKind.REPLACE_REQUESTED
    world.event(kind, "o", quantity, leaves=quantity, request_id=request_id, requested=asked)


def put_in_force(world: World, quantity: int, request_id: str) -> None:
    world.event(OrderEventKind.REPLACED, "o", quantity, leaves=quantity, request_id=request_id)


def test_a_second_replace_stays_reserved_when_the_first_ones_end_is_heard_late() -> None:
    world = World(LIMITED)
    world.check("o", 100)
    world.accept("o", 100)
    assert replace_order(world, 200, "first") == ""
    ask(world, 100, "first", 200)
    # The first is in force already, which risk has not heard yet.
    assert replace_order(world, 900, "second") == ""
    put_in_force(world, 200, "first")
    assert world.stake() == (0, 900, 0, 0, 0)
    ask(world, 200, "second", 900)
    assert world.reason("n", 101) == "POSITION_ABOVE_LIMIT"
    put_in_force(world, 900, "second")
    assert world.stake() == (0, 900, 0, 0, 0)


def test_of_two_replaces_that_are_checked_together_both_are_reserved() -> None:
    world = World(LIMITED)
    world.check("o", 100)
    world.accept("o", 100)
    assert (replace_order(world, 900, "first"), replace_order(world, 150, "second")) == ("", "")
    ask(world, 100, "first", 900)
    assert world.stake() == (0, 900, 0, 0, 0)
    assert world.reason("n", 101) == "POSITION_ABOVE_LIMIT"
    world.event(OrderEventKind.REPLACE_REJECTED, "o", 100, leaves=100, request_id="third")
    assert world.stake() == (0, 900, 0, 0, 0)


def test_a_replace_that_was_on_its_way_is_reserved_anew_from_its_event() -> None:
    world = World(LIMITED)
    world.accept("o", 100)
    world.fill("o", 100, 40, 60)
    world.event(OrderEventKind.REPLACE_REQUESTED, "o", 100, leaves=60, request_id="first", requested=900)
    assert world.stake() == (40, 860, 0, 0, 0)
    world.event(OrderEventKind.REPLACE_REJECTED, "o", 100, leaves=60, request_id="first")
    assert world.stake() == (40, 60, 0, 0, 0)


def test_a_replace_that_would_break_a_limit_is_refused_and_changes_nothing() -> None:
    world = World(LIMITED)
    world.check("o", 600)
    assert replace_order(world, 1_001) == "POSITION_ABOVE_LIMIT"
    assert world.stake() == (0, 600, 0, 0, 0)


def test_fills_during_a_replace_count_against_both() -> None:
    world = World(LIMITED)
    world.check("o", 600)
    world.accept("o", 600)
    replace_order(world, 900)
    world.event(OrderEventKind.REPLACE_REQUESTED, "o", 600, leaves=600, request_id="r", requested=900)
    world.fill("o", 600, 100, 500)
    assert world.stake() == (100, 800, 0, 0, 0)
    world.event(OrderEventKind.REPLACED, "o", 900, leaves=800, request_id="r")
    assert world.stake() == (100, 800, 0, 0, 0)


def test_the_price_of_a_replace_meets_own_orders_before_and_after() -> None:
    world = World(replace(LOOSE, short_sale_permitted=True))
    world.check("o", 10, price=99.0)
    world.accept("o", 10, price=99.0)
    assert replace_order(world, 10, price=99.5) == ""
    assert world.reason("s", 1, SELL, price=99.5) == "SELF_TRADE"
    world.event(OrderEventKind.REPLACED, "o", 10, leaves=10, price=99.5, request_id="r")
    assert world.reason("s2", 1, SELL, price=99.5) == "SELF_TRADE"
    assert world.reason("s3", 1, SELL, price=99.6) == ""


def test_a_replace_of_an_order_that_is_not_live_is_refused() -> None:
    assert replace_order(World(), 10) == "ORDER_NOT_FOUND"


def test_a_replace_counts_as_a_message() -> None:
    world = World(replace(LOOSE, max_messages_per_second=0.5))
    world.check("o", 10)
    assert replace_order(world, 9) == "MESSAGE_RATE_ABOVE_LIMIT"


def test_a_replace_that_never_appears_falls_back_to_the_old_terms() -> None:
    world = World(LIMITED)
    world.check("o", 600)
    world.accept("o", 600)
    replace_order(world, 900)
    assert world.engine.expire(2 * START, 2 * START, WAIT_NANOS) == ["o"]
    assert world.stake() == (0, 600, 0, 0, 0)
