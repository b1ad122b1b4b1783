"""Limits and kill switches: durable, once per request, and told to whoever listens."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.type.money_pb2 import Money
from tapeline.risk.v1 import limits_pb2, risk_service_pb2

from servers.runtime.status import reason_of
from tests.integration.risk.peers import NANO, Mesh, eventually
from tests.integration.risk.test_checks_over_grpc import reason


async def set_limits(stub: Any, request_id: str, limits: Any) -> Any:
    return await stub.SetLimits(risk_service_pb2.SetLimitsRequest(request_id=request_id, limits=limits))


async def kill(stub: Any, request_id: str, *, account: str = "", is_on: bool = True) -> Any:
    return await stub.SetKillSwitch(
        risk_service_pb2.SetKillSwitchRequest(
            request_id=request_id, account=account, is_on=is_on, reason="drill"
        )
    )


async def test_limits_that_were_set_hold_at_once_and_after_a_restart(mesh: Mesh) -> None:
    await mesh.start_risk()
    stub = mesh.stub()
    limits = mesh.limits(
        max_order_quantity_nanos=5 * NANO,
        price_collar=0.0,
        buying_power=Money(currency_code="USD", units=9_999),
    )
    response = await set_limits(stub, "r1", limits)
    assert response.limits == limits
    assert await reason(stub, "o1", 6) == "ORDER_QUANTITY_ABOVE_LIMIT"
    await mesh.stop_risk()
    await mesh.start_risk()
    stub = mesh.stub()
    assert await reason(stub, "o2", 6) == "ORDER_QUANTITY_ABOVE_LIMIT"
    assert (await set_limits(stub, "r1", limits)).limits == limits
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await set_limits(stub, "r1", mesh.limits(max_order_quantity_nanos=6 * NANO))
    assert reason_of(refused.value) == "REQUEST_ID_REUSED"


async def test_a_repeat_does_not_put_old_limits_back(mesh: Mesh) -> None:
    await mesh.start_risk()
    stub = mesh.stub()
    first, second = mesh.limits(max_position_nanos=NANO), mesh.limits(max_position_nanos=2 * NANO)
    await set_limits(stub, "r1", first)
    await set_limits(stub, "r2", second)
    assert (await set_limits(stub, "r1", first)).limits == first
    listed = await stub.ListLimits(risk_service_pb2.ListLimitsRequest(account="test"))
    assert list(listed.limits) == [second]


async def test_limits_are_listed_by_page(mesh: Mesh) -> None:
    await mesh.start_risk()
    stub = mesh.stub()
    for symbol in ("B", "A", "C"):
        await set_limits(stub, f"r{symbol}", limits_pb2.Limits(account="test", symbol=symbol))
    found: list[str] = []
    token = ""
    while True:
        page = await stub.ListLimits(risk_service_pb2.ListLimitsRequest(page_size=2, page_token=token))
        found += [limits.symbol for limits in page.limits]
        token = page.next_page_token
        if not token:
            break
    assert found == ["", "A", "B", "C"]


async def test_the_kill_switch_refuses_is_told_and_survives_a_restart(mesh: Mesh) -> None:
    await mesh.start_risk()
    stub = mesh.stub()
    stream = stub.StreamRiskState(risk_service_pb2.StreamRiskStateRequest())
    snapshot = await stream.read()
    assert snapshot.is_snapshot
    assert [limits.account for limits in snapshot.limits] == ["test"]
    switched = (await kill(stub, "k1")).kill_switch
    assert (switched.is_on, switched.reason) == (True, "drill")
    assert await reason(stub, "o1", 1) == "KILL_SWITCH_ON"

    async def told() -> Any:
        return list((await stream.read()).kill_switches)

    (change,) = await eventually(told)
    assert change == switched
    stream.cancel()
    await mesh.stop_risk()
    await mesh.start_risk()
    stub = mesh.stub()
    assert await reason(stub, "o2", 1) == "KILL_SWITCH_ON"
    stream = stub.StreamRiskState(risk_service_pb2.StreamRiskStateRequest())
    assert [switch.is_on for switch in (await stream.read()).kill_switches] == [True]
    stream.cancel()
    assert (await kill(stub, "k1")).kill_switch == switched
    await kill(stub, "k2", is_on=False)
    assert await reason(stub, "o3", 1) == ""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await kill(stub, "k2")
    assert reason_of(refused.value) == "REQUEST_ID_REUSED"


async def test_a_stream_of_one_account_hears_of_it_and_of_all(mesh: Mesh) -> None:
    await mesh.start_risk()
    stub = mesh.stub()
    stream = stub.StreamRiskState(risk_service_pb2.StreamRiskStateRequest(account="other"))
    assert (await stream.read()).is_snapshot
    await kill(stub, "k1", account="test")
    await set_limits(stub, "r1", mesh.limits(max_position_nanos=NANO))
    await kill(stub, "k2")

    async def told() -> Any:
        message = await stream.read()
        assert not message.limits
        return [switch.account for switch in message.kill_switches]

    assert await eventually(told) == [""]
    stream.cancel()


async def test_a_quiet_stream_sends_heartbeats(mesh: Mesh) -> None:
    await mesh.start_risk()
    stream = mesh.stub().StreamRiskState(risk_service_pb2.StreamRiskStateRequest())
    messages = [await stream.read() for _ in range(2)]
    assert [message.is_snapshot for message in messages] == [True, False]
    assert not messages[1].limits
    stream.cancel()


@pytest.mark.parametrize(
    ("limits", "reason_word"),
    [
        (limits_pb2.Limits(), "FIELD_MISSING"),
        (limits_pb2.Limits(account="a b"), "FIELD_INVALID"),
        (limits_pb2.Limits(account="a", symbol="a b"), "FIELD_INVALID"),
        (limits_pb2.Limits(account="a", price_collar=1.5), "VALUE_OUT_OF_RANGE"),
        (limits_pb2.Limits(account="a", price_collar=float("nan")), "VALUE_OUT_OF_RANGE"),
        (limits_pb2.Limits(account="a", max_position_nanos=-1), "VALUE_OUT_OF_RANGE"),
        (limits_pb2.Limits(account="a", buying_power=Money(currency_code="x")), "FIELD_INVALID"),
        (
            limits_pb2.Limits(account="a", buying_power=Money(currency_code="USD", units=-1)),
            "VALUE_OUT_OF_RANGE",
        ),
        (
            limits_pb2.Limits(
                account="a",
                buying_power=Money(currency_code="USD", units=1),
                max_daily_loss=Money(currency_code="INR", units=1),
            ),
            "FIELD_INVALID",
        ),
        (
            limits_pb2.Limits(
                account="test", symbol="ACME", max_daily_loss=Money(currency_code="INR", units=1)
            ),
            "FIELD_INVALID",
        ),
    ],
)
async def test_limits_that_cannot_be_right_are_refused(mesh: Mesh, limits: Any, reason_word: str) -> None:
    await mesh.start_risk()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await set_limits(mesh.stub(), "r", limits)
    assert reason_of(refused.value) == reason_word
    assert mesh.component is not None
    assert mesh.component.controls.sequence == 0


async def test_controls_need_an_id_a_reason_and_valid_pages(mesh: Mesh) -> None:
    await mesh.start_risk()
    stub, messages = mesh.stub(), risk_service_pb2
    for call, word in (
        (set_limits(stub, "", mesh.limits()), "REQUEST_ID_MISSING"),
        (kill(stub, ""), "REQUEST_ID_MISSING"),
        (kill(stub, "k", account="a b"), "FIELD_INVALID"),
        (stub.SetKillSwitch(messages.SetKillSwitchRequest(request_id="k")), "FIELD_MISSING"),
        (stub.ListLimits(messages.ListLimitsRequest(page_size=-1)), "PAGE_SIZE_INVALID"),
        (stub.ListLimits(messages.ListLimitsRequest(page_token="%")), "PAGE_TOKEN_INVALID"),
        (stub.ListLimits(messages.ListLimitsRequest(account="a b")), "FIELD_INVALID"),
        (stub.GetExposure(messages.GetExposureRequest()), "FIELD_MISSING"),
        (stub.StreamRiskState(messages.StreamRiskStateRequest(account="a b")).read(), "FIELD_INVALID"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert reason_of(refused.value) == word
