"""What orders and execution see of risk."""

from __future__ import annotations

from typing import Any

from tapeline.risk.v1 import risk_service_pb2

from tests.integration.risk.peers import NANO, Mesh, check


async def verdicts(stub: Any, *checks: Any) -> list[Any]:
    response = await stub.CheckOrders(risk_service_pb2.CheckOrdersRequest(checks=checks))
    return list(response.verdicts)


async def test_an_order_inside_its_limits_is_approved_and_reserved(mesh: Mesh) -> None:
    await mesh.start_risk()
    stub = mesh.stub()
    response = await stub.CheckOrder(risk_service_pb2.CheckOrderRequest(check=check("a", 100)))
    assert response.verdict.is_approved
    exposure = await stub.GetExposure(risk_service_pb2.GetExposureRequest(account="test"))
    assert exposure.exposures[0].open_buy_nanos == 100 * NANO
    assert exposure.gross.units == 10_000
