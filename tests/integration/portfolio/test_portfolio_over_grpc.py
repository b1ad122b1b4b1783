"""What the mesh sees of portfolio."""

from __future__ import annotations

from typing import Any

from tapeline.portfolio.v1 import portfolio_service_pb2, position_pb2
from tapeline.trading.v1 import side_pb2

from tests.integration.portfolio.conftest import Desk
from tests.integration.risk.peers import NANO, eventually


async def portfolio(stub: Any, account: str = "test") -> Any:
    return await stub.GetPortfolio(portfolio_service_pb2.GetPortfolioRequest(account=account))


async def position(stub: Any, symbol: str = "ACME") -> Any:
    found = [one for one in (await portfolio(stub)).positions if one.symbol == symbol]
    return found[0] if found else position_pb2.Position()


async def record(stub: Any, request_id: str, **fields: Any) -> Any:
    response = await stub.RecordAdjustment(
        portfolio_service_pb2.RecordAdjustmentRequest(
            request_id=request_id, adjustment=position_pb2.Adjustment(**fields)
        )
    )
    return response.adjustment


async def open_position(stub: Any, request_id: str = "r1", shares: int = 100) -> Any:
    return await record(
        stub,
        request_id,
        kind=position_pb2.ADJUSTMENT_KIND_OPENING,
        account="test",
        symbol="ACME",
        quantity_nanos=shares * NANO,
        price_nanos=90 * NANO,
    )


async def test_fills_make_a_position_with_cash_and_a_mark(desk: Desk) -> None:
    stub = await desk.start()
    await desk.peers.order_event("FILLED", "a", 10, leaves=6, fill=4)
    await desk.peers.order_event("FILLED", "a", 10, leaves=0, fill=6, state="FILLED")
    await desk.peers.order_event("FILLED", "b", 5, fill=5, side=side_pb2.SIDE_SELL, price_nanos=110 * NANO)

    async def is_booked() -> bool:
        return bool((await portfolio(stub)).orders_sequence == 3 and (await position(stub)).mark_price_nanos)

    await eventually(is_booked)
    held = await position(stub)
    assert held.quantity_nanos == 5 * NANO
    assert held.average_price_nanos == 100 * NANO
    assert held.realised_profit.units == 50
    assert held.open_cost.value == "500"
    assert held.unrealised_profit.units == 0
    assert (await portfolio(stub)).cash[0].amount.units == -450


async def test_a_restart_resumes_after_the_last_sequence_and_changes_nothing(desk: Desk) -> None:
    stub = await desk.start()
    await desk.peers.order_event("FILLED", "a", 10, leaves=0, fill=10, state="FILLED")
    await eventually(lambda: desk.component is not None and desk.component.engine.orders_sequence == 1)
    await open_position(stub)
    before = await position(stub)
    await desk.stop()
    await desk.peers.order_event("FILLED", "b", 10, leaves=0, fill=7, state="FILLED")
    stub = await desk.start()
    assert desk.component is not None
    engine = desk.component.engine
    await eventually(lambda: engine.orders_sequence == 2)
    after = await position(stub)
    assert after.quantity_nanos == before.quantity_nanos + 7 * NANO
    assert engine.ledger.repeated_fills == 0
