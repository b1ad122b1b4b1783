"""What is approved is reserved, once, until its end, whatever arrives in whatever order."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servers.model.order import Side
from servers.risk.books import Books
from servers.risk.domain.exposure import LEAST_SWEEP
from servers.risk.domain.facts import AdjustmentKind, OrderCheck, OrderEventKind, OrderFact
from servers.risk.domain.market import Market
from servers.risk.snapshot import books_to_bytes, restore_books
from tests.unit.risk.world import BUY, LIMITED, LOOSE, NANO, SELL, START, WAIT_NANOS, World, terms, usd

# -- Orders -------------------------------------------------------------------------------------------


def test_fifty_orders_that_fit_alone_but_not_together_leave_the_limit_whole() -> None:
    world = World(LIMITED)
    checks = [OrderCheck("a", f"o{number}", terms(100)) for number in range(50)]
    verdicts = world.engine.check_orders(checks)
    assert [verdict is None for verdict in verdicts] == [True] * 10 + [False] * 40
    assert {verdict.reason for verdict in verdicts if verdict is not None} == {"POSITION_ABOVE_LIMIT"}
    assert world.stake() == (0, 1_000, 0, 0, 0)


def test_the_same_holds_for_money() -> None:
    world = World(replace(LOOSE, max_gross_exposure=usd(100_000), buying_power=usd(1_000_000)))
    pairs = [(symbol, price) for _ in range(25) for symbol, price in (("ACME", 100.0), ("BOLT", 50.0))]
    verdicts = world.engine.check_orders(
        [
            OrderCheck("a", f"o{number}", terms(200, symbol=symbol, price=price))
            for number, (symbol, price) in enumerate(pairs)
        ]
    )
    assert sum(verdict is None for verdict in verdicts) == 7
    gross = sum(report.gross_attos for report in world.engine.exposures("a").values())
    assert gross == usd(100_000).attos


def test_a_repeat_gets_the_first_verdict_and_reserves_nothing_more() -> None:
    world = World(LIMITED)
    assert world.reason("o", 600) == ""
    assert world.reason("o", 600) == ""
    assert world.stake() == (0, 600, 0, 0, 0)
    assert world.reason("p", 500) == "POSITION_ABOVE_LIMIT"
    world.cancel("o", 600)
    assert world.reason("p", 500) == "POSITION_ABOVE_LIMIT"


def test_the_same_id_with_other_content_is_refused() -> None:
    world = World(LIMITED)
    world.check("o", 600)
    assert world.reason("o", 500) == "REQUEST_ID_REUSED"
    assert world.stake() == (0, 600, 0, 0, 0)


def test_the_same_id_with_other_content_is_refused_after_a_restart_too() -> None:
    world = World(LIMITED)
    world.check("o", 600)
    restarted = World(LIMITED)
    assert restore_books(restarted.books, books_to_bytes(world.books))
    assert restarted.reason("o", 900) == "REQUEST_ID_REUSED"
    assert restarted.reason("o", 600) == ""
    assert restarted.stake() == (0, 600, 0, 0, 0)


def test_an_order_that_is_live_after_a_restart_is_approved_again() -> None:
    world = World(LIMITED)
    world.accept("o", 600)
    assert world.reason("o", 600) == ""
    assert world.stake() == (0, 600, 0, 0, 0)


def test_fills_move_a_reservation_into_the_position_and_its_end_releases_the_rest() -> None:
    world = World(LIMITED)
    world.check("o", 600)
    world.accept("o", 600)
    assert world.stake() == (0, 600, 0, 0, 0)
    world.fill("o", 600, 200, 400)
    assert world.stake() == (200, 400, 0, 0, 0)
    world.cancel("o", 600)
    assert world.stake() == (200, 0, 0, 0, 0)


def test_an_order_that_was_journalled_without_our_knowing_counts_even_above_the_limit() -> None:
    world = World(LIMITED)
    world.accept("o", 5_000)
    assert world.stake() == (0, 5_000, 0, 0, 0)
    assert world.reason("p", 1) == "POSITION_ABOVE_LIMIT"


def test_both_sides_are_counted_by_the_worse_one() -> None:
    world = World(replace(LIMITED, short_sale_permitted=True))
    assert world.reason("b", 1_000, price=90.0) == ""
    assert world.reason("s", 1_000, SELL, price=110.0) == ""
    assert world.reason("s2", 1, SELL, price=110.0) == "POSITION_ABOVE_LIMIT"


def test_an_event_that_was_taken_in_before_changes_nothing() -> None:
    world = World()
    world.fill("o", 10, 10, 0)
    world.books.apply_order(
        OrderFact(1, OrderEventKind.ACCEPTED, "a", "late", "", terms(7), 7 * NANO, is_final=False)
    )
    assert world.stake() == (10, 0, 0, 0, 0)


def test_busts_and_corrections_change_the_position_once() -> None:
    world = World()
    world.fill("o", 10, 10, 0)
    world.event(OrderEventKind.CORRECTED, "o", 10, fill=10, corrected=8, is_final=True)
    assert world.stake()[0] == 8
    world.event(OrderEventKind.BUSTED, "o", 10, fill=8, is_final=True)
    assert world.stake()[0] == 0


# -- Parents ------------------------------------------------------------------------------------------


def test_a_child_takes_its_share_from_its_parent_and_never_counts_twice() -> None:
    world = World(LIMITED)
    assert world.start("e", 1_000) == ""
    assert world.stake() == (0, 0, 0, 1_000, 0)
    assert world.reason("own", 1) == "POSITION_ABOVE_LIMIT"
    assert world.reason("e-1", 300, execution_id="e") == ""
    assert world.stake() == (0, 300, 0, 700, 0)
    world.accept("e-1", 300, execution_id="e")
    world.fill("e-1", 300, 100, 200, execution_id="e")
    assert world.stake() == (100, 200, 0, 700, 0)
    world.cancel("e-1", 300, execution_id="e")
    assert world.stake() == (100, 0, 0, 900, 0)


def test_a_child_larger_than_its_parents_rest_needs_room_of_its_own() -> None:
    world = World(LIMITED)
    world.start("e", 900)
    assert world.reason("e-1", 1_001, execution_id="e") == "POSITION_ABOVE_LIMIT"
    assert world.reason("e-2", 1_000, execution_id="e") == ""
    assert world.stake() == (0, 1_000, 0, 0, 0)


def test_the_end_of_a_parent_releases_its_rest_and_not_its_children() -> None:
    world = World(LIMITED)
    world.start("e", 1_000)
    world.parent_event("e", 1_000)
    world.check("e-1", 300, execution_id="e")
    world.parent_event("e", 1_000, is_final=True)
    assert world.stake() == (0, 300, 0, 0, 0)
    world.cancel("e-1", 300, execution_id="e")
    assert world.stake() == (0, 0, 0, 0, 0)


def test_a_busted_child_fill_goes_back_to_its_parent() -> None:
    world = World(LIMITED)
    world.start("e", 1_000)
    world.check("e-1", 300, execution_id="e")
    world.fill("e-1", 300, 300, 0, execution_id="e")
    assert world.stake() == (300, 0, 0, 700, 0)
    world.event(OrderEventKind.BUSTED, "e-1", 300, fill=300, is_final=True, execution_id="e")
    assert world.stake() == (0, 0, 0, 1_000, 0)


def test_a_parent_is_checked_before_the_open_and_without_a_price_by_quantity() -> None:
    world = World(LIMITED)
    world.market.quotes.clear()
    assert world.start("e1", 1_001) == "POSITION_ABOVE_LIMIT"
    assert world.start("e2", 1_000) == ""


def test_a_repeated_parent_reserves_once_and_other_content_is_refused() -> None:
    world = World(LIMITED)
    assert [world.start("e", 400), world.start("e", 400)] == ["", ""]
    assert world.start("e", 500) == "REQUEST_ID_REUSED"
    assert world.stake() == (0, 0, 0, 400, 0)


def test_after_a_restart_a_parent_that_runs_is_known_by_its_events() -> None:
    world = World(LIMITED)
    world.parent_event("e", 400)
    assert world.start("e", 400) == ""
    assert world.stake() == (0, 0, 0, 400, 0)


def test_a_parent_of_unknown_symbol_or_too_much_of_the_volume_is_refused() -> None:
    world = World(replace(LOOSE, max_participation=0.01))
    assert world.start("e1", 1, symbol="NONE") == "SYMBOL_UNKNOWN"
    assert world.start("e2", 1_001) == "PARTICIPATION_ABOVE_LIMIT"
    assert World(replace(LOOSE, account="b")).start("e3", 1) == "ACCOUNT_UNKNOWN"


# -- What never appears -------------------------------------------------------------------------------


def test_a_reservation_whose_order_never_appears_ends_after_its_time() -> None:
    world = World(LIMITED)
    world.check("o", 600)
    world.start("e", 400)
    checked_at = world.clock.now_nanos()
    assert world.engine.expire(checked_at + WAIT_NANOS, checked_at + WAIT_NANOS, WAIT_NANOS) == []
    gone = world.engine.expire(checked_at + WAIT_NANOS + 1, checked_at + WAIT_NANOS + 1, WAIT_NANOS)
    assert gone == ["o", "e"]
    assert world.stake() == (0, 0, 0, 0, 0)
    assert world.reason("o", 700) == ""


def test_while_the_stream_is_silent_nothing_expires() -> None:
    world = World(LIMITED)
    world.check("o", 600)
    world.pass_time(3_600.0)
    assert world.engine.expire(START, START, WAIT_NANOS) == []
    assert world.stake() == (0, 600, 0, 0, 0)


def test_what_has_appeared_does_not_expire() -> None:
    world = World(LIMITED)
    world.check("o", 600)
    world.accept("o", 600)
    world.start("e", 100)
    world.parent_event("e", 100)
    assert world.engine.expire(2 * START, 2 * START, WAIT_NANOS) == []


# -- Adjustments --------------------------------------------------------------------------------------


def test_a_split_restates_what_was_held_before_it_and_nothing_after() -> None:
    world = World()
    world.open_position(100)
    split_at = world.market.now_nanos
    world.fill("o", 10, 10, 0, time_nanos=split_at)
    split = {"symbol": "ACME", "ratio_numerator": 3, "ratio_denominator": 1}
    world.adjust(AdjustmentKind.SPLIT, effective_time_nanos=split_at, **split)
    assert world.stake()[0] == 310
    world.fill("late", 5, 5, 0, time_nanos=split_at - 1)
    assert world.stake()[0] == 325


def test_a_symbol_change_moves_the_position_and_late_fills() -> None:
    world = World()
    world.open_position(100)
    changed_at = world.market.now_nanos
    world.adjust(
        AdjustmentKind.SYMBOL_CHANGE, symbol="ACME", new_symbol="BOLT", effective_time_nanos=changed_at
    )
    world.fill("late", 5, 5, 0, time_nanos=changed_at - 1)
    assert (world.stake("ACME")[0], world.stake("BOLT")[0]) == (0, 105)


def test_cash_and_dividends_change_no_position() -> None:
    world = World()
    world.adjust(AdjustmentKind.OPENING, account="a")
    world.adjust(AdjustmentKind.DIVIDEND, symbol="ACME")
    assert world.stake()[0] == 0


def test_entries_of_ended_orders_are_swept_out() -> None:
    world = World()
    for number in range(3 * LEAST_SWEEP):
        world.check(f"o{number}", 1, price=99.0 - number % 50)
        world.cancel(f"o{number}", 1)
    assert len(world.books.account("a").symbol("ACME")._resting_buys) <= LEAST_SWEEP + 1


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_split_counts_for_accounts_that_are_heard_of_after_it(order: tuple[int, ...]) -> None:
    world = World()
    split: dict[str, Any] = {"ratio_numerator": 4, "ratio_denominator": 1, "effective_time_nanos": START + 1}
    told = (
        lambda: world.fill("o", 100, 100, 0, time_nanos=START),
        lambda: world.adjust(AdjustmentKind.SPLIT, symbol="ACME", **split),
        lambda: world.fill("p", 10, 10, 0, time_nanos=START + 2),
    )
    for place in order:
        told[place]()
    assert world.stake()[0] == 410
    restored = Books(world.market)
    assert restore_books(restored, books_to_bytes(world.books))
    assert restored.account("another").symbol("ACME").splits == [(START + 1, 4, 1)]


@pytest.mark.parametrize("is_held_before", [False, True])
def test_a_split_of_an_earlier_name_counts_once_under_the_new_one(is_held_before: bool) -> None:
    world = World()
    if is_held_before:
        world.fill("n", 10, 10, 0, time_nanos=START)
    split: dict[str, Any] = {"ratio_numerator": 2, "ratio_denominator": 1, "effective_time_nanos": START + 1}
    world.adjust(AdjustmentKind.SPLIT, symbol="ACME", **split)
    renamed: dict[str, Any] = {"new_symbol": "BOLT", "effective_time_nanos": START + 2}
    world.adjust(AdjustmentKind.SYMBOL_CHANGE, symbol="ACME", **renamed)
    world.fill("o", 100, 100, 0, time_nanos=START)
    assert world.stake("BOLT")[0] == 200 + 20 * is_held_before


# -- Any history --------------------------------------------------------------------------------------

steps = st.lists(
    st.tuples(
        st.sampled_from(["check", "confirm", "fill", "cancel", "replace", "refused replace"]),
        st.integers(0, 5),
        st.integers(1, 40),
        st.sampled_from([BUY, SELL]),
    ),
    max_size=60,
)


@dataclass
class Live:
    """An order as orders knows it."""

    order_id: str
    quantity: int
    leaves: int
    execution_id: str


def play(world: World, history: list[tuple[str, int, int, Side]]) -> None:
    """Let a history happen, as far as orders could tell it."""
    slots: dict[tuple[int, Side], Live] = {}
    world.start("e", 200)
    for number, (what, slot, size, side) in enumerate(history):
        order = slots.get((slot, side))
        price = 99.0 if side is BUY else 101.0
        if what == "check" and order is None:
            fresh = Live(f"o{number}", size, size, "e" if slot > 2 and side is BUY else "")
            if not world.reason(fresh.order_id, size, side, price=price, execution_id=fresh.execution_id):
                slots[slot, side] = fresh
        if order is None:
            continue
        told: dict[str, Any] = {"price": price, "execution_id": order.execution_id}
        if what == "confirm":
            world.event(
                OrderEventKind.CONFIRMED, order.order_id, order.quantity, side, leaves=order.leaves, **told
            )
        elif what == "fill":
            shares = min(size, order.leaves)
            order.leaves -= shares
            world.fill(order.order_id, order.quantity, shares, order.leaves, side, **told)
            if not order.leaves:
                del slots[slot, side]
        elif what == "cancel":
            world.cancel(order.order_id, order.quantity, side, **told)
            del slots[slot, side]
        elif what == "replace":
            replacing: dict[str, Any] = {"replace_request_id": f"r{number}", "price": price}
            if not world.reason(order.order_id, order.quantity + size, side, **replacing):
                order.quantity += size
                order.leaves += size
                told["request_id"] = f"r{number}"
                world.event(
                    OrderEventKind.REPLACED, order.order_id, order.quantity, side, leaves=order.leaves, **told
                )
        elif what == "refused replace":
            replacing = {"replace_request_id": f"r{number}", "price": price}
            world.reason(order.order_id, order.quantity + size, side, **replacing)


@given(steps)
@settings(max_examples=150, deadline=None)
def test_sums_are_what_the_orders_add_up_to_and_no_limit_is_exceeded(
    history: list[tuple[str, int, int, Side]],
) -> None:
    world = World(replace(LOOSE, max_position_nanos=250 * NANO, short_sale_permitted=True))
    play(world, history)
    book = world.books.account("a")
    position, open_buy, open_sell, rest_buy, rest_sell = world.stake()
    for side, total in ((BUY, open_buy), (SELL, open_sell)):
        assert total * NANO == sum(order.needed_nanos for order in book.orders.values() if order.side is side)
    parent = book.parents["e"]
    children = [order for order in book.orders.values() if order.execution_id == "e"]
    assert parent.open_nanos == sum(order.needed_nanos for order in children)
    assert rest_buy * NANO == max(0, 200 * NANO - parent.filled_nanos - parent.open_nanos)
    assert rest_sell == 0
    assert position + open_buy + rest_buy <= 250
    assert open_sell + rest_sell - position <= 250


@given(steps)
@settings(max_examples=60, deadline=None)
def test_a_snapshot_gives_back_the_same_books(history: list[tuple[str, int, int, Side]]) -> None:
    world = World(replace(LOOSE, short_sale_permitted=True))
    play(world, history)
    world.parent_event("done", 10, is_final=True)
    saved = books_to_bytes(world.books)
    restored = Books(Market())
    assert restore_books(restored, saved)
    assert books_to_bytes(restored) == saved
    assert restored.unseen_orders.keys() == world.books.unseen_orders.keys()
    assert restored.unseen_parents.keys() == world.books.unseen_parents.keys()


def test_a_snapshot_of_another_version_is_thrown_away() -> None:
    books = Books(Market())
    assert not restore_books(books, json.dumps({"version": 0}).encode())
    assert books.accounts == {}
