"""A book from a snapshot and the events after it is the book from all events."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servers.journal import Journal, MemoryDisk, MemoryStore
from servers.journal.parts import Kept, PartedSnapshot, SnapshotBroken
from servers.model.clock import ManualClock
from servers.model.errors import ResourceExhausted
from servers.model.nanos import NANO, Money
from servers.model.order import (
    Fill,
    Liquidity,
    OrderTerms,
    OrderType,
    Rejection,
    Side,
    TimeInForce,
)
from servers.orders import book as book_module
from servers.orders.adapters.journal import DurableOrderJournal
from servers.orders.book import BookedFill, Draft, OrderBook
from servers.orders.domain import EventKind, NewOrder, OrderEvent, OrderRecord
from servers.orders.snapshot import NAME, VERSION, BookState
from tests.unit.orders.conftest import ACCOUNT, new_order

PART_ROWS = 3
KINDS = [kind for kind in EventKind if kind is not EventKind.ACCEPTED]


@pytest.fixture(autouse=True)
def small_parts() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(book_module, "PART_ROWS", PART_ROWS)
        yield


def contents(book: OrderBook) -> dict[str, Any]:
    """Return all that a book holds, with the order of its keys."""
    held = {
        name: value for name, value in vars(book).items() if name not in ("changes", "_begun", "_settled")
    }
    return {
        name: [*value.items()] if isinstance(value, dict) and name != "_orders" else value
        for name, value in held.items()
    }


def terms(quantity: int, symbol: str = "ACME") -> OrderTerms:
    return OrderTerms(
        symbol,
        Side.SELL,
        OrderType.LIMIT,
        TimeInForce.GTD,
        (quantity + 9) * NANO,
        50 * NANO,
        7 * NANO,
        True,
        9,
    )


class Story:
    """Makes events that can follow."""

    def __init__(self) -> None:
        self.book = OrderBook()
        self.reports = 0

    def event(self, pick: tuple[int, int, int]) -> OrderEvent:
        what, which, size = pick
        at = 1_000 + self.book.last_sequence
        orders = list(self.book.orders_after(0))
        if what % 3 == 0 or not orders:
            return self._first(at, which, size)
        self.reports += 1
        record = orders[which % len(orders)]
        kind = KINDS[size % len(KINDS)]
        event = OrderEvent(
            kind,
            *record.key,
            at,
            venue_order_id=f"V{which}",
            venue_report_sequence=self.reports,
            event_time_nanos=size,
        )
        fills = [
            fill for fill in self.book.fills_after(0) if fill.fill.client_order_id == record.client_order_id
        ]
        if kind is EventKind.FILLED or (kind in (EventKind.BUSTED, EventKind.CORRECTED) and not fills):
            return event._replace(kind=EventKind.FILLED, fill=self._fill(record, size))
        if kind in (EventKind.BUSTED, EventKind.CORRECTED):
            was = fills[size % len(fills)].fill
            corrected = self._fill(record, size + 1, was.venue_execution_id)
            return event._replace(fill=was, corrected_fill=corrected if kind is EventKind.CORRECTED else None)
        if kind is EventKind.REPLACED:
            return event._replace(terms=terms(size + 1), leaves_quantity_nanos=size % 2 * NANO)
        if kind is EventKind.REPLACE_REQUESTED:
            return event._replace(terms=terms(size + 2), request_id=f"r{at}")
        if kind is EventKind.CANCEL_REQUESTED:
            return event._replace(request_id=f"c{at}", reason="REQUESTED")
        if kind.name.endswith("REJECTED"):
            return event._replace(rejection=Rejection("ORDER_FINAL", "too late", "limit", str(size), "9"))
        return event

    def _first(self, at: int, which: int, size: int) -> OrderEvent:
        order = NewOrder(f"A{which % 2}", f"o{at}", terms(size + 1), "P" * (which % 3), "trace")
        rejection = Rejection("KILL", "no") if size % 7 == 0 else None
        kind = EventKind.ACCEPTED if rejection is None else EventKind.REJECTED
        return OrderEvent(kind, *order.key, at, order=order, rejection=rejection)

    def _fill(self, record: OrderRecord, size: int, execution_id: str = "") -> Fill:
        return Fill(
            "PRACTICE",
            execution_id or f"X{self.book.last_sequence}",
            *record.key,
            record.execution_id,
            record.terms.symbol,
            record.terms.side,
            (size % 3 + 1) * NANO,
            50 * NANO + size,
            Money("USD", size * NANO),
            Liquidity.MAKER,
            size,
        )


async def replayed(journal: DurableOrderJournal, book: OrderBook) -> OrderBook:
    async for event, sequence in journal.replay(book.last_sequence):
        book.take(event, sequence)
    return book


def loaded(journal: Journal) -> OrderBook:
    """Return the book that the last snapshot holds."""
    book = OrderBook()
    kept = parted(journal).load()
    if kept is not None:
        BookState(book).restore(kept)
    return book


def parted(journal: Journal) -> PartedSnapshot:
    return PartedSnapshot(journal, NAME, VERSION, PART_ROWS)


async def open_journal(disk: MemoryDisk) -> Journal:
    return await Journal.open(
        MemoryStore(disk), writer="orders", clock=ManualClock(1_000), on_failure=lambda _: None
    )


PICKS = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 30), st.integers(0, 60)), max_size=30)


@settings(max_examples=50, deadline=None)
@given(PICKS)
def test_a_snapshot_at_every_cut_with_the_events_after_it_equals_a_full_replay(
    picks: list[tuple[int, int, int]],
) -> None:
    asyncio.run(_at_every_cut(picks))


async def _at_every_cut(picks: list[tuple[int, int, int]]) -> None:
    journal = await open_journal(MemoryDisk())
    order_journal = DurableOrderJournal(journal, "PRACTICE")
    story, restored = Story(), []
    state, snapshot = BookState(story.book), parted(journal)
    for pick in picks:
        draft = Draft(story.book)
        event = story.event(pick)
        record = draft.add(event)
        await order_journal.append([event], [record], {}, event.venue_report_sequence)
        draft.commit()
        await snapshot.save(state.capture(), share=1.0)
        book = loaded(journal)
        assert contents(book) == contents(story.book)
        restored.append(book)
    whole = contents(await replayed(order_journal, OrderBook()))
    for book in restored:
        assert contents(await replayed(order_journal, book)) == whole
    await journal.close()


@settings(max_examples=50, deadline=None)
@given(PICKS, st.integers(1, 9), st.integers(0, 40))
def test_a_save_that_is_cut_short_anywhere_costs_nothing(
    picks: list[tuple[int, int, int]], every: int, refused_at: int
) -> None:
    asyncio.run(_cut_short(picks, every, refused_at))


async def _cut_short(picks: list[tuple[int, int, int]], every: int, refused_at: int) -> None:
    disk = MemoryDisk()
    journal = await open_journal(disk)
    order_journal = DurableOrderJournal(journal, "PRACTICE")
    story = Story()
    state, snapshot = BookState(story.book), parted(journal)
    for count, pick in enumerate(picks, 1):
        draft = Draft(story.book)
        event = story.event(pick)
        await order_journal.append([event], [draft.add(event)], {}, 0)
        draft.commit()
        if count % every == 0:
            image = state.capture()
            try:
                await _save_some(snapshot, image, refused_at - count)
            except ResourceExhausted:
                state.give_back(image)
    await journal.close()
    # The process is gone; the next one starts from what lies on the disk, and goes on.
    journal = await open_journal(disk)
    order_journal = DurableOrderJournal(journal, "PRACTICE")
    book = await replayed(order_journal, loaded(journal))
    assert contents(book) == contents(await replayed(order_journal, OrderBook()))
    await journal.close()


async def _save_some(snapshot: PartedSnapshot, image: Any, parts: int) -> None:
    """Save, but break off at the part of this number, when there is one."""

    def refuse() -> list[Any]:
        raise ResourceExhausted("DISK_FULL")

    for part in [*image.parts][max(parts, 0) : max(parts, 0) + 1]:
        image.parts[part] = refuse
    await snapshot.save(image, share=1.0)


# -- What does not fit is ignored ---------------------------------------------------------------------


def kept_of(book: OrderBook) -> Kept:
    image = BookState(book).capture()
    rows: dict[str, list[Any]] = {"orders": [], "fills": []}
    for (name, _), make in image.parts.items():
        rows[name] += make()
    return Kept(image.sequence, dict(image.facts), rows)


def two_orders() -> OrderBook:
    story = Story()
    for sequence, event in enumerate(
        [
            OrderEvent(EventKind.ACCEPTED, ACCOUNT, "one", 1, order=new_order("one")),
            OrderEvent(EventKind.ACCEPTED, ACCOUNT, "two", 1, order=new_order("two")),
        ],
        1,
    ):
        story.book.take(event, sequence)
    return story.book


@pytest.mark.parametrize(
    "spoil",
    [
        lambda kept: kept.rows["orders"].pop(),
        lambda kept: kept.rows["orders"].reverse(),
        lambda kept: kept.rows["orders"][1].__setitem__(1, "one"),
        lambda kept: kept.rows["orders"][0].__setitem__(2, ["ACME", 99]),
        lambda kept: kept.rows["orders"][0].__setitem__(2, ["ACME", 99, 1, 1, 1]),
        lambda kept: kept.rows["orders"][0].pop(),
        lambda kept: kept.rows["orders"][0].__setitem__(7, "x"),
        lambda kept: kept.rows.pop("fills"),
        lambda kept: kept.facts.__setitem__("working", 1),
        lambda kept: kept.facts.pop("venue_reports"),
    ],
)
def test_rows_that_do_not_fit_leave_the_book_empty(spoil: Any) -> None:
    book = OrderBook()
    whole = kept_of(two_orders())
    BookState(book).restore(whole)
    assert contents(book) == contents(two_orders())
    book, kept = OrderBook(), kept_of(two_orders())
    spoil(kept)
    with pytest.raises(SnapshotBroken):
        BookState(book).restore(kept)
    assert contents(book) == contents(OrderBook())


def test_a_book_in_which_an_event_broke_off_is_never_saved() -> None:
    book = two_orders()
    assert BookState(book).sequence == 2
    record = book.order((ACCOUNT, "one"))
    assert record is not None
    unknown = Story()._fill(record, 1)
    with pytest.raises(KeyError):
        book.take(OrderEvent(EventKind.BUSTED, ACCOUNT, "one", 1, fill=unknown), 3)
    book.take(OrderEvent(EventKind.CONFIRMED, ACCOUNT, "two", 1), 4)
    assert BookState(book).sequence == 0


def test_a_corrected_fill_is_listed_as_it_is_now() -> None:
    book = two_orders()
    record = book.order((ACCOUNT, "one"))
    assert record is not None
    record = record._replace(execution_id="P")
    was, now = Story()._fill(record, 1), Story()._fill(record, 2)
    book.take(OrderEvent(EventKind.FILLED, ACCOUNT, "one", 1, fill=was), 3)
    book.take(OrderEvent(EventKind.CORRECTED, ACCOUNT, "one", 1, fill=was, corrected_fill=now), 4)
    expected = [BookedFill(3, was, now)]
    assert [*book.fills_after(0)] == [*book.fills_after(0, execution_id="P")] == expected
    book.take(OrderEvent(EventKind.BUSTED, ACCOUNT, "one", 1, fill=now), 5)
    assert [*book.fills_after(0)] == [*book.fills_after(0, execution_id="P")] == []


def test_rows_of_another_layout_come_with_another_version() -> None:
    layout = (
        OrderRecord._fields,
        BookedFill._fields,
        *(_names(kind) for kind in (OrderTerms, Fill, Rejection)),
    )
    digest = sha256(repr(layout).encode()).hexdigest()[:12]
    assert (VERSION, digest) == (1, "2d3819846556"), "the fields changed: raise VERSION"


def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))
