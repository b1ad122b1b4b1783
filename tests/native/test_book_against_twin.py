"""Whatever is done to the compiled book and to its twin, both say the same."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from native import book as b
from tests.native.book_twin import BookTwin

PRICES = st.integers(95, 105)
LOTS = st.integers(1, 9)
ORDERS: dict[str, Any] = {
    "side": st.sampled_from([b.BUY, b.SELL]),
    "kind": st.sampled_from([b.LIMIT] * 5 + [b.MARKET, b.MARKET_ON_CLOSE, b.LIMIT_ON_CLOSE]),
    "force": st.sampled_from([b.RESTING] * 5 + [b.IMMEDIATE, b.ALL_OR_NONE]),
    "price": PRICES,
    "lots": LOTS,
    "display": st.sampled_from([0, 0, 0, 1, 2, 3]),
    "post_only": st.sampled_from([False, False, False, True]),
    "owner": st.integers(0, 3),
    "prevention": st.sampled_from([b.CANCEL_INCOMING, b.CANCEL_RESTING]),
}


class BookAgainstTwin(RuleBasedStateMachine):
    """Drive both with the same orders, cancels, replacements and phases."""

    def __init__(self) -> None:
        super().__init__()
        self.book, self.twin = b.Book(), BookTwin()
        self.handles: list[tuple[int, int]] = []
        self.reference = 0

    @initialize(mode=st.sampled_from([b.CALL, b.CONTINUOUS]))
    def begin(self, mode: int) -> None:
        self.book.set_mode(mode)
        self.twin.set_mode(mode)

    @rule(**ORDERS)
    def submit(self, **order: Any) -> None:
        self.reference += 1
        got = self.book.submit(**order, reference=self.reference)
        expected = self.twin.submit(**order, reference=self.reference)
        assert (got if got <= 0 else 1) == (expected if expected <= 0 else 1), b.REFUSALS.get(got)
        if got > 0:
            self.handles.append((got, expected))

    @precondition(lambda self: self.handles)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        mine, theirs = data.draw(st.sampled_from(self.handles))
        assert self.book.cancel(mine) == self.twin.cancel(theirs)

    @precondition(lambda self: self.handles and self.book.mode != b.CLOSED)
    @rule(data=st.data(), price=PRICES, lots=LOTS)
    def replace(self, data: st.DataObject, price: int, lots: int) -> None:
        mine, theirs = data.draw(st.sampled_from(self.handles))
        assert self.book.replace(mine, price, lots) == self.twin.replace(theirs, price, lots)

    @rule(reference=st.integers(0, 110), then=st.sampled_from([b.CONTINUOUS, b.CONTINUOUS, b.CLOSED]))
    def change_phase(self, reference: int, then: int) -> None:
        if self.book.mode in (b.CALL, b.CLOSING_CALL):
            assert self.book.indicative(reference) == self.twin.indicative(reference)
            assert self.book.uncross(reference) == self.twin.uncross(reference)
            self.book.set_mode(then)
            self.twin.set_mode(then)
        else:
            mode = b.CALL if self.book.mode == b.CLOSED else b.CLOSING_CALL if reference % 2 else b.CALL
            self.book.set_mode(mode)
            self.twin.set_mode(mode)

    @invariant()
    def they_agree(self) -> None:
        for side in (b.BUY, b.SELL):
            assert self.book.depth(side, 99) == self.twin.depth(side)
        assert [event[:8] for event in self.book.take_events()] == self.twin.events
        self.twin.events.clear()
        for mine, theirs in self.handles[-20:]:
            order = self.twin._find(theirs)
            expected = None if order is None else (order.side, order.price, order.leaves, order.shown)
            assert self.book.order(mine) == expected
            assert self.book.lots_ahead(mine) == self.twin.lots_ahead(theirs)

    @invariant()
    def the_tape_agrees(self) -> None:
        assert self.book.matches == len(self.twin.trades)
        if self.twin.trades:
            assert self.book.last_price == self.twin.trades[-1][0]

    @invariant()
    def a_continuous_book_is_not_crossed(self) -> None:
        if self.book.mode == b.CONTINUOUS:
            bid, _, ask, _ = self.book.best()
            assert not bid or not ask or bid < ask


TestBookAgainstTwin = BookAgainstTwin.TestCase
TestBookAgainstTwin.settings = settings(max_examples=250, stateful_step_count=40, deadline=None)
