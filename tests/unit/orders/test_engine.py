"""Submitting, cancelling and replacing, and what the venue says to it."""

from __future__ import annotations

import asyncio

import pytest

from servers.model.errors import (
    AlreadyExists,
    FailedPrecondition,
    Internal,
    InvalidInput,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from servers.model.kill_switch import KillSwitches
from servers.model.nanos import NANO
from servers.model.order import OrderState, Rejection
from servers.orders.domain import EventKind
from servers.orders.ports import ReportKind
from tests.unit.orders.conftest import ACCOUNT, Desk, cancel, eventually, new_order, replace

KEY = (ACCOUNT, "one")


async def test_an_order_is_acknowledged_before_the_venue_knows_it(desk: Desk) -> None:
    desk.venue.is_reachable = False
    (record,) = await desk.submit()
    assert record.state is OrderState.PENDING_NEW
    assert desk.kinds() == [EventKind.ACCEPTED]
    assert desk.venue.holds() == set()
    desk.venue.is_reachable = True
    await desk.becomes(OrderState.NEW)


async def test_a_filled_order_has_its_exact_average(desk: Desk) -> None:
    await desk.submit()
    await desk.becomes(OrderState.NEW)
    desk.venue.fill(KEY, 30 * NANO, 50 * NANO)
    await desk.becomes(OrderState.PARTIALLY_FILLED)
    desk.venue.fill(KEY, 70 * NANO, 49 * NANO)
    record = await desk.becomes(OrderState.FILLED)
    assert record.average_price_nanos == 49_300_000_000
    assert record.leaves_quantity_nanos == 0


async def test_the_same_submission_gets_the_first_answer_for_ever(desk: Desk) -> None:
    (first,) = await desk.submit()
    await desk.becomes(OrderState.NEW)
    desk.venue.fill(KEY, 100 * NANO, 50 * NANO)
    await desk.becomes(OrderState.FILLED)
    events = len(desk.journal.events)
    assert await desk.submit() == [first]
    await (await desk.restart()).accepting()
    assert await desk.submit() == [first]
    assert len(desk.journal.events) == events
    assert sum(len(orders) for orders in desk.venue.submissions) == 1


async def test_fifty_equal_submissions_at_once_make_one_order(desk: Desk) -> None:
    answers = await asyncio.gather(*(desk.submit() for _ in range(50)))
    assert all(answer == answers[0] for answer in answers)
    await desk.becomes(OrderState.NEW)
    assert desk.kinds() == [EventKind.ACCEPTED, EventKind.CONFIRMED]


async def test_other_content_under_the_same_id_is_refused(desk: Desk) -> None:
    await desk.submit()
    for other in (new_order(quantity=99), new_order(execution_id="PARENT")):
        with pytest.raises(AlreadyExists) as refused:
            await desk.submit(other)
        assert refused.value.reason == "REQUEST_ID_REUSED"
    assert await desk.submit(new_order(traceparent="another call")) == await desk.submit()


async def test_other_content_that_comes_at_the_same_time_is_never_checked_in_its_place(desk: Desk) -> None:
    desk.risk.verdict = lambda check: (
        Rejection("ORDER_QUANTITY_ABOVE_LIMIT") if check.terms.quantity_nanos > 100 * NANO else None
    )
    answers = await asyncio.gather(
        desk.submit(new_order(quantity=1_000)), desk.submit(new_order(quantity=100)), return_exceptions=True
    )
    assert desk.order().state is OrderState.REJECTED
    assert isinstance(answers[1], AlreadyExists)


async def test_other_content_that_comes_while_risk_is_asked_is_refused(desk: Desk) -> None:
    desk.risk.may_answer.clear()
    first = asyncio.create_task(desk.submit())
    await eventually(lambda: len(desk.risk.groups) == 1)
    second = asyncio.create_task(desk.submit(new_order(quantity=99)))
    await asyncio.sleep(0)
    desk.risk.may_answer.set()
    await first
    with pytest.raises(AlreadyExists):
        await second


async def test_an_account_of_its_own_has_ids_of_its_own(desk: Desk) -> None:
    await desk.submit(new_order(), new_order(account="OTHER", quantity=5))
    assert desk.engine.book.order_count == 2


async def test_a_broken_limit_is_a_journalled_value(desk: Desk) -> None:
    broken = Rejection("ORDER_QUANTITY_ABOVE_LIMIT", "too much", "max_order_quantity_nanos", "100", "10")
    desk.risk.verdict = lambda check: broken if check.client_order_id == "one" else None
    first, second = await desk.submit(new_order("one"), new_order("two"))
    assert (first.state, first.rejection, first.leaves_quantity_nanos) == (OrderState.REJECTED, broken, 0)
    assert second.state is OrderState.PENDING_NEW
    await desk.becomes(OrderState.NEW, "two")
    assert desk.venue.holds() == {(ACCOUNT, "two")}
    desk.risk.verdict = lambda check: None
    assert (await desk.submit(new_order("one")))[0].rejection == broken


async def test_without_risk_nothing_is_journalled_and_the_id_stays_free(desk: Desk) -> None:
    desk.risk.is_available = False
    with pytest.raises(Unavailable) as refused:
        await desk.submit()
    assert refused.value.reason == "RISK_UNAVAILABLE"
    assert desk.journal.events == []
    desk.risk.is_available = True
    await desk.submit()
    await desk.becomes(OrderState.NEW)


async def test_risk_is_asked_once_for_all_that_came_while_it_answered(desk: Desk) -> None:
    desk.risk.may_answer.clear()
    first = asyncio.create_task(desk.submit())
    await eventually(lambda: len(desk.risk.groups) == 1)
    others = [asyncio.create_task(desk.submit(new_order(f"n{n}"))) for n in range(40)]
    await asyncio.sleep(0)
    desk.risk.may_answer.set()
    await asyncio.gather(first, *others)
    assert [len(group) for group in desk.risk.groups] == [1, 40]
    assert desk.journal.appends <= 4


async def test_a_question_to_risk_is_bounded(desk: Desk) -> None:
    desk.risk.may_answer.clear()
    baskets = [
        asyncio.create_task(desk.submit(*(new_order(f"{basket}.{row}") for row in range(256))))
        for basket in range(9)
    ]
    await eventually(lambda: len(desk.risk.groups) == 1)
    desk.risk.may_answer.set()
    await asyncio.gather(*baskets)
    assert max(len(group) for group in desk.risk.groups) == 1_024
    assert desk.engine.book.order_count == 9 * 256


async def test_a_caller_that_left_before_risk_was_asked_leaves_nothing(desk: Desk) -> None:
    desk.risk.may_answer.clear()
    first = asyncio.create_task(desk.submit())
    await eventually(lambda: len(desk.risk.groups) == 1)
    gone = asyncio.create_task(desk.submit(new_order("gone")))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    desk.risk.may_answer.set()
    await first
    await desk.submit(new_order("last"))
    assert all(check.client_order_id != "gone" for group in desk.risk.groups for check in group)


async def test_a_basket_with_a_reused_id_is_refused_whole(desk: Desk) -> None:
    await desk.submit()
    with pytest.raises(AlreadyExists):
        await desk.submit(new_order("two"), new_order("one", quantity=1))
    with pytest.raises(AlreadyExists):
        await desk.submit(new_order("three"), new_order("three", quantity=1))
    assert desk.engine.book.order_count == 1
    first, again = await desk.submit(new_order("four"), new_order("four"))
    assert first == again


async def test_a_basket_may_repeat_what_is_known(desk: Desk) -> None:
    (first,) = await desk.submit()
    again, new = await desk.submit(new_order(), new_order("two"))
    assert again == first
    assert new.state is OrderState.PENDING_NEW


async def test_a_cancel_is_pending_until_the_venue_answers(desk: Desk) -> None:
    await desk.submit()
    await desk.becomes(OrderState.NEW)
    desk.venue.holds_answers = True
    assert (await desk.engine.cancel(cancel())).state is OrderState.PENDING_CANCEL
    desk.venue.fill(KEY, 40 * NANO, 50 * NANO)
    await eventually(lambda: desk.order().filled_quantity_nanos == 40 * NANO)
    assert desk.order().state is OrderState.PENDING_CANCEL
    desk.venue.answer_requests()
    record = await desk.becomes(OrderState.CANCELLED)
    assert record.filled_quantity_nanos == 40 * NANO
    assert desk.journal.events[-1].reason == "REQUESTED"


async def test_a_fill_may_overtake_a_cancel_which_is_then_refused(desk: Desk) -> None:
    await desk.submit()
    await desk.becomes(OrderState.NEW)
    desk.venue.holds_answers = True
    await desk.engine.cancel(cancel())
    await asyncio.sleep(0)
    desk.venue.fill(KEY, 100 * NANO, 50 * NANO)
    await desk.becomes(OrderState.FILLED)
    desk.venue.answer_requests()
    await eventually(lambda: desk.reader.position == len(desk.venue.log))
    assert desk.order().state is OrderState.FILLED
    assert desk.kinds()[-1] is EventKind.FILLED


async def test_a_refused_cancel_leaves_the_order_working(desk: Desk) -> None:
    await desk.submit()
    await desk.becomes(OrderState.NEW)
    desk.venue.refuse_outright = lambda key: Rejection("MARKET_CLOSED")
    await desk.engine.cancel(cancel())
    await desk.becomes(OrderState.NEW)
    assert desk.kinds()[-1] is EventKind.CANCEL_REJECTED
    desk.venue.refuse_outright = lambda key: None
    await desk.engine.cancel(cancel(request_id="cancel-2"))
    await desk.becomes(OrderState.CANCELLED)


async def test_a_cancel_that_cannot_be_is_refused_with_its_reason(desk: Desk) -> None:
    with pytest.raises(NotFound):
        await desk.engine.cancel(cancel())
    await desk.submit()
    await desk.becomes(OrderState.NEW)
    desk.venue.holds_answers = True
    await desk.engine.cancel(cancel())
    with pytest.raises(FailedPrecondition) as pending:
        await desk.engine.cancel(cancel(request_id="cancel-2"))
    assert pending.value.reason == "ORDER_PENDING"
    await eventually(lambda: desk.outbox.depth == 0)
    desk.venue.answer_requests()
    await desk.becomes(OrderState.CANCELLED)
    with pytest.raises(FailedPrecondition) as final:
        await desk.engine.cancel(cancel(request_id="cancel-3"))
    assert final.value.reason == "ORDER_FINAL"


async def test_a_repeated_cancel_gets_the_first_answer(desk: Desk) -> None:
    await desk.submit(new_order("one"), new_order("two"))
    await desk.becomes(OrderState.NEW, "two")
    first, again = await asyncio.gather(desk.engine.cancel(cancel()), desk.engine.cancel(cancel()))
    assert first == again
    await desk.becomes(OrderState.CANCELLED)
    assert await desk.engine.cancel(cancel()) == first
    with pytest.raises(AlreadyExists):
        await desk.engine.cancel(cancel("two"))


async def test_cancels_pass_with_risk_down_and_the_kill_switch_on(desk: Desk) -> None:
    await desk.submit()
    await desk.becomes(OrderState.NEW)
    desk.risk.is_available = False
    await desk.engine.cancel(cancel())
    await desk.becomes(OrderState.CANCELLED)


async def test_a_replace_changes_the_terms_when_the_venue_says_so(desk: Desk) -> None:
    await desk.submit()
    await desk.becomes(OrderState.NEW)
    desk.venue.holds_answers = True
    answer = await desk.engine.replace(replace(quantity_nanos=60 * NANO, limit_price_nanos=51 * NANO))
    assert answer.rejection is None
    assert answer.order.state is OrderState.PENDING_REPLACE
    assert answer.order.terms.quantity_nanos == 100 * NANO
    assert desk.risk.groups[-1][0].replace_request_id == "replace-1"
    await eventually(lambda: desk.outbox.depth == 0)
    desk.venue.answer_requests()
    record = await desk.becomes(OrderState.NEW)
    assert (record.terms.quantity_nanos, record.leaves_quantity_nanos) == (60 * NANO, 60 * NANO)
    assert record.terms.limit_price_nanos == 51 * NANO
    assert await desk.engine.replace(replace(quantity_nanos=60 * NANO, limit_price_nanos=51 * NANO)) == answer
    with pytest.raises(AlreadyExists):
        await desk.engine.replace(replace(quantity_nanos=61 * NANO))
    assert (await desk.submit())[0].terms.quantity_nanos == 100 * NANO


async def test_a_replace_that_breaks_a_limit_is_a_value(desk: Desk) -> None:
    await desk.submit()
    await desk.becomes(OrderState.NEW)
    broken = Rejection("ORDER_QUANTITY_ABOVE_LIMIT")
    desk.risk.verdict = lambda check: broken
    answer = await desk.engine.replace(replace(quantity_nanos=200 * NANO))
    assert answer.rejection == broken
    assert answer.order.state is OrderState.NEW
    assert desk.kinds()[-1] is EventKind.REPLACE_REJECTED
    desk.risk.verdict = lambda check: None
    assert await desk.engine.replace(replace(quantity_nanos=200 * NANO)) == answer


async def test_a_replace_that_the_venue_refuses_leaves_the_terms(desk: Desk) -> None:
    await desk.submit()
    await desk.becomes(OrderState.NEW)
    desk.venue.holds_answers = True
    await desk.engine.replace(replace(quantity_nanos=50 * NANO))
    await eventually(lambda: desk.outbox.depth == 0)
    desk.venue.fill(KEY, 70 * NANO, 50 * NANO)
    desk.venue.answer_requests()
    await eventually(lambda: desk.kinds()[-1] is EventKind.REPLACE_REJECTED)
    record = desk.order()
    assert (record.state, record.leaves_quantity_nanos) == (OrderState.PARTIALLY_FILLED, 30 * NANO)


async def test_a_replace_that_makes_no_sense_is_refused(desk: Desk) -> None:
    with pytest.raises(NotFound):
        await desk.engine.replace(replace(quantity_nanos=1))
    await desk.submit()
    await desk.becomes(OrderState.NEW)
    desk.venue.fill(KEY, 40 * NANO, 50 * NANO)
    await desk.becomes(OrderState.PARTIALLY_FILLED)
    for senseless in (
        replace(),
        replace(quantity_nanos=40 * NANO),
        replace(quantity_nanos=100 * NANO),
        replace(display_quantity_nanos=101 * NANO),
    ):
        with pytest.raises(InvalidInput):
            await desk.engine.replace(senseless)
    desk.venue.holds_answers = True
    await desk.engine.replace(replace(quantity_nanos=50 * NANO))
    with pytest.raises(FailedPrecondition):
        await desk.engine.replace(replace(request_id="replace-2", quantity_nanos=60 * NANO))
    assert (await desk.engine.cancel(cancel())).state is OrderState.PENDING_CANCEL


async def test_the_venue_may_reject_cancel_and_end_orders_by_itself(desk: Desk) -> None:
    refusal = Rejection("PRICE_OFF_TICK")
    desk.venue.refuse = lambda order: refusal if order.client_order_id == "bad" else None
    await desk.submit(new_order("bad"), *(new_order(name) for name in ("cancelled", "expired", "resting")))
    assert (await desk.becomes(OrderState.REJECTED, "bad")).rejection == refusal
    desk.venue.end((ACCOUNT, "cancelled"), ReportKind.CANCELLED, "VENUE_RESTARTED")
    desk.venue.end((ACCOUNT, "expired"), ReportKind.EXPIRED)
    desk.venue.end((ACCOUNT, "resting"), ReportKind.DONE_FOR_DAY)
    await desk.becomes(OrderState.CANCELLED, "cancelled")
    await desk.becomes(OrderState.EXPIRED, "expired")
    await desk.becomes(OrderState.DONE_FOR_DAY, "resting")
    assert [event.reason for event in desk.journal.events if event.reason] == ["VENUE_RESTARTED"]
    desk.venue.fill((ACCOUNT, "resting"), 1 * NANO, 50 * NANO)
    await desk.becomes(OrderState.PARTIALLY_FILLED, "resting")


async def test_an_order_that_the_venue_refuses_to_take_is_rejected(desk: Desk) -> None:
    desk.venue.refuse_outright = lambda key: Rejection("SYMBOL_UNKNOWN")
    await desk.submit()
    assert (await desk.becomes(OrderState.REJECTED)).rejection == Rejection("SYMBOL_UNKNOWN")


async def test_the_kill_switch_refuses_new_orders_and_cancels_what_works(desk: Desk) -> None:
    await desk.submit(new_order("one"), new_order("two", account="OTHER"))
    await desk.becomes(OrderState.NEW)
    desk.risk.switch(KillSwitches(accounts=frozenset({ACCOUNT})))
    await desk.becomes(OrderState.CANCELLED)
    assert desk.journal.events[-1].reason == "KILL_SWITCH"
    for refused in (desk.submit(new_order("three")), desk.engine.replace(replace(quantity_nanos=1))):
        with pytest.raises(FailedPrecondition):
            await refused
    await desk.submit(new_order("four", account="OTHER"))
    desk.risk.switch(KillSwitches(everywhere=True))
    await eventually(lambda: desk.engine.book.working_count == 0)
    desk.risk.switch(KillSwitches())
    await eventually(lambda: not desk.engine.switches.everywhere)
    await desk.submit(new_order("three"))


async def test_the_kill_switch_stops_an_order_that_risk_has_just_approved(desk: Desk) -> None:
    desk.risk.may_answer.clear()
    waiting = asyncio.create_task(desk.submit())
    await eventually(lambda: len(desk.risk.groups) == 1)
    desk.risk.switch(KillSwitches(everywhere=True))
    await eventually(lambda: desk.engine.switches.everywhere)
    desk.risk.may_answer.set()
    with pytest.raises(FailedPrecondition) as refused:
        await waiting
    assert refused.value.reason == "KILL_SWITCH_ON"


async def test_a_full_disk_refuses_and_the_same_submission_passes_later(desk: Desk) -> None:
    desk.journal.refusals.append(ResourceExhausted("DISK_FULL"))
    with pytest.raises(ResourceExhausted):
        await desk.submit()
    assert desk.engine.book.order_count == 0
    await desk.submit()
    await desk.becomes(OrderState.NEW)


async def test_reports_cancels_and_the_kill_switch_wait_for_space(desk: Desk) -> None:
    await desk.submit(new_order("one"), new_order("two"))
    await desk.becomes(OrderState.NEW, "two")
    desk.journal.refusals += [ResourceExhausted("DISK_FULL")] * 3
    desk.venue.fill(KEY, 10 * NANO, 50 * NANO)
    await desk.becomes(OrderState.PARTIALLY_FILLED)
    desk.journal.refusals.append(ResourceExhausted("DISK_FULL"))
    with pytest.raises(ResourceExhausted):
        await desk.engine.stop_trading(KillSwitches(everywhere=True))
    await desk.engine.stop_trading(KillSwitches(everywhere=True))
    await desk.becomes(OrderState.CANCELLED, "one")
    await desk.becomes(OrderState.CANCELLED, "two")


async def test_a_failed_journal_ends_the_server() -> None:
    desk = await (await Desk().start()).accepting()
    desk.journal.refusals.append(Internal("JOURNAL_FAILED"))
    with pytest.raises(Internal):
        await desk.submit()
    await eventually(lambda: len(desk.failures) == 1)
    await desk.kill()
