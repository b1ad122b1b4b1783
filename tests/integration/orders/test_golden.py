"""Journals of earlier releases still mean what they meant: one a release, kept as it was written.

A file holds the journal's records, one JSON object a line (bytes in hex), and in its last line the orders
that they make. To add one for a release, run this file as a program with the release's name.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from tapeline.orders.v1 import order_event_pb2
from tapeline.orders.v1 import orders_service_pb2 as pb

from servers.journal import Head, Record, SqliteStore
from servers.journal.record import verify
from servers.model.order import Rejection
from servers.orders import wire
from servers.orders.adapters.memory import MemoryRisk, MemoryVenue
from servers.orders.book import OrderBook
from servers.orders.ports import ReportKind
from tests.integration.orders.conftest import NANO, eventually, new_order, start_desk

FOLDER = Path(__file__).with_name("golden")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.jsonl")), ids=lambda path: path.stem)
def test_a_journal_of_an_earlier_release_gives_the_same_orders(path: Path) -> None:
    *lines, expected = map(json.loads, path.read_text().splitlines())
    records = [
        Record(
            line["sequence"],
            line["epoch"],
            line["kind"],
            line["create_time_nanos"],
            bytes.fromhex(line["payload"]),
            line["crc"],
            bytes.fromhex(line["hash"]),
        )
        for line in lines
    ]
    book = OrderBook()
    for record in verify(records, Head()):
        event = wire.event_from_wire(order_event_pb2.OrderEvent.FromString(record.payload))
        book.take(event, record.sequence)
    assert orders_of(book) == expected["orders"]
    assert [booked.fill.venue_execution_id for booked in book.fills_after(0)] == expected["fills"]


def test_there_is_a_journal_to_replay() -> None:
    assert list(FOLDER.glob("*.jsonl"))


def orders_of(book: OrderBook) -> list[dict[str, Any]]:
    return [MessageToDict(wire.record_to_wire(record)) for record in book.orders_after(0)]


async def write_golden(release: str) -> None:
    """Lead some orders through everything that can happen and keep the journal of it."""
    with tempfile.TemporaryDirectory() as name:
        venue, risk = MemoryVenue(), MemoryRisk()
        risk.verdict = lambda check: (
            Rejection("ORDER_QUANTITY_ABOVE_LIMIT", "too much", "max_order_quantity_nanos", "9", "8")
            if check.client_order_id == "refused"
            else None
        )
        desk = await start_desk(Path(name), venue, risk)
        await desk.accepting()
        for order in ("filled", "cancelled", "replaced", "refused", "expired", "resting", "amended"):
            await desk.stub.SubmitOrder(
                pb.SubmitOrderRequest(order=new_order(order, execution_id="01JGOLDEN"))
            )
        await eventually(lambda: len(venue.log) == 7)
        venue.fill(("MAIN", "filled"), 100 * NANO, 50 * NANO)
        first = venue.fill(("MAIN", "amended"), 10 * NANO, 50 * NANO)
        second = venue.fill(("MAIN", "amended"), 20 * NANO, 50 * NANO)
        venue.amend(first, 0, 0)
        venue.amend(second, 15 * NANO, 49 * NANO)
        venue.end(("MAIN", "expired"), ReportKind.EXPIRED)
        venue.end(("MAIN", "resting"), ReportKind.DONE_FOR_DAY)
        await desk.stub.CancelOrder(
            pb.CancelOrderRequest(request_id="c", account="MAIN", client_order_id="cancelled")
        )
        await desk.stub.ReplaceOrder(
            pb.ReplaceOrderRequest(
                request_id="r", account="MAIN", client_order_id="replaced", quantity_nanos=60 * NANO
            )
        )
        await eventually(lambda: len(venue.log) == 16)
        async for message in desk.stub.StreamOrderEvents(pb.StreamOrderEventsRequest()):
            if message.sequence_reached == 26:
                break
        await desk.stop()
        store = SqliteStore(Path(name) / "orders.journal")
        book = OrderBook()
        lines: list[dict[str, Any]] = []
        for record in store.records(0, 1_000):
            event = wire.event_from_wire(order_event_pb2.OrderEvent.FromString(record.payload))
            book.take(event, record.sequence)
            lines.append({**record._asdict(), "payload": record.payload.hex(), "hash": record.hash.hex()})
        store.close()
        fills = [booked.fill.venue_execution_id for booked in book.fills_after(0)]
        lines.append({"orders": orders_of(book), "fills": fills})
        FOLDER.mkdir(exist_ok=True)
        (FOLDER / f"{release}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


if __name__ == "__main__":
    asyncio.run(write_golden(sys.argv[1]))
