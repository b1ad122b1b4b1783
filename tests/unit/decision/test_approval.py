"""Decisions that wait for a person: counted, superseded, expired, approved once."""

from __future__ import annotations

import pytest

from servers.decision.domain.decision import State
from servers.decision.domain.signal import Restriction
from servers.decision.domain.sizing import Action
from servers.model.errors import AlreadyExists, FailedPrecondition, NotFound
from servers.model.nanos import NANO
from tests.unit.decision.decision_desk import Desk
from tests.unit.decision.figures import MINUTE, NOW, signal


async def test_an_order_waits_and_counts_as_if_it_worked(approving: Desk) -> None:
    desk = approving
    await desk.engine.on_signal(signal())
    assert desk.states() == ["PENDING_APPROVAL"]
    assert desk.account.parents == {}
    await desk.later(6)
    assert desk.last.reason_code == "AWAITING_APPROVAL"
    assert desk.last.holding.pending_nanos == desk.orders[0].quantity_nanos
    assert len(desk.orders) == 1


async def test_an_order_that_differs_supersedes_the_one_that_waits(approving: Desk) -> None:
    desk = approving
    await desk.engine.on_signal(signal(12.0))
    await desk.later(6)
    await desk.engine.on_signal(signal(90.0, event_time_nanos=desk.market.now_nanos))
    assert desk.states() == ["SUPERSEDED", "PENDING_APPROVAL"]
    assert desk.orders[1].holding.pending_nanos == 0
    assert desk.orders[1].quantity_nanos > desk.orders[0].quantity_nanos


async def test_an_order_that_waits_is_withdrawn_when_nothing_is_right_any_more(approving: Desk) -> None:
    desk = approving
    decision = await desk.engine.on_signal(signal(90.0))
    assert decision is not None
    await desk.later(6)
    await desk.engine.on_signal(signal(-90.0, event_time_nanos=desk.market.now_nanos))
    assert desk.states() == ["SUPERSEDED"]
    with pytest.raises(FailedPrecondition, match="SUPERSEDED"):
        await desk.engine.approve("r1", decision.decision_id, "anna")
    assert desk.account.parents == {}


@pytest.mark.parametrize("restriction", ["PUMP_SUSPECTED", "ONE_AUTHOR", "LEXICON_ONLY"])
async def test_an_order_that_waits_is_withdrawn_when_its_signal_may_no_longer_open(
    approving: Desk, restriction: str
) -> None:
    desk = approving
    decision = await desk.engine.on_signal(signal(60.0))
    assert decision is not None
    await desk.later(6)
    warned = signal(
        60.0, event_time_nanos=desk.market.now_nanos, restrictions=frozenset({Restriction(restriction)})
    )
    await desk.engine.on_signal(warned)
    assert desk.states() == ["SUPERSEDED"]
    with pytest.raises(FailedPrecondition, match="SUPERSEDED"):
        await desk.engine.approve("r1", decision.decision_id, "anna")


async def test_a_close_that_waits_is_withdrawn_when_the_signal_turns_back(approving: Desk) -> None:
    desk = approving
    desk.account.positions["ACME"] = 4_000 * NANO
    decision = await desk.engine.on_signal(signal(-90.0))
    assert decision is not None
    assert (decision.action, desk.states()) == (Action.CLOSE, ["PENDING_APPROVAL"])
    await desk.later(6)
    await desk.engine.on_signal(signal(60.0, event_time_nanos=desk.market.now_nanos))
    assert desk.states()[0] == "SUPERSEDED"


async def test_an_order_that_nobody_approved_is_no_hit(approving: Desk) -> None:
    desk = approving
    await desk.engine.on_signal(signal(90.0))
    desk.quote(52 * NANO, at=NOW + 31 * MINUTE)
    await desk.engine.on_time()
    assert desk.states() == ["EXPIRED"]
    assert desk.book.ledgers["decided"].measured == 0


async def test_what_waited_past_its_signal_expires(approving: Desk) -> None:
    desk = approving
    decision = await desk.engine.on_signal(signal())
    assert decision is not None
    assert decision.expire_time_nanos == NOW + 30 * MINUTE
    await desk.later(31)
    assert desk.states() == ["EXPIRED"]
    with pytest.raises(FailedPrecondition, match="EXPIRED"):
        await desk.engine.approve("r1", decision.decision_id, "anna")


async def test_an_approval_that_comes_a_moment_too_late_expires_the_order(approving: Desk) -> None:
    desk = approving
    decision = await desk.engine.on_signal(signal())
    assert decision is not None
    desk.quote(at=NOW + 31 * MINUTE)
    with pytest.raises(FailedPrecondition, match="run out"):
        await desk.engine.approve("r1", decision.decision_id, "anna")
    assert desk.states() == ["EXPIRED"]
    assert desk.account.parents == {}


async def test_an_approval_starts_one_parent_order_and_a_repeat_none(approving: Desk) -> None:
    desk = approving
    decision = await desk.engine.on_signal(signal())
    assert decision is not None
    desk.quote(at=NOW + 5 * MINUTE)
    first = await desk.engine.approve("r1", decision.decision_id, "anna")
    assert first.state is State.STARTED
    assert first.decided_by == "anna"
    assert first.expire_time_nanos == NOW + 5 * MINUTE + first.horizon_nanos
    again = await desk.engine.approve("r1", decision.decision_id, "anna")
    assert again.state is State.APPROVED
    assert len(desk.account.parents) == 1
    with pytest.raises(FailedPrecondition, match="STARTED"):
        await desk.engine.approve("r2", decision.decision_id, "anna")
    with pytest.raises(AlreadyExists):
        await desk.engine.approve("r1", "D9999", "anna")


async def test_a_refusal_is_final_and_frees_what_it_counted_for(approving: Desk) -> None:
    desk = approving
    decision = await desk.engine.on_signal(signal())
    assert decision is not None
    refused = await desk.engine.reject("r1", decision.decision_id, "anna")
    assert (refused.state, refused.decided_by) == (State.REJECTED, "anna")
    assert await desk.engine.reject("r1", decision.decision_id, "anna") == refused
    with pytest.raises(FailedPrecondition):
        await desk.engine.reject("r2", decision.decision_id, "anna")
    assert desk.book.pending_nanos("ACME") == 0
    assert desk.book.turnover_attos(0) == 0
    await desk.later(6)
    assert desk.last.reason_code == "REJECTED_BEFORE"
    await desk.later(25)
    assert desk.book.ledgers["decided"].measured == 0


async def test_nothing_is_approved_while_the_kill_switch_is_on(approving: Desk) -> None:
    desk = approving
    decision = await desk.engine.on_signal(signal())
    assert decision is not None
    desk.engine.on_kill_switch(is_on=True)
    with pytest.raises(FailedPrecondition) as refusal:
        await desk.engine.approve("r1", decision.decision_id, "anna")
    assert refusal.value.reason == "KILL_SWITCH_ON"
    with pytest.raises(NotFound):
        await desk.engine.approve("r2", "D9999", "anna")


async def test_what_waits_survives_a_restart(approving: Desk) -> None:
    desk = approving
    decision = await desk.engine.on_signal(signal(traceparent="T"))
    assert decision is not None
    await desk.restart()
    assert desk.book.decisions[decision.decision_id] == decision
    approved = await desk.engine.approve("r1", decision.decision_id, "anna")
    assert approved.state is State.STARTED


async def test_a_proposal_is_recorded_once_a_request_and_a_dry_run_not_at_all(approving: Desk) -> None:
    desk = approving
    dry = await desk.engine.propose("", "ACME", is_dry_run=True)
    assert (dry.decision_id, dry.action, dry.reason_code) == ("", Action.NONE, "NO_SIGNAL")
    assert desk.book.decisions == {}
    first = await desk.engine.propose("r1", "ACME", is_dry_run=False)
    assert (first.decision_id, first.reason_code) == ("D0001", "NO_SIGNAL")
    desk.engine.signals["ACME"] = signal()
    assert await desk.engine.propose("r1", "ACME", is_dry_run=False) == first
    second = await desk.engine.propose("r2", "ACME", is_dry_run=False)
    assert second.state is State.PENDING_APPROVAL
