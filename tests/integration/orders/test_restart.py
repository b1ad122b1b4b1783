"""A server that starts from a snapshot answers as the one before it did."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from tapeline.orders.v1 import order_event_pb2
from tapeline.orders.v1 import orders_service_pb2 as pb
from tapeline.trading.v1 import order_pb2

from servers.orders.adapters.memory import MemoryRisk, MemoryVenue
from servers.runtime.status import reason_of
from tests.integration.orders.conftest import NANO, Desk, eventually, new_order, start_desk

ORDERS = 300
"""More than a part of a snapshot."""


async def submit(desk: Desk, *names: str, **changes: Any) -> None:
    for start in range(0, len(names), 256):
        orders = [new_order(name, **changes) for name in names[start : start + 256]]
        await desk.stub.SubmitOrders(pb.SubmitOrdersRequest(orders=orders))


async def trade(desk: Desk) -> list[Message]:
    """Let a day pass before the snapshot; return the answers to a cancel and a replace."""
    await submit(desk, *(f"n{n}" for n in range(ORDERS)), execution_id="PARENT")
    await submit(desk, "rests", "moves", "goes", account="OTHER", symbol="ZORK")
    await desk.becomes_of("OTHER", "goes", order_pb2.ORDER_STATE_NEW)
    for n in range(0, ORDERS, 2):
        desk.venue.fill(("MAIN", f"n{n}"), (100 if n % 4 else 30) * NANO, 50 * NANO + n)
    await desk.becomes("n298", order_pb2.ORDER_STATE_FILLED)
    first = desk.venue.fill(("MAIN", "n1"), 10 * NANO, 50 * NANO)
    second = desk.venue.fill(("MAIN", "n1"), 10 * NANO, 50 * NANO)
    desk.venue.amend(first, 0, 0)
    desk.venue.amend(second, 7 * NANO, 49 * NANO)
    answers = [await desk.stub.CancelOrder(CANCEL), await desk.stub.ReplaceOrder(REPLACE)]
    await quiet(desk)
    return answers


async def quiet(desk: Desk) -> None:
    """Wait until everything that the venue said is in the book."""
    book = desk.component._service._engine.book
    await eventually(lambda: book.venue_report_sequence == len(desk.venue.log))


CANCEL = pb.CancelOrderRequest(request_id="c", account="OTHER", client_order_id="goes")
REPLACE = pb.ReplaceOrderRequest(
    request_id="r", account="OTHER", client_order_id="moves", quantity_nanos=60 * NANO
)


async def pages(call: Any, request: Any, rows: str) -> list[Message]:
    found: list[Message] = []
    while True:
        response = await call(request)
        found += getattr(response, rows)
        request.page_token = response.next_page_token
        if not request.page_token:
            return found


async def answers(desk: Desk) -> dict[str, list[Message]]:
    """Return what the server says to every kind of question."""
    stub = desk.stub
    orders: list[dict[str, Any]] = [
        {},
        {"account": "MAIN"},
        {"execution_id": "PARENT"},
        {"symbol": "ZORK"},
        {"working_only": True},
    ]
    fills: list[dict[str, Any]] = [{}, {"account": "MAIN"}, {"execution_id": "PARENT"}]
    said = {
        f"orders {filters}": await pages(
            stub.ListOrders, pb.ListOrdersRequest(page_size=97, **filters), "orders"
        )
        for filters in orders
    }
    for filters in fills:
        request = pb.ListFillsRequest(page_size=41, **filters)
        said[f"fills {filters}"] = await pages(stub.ListFills, request, "fills")
    said["events"] = await pages(stub.ListOrderEvents, pb.ListOrderEventsRequest(page_size=400), "events")
    said["one"] = [await desk.order("n7"), await desk.order("rests", "OTHER")]
    return said


async def streamed(desk: Desk, after: int, until: int) -> list[order_event_pb2.OrderEvent]:
    events: list[order_event_pb2.OrderEvent] = []
    async for message in desk.stub.StreamOrderEvents(
        pb.StreamOrderEventsRequest(resume_after_sequence=after)
    ):
        events += message.events
        if message.sequence_reached >= until:
            return events
    raise AssertionError("the stream ended")


async def saved(desk: Desk) -> int:
    """Wait until the snapshot in force holds everything; return its sequence."""
    keeper = desk.component._keeper
    assert keeper is not None
    last = desk.component._journal.last_sequence  # type: ignore[union-attr]  # started
    await eventually(lambda: keeper.saved_sequence >= last)
    return keeper.saved_sequence


def copied(desk: Desk, to: Path) -> Path:
    """Return a copy of the server's files as they lie, as after a kill."""
    return Path(shutil.copytree(desk.folder, to))


def restored_sequence(desk: Desk) -> int:
    return desk.component.restored_sequence


async def test_a_killed_server_starts_from_its_snapshot_and_answers_the_same(tmp_path: Path) -> None:
    venue = MemoryVenue()
    desk = await start_desk(tmp_path / "first", venue, MemoryRisk(), snapshot_events=1)
    await desk.accepting()
    first_answers = await trade(desk)
    sequence = await saved(desk)
    # After the snapshot, and before the next one: what is replayed.
    await submit(desk, "late")
    await desk.becomes("late", order_pb2.ORDER_STATE_NEW)
    await quiet(desk)
    before = await answers(desk)
    last = len(before["events"])
    folder = copied(desk, tmp_path / "second")
    await desk.crash()
    venue.cut()
    venue.fill(("OTHER", "rests"), 100 * NANO, 50 * NANO)

    # The venue's news of the time between waits until the answers have been compared.
    venue.is_reachable = False
    again = await start_desk(folder, venue, MemoryRisk(), snapshot_events=1_000_000)
    assert sequence <= restored_sequence(again) <= last
    assert await answers(again) == before
    assert [await again.stub.CancelOrder(CANCEL), await again.stub.ReplaceOrder(REPLACE)] == first_answers
    for after in (0, 5, sequence - 1, sequence, last - 1):
        assert await streamed(again, after, last) == before["events"][after:]

    venue.is_reachable = True
    await again.accepting()
    await again.becomes_of("OTHER", "rests", order_pb2.ORDER_STATE_FILLED)
    repeat = await again.stub.SubmitOrder(pb.SubmitOrderRequest(order=new_order("n0", execution_id="PARENT")))
    assert repeat.order.state == order_pb2.ORDER_STATE_PENDING_NEW
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await again.stub.SubmitOrder(pb.SubmitOrderRequest(order=new_order("n0", quantity=1)))
    assert reason_of(refused.value) == "REQUEST_ID_REUSED"
    assert sum(order.client_order_id == "n0" for orders in venue.submissions for order in orders) == 1
    assert (await again.order("n1")).filled_quantity_nanos == 7 * NANO
    await again.stop()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE snapshots SET payload = X'00' WHERE name = 'book'",
        "UPDATE snapshots SET payload = replace(payload, 'n7', 'n8') WHERE name LIKE 'book/%'",
        "DELETE FROM snapshots WHERE name LIKE 'book/fills/%'",
    ],
)
async def test_a_damaged_snapshot_costs_a_full_replay_and_nothing_else(tmp_path: Path, damage: str) -> None:
    venue = MemoryVenue()
    desk = await start_desk(tmp_path, venue, MemoryRisk(), snapshot_events=1_000_000)
    await desk.accepting()
    await trade(desk)
    before = await answers(desk)
    await desk.stop()
    with sqlite3.connect(tmp_path / "orders.journal") as database:
        database.execute(damage)
    database.close()
    again = await start_desk(tmp_path, venue, MemoryRisk(), snapshot_events=1_000_000)
    assert restored_sequence(again) == 0
    assert await answers(again) == before
    await again.stop()
    whole = await start_desk(tmp_path, venue, MemoryRisk(), snapshot_events=1_000_000)
    assert restored_sequence(whole) == len(before["events"])
    assert await answers(whole) == before
    await whole.stop()


async def test_a_check_of_the_whole_journal_replays_all_of_it(tmp_path: Path) -> None:
    venue = MemoryVenue()
    desk = await start_desk(tmp_path, venue, MemoryRisk())
    await desk.accepting()
    await desk.stop()
    checked = await start_desk(tmp_path, venue, MemoryRisk(), check_whole_journal=True)
    assert restored_sequence(checked) == 0
    assert (await checked.order("probe")).client_order_id == "probe"
    await checked.stop()


async def test_orders_are_answered_while_snapshots_are_written(tmp_path: Path) -> None:
    desk = await start_desk(tmp_path, MemoryVenue(), MemoryRisk(), snapshot_events=1)
    await desk.accepting()
    await submit(desk, "rests", account="OTHER")
    names = [f"n{n}" for n in range(600)]
    for start in range(0, len(names), 20):
        await submit(desk, *names[start : start + 20])
        await asyncio.sleep(0)
    await desk.becomes(names[-1], order_pb2.ORDER_STATE_NEW)
    await quiet(desk)
    assert await saved(desk) >= 1_200
    before = await answers(desk)
    await desk.stop()
    again = await start_desk(tmp_path, desk.venue, MemoryRisk())
    assert restored_sequence(again) == len(before["events"])
    assert await answers(again) == before
    await again.stop()
