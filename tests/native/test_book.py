"""The rules of the book, one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from native import book as b


def continuous() -> b.Book:
    book = b.Book()
    book.set_mode(b.CONTINUOUS)
    return book


def bid(book: b.Book, price: int, lots: int, **more: Any) -> int:
    return book.submit(b.BUY, b.LIMIT, b.RESTING, price, lots, **more)


def ask(book: b.Book, price: int, lots: int, **more: Any) -> int:
    return book.submit(b.SELL, b.LIMIT, b.RESTING, price, lots, **more)


def fills(book: b.Book) -> list[tuple[int, int, int]]:
    """Return (reference, price, lots) of the fills since the last call."""
    return [(event[2], event[3], event[4]) for event in book.take_events() if event[0] == b.FILL]


def test_the_better_price_trades_first_and_then_the_earlier_order() -> None:
    book = continuous()
    ask(book, 101, 5, owner=1, reference=1)
    ask(book, 100, 5, owner=1, reference=2)
    ask(book, 100, 5, owner=1, reference=3)
    bid(book, 101, 12)
    assert fills(book) == [(2, 100, 5), (3, 100, 5), (1, 101, 2)]


def test_less_quantity_keeps_the_place_and_more_loses_it() -> None:
    book = continuous()
    first = bid(book, 100, 10, owner=1, reference=1)
    second = bid(book, 100, 10, owner=1, reference=2)
    assert book.replace(first, 100, 4) == 1
    assert book.lots_ahead(second) == 4
    assert book.replace(first, 100, 5) == 1
    assert book.lots_ahead(second) == 0
    assert book.lots_ahead(first) == 10


def test_another_price_loses_the_place() -> None:
    book = continuous()
    first = bid(book, 100, 10)
    second = bid(book, 100, 10)
    book.replace(first, 99, 10)
    book.replace(first, 100, 10)
    assert book.lots_ahead(second) == 0


def test_an_iceberg_shows_a_slice_and_the_next_one_waits_behind() -> None:
    book = continuous()
    ask(book, 100, 10, display=3, owner=1, reference=1)
    ask(book, 100, 2, owner=1, reference=2)
    assert book.depth(b.SELL, 5) == [(100, 5, 2)]
    bid(book, 100, 5)
    assert fills(book) == [(1, 100, 3), (2, 100, 2)]
    assert book.depth(b.SELL, 5) == [(100, 3, 1)]


def test_a_new_display_shows_with_the_next_slice() -> None:
    book = continuous()
    handle = ask(book, 100, 10, display=3)
    assert book.replace(handle, 101, 10, 6) == 1
    assert book.order(handle) == (b.SELL, 101, 10, 6)


def test_fill_or_kill_counts_what_icebergs_hide_and_trades_nothing_if_it_is_not_enough() -> None:
    book = continuous()
    ask(book, 100, 10, display=2)
    refusal = book.submit(b.BUY, b.LIMIT, b.ALL_OR_NONE, 100, 11)
    assert b.REFUSALS[refusal] == "FOK_UNFILLABLE"
    assert book.matches == 0
    assert book.submit(b.BUY, b.LIMIT, b.ALL_OR_NONE, 100, 10) == 0
    assert book.best() == (0, 0, 0, 0)


def test_post_only_refuses_to_take() -> None:
    book = continuous()
    ask(book, 100, 1)
    assert b.REFUSALS[bid(book, 100, 1, post_only=True)] == "POST_ONLY_WOULD_TAKE"
    handle = bid(book, 99, 1, post_only=True)
    assert b.REFUSALS[book.replace(handle, 100, 1)] == "POST_ONLY_WOULD_TAKE"
    assert book.order(handle) == (b.BUY, 99, 1, 1)


def test_an_owner_never_trades_with_itself() -> None:
    book = continuous()
    ask(book, 100, 5, owner=1, reference=1)
    assert bid(book, 100, 5, owner=1, reference=2) == 0
    (event,) = book.take_events()
    assert (event[2], b.CANCEL_REASONS[event[8]]) == (2, "SELF_TRADE")
    bid(book, 100, 5, owner=1, reference=3, prevention=b.CANCEL_RESTING)
    (event,) = book.take_events()
    assert (event[2], b.CANCEL_REASONS[event[8]]) == (1, "SELF_TRADE")
    assert book.matches == 0


def test_a_market_order_takes_what_there_is_down_to_its_worst_price() -> None:
    book = continuous()
    ask(book, 100, 5)
    ask(book, 110, 5)
    book.submit(b.BUY, b.MARKET, b.RESTING, 105, 8, owner=1, reference=1)
    kinds = [(event[0], event[4]) for event in book.take_events()]
    assert kinds == [(b.FILL, 5), (b.CANCELLED, 3)]


def test_on_close_orders_wait_for_the_closing_call_and_end_with_it() -> None:
    book = continuous()
    book.submit(b.BUY, b.MARKET_ON_CLOSE, b.RESTING, 0, 10, owner=1, reference=1)
    book.submit(b.BUY, b.LIMIT_ON_CLOSE, b.RESTING, 90, 5, owner=2, reference=2)
    ask(book, 100, 6)
    assert book.matches == 0
    book.set_mode(b.CLOSING_CALL)
    assert book.indicative(100) == (100, 6, 4)
    assert book.uncross(100) == (100, 6)
    events = [(event[0], event[2], event[4]) for event in book.take_events()]
    assert events == [(b.FILL, 1, 6), (b.CANCELLED, 1, 4), (b.CANCELLED, 2, 5)]


@pytest.mark.parametrize(("reference", "price"), [(0, 8), (9, 9), (50, 10)])
def test_a_call_trades_the_largest_volume_nearest_to_the_reference(reference: int, price: int) -> None:
    book = b.Book()
    book.set_mode(b.CALL)
    bid(book, 10, 100)
    ask(book, 8, 100)
    assert book.uncross(reference) == (price, 100)
    _, _, prices, _, flags = book.take_trades(1, 1)
    assert np.frombuffer(prices, np.int64).tolist() == [price]
    assert np.frombuffer(flags, np.int64).tolist() == [b.ELIGIBLE_FLAG | b.AUCTION_FLAG]


def test_immediate_orders_are_refused_in_a_call_and_all_orders_when_closed() -> None:
    book = b.Book()
    assert b.REFUSALS[bid(book, 1, 1)] == "MARKET_CLOSED"
    book.set_mode(b.CALL)
    refusal = book.submit(b.BUY, b.LIMIT, b.IMMEDIATE, 1, 1)
    assert b.REFUSALS[refusal] == "IMMEDIATE_IN_AUCTION"


def test_a_handle_names_one_order_and_never_another() -> None:
    book = continuous()
    handle = bid(book, 100, 5)
    assert book.cancel(handle) == 5
    again = bid(book, 100, 5)
    assert handle != again
    assert b.REFUSALS[book.cancel(handle)] == "ORDER_NOT_FOUND"
    assert b.REFUSALS[book.replace(handle, 1, 1)] == "ORDER_NOT_FOUND"
    assert book.order(handle) is None
    assert book.lots_ahead(handle) == -1
    assert book.cancel(2**62) < 0
    assert book.cancel(-1) < 0


@pytest.mark.parametrize(
    "order",
    [
        (2, b.LIMIT, b.RESTING, 1, 1),
        (b.BUY, 9, b.RESTING, 1, 1),
        (b.BUY, b.LIMIT, 9, 1, 1),
        (b.BUY, b.LIMIT, b.RESTING, 0, 1),
        (b.BUY, b.LIMIT, b.RESTING, 1, 0),
        (b.BUY, b.LIMIT, b.RESTING, -1, 1),
    ],
)
def test_values_that_no_order_can_have_raise(order: tuple[int, int, int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"must|no such|needs"):
        continuous().submit(*order)


def test_wrong_calls_raise() -> None:
    book = continuous()
    with pytest.raises(ValueError, match="only a call"):
        book.uncross(1)
    with pytest.raises(ValueError, match="no such mode"):
        book.set_mode(7)
    with pytest.raises(ValueError, match="must be BUY or SELL"):
        book.depth(5, 1)
    with pytest.raises(ValueError, match="above 0"):
        book.replace(bid(book, 1, 1), 0, 1)


def test_columns_are_scaled_to_nanos_and_taken_once() -> None:
    book = continuous()
    book.now_nanos = 77
    ask(book, 100, 5)
    book.record_quote()
    bid(book, 100, 5)
    book.record_quote()
    count, *columns = book.take_trades(10, 1_000)
    assert count == 1
    assert [int(np.frombuffer(column, np.int64)[0]) for column in columns] == [77, 1_000, 5_000, 9]
    count, *columns = book.take_quotes(10, 1_000)
    assert count == 2
    assert np.frombuffer(columns[3], np.int64).tolist() == [1_000, 0]
    assert book.take_trades(1, 1)[0] == book.take_quotes(1, 1)[0] == 0
    assert (book.now_nanos, book.last_price) == (77, 100)


def test_many_orders_and_levels_come_and_go() -> None:
    book = continuous()
    handles = [bid(book, 1 + index % 700, 1 + index % 5) for index in range(20_000)]
    assert len(book.depth(b.BUY, 1_000)) == 700
    assert sum(lots for _, lots, _ in book.depth(b.BUY, 1_000)) == sum(
        1 + index % 5 for index in range(20_000)
    )
    for handle in handles:
        assert book.cancel(handle) > 0
    assert book.depth(b.BUY, 10) == []
