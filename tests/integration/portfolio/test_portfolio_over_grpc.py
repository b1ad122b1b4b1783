"""What the mesh sees of portfolio."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import grpc
import pytest
from google.type.money_pb2 import Money
from tapeline.orders.v1 import order_event_pb2
from tapeline.portfolio.v1 import portfolio_service_pb2, position_pb2
from tapeline.trading.v1 import side_pb2

from servers.portfolio.engine import PortfolioEngine
from servers.runtime.status import reason_of
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


def has_reached(engine: PortfolioEngine, sequence: int) -> bool:
    return engine.orders_sequence == sequence


async def test_a_restart_at_any_point_equals_no_restart(desk: Desk) -> None:
    stub = await desk.start()
    fills = [(1, "BUY", 100), (2, "BUY", 101), (3, "SELL", 103), (4, "SELL", 99), (5, "BUY", 97)]
    for number, side, price in fills:
        await desk.peers.order_event(
            "FILLED",
            f"o{number}",
            10,
            fill=3 * number,
            side=side_pb2.Side.Value(f"SIDE_{side}"),
            price_nanos=price * NANO,
        )
        assert desk.component is not None
        await eventually(partial(has_reached, desk.component.engine, number))
        await desk.stop()
        stub = await desk.start()
    held = await position(stub)
    assert held.quantity_nanos == (3 + 6 - 9 - 12 + 15) * NANO
    cash = -(3 * 100 + 6 * 101 - 9 * 103 - 12 * 99 + 15 * 97)
    assert (await portfolio(stub)).cash[0].amount.units == cash
    assert float(held.open_cost.value) + cash == held.realised_profit.units + held.realised_profit.nanos / 1e9


async def test_an_adjustment_is_recorded_once_and_its_repeat_gets_the_first_answer(desk: Desk) -> None:
    stub = await desk.start()
    first = await open_position(stub)
    assert first.sequence == 1
    assert first.cash.currency_code == "USD"
    assert await open_position(stub) == first
    assert (await position(stub)).quantity_nanos == 100 * NANO
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await open_position(stub, shares=101)
    assert reason_of(refused.value) == "REQUEST_ID_REUSED"
    await desk.stop()
    stub = await desk.start()
    assert await open_position(stub) == first
    assert (await position(stub)).quantity_nanos == 100 * NANO


async def test_two_requests_with_one_id_at_once_are_recorded_once(desk: Desk) -> None:
    stub = await desk.start()
    assert desk.component is not None
    engine = desk.component.engine
    await eventually(lambda: engine.instruments)
    answers = await asyncio.gather(*(open_position(stub) for _ in range(10)))
    assert all(answer == answers[0] for answer in answers)
    assert (await position(stub)).quantity_nanos == 100 * NANO


async def test_adjustments_are_listed_by_page_and_streamed_with_the_sequence_reached(desk: Desk) -> None:
    stub = await desk.start()
    assert desk.component is not None
    engine = desk.component.engine
    await eventually(lambda: engine.instruments)
    await open_position(stub, "r1")
    await desk.peers.order_event("FILLED", "a", 10, fill=10)
    await eventually(lambda: engine.orders_sequence == 1)
    await open_position(stub, "r2")
    found: list[int] = []
    token = ""
    while True:
        page = await stub.ListAdjustments(
            portfolio_service_pb2.ListAdjustmentsRequest(page_size=1, page_token=token)
        )
        found += [adjustment.sequence for adjustment in page.adjustments]
        token = page.next_page_token
        if not token:
            break
    assert found == [1, 3]
    assert page.last_sequence == 3
    stream = stub.StreamAdjustments(portfolio_service_pb2.StreamAdjustmentsRequest())
    messages = [await stream.read() for _ in range(2)]
    assert [one.sequence for message in messages for one in message.adjustments] == [1, 3]
    assert [len(message.adjustments) for message in messages] == [2, 0]
    assert messages[1].sequence_reached == 3
    await open_position(stub, "r3")
    live = await stream.read()
    assert [one.sequence for one in live.adjustments] == [4]
    stream.cancel()
    resumed = stub.StreamAdjustments(portfolio_service_pb2.StreamAdjustmentsRequest(resume_after_sequence=4))
    heartbeat = await resumed.read()
    assert (len(heartbeat.adjustments), heartbeat.sequence_reached) == (0, 4)
    resumed.cancel()


async def test_a_portfolio_stream_sends_a_snapshot_and_then_what_changed(desk: Desk) -> None:
    stub = await desk.start()
    await desk.peers.order_event("FILLED", "a", 10, fill=10)
    assert desk.component is not None
    engine = desk.component.engine
    await eventually(lambda: engine.orders_sequence == 1)
    stream = stub.StreamPortfolio(portfolio_service_pb2.StreamPortfolioRequest(account="test"))
    first = await stream.read()
    assert first.is_snapshot
    assert [one.quantity_nanos for one in first.positions] == [10 * NANO]
    desk.peers.market_data.price_nanos = 105 * NANO

    async def next_mark() -> Any:
        message = await stream.read()
        assert not message.is_snapshot
        return [one for one in message.positions if one.mark_price_nanos == 105 * NANO]

    (marked,) = await eventually(next_mark)
    assert marked.unrealised_profit.units == 50
    await desk.peers.order_event("FILLED", "b", 10, fill=5)

    async def next_cash() -> Any:
        message = await stream.read()
        return [one.amount.units for one in message.cash]

    assert await eventually(next_cash) == [-1_500]
    stream.cancel()


async def test_a_portfolio_stream_takes_a_position_away_when_its_symbol_is_changed(desk: Desk) -> None:
    stub = await desk.start()
    assert desk.component is not None
    engine = desk.component.engine
    await eventually(lambda: engine.instruments)
    await open_position(stub)
    stream = stub.StreamPortfolio(portfolio_service_pb2.StreamPortfolioRequest(account="test"))
    held = {one.symbol: one.quantity_nanos for one in (await stream.read()).positions}
    assert held == {"ACME": 100 * NANO}
    changed = position_pb2.ADJUSTMENT_KIND_SYMBOL_CHANGE
    await record(stub, "r2", kind=changed, symbol="ACME", new_symbol="B", effective_time_nanos=NANO)

    async def is_moved() -> bool:
        held.update({one.symbol: one.quantity_nanos for one in (await stream.read()).positions})
        return "B" in held

    await eventually(is_moved)
    assert held == {"ACME": 0, "B": 100 * NANO}
    stream.cancel()


async def test_positions_are_listed_by_page(desk: Desk) -> None:
    stub = await desk.start()
    for number, account in enumerate(("c", "a", "b")):
        await desk.peers.order_event("FILLED", f"o{number}", 1, fill=1, account=account)
    assert desk.component is not None
    engine = desk.component.engine
    await eventually(lambda: engine.orders_sequence == 3)
    first = await stub.ListPositions(portfolio_service_pb2.ListPositionsRequest(page_size=2))
    second = await stub.ListPositions(
        portfolio_service_pb2.ListPositionsRequest(page_size=2, page_token=first.next_page_token)
    )
    assert [one.account for one in (*first.positions, *second.positions)] == ["a", "b", "c"]
    assert second.next_page_token == ""
    only = await stub.ListPositions(portfolio_service_pb2.ListPositionsRequest(account="b"))
    assert [one.account for one in only.positions] == ["b"]


async def test_busts_and_corrections_arrive_as_events(desk: Desk) -> None:
    stub = await desk.start()
    await desk.peers.order_event("FILLED", "a", 10, fill=10)
    await desk.peers.order_event("FILLED", "b", 10, fill=10)
    events = desk.peers.orders.events
    bust = type(events.items[0])()
    bust.CopyFrom(events.items[0])
    bust.sequence, bust.kind = 3, order_event_pb2.ORDER_EVENT_KIND_BUSTED
    await events.add(bust)
    correction = type(bust)()
    correction.CopyFrom(events.items[1])
    correction.sequence, correction.kind = 4, order_event_pb2.ORDER_EVENT_KIND_CORRECTED
    correction.corrected_fill.CopyFrom(correction.fill)
    correction.corrected_fill.quantity_nanos = 4 * NANO
    await events.add(correction)
    assert desk.component is not None
    engine = desk.component.engine
    await eventually(lambda: engine.orders_sequence == 4)
    assert (await position(stub)).quantity_nanos == 4 * NANO
    await desk.stop()
    stub = await desk.start()
    assert (await position(stub)).quantity_nanos == 4 * NANO


async def test_the_sequence_is_kept_also_while_nothing_is_filled(desk: Desk) -> None:
    await desk.start()
    await desk.peers.order_event("ACCEPTED", "a", 10)
    assert desk.component is not None
    journal = desk.component._journal
    await eventually(lambda: journal.position("orders") == 1)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "ENUM_UNSPECIFIED"),
        ({"kind": 99}, "ENUM_UNSPECIFIED"),
        ({"kind": 1}, "FIELD_MISSING"),
        ({"kind": 1, "account": "a b"}, "FIELD_INVALID"),
        ({"kind": 1, "account": "a"}, "FIELD_MISSING"),
        ({"kind": 1, "account": "a", "quantity_nanos": 5}, "FIELD_MISSING"),
        ({"kind": 1, "account": "a", "symbol": "ACME"}, "VALUE_OUT_OF_RANGE"),
        ({"kind": 1, "account": "a", "symbol": "ACME", "quantity_nanos": 5}, "VALUE_OUT_OF_RANGE"),
        (
            {"kind": 1, "account": "a", "symbol": "NONE", "quantity_nanos": 5, "price_nanos": 5},
            "SYMBOL_UNKNOWN",
        ),
        ({"kind": 1, "account": "a", "cash": Money(currency_code="usd", units=1)}, "FIELD_INVALID"),
        ({"kind": 2, "symbol": "ACME"}, "VALUE_OUT_OF_RANGE"),
        ({"kind": 2, "account": "a", "symbol": "ACME"}, "FIELD_INVALID"),
        ({"kind": 3, "symbol": "ACME"}, "FIELD_MISSING"),
        ({"kind": 4, "symbol": "ACME", "new_symbol": "ACME"}, "CORPORATE_ACTION_INVALID"),
        ({"kind": 4, "symbol": "ACME"}, "FIELD_MISSING"),
        ({"kind": 4, "symbol": "ACME", "new_symbol": "B", "effective_time_nanos": -1}, "VALUE_OUT_OF_RANGE"),
        ({"kind": 1, "account": "a", "sequence": 7}, "FIELD_INVALID"),
        ({"kind": 3, "symbol": "ACME", "cash": Money(currency_code="JPY", units=1)}, "FIELD_INVALID"),
        (
            {
                "kind": 1,
                "account": "a",
                "symbol": "ACME",
                "quantity_nanos": 5,
                "price_nanos": 5,
                "cash": Money(currency_code="EUR"),
            },
            "FIELD_INVALID",
        ),
    ],
)
async def test_an_adjustment_that_cannot_be_right_is_refused(
    desk: Desk, fields: dict[str, Any], reason: str
) -> None:
    stub = await desk.start()
    assert desk.component is not None
    engine = desk.component.engine
    await eventually(lambda: engine.instruments)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await record(stub, "r1", **fields)
    assert reason_of(refused.value) == reason
    assert engine.ledger.positions == {}


async def test_a_corporate_action_of_tomorrow_is_refused_today(desk: Desk) -> None:
    stub = await desk.start()
    assert desk.component is not None
    engine = desk.component.engine
    await eventually(lambda: engine.instruments)
    await open_position(stub)
    await eventually(lambda: engine.holdings("test")[0].mark_time_nanos)
    at_nanos = engine.holdings("test")[0].mark_time_nanos + 86_400 * NANO
    split: dict[str, Any] = {"symbol": "ACME", "ratio_numerator": 2, "ratio_denominator": 1}
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await record(stub, "r2", kind=2, effective_time_nanos=at_nanos, **split)
    assert reason_of(refused.value) == "VALUE_OUT_OF_RANGE"
    assert (await position(stub)).quantity_nanos == 100 * NANO


async def test_lists_and_streams_refuse_bad_pages_tokens_and_sequences(desk: Desk) -> None:
    stub = await desk.start()
    messages = portfolio_service_pb2
    for call, reason in (
        (stub.GetPortfolio(messages.GetPortfolioRequest()), "FIELD_MISSING"),
        (stub.ListPositions(messages.ListPositionsRequest(page_size=1_001)), "PAGE_SIZE_INVALID"),
        (stub.ListPositions(messages.ListPositionsRequest(page_token="%%")), "PAGE_TOKEN_INVALID"),
        (stub.ListAdjustments(messages.ListAdjustmentsRequest(page_token="%%")), "PAGE_TOKEN_INVALID"),
        (stub.ListAdjustments(messages.ListAdjustmentsRequest(page_token="eHk=")), "PAGE_TOKEN_INVALID"),
        (stub.ListAdjustments(messages.ListAdjustmentsRequest(after_sequence=-1)), "VALUE_OUT_OF_RANGE"),
        (
            stub.StreamAdjustments(messages.StreamAdjustmentsRequest(resume_after_sequence=9)).read(),
            "SEQUENCE_AHEAD",
        ),
        (stub.StreamPortfolio(messages.StreamPortfolioRequest(account="a b")).read(), "FIELD_INVALID"),
        (stub.RecordAdjustment(messages.RecordAdjustmentRequest()), "REQUEST_ID_MISSING"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert reason_of(refused.value) == reason


async def test_figures_are_shown_to_a_scrape(desk: Desk) -> None:
    await desk.start()
    await desk.peers.order_event("FILLED", "a", 10, fill=10)
    assert desk.component is not None
    assert desk.running is not None
    engine = desk.component.engine
    await eventually(lambda: engine.orders_sequence == 1)
    registry = desk.running.context.telemetry.registry
    assert registry.get_sample_value("tapeline_portfolio_positions") == 1
    assert registry.get_sample_value("tapeline_portfolio_orders_sequence") == 1


async def test_an_order_journal_behind_what_was_booked_is_not_followed(desk: Desk) -> None:
    await desk.start()
    await desk.peers.order_event("FILLED", "a", 10, fill=10)
    assert desk.component is not None
    engine = desk.component.engine
    await eventually(lambda: engine.orders_sequence == 1)
    await desk.stop()
    desk.peers.orders.events.items.clear()
    stub = await desk.start()
    engine = desk.component.engine
    await eventually(lambda: engine.instruments)
    assert (await position(stub)).quantity_nanos == 10 * NANO
    assert (await portfolio(stub)).orders_sequence == 1
