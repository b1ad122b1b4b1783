"""One suite for every venue: the one in memory and the practice exchange behave alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace as changed
from pathlib import Path

import grpc
import pytest

from servers.exchange.__main__ import build as build_exchange
from servers.exchange.settings import ExchangeSettings
from servers.model.errors import OutOfRange
from servers.model.nanos import NANO
from servers.model.order import OrderState, OrderTerms, OrderType, Side, TimeInForce
from servers.orders.adapters.exchange import ExchangeVenue
from servers.orders.adapters.memory import MemoryVenue
from servers.orders.domain import NewOrder
from servers.orders.ports import Report, ReportKind, Submission, Venue
from servers.runtime.server import make_context, start_server
from servers.runtime.tracing import Tracer

TERMS = OrderTerms("ACME", Side.BUY, OrderType.LIMIT, TimeInForce.DAY, 100 * NANO, 45 * NANO)


@pytest.fixture(params=["memory", "exchange"])
async def venue(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Venue]:
    if request.param == "memory":
        yield MemoryVenue()
        return
    settings = ExchangeSettings(port=0, data_dir=tmp_path, hold=True, symbols="ACME", drain_seconds=0)
    context = await make_context("exchange", settings)
    component = build_exchange(settings, context)
    server = await start_server(settings, context, component)
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield ExchangeVenue(channel, Tracer())
    await server.stop()


def order(name: str, **changes: object) -> NewOrder:
    return NewOrder("MAIN", name, changed(TERMS, **changes))  # type: ignore[arg-type]  # fields of the terms


async def reports(venue: Venue, after_sequence: int, count: int) -> list[Report]:
    found: list[Report] = []

    async def collect() -> None:
        async for page in venue.reports(after_sequence):
            found.extend(page.reports)
            if len(found) >= count:
                return

    await asyncio.wait_for(collect(), 10)
    return found


async def test_orders_enter_once_and_are_reported_in_order(venue: Venue) -> None:
    orders = [order("one"), order("two")]
    assert await venue.submit(orders) == [Submission(), Submission()]
    assert await venue.submit(orders) == [Submission(), Submission()]
    await venue.submit([order("three")])
    found = await reports(venue, 0, 3)
    assert [(report.sequence, report.kind, report.client_order_id) for report in found] == [
        (1, ReportKind.ACCEPTED, "one"),
        (2, ReportKind.ACCEPTED, "two"),
        (3, ReportKind.ACCEPTED, "three"),
    ]
    assert found[0].venue_order_id
    assert found[0].leaves_quantity_nanos == 100 * NANO
    assert await venue.last_report_sequence() == 3
    assert [report.sequence for report in await reports(venue, 2, 1)] == [3]
    with pytest.raises(OutOfRange):
        await anext(venue.reports(9))


async def test_the_venue_can_be_asked_about_an_order(venue: Venue) -> None:
    assert await venue.order(("MAIN", "one")) is None
    await venue.submit([order("one")])
    held = await venue.order(("MAIN", "one"))
    assert held is not None
    assert held.state is OrderState.NEW
    assert held.venue_order_id == (await reports(venue, 0, 1))[0].venue_order_id


async def test_a_cancel_and_a_replace_happen_once(venue: Venue) -> None:
    await venue.submit([order("one"), order("two")])
    smaller = changed(TERMS, quantity_nanos=60 * NANO)
    for _ in range(2):
        assert await venue.replace(("MAIN", "two"), "r", smaller) is None
        assert await venue.cancel(("MAIN", "one"), "c") is None
    replaced, cancelled = (await reports(venue, 2, 2))[:2]
    assert (replaced.kind, replaced.request_id, replaced.terms) == (ReportKind.REPLACED, "r", smaller)
    assert replaced.leaves_quantity_nanos == 60 * NANO
    assert (cancelled.kind, cancelled.request_id, cancelled.reason) == (
        ReportKind.CANCELLED,
        "c",
        "REQUESTED",
    )
    assert await venue.last_report_sequence() == 4


async def test_what_cannot_be_done_is_reported_as_refused(venue: Venue) -> None:
    await venue.submit([order("one")])
    await venue.cancel(("MAIN", "one"), "c")
    assert await venue.cancel(("MAIN", "one"), "c2") is None
    assert await venue.replace(("MAIN", "one"), "r", changed(TERMS, quantity_nanos=60 * NANO)) is None
    found = (await reports(venue, 2, 2))[:2]
    assert [report.kind for report in found] == [ReportKind.CANCEL_REJECTED, ReportKind.REPLACE_REJECTED]
    assert all(report.rejection is not None for report in found)
