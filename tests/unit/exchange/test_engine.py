"""Order entry and reports."""

from __future__ import annotations

from dataclasses import replace

import pytest

from servers.exchange.domain import FeeSchedule, ReportKind
from servers.model.errors import AlreadyExists, InvalidInput, NotFound
from servers.model.instrument import ListingState
from servers.model.market import MarketPhase
from servers.model.nanos import NANO
from servers.model.order import Liquidity, OrderState, OrderTerms, OrderType, Side, TimeInForce
from tests.unit.exchange.exchange_desk import ACME, CENT, OPEN, Desk, entry, limit, terms


async def test_a_market_order_is_accepted_and_fills_with_fees(desk: Desk) -> None:
    report = await desk.submit(terms(Side.SELL, 100))
    assert report.kind is ReportKind.ACCEPTED
    assert report.leaves_quantity_nanos == 100 * NANO
    fill = desk.log.reports[-1].fill
    assert fill is not None
    assert fill.venue_execution_id == f"X{desk.log.last_sequence}"
    assert fill.liquidity is Liquidity.TAKER
    tax = -(-fill.notional_attos * 28 // 1_000_000)
    assert fill.fee.attos == 3_000_000 * fill.quantity_nanos + tax
    order = desk.engine.order((report.account, report.client_order_id))
    assert order is not None
    assert order.state is OrderState.FILLED
    assert order.as_order().average_price_nanos > 0


async def test_reports_are_numbered_without_a_gap(desk: Desk) -> None:
    for _ in range(5):
        await desk.submit(terms(shares=3_000))
    assert [report.sequence for report in desk.log.reports] == list(range(1, desk.log.last_sequence + 1))


async def test_a_repeat_gets_the_first_answer_and_enters_nothing(desk: Desk) -> None:
    order = entry(terms(), "once")
    (first,) = await desk.engine.submit([order])
    count = desk.log.last_sequence
    (again,) = await desk.engine.submit([replace(order, traceparent="00-other")])
    assert again == first
    assert desk.log.last_sequence == count


async def test_a_reused_id_with_other_content_is_refused_alone_or_in_a_basket(desk: Desk) -> None:
    await desk.submit(terms(), client_order_id="taken")
    with pytest.raises(AlreadyExists) as caught:
        await desk.submit(terms(shares=200), client_order_id="taken")
    assert caught.value.reason == "REQUEST_ID_REUSED"
    reused, fresh = await desk.engine.submit(
        [entry(terms(shares=200), "taken"), entry(terms(), "fresh")], is_basket=True
    )
    assert (reused.kind, reused.sequence) == (ReportKind.REJECTED, 0)
    assert reused.rejection is not None
    assert reused.rejection.reason == "REQUEST_ID_REUSED"
    assert fresh.kind is ReportKind.ACCEPTED


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (terms(symbol="NONE"), "SYMBOL_UNKNOWN"),
        (terms(quantity_nanos=NANO // 2), "OFF_LOT"),
        (limit(Side.BUY, 50 * NANO + 1), "OFF_TICK"),
        (limit(Side.BUY, 90 * NANO), "PRICE_OUT_OF_BAND"),
        (limit(Side.BUY, 50 * NANO, display_quantity_nanos=NANO // 2), "OFF_LOT"),
        (limit(Side.BUY, 55 * NANO, is_post_only=True), "POST_ONLY_WOULD_TAKE"),
        (
            limit(Side.BUY, 50 * NANO, time_in_force=TimeInForce.GTD, expire_time_nanos=OPEN),
            "EXPIRED_ON_ENTRY",
        ),
    ],
)
async def test_an_order_that_breaks_a_rule_is_rejected_with_its_reason(
    desk: Desk, order: OrderTerms, reason: str
) -> None:
    report = await desk.submit(order)
    assert report.kind is ReportKind.REJECTED
    assert report.rejection is not None
    assert report.rejection.reason == reason
    kept = desk.engine.order((report.account, report.client_order_id))
    assert kept is not None
    assert kept.state is OrderState.REJECTED


async def test_suspended_instruments_and_small_orders_are_rejected(desk: Desk) -> None:
    desk.market.instrument = replace(ACME, min_quantity_nanos=10 * NANO)
    report = await desk.submit(terms(shares=5))
    assert report.rejection is not None
    assert report.rejection.reason == "BELOW_MIN_QUANTITY"
    desk.market.instrument = replace(ACME, listing_state=ListingState.SUSPENDED)
    report = await desk.submit(terms())
    assert report.rejection is not None
    assert report.rejection.reason == "NOT_LISTED"


async def test_a_halt_takes_no_orders_and_lets_cancels_pass(desk: Desk) -> None:
    bid, _ = desk.touch()
    working = await desk.submit(limit(Side.BUY, bid - 10 * CENT))
    desk.phase(MarketPhase.HALTED)
    report = await desk.submit(terms())
    assert report.rejection is not None
    assert report.rejection.reason == "MARKET_CLOSED"
    key = "A", working.client_order_id
    refused = await desk.engine.replace(key, "r1", 50 * NANO, 0, 0)
    assert refused.kind is ReportKind.REPLACE_REJECTED
    assert (await desk.engine.cancel(key, "c1")).kind is ReportKind.CANCELLED


async def test_an_immediate_order_is_refused_outside_of_continuous_trading(desk: Desk) -> None:
    desk.phase(MarketPhase.CLOSING_AUCTION)
    report = await desk.submit(terms(time_in_force=TimeInForce.IOC))
    assert report.rejection is not None
    assert report.rejection.reason == "IMMEDIATE_IN_AUCTION"


async def test_a_fill_or_kill_order_that_cannot_fill_is_accepted_and_cancelled(desk: Desk) -> None:
    report = await desk.submit(terms(shares=5_000_000, time_in_force=TimeInForce.FOK))
    assert report.kind is ReportKind.ACCEPTED
    assert [(r.kind, r.reason) for r in desk.log.reports[1:]] == [(ReportKind.CANCELLED, "FOK_UNFILLABLE")]


async def test_what_an_immediate_order_cannot_get_is_cancelled(desk: Desk) -> None:
    _, ask = desk.touch()
    await desk.submit(limit(Side.BUY, ask, 1_000_000, time_in_force=TimeInForce.IOC))
    last = desk.log.reports[-1]
    assert (last.kind, last.reason, last.leaves_quantity_nanos) == (ReportKind.CANCELLED, "IOC_REMAINDER", 0)


async def test_a_cancel_answers_the_first_time_again_and_refuses_the_final(desk: Desk) -> None:
    bid, _ = desk.touch()
    working = await desk.submit(limit(Side.BUY, bid - 10 * CENT))
    key = "A", working.client_order_id
    first = await desk.engine.cancel(key, "c1")
    assert (first.kind, first.reason, first.request_id) == (ReportKind.CANCELLED, "REQUESTED", "c1")
    assert await desk.engine.cancel(key, "c1") == first
    second = await desk.engine.cancel(key, "c2")
    assert second.kind is ReportKind.CANCEL_REJECTED
    with pytest.raises(AlreadyExists):
        await desk.engine.replace(key, "c1", NANO, 0, 0)
    with pytest.raises(NotFound):
        await desk.engine.cancel(("A", "never"), "c3")


async def test_a_replacement_changes_terms_and_says_what_is_left(desk: Desk) -> None:
    bid, _ = desk.touch()
    working = await desk.submit(limit(Side.BUY, bid - 10 * CENT, 300))
    key = "A", working.client_order_id
    report = await desk.engine.replace(key, "r1", 200 * NANO, 0, 0)
    assert (report.kind, report.leaves_quantity_nanos) == (ReportKind.REPLACED, 200 * NANO)
    report = await desk.engine.replace(key, "r2", 400 * NANO, bid - 5 * CENT, 100 * NANO)
    assert report.terms.limit_price_nanos == bid - 5 * CENT
    assert report.terms.display_quantity_nanos == 100 * NANO
    for request, quantity, price in (("r3", NANO // 2, 0), ("r4", 400 * NANO, 1), ("r5", 10 * NANO, 0)):
        assert (
            await desk.engine.replace(key, request, quantity, price, 0)
        ).kind is ReportKind.REPLACE_REJECTED
    await desk.engine.cancel(key, "c1")
    late = await desk.engine.replace(key, "r6", 500 * NANO, 0, 0)
    assert late.rejection is not None
    assert late.rejection.reason == "ORDER_FINAL"


async def test_a_replacement_through_the_market_trades(desk: Desk) -> None:
    bid, ask = desk.touch()
    working = await desk.submit(limit(Side.BUY, bid - 10 * CENT, 100))
    await desk.engine.replace(("A", working.client_order_id), "r1", 100 * NANO, ask + 5 * CENT, 0)
    assert next(report.kind for report in desk.log.reports[1:]) is ReportKind.REPLACED
    assert desk.log.reports[-1].kind is ReportKind.FILL
    filled = await desk.engine.replace(("A", working.client_order_id), "r2", 100 * NANO, 0, 0)
    assert filled.kind is ReportKind.REPLACE_REJECTED


async def test_a_good_till_date_order_expires_at_its_time(desk: Desk) -> None:
    bid, _ = desk.touch()
    await desk.submit(
        limit(Side.BUY, bid - 100 * CENT, time_in_force=TimeInForce.GTD, expire_time_nanos=OPEN + 30 * NANO)
    )
    await desk.advance(29)
    assert desk.engine.working_count == 1
    await desk.advance(1)
    assert desk.log.reports[-1].kind is ReportKind.EXPIRED


async def test_the_session_ends_day_orders_and_carries_others(desk: Desk) -> None:
    bid, _ = desk.touch()
    day = await desk.submit(limit(Side.BUY, bid - 100 * CENT))
    carried = await desk.submit(limit(Side.BUY, bid - 100 * CENT, time_in_force=TimeInForce.GTC))
    await desk.engine.end_session()
    kinds = {report.client_order_id: report.kind for report in desk.log.reports}
    assert kinds[day.client_order_id] is ReportKind.EXPIRED
    assert kinds[carried.client_order_id] is ReportKind.DONE_FOR_DAY
    await desk.engine.begin_session()
    order = desk.engine.order(("A", carried.client_order_id))
    assert order is not None
    assert order.state is OrderState.NEW
    assert (await desk.engine.cancel(("A", carried.client_order_id), "c1")).kind is ReportKind.CANCELLED


async def test_on_close_orders_trade_in_the_closing_auction_alone(desk: Desk) -> None:
    report = await desk.submit(terms(shares=1_000, order_type=OrderType.MARKET_ON_CLOSE))
    await desk.advance(60)
    assert desk.log.last_sequence == report.sequence
    desk.phase(MarketPhase.CLOSING_AUCTION)
    desk.phase(MarketPhase.CLOSED)
    await desk.advance(0)
    fill = desk.log.reports[-1].fill
    assert fill is not None
    assert (fill.liquidity, fill.quantity_nanos) == (Liquidity.AUCTION, 1_000 * NANO)


async def test_a_bust_takes_a_fill_back_once_and_a_correction_changes_it(desk: Desk) -> None:
    report = await desk.submit(terms(shares=100))
    fill = next(r.fill for r in desk.log.reports if r.fill)
    corrected = await desk.engine.amend(fill.venue_execution_id, "A", "b1", fill.quantity_nanos, 49 * NANO)
    assert corrected.kind is ReportKind.CORRECTED
    assert corrected.corrected_fill is not None
    assert corrected.corrected_fill.price_nanos == 49 * NANO
    busted = await desk.engine.amend(fill.venue_execution_id, "A", "b2", 0, 0)
    assert busted.fill == corrected.corrected_fill
    assert await desk.engine.amend(fill.venue_execution_id, "A", "b2", 0, 0) == busted
    order = desk.engine.order(("A", report.client_order_id))
    assert order is not None
    assert order.filled_quantity_nanos == 100 * NANO - fill.quantity_nanos
    for execution, account in ((fill.venue_execution_id, "A"), ("X999", "A"), ("nonsense", "A"), ("X1", "B")):
        with pytest.raises(NotFound):
            await desk.engine.amend(execution, account, "b3", 0, 0)


async def test_a_correction_cannot_make_a_fill_larger(desk: Desk) -> None:
    await desk.submit(terms(shares=100))
    fill = next(r.fill for r in desk.log.reports if r.fill)
    with pytest.raises(InvalidInput):
        await desk.engine.amend(fill.venue_execution_id, "A", "b1", fill.quantity_nanos + 1, 0)


async def test_a_restart_rebuilds_orders_and_cancels_what_worked(desk: Desk) -> None:
    bid, _ = desk.touch()
    filled = await desk.submit(terms(shares=700))
    working = await desk.submit(limit(Side.BUY, bid - 20 * CENT, 500))
    rejected = await desk.submit(terms(symbol="NONE"))
    fill = next(r.fill for r in desk.log.reports if r.fill)
    await desk.engine.amend(fill.venue_execution_id, "A", "b1", 0, 0)
    before = {r: desk.engine.order(("A", r.client_order_id)) for r in (filled, working, rejected)}

    again = Desk(desk.log, seed=2)
    for number, order in desk.log.entries:
        again.engine.restore_entry(number, order)
    for report in list(desk.log.reports):
        again.engine.restore_report(report)
    for report, held in before.items():
        assert again.engine.order(("A", report.client_order_id)) == held
    assert await again.engine.cancel_all("VENUE_RESTARTED") == 1
    last = desk.log.reports[-1]
    assert (last.client_order_id, last.reason) == (working.client_order_id, "VENUE_RESTARTED")
    with pytest.raises(NotFound):
        await again.engine.amend(fill.venue_execution_id, "A", "b9", 0, 0)
    (repeat,) = await again.engine.submit([entry(filled.terms, filled.client_order_id)])
    assert repeat == filled


def test_a_fee_schedule_may_pay_for_liquidity() -> None:
    fees = FeeSchedule(-2_000_000, 3_000_000, 1_000_000, 0)
    assert fees.fee("USD", Side.BUY, Liquidity.MAKER, 100 * NANO, 50 * NANO).attos == -2_000_000 * 100 * NANO
    assert fees.fee("USD", Side.SELL, Liquidity.AUCTION, NANO, NANO).attos == 1_000_000 * NANO
