"""Each order has its line on the screen, however late it is first seen."""

from __future__ import annotations

import pytest
from tapeline.decision.v1 import decision_pb2, decision_service_pb2

from servers.local.pipeline_feeds import Pipeline
from servers.local.pipeline_screen import pipeline_lines

NOON_NEW_YORK = 1_767_632_400 * 1_000_000_000


def seen(pipeline: Pipeline, state: str) -> None:
    decision = decision_pb2.Decision(
        decision_id="D1",
        event_time_nanos=NOON_NEW_YORK,
        action=decision_pb2.ACTION_OPEN,
        state=decision_pb2.DecisionState.Value(f"DECISION_STATE_{state}"),
        reason="Buy 1000 ACME.",
    )
    event = decision_pb2.DecisionEvent(decision=decision)
    pipeline.take_decisions(decision_service_pb2.StreamDecisionsResponse(events=[event]))


@pytest.mark.parametrize(
    ("states", "told"),
    [
        (["DONE"], "STARTED"),
        (["STARTED", "DONE"], "STARTED"),
        (["PENDING_APPROVAL"], "PENDING_APPROVAL"),
        (["REJECTED"], "REJECTED"),
        (["EXPIRED"], "EXPIRED"),
        (["SUPERSEDED"], "SUPERSEDED"),
        (["APPROVED", "REFUSED"], "REFUSED"),
    ],
)
def test_an_order_has_one_line_whatever_state_it_is_first_seen_in(states: list[str], told: str) -> None:
    pipeline = Pipeline()
    lines: dict[str, str] = {}
    for state in states:
        seen(pipeline, state)
        lines.update(pipeline_lines(pipeline, "America/New_York"))
    assert lines == {f"D1 {told}": f"12:00:00  {told}: Buy 1000 ACME."}


def test_an_order_on_its_way_waits_for_its_line() -> None:
    pipeline = Pipeline()
    seen(pipeline, "APPROVED")
    assert list(pipeline_lines(pipeline, "America/New_York")) == []
