"""After a crash risk knows again what is at stake, and answers nothing before it does."""

from __future__ import annotations

import shutil
from pathlib import Path

from tapeline.risk.v1 import risk_service_pb2

from tests.integration.risk.peers import NANO, Mesh, eventually
from tests.integration.risk.test_checks_over_grpc import exposure, reason


async def crash(mesh: Mesh, folder: Path) -> None:
    """End risk as a power cut would: what it starts from again is what lay on the disk at that moment."""
    shutil.copytree(mesh.settings.data_dir, folder)
    await mesh.stop_risk()
    mesh.change(data_dir=folder)


async def test_reservations_are_rebuilt_from_the_streams(mesh: Mesh, tmp_path: Path) -> None:
    mesh.change(snapshot_seconds=3_600.0)
    await mesh.peers.open_position(100)
    await mesh.start_risk()
    stub = mesh.stub()
    await reason(stub, "o", 600)
    await mesh.peers.order_event("ACCEPTED", "o", 600)
    await mesh.peers.order_event("FILLED", "o", 600, leaves=500, fill=100)
    await eventually(lambda: mesh.books.orders_sequence == 2)
    before = await exposure(stub)
    await crash(mesh, tmp_path / "again")
    await mesh.start_risk()
    after = await exposure(mesh.stub())
    assert (after.position_nanos, after.open_buy_nanos) == (before.position_nanos, before.open_buy_nanos)
    assert await reason(mesh.stub(), "p", 301) == "POSITION_ABOVE_LIMIT"
    assert await reason(mesh.stub(), "q", 300) == ""


async def test_a_snapshot_shortens_the_way_and_counts_nothing_twice(mesh: Mesh, tmp_path: Path) -> None:
    mesh.change(snapshot_seconds=0.05)
    await mesh.start_risk()
    await mesh.peers.order_event("ACCEPTED", "o", 600)
    await mesh.peers.order_event("FILLED", "o", 600, leaves=500, fill=100)
    assert mesh.component is not None
    journal = mesh.component._journal
    assert journal is not None
    await eventually(lambda: journal.position("orders") == 2)
    await crash(mesh, tmp_path / "again")
    await mesh.peers.order_event("FILLED", "o", 600, leaves=300, fill=200)
    await mesh.start_risk()
    held = await exposure(mesh.stub())
    assert (held.position_nanos, held.open_buy_nanos) == (300 * NANO, 300 * NANO)


async def test_an_order_approved_before_the_crash_and_journalled_after_it_counts(
    mesh: Mesh, tmp_path: Path
) -> None:
    """The crash window: approved by the risk that died, committed by orders while risk was away."""
    await mesh.start_risk()
    assert await reason(mesh.stub(), "o", 1_000) == ""
    await crash(mesh, tmp_path / "again")
    mesh.change(settle_seconds=0.5)
    await mesh.start_risk(wait=False)
    assert not mesh.context.health.is_serving
    await mesh.peers.order_event("ACCEPTED", "o", 1_000)
    await eventually(lambda: mesh.context.health.is_serving)
    assert (await exposure(mesh.stub())).open_buy_nanos == 1_000 * NANO
    assert await reason(mesh.stub(), "p", 1) == "POSITION_ABOVE_LIMIT"


async def test_a_retry_of_an_order_that_orders_lost_is_checked_anew(mesh: Mesh, tmp_path: Path) -> None:
    mesh.change(snapshot_seconds=3_600.0)
    await mesh.start_risk()
    assert await reason(mesh.stub(), "o", 1_000) == ""
    await crash(mesh, tmp_path / "again")
    await mesh.start_risk()
    assert await exposure(mesh.stub()) is None
    assert await reason(mesh.stub(), "o", 1_000) == ""


async def test_an_orderly_stop_keeps_what_was_checked(mesh: Mesh) -> None:
    await mesh.start_risk()
    assert await reason(mesh.stub(), "o", 1_000) == ""
    await mesh.stop_risk()
    await mesh.start_risk()
    assert await reason(mesh.stub(), "p", 1) == "POSITION_ABOVE_LIMIT"


async def test_a_first_start_does_not_wait_for_orders_of_a_process_before_it(mesh: Mesh) -> None:
    mesh.change(settle_seconds=3_600.0)
    await mesh.start_risk()


async def test_peers_that_go_away_for_a_while_are_followed_again(mesh: Mesh) -> None:
    await mesh.start_risk()
    stub = mesh.stub()
    await mesh.peers.order_event("ACCEPTED", "o", 300)
    await eventually(lambda: mesh.books.orders_sequence == 1)
    mesh.peers.cut_streams()
    await mesh.peers.order_event("FILLED", "o", 300, leaves=0, fill=300, state="FILLED")
    await eventually(lambda: mesh.books.orders_sequence == 2)
    held = await exposure(stub)
    assert (held.position_nanos, held.open_buy_nanos) == (300 * NANO, 0)
    assert mesh.context.health.is_serving


async def test_an_order_journal_behind_what_was_taken_in_is_not_followed(mesh: Mesh) -> None:
    await mesh.start_risk()
    await mesh.peers.order_event("ACCEPTED", "o", 600)
    await eventually(lambda: mesh.books.orders_sequence == 1)
    await mesh.stop_risk()
    mesh.peers.orders.events.items.clear()
    await mesh.start_risk(wait=False)
    assert mesh.component is not None
    feeds = mesh.component
    await eventually(lambda: feeds.caught_up_with("portfolio") and feeds.caught_up_with("execution"))
    assert not mesh.component.caught_up_with("orders")
    assert not mesh.context.health.is_serving


async def test_a_cancel_that_is_told_takes_from_the_message_rate(mesh: Mesh) -> None:
    await mesh.start_risk()
    stub = mesh.stub()
    limits = mesh.limits(max_messages_per_second=0.5)
    await stub.SetLimits(risk_service_pb2.SetLimitsRequest(request_id="r", limits=limits))
    await mesh.peers.order_event("ACCEPTED", "o", 600)
    for _ in range(3):
        await mesh.peers.order_event("CANCEL_REQUESTED", "o", 600, state="PENDING_CANCEL")
    await eventually(lambda: mesh.books.orders_sequence == 4)
    assert await reason(stub, "p", 1) == "MESSAGE_RATE_ABOVE_LIMIT"
