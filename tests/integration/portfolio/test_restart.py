"""A server that starts from a snapshot shows what the one before it showed."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import AsyncIterable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message
from tapeline.portfolio.v1 import portfolio_service_pb2, position_pb2
from tapeline.trading.v1 import side_pb2

from servers.portfolio.component import PortfolioServer
from tests.integration.portfolio.conftest import Desk
from tests.integration.portfolio.test_portfolio_over_grpc import open_position, record
from tests.integration.risk.peers import NANO, eventually

FILLS = 40


def component(desk: Desk) -> PortfolioServer:
    assert desk.component is not None
    return desk.component


async def fills(desk: Desk, first: int, count: int) -> None:
    for number in range(first, first + count):
        await desk.peers.order_event(
            "FILLED",
            f"o{number}",
            10,
            fill=number % 7 + 1,
            side=side_pb2.SIDE_BUY if number % 3 else side_pb2.SIDE_SELL,
            price_nanos=(100 + number) * NANO,
        )
    engine = component(desk).engine
    await eventually(lambda: engine.orders_sequence >= first + count)


async def shown(desk: Desk, stub: Any) -> list[Message]:
    """Return the facts that the server shows; marks come by themselves."""
    response = await stub.GetPortfolio(portfolio_service_pb2.GetPortfolioRequest(account="test"))
    for position in response.positions:
        for field in ("unrealised_profit", "mark_price_nanos", "mark_time_nanos"):
            position.ClearField(field)
    response.ClearField("unrealised_profit")
    listed = await stub.ListAdjustments(portfolio_service_pb2.ListAdjustmentsRequest())
    return [response, *listed.adjustments, *(await adjustments_from(stub, 0, len(listed.adjustments)))]


async def adjustments_from(stub: Any, after: int, count: int) -> list[Message]:
    found: list[Message] = []
    stream: AsyncIterable[Any] = stub.StreamAdjustments(
        portfolio_service_pb2.StreamAdjustmentsRequest(resume_after_sequence=after)
    )
    async for message in stream:
        found += message.adjustments
        if len(found) >= count:
            return found
    raise AssertionError("the stream ended")


async def split(stub: Any, request_id: str) -> Any:
    return await record(
        stub,
        request_id,
        kind=position_pb2.ADJUSTMENT_KIND_SPLIT,
        symbol="ACME",
        ratio_numerator=2,
        ratio_denominator=1,
        effective_time_nanos=1,
    )


async def test_a_killed_server_starts_from_its_snapshot_and_shows_the_same(
    desk: Desk, tmp_path: Path
) -> None:
    desk.settings = desk.settings.model_copy(update={"snapshot_events": 1, "data_dir": tmp_path / "first"})
    stub = await desk.start()
    engine = component(desk).engine
    await eventually(lambda: engine.instruments)
    opening = await open_position(stub)
    await fills(desk, 0, FILLS)
    await split(stub, "r2")
    await eventually(lambda: component(desk).saved_sequence == engine.sequence)
    saved = engine.sequence
    # After the snapshot, and in no other: what is replayed.
    await split(stub, "r3")
    await fills(desk, FILLS, 3)
    before = await shown(desk, stub)
    killed = Path(shutil.copytree(tmp_path / "first", tmp_path / "second"))
    await desk.stop()

    desk.settings = desk.settings.model_copy(update={"snapshot_events": 10**6, "data_dir": killed})
    stub = await desk.start()
    assert saved <= component(desk).restored_sequence <= component(desk).engine.sequence
    assert await shown(desk, stub) == before
    assert await open_position(stub) == opening
    await fills(desk, FILLS + 3, 1)
    ledger = component(desk).engine.ledger
    assert ledger.repeated_fills == 0
    assert len(ledger.lines) == FILLS + 4


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE snapshots SET payload = X'00' WHERE name = 'ledger'",
        "UPDATE snapshots SET payload = X'5B5D' WHERE name LIKE 'ledger/lines/%'",
        "DELETE FROM snapshots WHERE name LIKE 'ledger/positions/%'",
    ],
)
async def test_a_damaged_snapshot_costs_a_full_replay_and_nothing_else(desk: Desk, damage: str) -> None:
    stub = await desk.start()
    engine = component(desk).engine
    await eventually(lambda: engine.instruments)
    await open_position(stub)
    await fills(desk, 0, FILLS)
    before = await shown(desk, stub)
    await desk.stop()
    with sqlite3.connect(desk.settings.data_dir / "portfolio.journal") as database:
        database.execute(damage)
    database.close()
    stub = await desk.start()
    assert component(desk).restored_sequence == 0
    assert await shown(desk, stub) == before
    await desk.stop()
    stub = await desk.start()
    assert component(desk).restored_sequence == FILLS + 1
    assert await shown(desk, stub) == before
