"""Decisions that go by themselves: once each, one at a time, and followed to their end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from servers.decision.domain.book import DECIDED, ON_PAPER, PRICE_ONLY
from servers.decision.domain.decision import Mode, State
from servers.decision.domain.signal import Restriction
from servers.decision.domain.sizing import Action, Policy
from servers.model.errors import (
    AlreadyExists,
    DeadlineExceeded,
    FailedPrecondition,
    NotFound,
    Unavailable,
)
from servers.model.market import MarketPhase
from servers.model.nanos import ATTO, NANO
from servers.model.order import Rejection, Side
from tests.unit.decision.decision_desk import FACTS, Desk
from tests.unit.decision.figures import MINUTE, NOW, SESSION, signal

ONE_PERCENT_UP = 50 * NANO + NANO // 2


async def test_a_signal_becomes_a_parent_order_that_is_followed_to_its_end(desk: Desk) -> None:
    decision = await desk.engine.on_signal(signal(traceparent="T"))
    assert decision is not None
    assert (decision.action, decision.side, decision.state) == (Action.OPEN, Side.BUY, State.STARTED)
    assert decision.decided_by == "autopilot"
    assert decision.traceparent == "T"
    assert decision.inputs.post_ids == ("p1", "p2", "p3")
    assert decision.algorithm == "twap"
    assert decision.expire_time_nanos == NOW + decision.horizon_nanos
    assert "3 posts by 3 authors in 2 sources" in decision.reason
    assert desk.account.parents["E1"].quantity_nanos == decision.quantity_nanos
    await desk.fill(decision, 1_000)
    assert desk.orders[0].filled_quantity_nanos == 1_000 * NANO
    assert desk.states() == ["STARTED"]
    await desk.fill(decision, decision.quantity_nanos // NANO - 1_000)
    assert desk.states() == ["DONE"]
    assert desk.book.open == {}


async def test_a_repeated_signal_and_the_next_reviews_order_nothing_more(desk: Desk) -> None:
    one = signal()
    await desk.engine.on_signal(one)
    assert await desk.engine.on_signal(one) is None
    for _ in range(3):
        await desk.later(1.1)
    await desk.fill(desk.orders[0])
    await desk.later(1.1)
    assert len(desk.orders) == len(desk.account.parents) == 1


async def test_a_running_parent_is_cancelled_before_another_is_added(desk: Desk) -> None:
    await desk.engine.on_signal(signal(12.0))
    first = desk.orders[0]
    await desk.later(6)
    await desk.engine.on_signal(signal(90.0, event_time_nanos=desk.market.now_nanos))
    assert desk.last.reason_code == "PARENT_CANCELLED"
    assert desk.last.cancelled_execution_id == first.execution_id
    assert desk.account.cancels == {first.execution_id: desk.last.decision_id}
    await desk.later(1.1)
    assert desk.last.reason_code == "PARENT_STOPPING"
    assert len(desk.orders) == 1
    await desk.facts(desk.account.end(first.execution_id, desk.market.now_nanos))
    assert desk.states() == ["DONE", "STARTED"]
    assert desk.orders[1].action is Action.OPEN
    assert desk.orders[1].quantity_nanos > first.quantity_nanos
    running = [parent for parent in desk.account.parents.values() if not parent.is_over]
    assert len(running) == 1


async def test_after_an_order_nothing_grows_for_a_while_but_may_shrink(desk: Desk) -> None:
    await desk.engine.on_signal(signal(12.0))
    await desk.fill(desk.orders[0])
    await desk.engine.on_signal(signal(90.0, event_time_nanos=NOW + 1))
    assert desk.last.reason_code == "COOL_DOWN"
    await desk.engine.on_signal(signal(-90.0, event_time_nanos=NOW + 2))
    assert [one.action for one in desk.orders] == [Action.OPEN, Action.CLOSE]


async def test_a_position_whose_signal_has_died_is_closed(desk: Desk) -> None:
    await desk.engine.on_signal(signal())
    await desk.fill(desk.orders[0])
    for _ in range(100):
        await desk.later(1.1)
        for one in desk.orders[1:]:
            if one.state is State.STARTED:
                await desk.fill(one)
    assert desk.account.positions["ACME"] == 0
    assert desk.orders[-1].action is Action.CLOSE
    assert desk.orders[-1].reason_code == "SIGNAL_EXPIRED"
    assert {one.action for one in desk.orders[1:-1]} <= {Action.REDUCE}


async def test_one_voice_does_not_take_the_place_of_many(desk: Desk) -> None:
    many = signal()
    await desk.engine.on_signal(many)
    found = await desk.engine.on_signal(signal(-90.0, event_time_nanos=NOW + 1, author_count=1))
    assert found is not None
    assert found.reason_code == "ONE_AUTHOR"
    assert desk.engine.signals["ACME"] is many


async def test_what_deletions_left_of_a_signal_opens_nothing_on_the_deleted_posts(desk: Desk) -> None:
    desk.quote(phase=MarketPhase.PRE_OPEN)
    await desk.engine.on_signal(signal(90.0))
    assert desk.orders == []
    left = signal(20.0, event_time_nanos=NOW + 1, post_ids=("p1",), author_count=1, source_count=1)
    await desk.engine.on_signal(left)
    await desk.later(2)
    assert desk.orders == []
    assert desk.last.reason_code == "STALE"


async def test_events_that_wait_for_an_answer_are_not_asked_for_again(desk: Desk) -> None:
    first = await desk.engine.on_signal(signal(90.0))
    assert first is not None
    desk.quote(symbol="BOLT")
    desk.account.failures = [Unavailable("PEER_UNAVAILABLE", "execution restarts")]
    await desk.engine.on_signal(replace(signal(90.0), symbol="BOLT", signal_id="SB"))
    assert desk.book.is_sending
    begun = desk.sender.executions_sequence
    for price in (50, 51):
        fact = desk.account.fill(first.execution_id, 1_000 * NANO, price * NANO, desk.market.now_nanos)
        await desk.engine.on_executions([fact], desk.sender.executions_sequence + 1)
    assert desk.sender.executions_sequence == begun + 2
    assert desk.recorder.executions_sequence == begun
    await desk.engine.send_again()
    assert desk.recorder.executions_sequence == begun + 2
    assert desk.book.decisions[first.decision_id].filled_quantity_nanos == 2_000 * NANO
    assert desk.book.ledgers["decided"].turnover_attos == 101_000 * ATTO


@pytest.mark.parametrize(
    "restriction", [Restriction.UNCALIBRATED, Restriction.LEXICON_ONLY, Restriction.SHED, Restriction.STALE]
)
async def test_what_is_not_trusted_opens_nothing_and_says_why(desk: Desk, restriction: Restriction) -> None:
    await desk.engine.on_signal(signal(restrictions=frozenset({restriction})))
    assert desk.orders == []
    assert desk.last.reason_code == restriction
    assert desk.last.inputs.restrictions == (restriction,)


async def test_a_suspected_pump_is_not_bought(desk: Desk) -> None:
    await desk.engine.on_signal(signal(restrictions=frozenset({Restriction.PUMP_SUSPECTED})))
    assert desk.last.reason_code == "PUMP_SUSPECTED"
    assert desk.account.parents == {}


async def test_reasons_to_do_nothing_are_recorded_when_they_change_and_now_and_then(desk: Desk) -> None:
    for minute in range(59):
        await desk.engine.on_signal(signal(2.0, event_time_nanos=NOW + minute))
        await desk.later(1.0)
    declined = [one.reason_code for one in desk.book.decisions.values()]
    assert declined.count("INSIDE_BAND") == len(declined) == 4
    assert desk.book.declined["INSIDE_BAND"] == 4


async def test_somebody_elses_orders_are_left_alone(desk: Desk) -> None:
    desk.account.foreign["ACME"] = 500 * NANO
    await desk.engine.on_signal(signal())
    assert desk.last.reason_code == "FOREIGN_ORDERS"
    desk.account.foreign.clear()
    await desk.later(1.1)
    assert desk.states() == ["STARTED"]


async def test_what_risk_has_not_heard_of_yet_is_not_taken_for_somebody_elses(desk: Desk) -> None:
    await desk.engine.on_signal(signal(12.0))
    order = desk.orders[0]
    desk.account.foreign["ACME"] = 10 * NANO
    await desk.fill(order)
    assert desk.last.reason_code == "SETTLING"
    await desk.later(1.1)
    assert desk.last.reason_code == "FOREIGN_ORDERS"


async def test_the_market_has_to_be_open_fresh_and_known(desk: Desk) -> None:
    desk.quote(at=NOW, phase=MarketPhase.HALTED)
    await desk.engine.on_signal(signal())
    assert desk.last.reason_code == "PHASE"
    desk.quote(at=NOW)
    desk.market.now_nanos = NOW + 2 * MINUTE
    await desk.engine.review("ACME")
    assert desk.last.reason_code == "QUOTE_STALE"
    desk.history.known["ACME"] = replace(FACTS, median_daily_volume=0.0)
    await desk.engine.review("ACME")
    assert desk.last.reason_code == "NO_HISTORY"
    desk.history.known["ACME"] = replace(FACTS, session_close_nanos=NOW + 10 * MINUTE)
    desk.quote(at=NOW + 2 * MINUTE)
    await desk.engine.review("ACME")
    assert desk.last.reason_code == "CLOSE_NEAR"
    await desk.engine.on_signal(signal(symbol="BOLT"))
    assert desk.last.reason_code == "QUOTE_STALE"
    assert desk.last.target_nanos == 0
    with pytest.raises(NotFound):
        await desk.engine.on_signal(signal(symbol="NONE"))


async def test_the_kill_switch_stops_all_deciding_until_it_is_off(desk: Desk) -> None:
    desk.engine.on_kill_switch(is_on=True)
    await desk.engine.on_signal(signal())
    assert desk.last.reason_code == "KILL_SWITCH"
    desk.engine.on_kill_switch(is_on=False)
    await desk.later(1.1)
    assert desk.states() == ["STARTED"]


async def test_without_risks_word_nothing_is_sized(desk: Desk) -> None:
    desk.account.is_risk_away = True
    with pytest.raises(Unavailable):
        await desk.engine.on_signal(signal())
    assert desk.book.decisions == {}
    desk.account.is_risk_away = False
    await desk.later(1.1)
    assert desk.states() == ["STARTED"]


async def test_a_symbol_that_nobody_knows_keeps_no_other_from_being_looked_at(desk: Desk) -> None:
    desk.engine.signals["AAAA"] = signal(symbol="AAAA")
    desk.engine.signals["ACME"] = signal()
    desk.quote(at=NOW + 2 * MINUTE)
    with pytest.raises(NotFound):
        await desk.engine.on_time()
    assert desk.states() == ["STARTED"]


async def test_what_risk_refuses_is_recorded_with_its_reason(desk: Desk) -> None:
    desk.account.rejection = Rejection("GROSS_EXPOSURE_ABOVE_LIMIT", "too much")
    decision = await desk.engine.on_signal(signal())
    assert decision is not None
    assert decision.state is State.REFUSED
    assert decision.rejection == desk.account.rejection
    assert desk.book.turnover_attos(0) == 0
    desk.account.failures.append(FailedPrecondition("KILL_SWITCH_ON"))
    desk.account.rejection = None
    await desk.later(4)
    assert len(desk.orders) == 1
    await desk.later(2)
    assert desk.orders[-1].state is State.REFUSED
    assert desk.orders[-1].rejection is not None
    assert desk.orders[-1].rejection.reason == "KILL_SWITCH_ON"


async def test_a_close_that_was_refused_is_not_asked_for_every_minute(desk: Desk) -> None:
    await desk.engine.on_signal(signal())
    await desk.fill(desk.orders[0])
    desk.account.rejection = Rejection("SYMBOL_RESTRICTED", "not now")
    await desk.engine.on_signal(signal(-90.0, event_time_nanos=NOW + 1))
    assert desk.states() == ["DONE", "REFUSED"]
    await desk.later(2)
    assert desk.last.reason_code == "REFUSED_BEFORE"
    desk.account.rejection = None
    await desk.later(4)
    assert desk.states() == ["DONE", "REFUSED", "STARTED"]


@pytest.mark.parametrize("failure", [Unavailable("PEER_UNAVAILABLE"), DeadlineExceeded("DEADLINE_TOO_SHORT")])
async def test_a_lost_answer_starts_one_parent_order_and_no_second(desk: Desk, failure: Exception) -> None:
    desk.account.failures.append(failure)  # type: ignore[arg-type]  # both are TapelineErrors
    await desk.engine.on_signal(signal())
    assert desk.states() == ["APPROVED"]
    await desk.later(1.1)
    assert desk.last.reason_code == "IN_FLIGHT"
    await desk.engine.send_again()
    assert desk.states() == ["STARTED"]
    assert len(desk.account.parents) == len(desk.account.requests) == 1


async def test_a_restart_sends_an_open_decision_once(desk: Desk) -> None:
    desk.account.failures.append(DeadlineExceeded("DEADLINE_TOO_SHORT"))
    await desk.engine.on_signal(signal())
    await desk.restart()
    assert desk.states() == ["APPROVED"]
    await desk.engine.send_again()
    assert desk.states() == ["STARTED"]
    await desk.restart()
    await desk.engine.send_again()
    assert list(desk.account.requests) == ["D0001"]
    await desk.fill(desk.orders[0])
    await desk.restart()
    assert desk.states() == ["DONE"]
    assert desk.recorder.executions_sequence == desk.sequence


async def test_facts_of_a_parent_whose_answer_is_lost_are_not(desk: Desk) -> None:
    desk.account.failures.append(DeadlineExceeded("DEADLINE_TOO_SHORT"))
    await desk.engine.on_signal(signal())
    await desk.facts(desk.account.fill("E1", 100 * NANO, 50 * NANO, NOW))
    assert desk.orders[0].filled_quantity_nanos == 0
    await desk.engine.send_again()
    assert desk.orders[0].filled_quantity_nanos == 100 * NANO


async def test_a_cancel_without_an_answer_is_asked_again_after_a_restart(desk: Desk) -> None:
    await desk.engine.on_signal(signal())
    await desk.engine.on_signal(signal(-90.0, event_time_nanos=NOW + 1))
    asked = dict(desk.account.cancels)
    desk.account.cancels.clear()
    await desk.restart()
    await desk.engine.send_again()
    assert desk.account.cancels == asked


async def test_after_a_restart_nothing_is_closed_before_signals_has_spoken(desk: Desk) -> None:
    await desk.engine.on_signal(signal())
    await desk.fill(desk.orders[0])
    await desk.restart(has_heard=False)
    await desk.engine.review("ACME")
    assert desk.last.reason_code == "SIGNALS_AWAITED"
    desk.engine.on_signals_heard()
    await desk.engine.review("ACME")
    assert len(desk.orders) == 1
    await desk.later(100)
    assert desk.orders[-1].action is Action.CLOSE


async def test_the_mode_is_set_once_a_request_and_survives_a_restart(desk: Desk) -> None:
    change = await desk.engine.set_mode("r1", Mode.APPROVAL, "ops", "a quiet afternoon")
    assert await desk.engine.set_mode("r1", Mode.APPROVAL, "ops", "a quiet afternoon") == change
    with pytest.raises(AlreadyExists):
        await desk.engine.set_mode("r1", Mode.AUTOPILOT, "ops", "a quiet afternoon")
    await desk.restart()
    assert desk.book.mode == change
    await desk.engine.on_signal(signal())
    assert desk.states() == ["PENDING_APPROVAL"]


async def test_gross_and_net_count_all_that_works_and_waits_elsewhere() -> None:
    policy = Policy()
    desk = Desk(policy=replace(policy, caps=replace(policy.caps, gross_notional=400_000.0)))
    await desk.open()
    desk.quote(symbol="BOLT")
    await desk.engine.on_signal(signal(90.0))
    await desk.engine.on_signal(signal(90.0, symbol="BOLT"))
    first, second = desk.orders
    assert second.reason_code == "GROSS_CAP"
    total = (first.quantity_nanos + second.quantity_nanos) * 50 * NANO
    assert 399_900 < total / NANO / NANO <= 400_000
    await desk.close()


async def test_profit_turnover_and_cost_are_those_of_the_fills(desk: Desk) -> None:
    await desk.engine.on_signal(signal())
    order = desk.orders[0]
    await desk.fill(order, price=50 * NANO + NANO // 10)
    shares = order.quantity_nanos // NANO
    ledger = desk.book.ledgers[DECIDED]
    assert ledger.turnover_attos == shares * 501 * NANO * NANO // 10
    fees = shares * NANO * NANO // 1_000
    assert ledger.cost_attos == shares * NANO * NANO // 10 + fees
    profit = shares * 4 * NANO * NANO // 10 - fees
    assert ledger.net_profit_attos({"ACME": ONE_PERCENT_UP}) == profit
    await desk.restart()
    assert desk.book.ledgers[DECIDED] == ledger


async def test_after_a_half_life_it_is_known_whether_an_order_was_right(desk: Desk) -> None:
    await desk.engine.on_signal(signal())
    await desk.fill(desk.orders[0])
    await desk.later(29)
    assert desk.book.ledgers[DECIDED].measured == 0
    await desk.later(2, mid=ONE_PERCENT_UP)
    ledger = desk.book.ledgers[DECIDED]
    assert (ledger.measured, ledger.hits) == (1, 1)
    assert desk.orders[0].outcome_price_nanos == ONE_PERCENT_UP
    paper = desk.book.ledgers[ON_PAPER]
    assert (paper.measured, paper.hits) == (1, 1)
    await desk.restart()
    assert desk.book.ledgers[DECIDED] == ledger
    assert desk.book.ledgers[ON_PAPER] == paper


async def test_paper_trades_what_prices_alone_would_have(desk: Desk) -> None:
    await desk.engine.on_signal(signal(90.0, price_only_probability_up=0.5))
    assert desk.book.ledgers[ON_PAPER].positions["ACME"] > 0
    assert PRICE_ONLY not in desk.book.ledgers
    convinced = signal(90.0, event_time_nanos=NOW + 1, price_only_probability_up=0.9)
    await desk.engine.on_signal(convinced)
    alone = desk.book.ledgers[PRICE_ONLY]
    assert alone.positions["ACME"] > 0
    assert alone.cost_attos > 0
    assert alone.net_profit_attos({"ACME": 50 * NANO}) == -alone.cost_attos
    await desk.later(100)
    assert alone.positions["ACME"] == 0


async def test_turnover_is_counted_by_session_and_without_what_came_to_nothing(desk: Desk) -> None:
    await desk.engine.on_signal(signal())
    order = desk.orders[0]
    notional = order.quantity_nanos * order.inputs.mid_price_nanos
    assert desk.book.turnover_attos(NOW - SESSION) == notional
    await desk.fill(order, 10)
    await desk.facts(desk.account.end(order.execution_id, NOW))
    assert desk.book.turnover_attos(NOW - SESSION) == 10 * NANO * 50 * NANO
    assert desk.book.turnover_attos(NOW + SESSION) == 0
