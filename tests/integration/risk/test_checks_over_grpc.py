"""What orders and execution see of risk."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from tapeline.execution.v1 import execution_pb2
from tapeline.risk.v1 import risk_service_pb2, risk_service_pb2_grpc
from tapeline.trading.v1 import market_pb2, order_pb2, side_pb2

from servers.runtime.status import reason_of
from tests.integration.risk.peers import DAY, NANO, Mesh, check, eventually, terms


async def verdicts(stub: Any, *checks: Any) -> list[Any]:
    response = await stub.CheckOrders(risk_service_pb2.CheckOrdersRequest(checks=checks))
    return list(response.verdicts)


async def reason(stub: Any, order_id: str, quantity: int, **more: Any) -> str:
    (verdict,) = await verdicts(stub, check(order_id, quantity, **more))
    assert verdict.is_approved == (not verdict.rejection.reason)
    return str(verdict.rejection.reason)


async def exposure(stub: Any) -> Any:
    response = await stub.GetExposure(risk_service_pb2.GetExposureRequest(account="test"))
    return response.exposures[0] if response.exposures else None


async def test_an_order_inside_its_limits_is_approved_and_reserved(mesh: Mesh) -> None:
    await mesh.start_risk()
    stub = mesh.stub()
    response = await stub.CheckOrder(risk_service_pb2.CheckOrderRequest(check=check("a", 100)))
    assert response.verdict.is_approved
    held = await exposure(stub)
    assert held.open_buy_nanos == 100 * NANO
    assert held.reference_price_nanos == 100 * NANO
    assert held.gross.units == 10_000


async def test_fifty_concurrent_orders_that_do_not_fit_together_leave_the_limit_whole(mesh: Mesh) -> None:
    await mesh.start_risk()
    stub = mesh.stub()
    reasons = await asyncio.gather(*(reason(stub, f"o{number}", 100) for number in range(50)))
    assert sorted(reasons) == [""] * 10 + ["POSITION_ABOVE_LIMIT"] * 40
    assert (await exposure(stub)).open_buy_nanos == 1_000 * NANO


async def test_a_refusal_names_limit_value_and_bound(mesh: Mesh) -> None:
    await mesh.start_risk()
    (verdict,) = await verdicts(mesh.stub(), check("o", 1_001))
    rejection = verdict.rejection
    assert rejection.reason == "ORDER_QUANTITY_ABOVE_LIMIT"
    assert (rejection.limit, rejection.value) == ("max_order_quantity_nanos", "1,001 shares")
    assert rejection.bound == "1,000 shares"


async def test_order_events_move_and_release_what_is_reserved(mesh: Mesh) -> None:
    await mesh.start_risk()
    stub, peers = mesh.stub(), mesh.peers
    await reason(stub, "o", 600)
    await peers.order_event("ACCEPTED", "o", 600)
    await peers.order_event("FILLED", "o", 600, leaves=400, fill=200, state="PARTIALLY_FILLED")
    await eventually(lambda: mesh.books.orders_sequence == 2)
    held = await exposure(stub)
    assert (held.position_nanos, held.open_buy_nanos) == (200 * NANO, 400 * NANO)
    await peers.order_event("CANCELLED", "o", 600, leaves=0, state="CANCELLED")
    await eventually(lambda: mesh.books.orders_sequence == 3)
    held = await exposure(stub)
    assert (held.position_nanos, held.open_buy_nanos) == (200 * NANO, 0)


async def test_positions_are_portfolios_adjustments_and_fills(mesh: Mesh) -> None:
    await mesh.peers.open_position(900)
    await mesh.start_risk()
    stub = mesh.stub()
    assert (await exposure(stub)).position_nanos == 900 * NANO
    assert await reason(stub, "b", 101) == "POSITION_ABOVE_LIMIT"
    assert await reason(stub, "s", 900, side=side_pb2.SIDE_SELL) == ""
    await mesh.peers.open_position(50)
    await eventually(lambda: mesh.books.adjustments_sequence == 2)
    assert (await exposure(stub)).position_nanos == 950 * NANO


async def test_a_parents_rest_is_reserved_and_moves_to_its_children(mesh: Mesh) -> None:
    await mesh.start_risk()
    stub, executions = mesh.stub(), mesh.peers.executions
    response = await stub.CheckExecution(
        risk_service_pb2.CheckExecutionRequest(
            execution_id="e",
            account="test",
            symbol="ACME",
            side=side_pb2.SIDE_BUY,
            quantity_nanos=1_000 * NANO,
        )
    )
    assert response.verdict.is_approved
    assert await reason(stub, "other", 1) == "POSITION_ABOVE_LIMIT"
    assert await reason(stub, "e-1", 300, execution_id="e") == ""
    held = await exposure(stub)
    assert (held.open_buy_nanos, held.reserved_buy_nanos) == (300 * NANO, 700 * NANO)
    for kind, state in (("STARTED", "RUNNING"), ("FINISHED", "DONE")):
        await executions.events.add(
            execution_pb2.ExecutionEvent(
                sequence=len(executions.events.items) + 1,
                kind=execution_pb2.ExecutionEventKind.Value(f"EXECUTION_EVENT_KIND_{kind}"),
                execution=execution_pb2.Execution(
                    execution_id="e",
                    state=execution_pb2.ExecutionState.Value(f"EXECUTION_STATE_{state}"),
                    parameters=execution_pb2.ExecutionParameters(
                        account="test", symbol="ACME", side=side_pb2.SIDE_BUY, quantity_nanos=1_000 * NANO
                    ),
                ),
            )
        )
    await eventually(lambda: mesh.books.executions_sequence == 2)
    held = await exposure(stub)
    assert (held.open_buy_nanos, held.reserved_buy_nanos) == (300 * NANO, 0)


async def test_what_never_appears_is_released_after_its_time(mesh: Mesh) -> None:
    mesh.change(reservation_timeout_seconds=0.3)
    await mesh.start_risk()
    stub = mesh.stub()
    assert await reason(stub, "o", 1_000) == ""
    assert await reason(stub, "p", 1) == "POSITION_ABOVE_LIMIT"

    async def is_released() -> bool:
        return await exposure(stub) is None

    await eventually(is_released)
    assert await reason(stub, "q", 1_000) == ""


async def test_a_halt_and_a_silent_feed_refuse(mesh: Mesh) -> None:
    mesh.change(feed_silence_seconds=0.3)
    await mesh.start_risk()
    stub, market = mesh.stub(), mesh.peers.market_data
    market.phase = market_pb2.MARKET_PHASE_HALTED
    numbers = iter(range(10_000))

    async def becomes(wanted: str) -> bool:
        return await reason(stub, f"o{next(numbers)}", 1) == wanted

    await eventually(lambda: becomes("MARKET_PHASE"))
    market.phase = market_pb2.MARKET_PHASE_CONTINUOUS
    await eventually(lambda: becomes(""))
    market.is_mute = True
    await eventually(lambda: becomes("REFERENCE_PRICE_STALE"))
    market.is_mute = False
    await eventually(lambda: becomes(""))


async def test_median_volumes_are_asked_for_when_a_limit_needs_them(mesh: Mesh) -> None:
    await mesh.start_risk()
    stub = mesh.stub()
    limits = mesh.limits(max_participation=0.0001)
    await stub.SetLimits(risk_service_pb2.SetLimitsRequest(request_id="r", limits=limits))
    numbers = iter(range(10_000))

    async def is_known() -> bool:
        return await reason(stub, f"o{next(numbers)}", 101) == "PARTICIPATION_ABOVE_LIMIT"

    await eventually(is_known)
    assert await reason(stub, "small", 100) == ""


async def test_until_it_has_caught_up_it_says_not_ready(mesh: Mesh) -> None:
    mesh.change(peers={**mesh.settings.peers, "execution": "127.0.0.1:1"})
    await mesh.start_risk(wait=False)
    assert mesh.running is not None
    async with grpc.aio.insecure_channel(mesh.running.address) as channel:
        stub: Any = risk_service_pb2_grpc.RiskServiceStub(channel)
        for call in (
            stub.CheckOrder(risk_service_pb2.CheckOrderRequest(check=check("a", 1))),
            stub.GetExposure(risk_service_pb2.GetExposureRequest(account="test")),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            assert reason_of(refused.value) == "NOT_READY"
    assert not mesh.context.health.is_serving


async def test_a_mesh_without_execution_can_do_without_it(mesh: Mesh) -> None:
    mesh.change(peers={**mesh.settings.peers, "execution": "127.0.0.1:1"}, follow_execution=False)
    await mesh.start_risk()
    assert await reason(mesh.stub(), "a", 1) == ""


async def test_the_report_simulates_past_sessions(mesh: Mesh) -> None:
    await mesh.peers.open_position(100)
    await mesh.start_risk()
    stub = mesh.stub()

    async def report(**fields: Any) -> Any:
        return await stub.GetRiskReport(risk_service_pb2.GetRiskReportRequest(account="test", **fields))

    found = await report()
    assert (found.sessions, found.confidence) == (39, 0.99)
    # The worst session falls from 106 to 100.
    assert found.value_at_risk.units + found.value_at_risk.nanos / 1e9 == pytest.approx(10_000 * 6 / 106)
    assert found.expected_shortfall == found.value_at_risk
    assert found.HasField("daily_profit")
    mesh.peers.market_data.closes = mesh.peers.market_data.closes[:20]
    few = await report(confidence=0.9)
    assert few.sessions == 19
    assert not few.HasField("value_at_risk")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await report(confidence=2.0)
    assert reason_of(refused.value) == "VALUE_OUT_OF_RANGE"


def bad(**fields: Any) -> Any:
    made = check("o", 1)
    for name, value in fields.items():
        if name == "terms":
            made.terms.CopyFrom(value)
        else:
            setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("checks", "reason_word"),
    [
        ([], "VALUE_OUT_OF_RANGE"),
        ([check(f"o{number}", 1) for number in range(1_025)], "VALUE_OUT_OF_RANGE"),
        ([bad(account="")], "FIELD_MISSING"),
        ([bad(account="a" * 33)], "FIELD_INVALID"),
        ([bad(client_order_id="")], "REQUEST_ID_MISSING"),
        ([bad(client_order_id="a b")], "FIELD_INVALID"),
        ([bad(replace_request_id="a b")], "FIELD_INVALID"),
        ([bad(execution_id="a b")], "FIELD_INVALID"),
        ([bad(terms=order_pb2.OrderTerms())], "ENUM_UNSPECIFIED"),
        ([bad(terms=terms(-1))], "VALUE_OUT_OF_RANGE"),
        ([bad(terms=terms(1, side=9))], "ENUM_UNSPECIFIED"),
    ],
)
async def test_a_check_that_cannot_be_right_is_refused_with_a_reason(
    mesh: Mesh, checks: list[Any], reason_word: str
) -> None:
    await mesh.start_risk()
    stub = mesh.stub()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await verdicts(stub, *checks)
    assert reason_of(refused.value) == reason_word
    assert await exposure(stub) is None


@pytest.mark.parametrize(
    ("fields", "reason_word"),
    [
        ({"execution_id": ""}, "REQUEST_ID_MISSING"),
        ({"account": "a b"}, "FIELD_INVALID"),
        ({"symbol": ""}, "FIELD_MISSING"),
        ({"side": 0}, "ENUM_UNSPECIFIED"),
        ({"quantity_nanos": 0}, "VALUE_OUT_OF_RANGE"),
        ({"limit_price_nanos": -1}, "VALUE_OUT_OF_RANGE"),
    ],
)
async def test_a_parent_that_cannot_be_right_is_refused_with_a_reason(
    mesh: Mesh, fields: dict[str, Any], reason_word: str
) -> None:
    await mesh.start_risk()
    right = {"execution_id": "e", "account": "test", "symbol": "ACME", "side": 1, "quantity_nanos": NANO}
    request = risk_service_pb2.CheckExecutionRequest(**{**right, **fields})
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await mesh.stub().CheckExecution(request)
    assert reason_of(refused.value) == reason_word


async def test_figures_are_shown_to_a_scrape(mesh: Mesh) -> None:
    await mesh.start_risk()
    stub = mesh.stub()
    await reason(stub, "a", 10)
    await reason(stub, "b", 5_000)
    registry = mesh.context.telemetry.registry
    assert registry.get_sample_value("tapeline_risk_checks_approved_total") == 1
    refused = {"reason": "ORDER_QUANTITY_ABOVE_LIMIT"}
    assert registry.get_sample_value("tapeline_risk_checks_refused_total", refused) == 1
    assert registry.get_sample_value("tapeline_risk_gross_exposure", {"account": "test"}) == 1_000
    silence = registry.get_sample_value("tapeline_risk_feed_silence_seconds")
    assert silence is not None
    assert silence < DAY
