"""What a venue takes back or corrects after the fact."""

from __future__ import annotations

from dataclasses import replace

from servers.model.nanos import NANO
from servers.model.order import OrderState
from servers.orders.domain import EventKind
from tests.unit.orders.conftest import ACCOUNT, Desk, eventually

KEY = (ACCOUNT, "one")


async def test_a_bust_and_a_correction_reverse_exactly_once(desk: Desk) -> None:
    await desk.submit()
    await desk.becomes(OrderState.NEW)
    first = desk.venue.fill(KEY, 60 * NANO, 50 * NANO)
    second = desk.venue.fill(KEY, 40 * NANO, 49 * NANO)
    await desk.becomes(OrderState.FILLED)
    desk.venue.amend(first, 0, 0)
    desk.venue.repeat(desk.venue.log[-1])
    desk.venue.amend(second, 30 * NANO, 48 * NANO)
    desk.venue.repeat(desk.venue.log[-1])
    desk.venue.repeat(desk.venue.log[2])
    await eventually(lambda: desk.reader.position == len(desk.venue.log))
    record = desk.order()
    assert (record.filled_quantity_nanos, record.average_price_nanos) == (30 * NANO, 48 * NANO)
    assert record.state is OrderState.FILLED
    assert desk.kinds()[-2:] == [EventKind.BUSTED, EventKind.CORRECTED]
    (left,) = desk.engine.book.fills_after(0)
    assert (left.fill.quantity_nanos, left.fill.price_nanos) == (30 * NANO, 48 * NANO)
    await desk.restart()
    assert desk.order() == record


async def test_a_fill_keeps_its_id_when_the_venue_corrects_it_under_another(desk: Desk) -> None:
    await desk.submit()
    await desk.becomes(OrderState.NEW)
    booked = desk.venue.fill(KEY, 60 * NANO, 50 * NANO)
    desk.venue.amend(booked, 50 * NANO, 49 * NANO)
    renamed = replace(booked, venue_execution_id="ANOTHER", quantity_nanos=40 * NANO, price_nanos=48 * NANO)
    desk.venue.repeat(desk.venue.log[-1]._replace(corrected_fill=renamed))
    desk.venue.amend(booked, 30 * NANO, 47 * NANO)
    await eventually(lambda: desk.reader.position == len(desk.venue.log))
    (left,) = desk.engine.book.fills_after(0)
    assert left.fill == replace(booked, quantity_nanos=30 * NANO, price_nanos=47 * NANO)
    record = desk.order()
    assert (record.filled_quantity_nanos, record.average_price_nanos) == (30 * NANO, 47 * NANO)
    await desk.restart()
    assert desk.order() == record
