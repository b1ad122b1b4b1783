"""From an approved decision to a parent order, and back from execution's events to the decision.

The decision's id is the request id of StartExecution and of the cancel that it asks for: sent again after a
lost answer or a restart, it starts or cancels nothing twice. While an answer is awaited, execution's events
are held back, so that none arrives for a parent order whose decision is not known yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from servers.decision.domain.decision import Decision, Event, EventKind, State
from servers.decision.ports import TRANSIENT, ExecutionFact, Executions, Log, Tracing
from servers.decision.recording import Recorder
from servers.model.errors import TapelineError
from servers.model.order import Rejection


class Sender:
    """Sends decisions to execution and books what becomes of them. The caller holds the engine's lock."""

    def __init__(self, recorder: Recorder, executions: Executions, tracing: Tracing, log: Log) -> None:
        self._recorder = recorder
        self._book = recorder.book
        self._executions = executions
        self._tracing = tracing
        self._log = log
        self._held_back: list[tuple[Sequence[ExecutionFact], int]] = []

    async def send(self, decision: Decision) -> None:
        """Start the parent order. Without an answer the decision stays APPROVED and is sent again later."""
        span = self._tracing.span(
            "decision start execution", decision.traceparent, symbol=decision.symbol,
            decision_id=decision.decision_id,
        )  # fmt: skip
        try:
            with span:
                started = await self._executions.start(decision)
        except TapelineError as error:
            if error.status in TRANSIENT:
                self._log.warning(
                    "execution did not answer", decision_id=decision.decision_id, reason=error.reason
                )
                return
            await self._refused(decision, Rejection(error.reason, error.message))
            return
        if started.rejection is not None:
            await self._refused(replace(decision, execution_id=started.execution_id), started.rejection)
            return
        following = replace(decision, state=State.STARTED, execution_id=started.execution_id)
        await self._recorder.append([self._event(EventKind.STARTED, following)])

    async def cancel(self, decision: Decision) -> None:
        """Cancel the parent order that is in a decision's way. Without an answer it is asked again later."""
        try:
            await self._executions.cancel(decision.decision_id, decision.cancelled_execution_id)
        except TapelineError as error:
            self._log.warning(
                "execution did not take a cancel",
                execution_id=decision.cancelled_execution_id,
                reason=error.reason,
            )

    async def send_again(self) -> list[str]:
        """Repeat what has no answer yet. Return the symbols whose parent orders are over."""
        for decision in [one for one in self._book.open.values() if one.state is State.APPROVED]:
            await self.send(decision)
        for key in list(self._book.cancelling.values()):
            await self.cancel(self._book.decisions[key])
        return await self._take_held_back()

    @property
    def executions_sequence(self) -> int:
        """How far execution's events were heard; those that wait for an answer are not in the journal yet."""
        return self._held_back[-1][1] if self._held_back else self._recorder.executions_sequence

    async def on_facts(self, facts: Sequence[ExecutionFact], sequence: int) -> list[str]:
        """Book what execution says. Return the symbols whose parent orders are over."""
        self._held_back.append((facts, sequence))
        return await self._take_held_back()

    async def _take_held_back(self) -> list[str]:
        ended: list[str] = []
        while self._held_back and not self._book.is_sending:
            facts, sequence = self._held_back[0]
            events: list[Event] = []
            changed: dict[str, Decision] = {}
            for fact in facts:
                key = self._book.by_execution.get(fact.execution_id, "")
                before = changed.get(key) or self._book.open.get(key)
                if before is None or before.state is not State.STARTED:
                    continue
                after = changed[key] = _with_fact(before, fact)
                if after == before:
                    continue
                kind = EventKind.DONE if fact.is_over else EventKind.PROGRESS
                events.append(Event(kind, fact.event_time_nanos, after))
                if fact.is_over:
                    ended.append(after.symbol)
            await self._recorder.append(events, executions_sequence=sequence)
            self._recorder.executions_sequence = max(self._recorder.executions_sequence, sequence)
            self._held_back.pop(0)
        return ended

    async def _refused(self, decision: Decision, rejection: Rejection) -> None:
        refused = replace(decision, state=State.REFUSED, rejection=rejection)
        await self._recorder.append([self._event(EventKind.REFUSED, refused)])

    def _event(self, kind: EventKind, decision: Decision) -> Event:
        return Event(kind, max(self._book.now_nanos, decision.event_time_nanos), decision)


def _with_fact(decision: Decision, fact: ExecutionFact) -> Decision:
    fees = decision.fees
    if fact.fees is not None:
        fees = fact.fees if fees is None else fees + fact.fees
    return replace(
        decision,
        state=State.DONE if fact.is_over else State.STARTED,
        filled_quantity_nanos=fact.filled_quantity_nanos,
        average_price_nanos=fact.average_price_nanos,
        fees=fees,
    )
