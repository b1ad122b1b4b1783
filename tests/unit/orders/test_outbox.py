"""To the venue and back: lost answers, long silences, restarts at any moment."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from servers.model.errors import FailedPrecondition, TapelineError, Unavailable
from servers.model.kill_switch import KillSwitches
from servers.model.nanos import NANO
from servers.model.order import OrderState, Rejection
from servers.orders import reconciliation
from servers.orders.adapters.memory import MemoryVenue
from servers.orders.domain import EventKind
from servers.orders.ports import ReportKind
from tests.unit.orders.conftest import ACCOUNT, Desk, cancel, eventually, new_order, replace

KEY = (ACCOUNT, "one")


async def test_messages_leave_in_the_order_of_the_journal(desk: Desk) -> None:
    desk.venue.is_reachable = False
    for n in range(600):
        await desk.submit(new_order(f"n{n}"))
    desk.venue.is_reachable = True
    await desk.becomes(OrderState.NEW, "n599")
    sent = [order.client_order_id for orders in desk.venue.submissions for order in orders]
    assert sent == [f"n{n}" for n in range(600)]
    assert max(len(orders) for orders in desk.venue.submissions) == 256


async def test_a_lost_answer_is_asked_for_and_nothing_is_sent_twice(desk: Desk) -> None:
    desk.venue.loses_answers = True
    await desk.submit(new_order("one"), new_order("two"))
    await eventually(lambda: len(desk.venue.submissions) == 1)
    desk.venue.loses_answers = False
    await eventually(lambda: desk.outbox.depth == 0)
    await desk.becomes(OrderState.NEW, "two")
    assert len(desk.venue.submissions) == 1
    assert desk.kinds() == [EventKind.ACCEPTED, EventKind.CONFIRMED]


async def test_the_venue_is_asked_before_anything_is_sent_again(desk: Desk) -> None:
    desk.venue.loses_answers, desk.venue.is_silent = True, True
    await desk.submit(new_order("one"), new_order("two"))
    await eventually(lambda: len(desk.venue.submissions) == 1)
    desk.venue.loses_answers = False
    await desk.becomes(OrderState.NEW, "two")
    await eventually(lambda: desk.outbox.depth == 0)
    desk.venue.speak()
    await eventually(lambda: desk.reader.position == 2)
    assert len(desk.venue.submissions) == 1
    assert desk.kinds() == [EventKind.ACCEPTED, EventKind.CONFIRMED]


async def test_reports_that_are_read_again_change_nothing(desk: Desk) -> None:
    await desk.submit()
    await desk.becomes(OrderState.NEW)
    desk.venue.fill(KEY, 10 * NANO, 50 * NANO)
    desk.venue.end(KEY, ReportKind.DONE_FOR_DAY)
    await desk.becomes(OrderState.DONE_FOR_DAY)
    events = list(desk.journal.events)
    desk.journal.position = 0
    await (await desk.restart()).accepting()
    assert desk.reader.position == 3
    assert desk.journal.events == events


async def test_an_order_that_the_venue_does_not_answer_for_is_unknown_and_never_failed(desk: Desk) -> None:
    desk.venue.is_reachable = False
    await desk.submit()
    desk.clock.tick(4)
    await asyncio.sleep(0.05)
    assert desk.order().state is OrderState.PENDING_NEW
    desk.clock.tick(2)
    await desk.becomes(OrderState.UNKNOWN)
    assert desk.engine.figures.unknown == 1
    desk.venue.is_reachable = True
    await desk.becomes(OrderState.NEW)
    assert desk.kinds() == [EventKind.ACCEPTED, EventKind.UNKNOWN, EventKind.CONFIRMED]
    assert desk.venue.holds() == {KEY}


async def test_a_fill_tells_that_an_unknown_order_lives(desk: Desk) -> None:
    desk.venue.loses_answers = True
    desk.venue.cut()
    await desk.submit()
    desk.clock.tick(6)
    await eventually(lambda: EventKind.UNKNOWN in desk.kinds() or desk.order().is_confirmed)
    desk.venue.loses_answers = False
    desk.venue.fill(KEY, 100 * NANO, 50 * NANO)
    await desk.becomes(OrderState.FILLED)


async def test_an_order_that_has_not_left_is_dropped_by_the_kill_switch(desk: Desk) -> None:
    desk.venue.is_reachable = False
    await desk.submit()
    desk.risk.switch(KillSwitches(everywhere=True))
    await eventually(lambda: desk.engine.switches.everywhere)
    desk.venue.is_reachable = True
    await desk.becomes(OrderState.CANCELLED)
    await eventually(lambda: desk.outbox.depth == 0)
    assert desk.venue.holds() == set()
    assert desk.journal.events[-1].reason == "KILL_SWITCH"


async def test_requests_whose_answer_was_lost_are_sent_again_under_their_ids(desk: Desk) -> None:
    await desk.submit(new_order("one"), new_order("two"))
    await desk.becomes(OrderState.NEW, "two")
    desk.venue.loses_answers = True
    await desk.engine.replace(replace("two", quantity_nanos=10 * NANO))
    await desk.engine.cancel(cancel("one"))
    await desk.becomes(OrderState.NEW, "two")
    desk.venue.loses_answers = False
    await desk.becomes(OrderState.CANCELLED)
    await eventually(lambda: desk.outbox.depth == 0)
    await eventually(lambda: desk.reader.position == len(desk.venue.log))
    assert Counter(report.kind for report in desk.venue.log) == {
        ReportKind.ACCEPTED: 2,
        ReportKind.REPLACED: 1,
        ReportKind.CANCELLED: 1,
    }


async def test_a_refused_replace_is_noted(desk: Desk) -> None:
    await desk.submit()
    await desk.becomes(OrderState.NEW)
    desk.venue.refuse_outright = lambda key: Rejection("PRICE_OFF_TICK")
    await desk.engine.replace(replace(quantity_nanos=10 * NANO))
    await eventually(lambda: desk.kinds()[-1] is EventKind.REPLACE_REJECTED)
    assert desk.order().terms.quantity_nanos == 100 * NANO


async def test_reports_go_on_where_they_broke_off(desk: Desk) -> None:
    await desk.submit()
    await desk.becomes(OrderState.NEW)
    for _ in range(5):
        desk.venue.cut()
        desk.venue.fill(KEY, 10 * NANO, 50 * NANO)
    await eventually(lambda: desk.order().filled_quantity_nanos == 50 * NANO)
    assert desk.journal.position == len(desk.venue.log)


async def test_reports_of_orders_that_are_not_ours_are_counted_and_passed(desk: Desk) -> None:
    await desk.venue.submit([new_order("somebody else's")])
    await eventually(lambda: desk.engine.figures.foreign_reports == 1)
    await desk.submit()
    await desk.becomes(OrderState.NEW)


async def test_a_fill_above_the_quantity_is_booked_and_counted(desk: Desk) -> None:
    await desk.submit()
    await desk.becomes(OrderState.NEW)
    desk.venue.fill(KEY, 130 * NANO, 50 * NANO)
    record = await desk.becomes(OrderState.FILLED)
    assert record.filled_quantity_nanos == 130 * NANO
    assert desk.engine.figures.overfilled == 1


async def test_new_orders_wait_until_the_venue_and_the_book_agree() -> None:
    desk = Desk()
    desk.venue.is_reachable = False
    await desk.start()
    with pytest.raises(Unavailable) as refused:
        await desk.submit()
    assert refused.value.reason == "NOT_READY"
    desk.venue.is_reachable = True
    await desk.accepting()
    await desk.submit()
    await desk.becomes(OrderState.NEW)
    await desk.kill()


async def test_what_happened_while_the_server_was_down_is_taken_in_before_it_accepts(desk: Desk) -> None:
    await desk.submit(new_order("one"), new_order("two"))
    await desk.becomes(OrderState.NEW, "two")
    await desk.kill()
    desk.venue.fill(KEY, 100 * NANO, 50 * NANO)
    desk.venue.end((ACCOUNT, "two"), ReportKind.CANCELLED, "VENUE_RESTARTED")
    await (await desk.start()).accepting()
    assert desk.order("one").state is OrderState.FILLED
    assert desk.order("two").state is OrderState.CANCELLED


async def test_what_was_acknowledged_and_never_left_is_sent_after_a_restart(desk: Desk) -> None:
    desk.venue.is_reachable = False
    await desk.submit(new_order("one"), new_order("two"))
    await desk.kill()
    desk.venue.is_reachable = True
    await (await desk.start()).accepting()
    await desk.becomes(OrderState.NEW, "two")
    assert len(desk.venue.submissions) == 1


async def test_with_a_venue_that_has_fewer_reports_than_were_taken_in_nothing_is_accepted(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciliation, "LOST_PAUSE_SECONDS", 0.01)
    for name in ("one", "two"):
        await desk.submit(new_order(name))
        await desk.becomes(OrderState.NEW, name)
    known = desk.reader.position
    await desk.kill()
    desk.venue = MemoryVenue()
    await desk.start()
    with pytest.raises(Unavailable, match="still reconciling"):
        await desk.submit(new_order("three"))
    # Orders of others bring its count past the place that was reached: it still is another venue.
    for n in range(known + 1):
        await desk.venue.submit([new_order(f"other-{n}")])
    assert len(desk.venue.log) > known
    with pytest.raises(Unavailable, match="still reconciling"):
        await desk.submit(new_order("three"))
    assert desk.reader.position == known
    assert not desk.failures


async def test_a_venue_that_comes_back_with_fewer_reports_ends_the_taking_of_orders(desk: Desk) -> None:
    await desk.submit(new_order("one"))
    await desk.becomes(OrderState.NEW, "one")
    desk.venue.log.clear()
    desk.venue.cut()
    await eventually(lambda: not desk.engine.is_accepting)
    with pytest.raises(Unavailable):
        await desk.submit(new_order("two"))


async def test_requests_that_were_open_are_sent_again_after_a_restart(desk: Desk) -> None:
    await desk.submit(new_order("one"), new_order("two"))
    await desk.becomes(OrderState.NEW, "two")
    desk.venue.is_reachable = False
    await desk.engine.cancel(cancel("one"))
    await desk.engine.replace(replace("two", quantity_nanos=10 * NANO))
    await desk.kill()
    desk.venue.is_reachable = True
    await desk.start()
    await desk.becomes(OrderState.CANCELLED, "one")
    await eventually(lambda: desk.order("two").terms.quantity_nanos == 10 * NANO)
    with pytest.raises(FailedPrecondition):
        await desk.engine.cancel(cancel("one", "cancel-2"))
    assert (await desk.engine.cancel(cancel("one"))).state is OrderState.PENDING_CANCEL


async def test_an_order_that_the_venue_holds_without_a_report_is_confirmed_by_its_word(desk: Desk) -> None:
    desk.venue.is_reachable = False
    await desk.submit()
    await desk.kill()
    desk.venue.is_reachable = True
    await desk.venue.submit([new_order()])
    desk.venue.log.clear()
    await (await desk.start()).accepting()
    assert desk.order().state is OrderState.NEW
    assert len(desk.venue.submissions) == 1


async def test_a_venue_that_lost_its_reports_is_not_believed(desk: Desk) -> None:
    await desk.submit()
    await desk.becomes(OrderState.NEW)
    await desk.kill()
    desk.venue.log.clear()
    await desk.start()
    await asyncio.sleep(0.02)
    assert desk.order().state is OrderState.NEW
    assert desk.reader.position == 1


@pytest.mark.parametrize("seed", range(12))
async def test_no_order_and_no_fill_is_lost_or_doubled_over_crashes_and_faults(seed: int) -> None:
    throw = random.Random(seed)
    desk = await (await Desk(unknown_after_seconds=0.001).start()).accepting()
    acknowledged: set[str] = set()
    for step in range(120):
        name = f"n{throw.randrange(40)}"
        action = throw.random()
        try:
            if action < 0.5:
                await asyncio.wait_for(desk.submit(new_order(name)), 0.5)
                acknowledged.add(name)
            elif action < 0.6:
                await desk.engine.cancel(cancel(name, f"cancel-{step}"))
            elif action < 0.65:
                quantity = throw.randrange(1, 200) * NANO
                await desk.engine.replace(replace(name, f"replace-{step}", quantity_nanos=quantity))
            elif action < 0.8 and (ACCOUNT, name) in desk.venue.holds():
                held = desk.venue._held[ACCOUNT, name]
                if held.leaves_nanos > 0:
                    desk.venue.fill((ACCOUNT, name), throw.randint(1, held.leaves_nanos), 50 * NANO)
            elif action < 0.9:
                desk.venue.is_reachable = throw.random() < 0.6
                desk.venue.loses_answers = throw.random() < 0.4
            elif action < 0.94:
                desk.venue.cut()
            else:
                await desk.kill()
                await desk.start()
        except (TapelineError, TimeoutError):
            pass
        desk.clock.tick(0.01)
        for _ in range(throw.randrange(8)):
            await asyncio.sleep(0)
    desk.venue.is_reachable, desk.venue.loses_answers = True, False
    await (await desk.restart()).accepting()
    await eventually(lambda: desk.outbox.depth == 0)
    await eventually(lambda: desk.reader.position == len(desk.venue.log))
    assert {key[1] for key in desk.venue.holds()} >= acknowledged
    for key in desk.venue.holds():
        held, record = desk.venue._held[key], desk.order(key[1])
        assert record.filled_quantity_nanos == held.filled_nanos
        assert record.leaves_quantity_nanos == held.leaves_nanos
        assert record.is_final == (held.outcome is not None)
    booked = [fill.fill.venue_execution_id for fill in desk.engine.book.fills_after(0)]
    reported = [report.fill.venue_execution_id for report in desk.venue.log if report.fill]
    assert booked == reported
    before = {key: desk.engine.book.order(key) for key in desk.venue.holds()}
    await desk.restart()
    assert {key: desk.engine.book.order(key) for key in before} == before
    assert desk.failures == []
    await desk.kill()
