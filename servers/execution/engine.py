"""Parent orders: starting, pausing, resuming, cancelling and restoring them, and the kill switch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

from servers.execution.book import ParentBook
from servers.execution.domain.events import (
    Event,
    EventKind,
    ExecutionState,
    Start,
)
from servers.execution.domain.experiments import (
    Assignment,
    ExperimentBook,
    drawn_algorithm,
    stratum_of,
)
from servers.execution.domain.parameters import Parameters, plan_horizon
from servers.execution.domain.parent import ParentOrder
from servers.execution.domain.tape import Tape
from servers.execution.domain.view import Execution, execution_view
from servers.execution.planning import Planner, Surroundings
from servers.execution.ports import (
    Effect,
    KeptAnswer,
    Market,
    Recorded,
    Risk,
)
from servers.model.clock import Clock
from servers.model.errors import (
    AlreadyExists,
    FailedPrecondition,
)
from servers.model.kill_switch import KillSwitches


class ExecutionEngine:
    """What people and servers ask of parent orders.

    Args:
        new_id: gives a fresh execution id (ULID).
    """

    def __init__(
        self,
        book: ParentBook,
        *,
        market: Market,
        risk: Risk,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self.book = book
        self._journal = book.journal
        self._market = market
        self._risk = risk
        self._clock = clock
        self._new_id = new_id
        self._switches = KillSwitches()
        self._starting: dict[str, asyncio.Future[None]] = {}
        self._drawn: dict[str, Assignment] = {}
        self._planner = Planner(market, book.tuning)
        self.experiments = ExperimentBook()

    # -- Commands -----------------------------------------------------------------------------------

    async def start(self, request_id: str, parameters: Parameters, traceparent: str) -> Execution:
        """Check, journal and start a parent order. A repeat of `request_id` gets the first answer."""
        key = f"start/{request_id}"
        content = _hash(parameters)
        while key in self._starting:
            await asyncio.wait([self._starting[key]])
        kept = self._kept(key, content)
        if kept is not None:
            return kept
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._starting[key] = done
        try:
            return await self._start(key, content, parameters, traceparent)
        finally:
            del self._starting[key]
            done.set_result(None)

    async def _start(self, key: str, content: bytes, asked: Parameters, traceparent: str) -> Execution:
        asked.validate()
        instrument = await self._market.instrument(asked.symbol)
        asked.check_against(instrument)
        now = max(await self._market.now_nanos(asked.symbol), self.book.now_nanos)
        known = await self._planner.look_around(asked.symbol)
        drawn, assignment = self._draw(key, asked, known)
        parameters, note = plan_horizon(drawn, known.session, now, instrument.lot_size_nanos)
        plan = await self._planner.plan(parameters, known, note, now)
        execution_id = self._new_id()
        if self._switches.stop(parameters.account):
            raise FailedPrecondition(
                "KILL_SWITCH_ON", f"the kill switch of {parameters.account} is on", account=parameters.account
            )
        rejection = await self._risk.check(execution_id, parameters)
        start = Start(parameters, self._clock.now_nanos(), traceparent, plan, rejection, assignment)
        if rejection is None:
            event = Event(
                EventKind.STARTED, execution_id, now, ExecutionState.PENDING,
                message=" ".join(part for part in (plan.fallback, plan.note) if part), start=start,
            )  # fmt: skip
        else:
            event = Event(
                EventKind.REJECTED, execution_id, now, ExecutionState.REJECTED,
                rejection.reason, rejection.message, start=start,
            )  # fmt: skip
        parent = ParentOrder.from_event(event)
        view = execution_view(parent, None, now)
        async with self.book.lock:
            await self._journal.append(
                [Recorded(event, view, parent.unsent_quantity_nanos)],
                effect=Effect(key, content, view, is_permanent=True),
            )
            self.book.parents[execution_id] = parent
            if rejection is None:
                self.book.adopt(parent, instrument)
                await self._stop_killed()
        self._drawn.pop(key, None)
        self.book.on_change(execution_id)
        return view

    def _draw(self, key: str, asked: Parameters, known: Surroundings) -> tuple[Parameters, Assignment | None]:
        """Return the parameters with the algorithm that their experiment draws, and the draw."""
        experiment = asked.experiment
        if experiment is None:
            return asked, None
        self.experiments.check(experiment)
        assignment = self._drawn.get(key)
        if assignment is None:
            stratum = stratum_of(
                asked.symbol, asked.side, asked.quantity_nanos, known.curve.median_daily_volume
            )
            # Taken before anything is awaited: no two parents get one place. A start that fails after it
            # keeps its place for a repeat under the same request id, and leaves it empty without one.
            assignment = self._drawn[key] = self.experiments.next(experiment, stratum)
            self.experiments.take(experiment, assignment)
        drawn = replace(asked, algorithm=drawn_algorithm(experiment, assignment))
        return drawn, assignment

    async def pause(self, request_id: str, execution_id: str) -> Execution:
        """Stop sending; children are cancelled."""
        return await self._command("pause", request_id, execution_id, self._pause)

    async def resume(self, request_id: str, execution_id: str) -> Execution:
        """Go on, planned anew under the cap."""
        return await self._command("resume", request_id, execution_id, self._resume)

    async def cancel(self, request_id: str, execution_id: str) -> Execution:
        """Cancel children and end the parent with a report."""
        return await self._command("cancel", request_id, execution_id, self._stop_by_request)

    async def _command(
        self, name: str, request_id: str, execution_id: str, decide: Callable[[ParentOrder], Event]
    ) -> Execution:
        key = f"{name}/{request_id}"
        content = sha256(execution_id.encode()).digest()
        async with self.book.lock:
            kept = self._kept(key, content)
            if kept is not None:
                return kept
            parent = self.book.find(execution_id)
            event = decide(parent)
            await self.book.commit(parent, [event], effect=(key, content))
            # One that was restored and has no market yet plans anew anyway when it gets it.
            if event.kind is EventKind.RESUMED and execution_id in self.book.working:
                self.book.working[execution_id].resume()
            return self.book.view(execution_id)

    def _pause(self, parent: ParentOrder) -> Event:
        _require(parent, ExecutionState.RUNNING, ExecutionState.PENDING)
        return self._event(parent, EventKind.PAUSED, ExecutionState.PAUSED, "REQUESTED")

    def _resume(self, parent: ParentOrder) -> Event:
        _require(parent, ExecutionState.PAUSED)
        has_arrived = bool(parent.arrival_time_nanos)
        return self._event(
            parent, EventKind.RESUMED, ExecutionState.RUNNING if has_arrived else ExecutionState.PENDING
        )

    def _stop_by_request(self, parent: ParentOrder) -> Event:
        _require(parent, ExecutionState.PENDING, ExecutionState.RUNNING, ExecutionState.PAUSED)
        return self._event(parent, EventKind.STOPPING, ExecutionState.STOPPING, "CANCELLED")

    # -- Start-up -----------------------------------------------------------------------------------

    async def restore(self) -> None:
        """Fold the journal's events."""
        async for event in self._journal.replay():
            parent = self.book.parents.get(event.execution_id)
            if parent is None:
                parent = self.book.parents[event.execution_id] = ParentOrder.from_event(event)
                if parent.parameters.experiment is not None and parent.assignment is not None:
                    self.experiments.take(parent.parameters.experiment, parent.assignment)
            else:
                parent.apply(event)
            self.book.now_nanos = max(self.book.now_nanos, event.event_time_nanos)
        self.book.orders_sequence = self._journal.orders_sequence()

    async def rejoin(self) -> None:
        """Give restored parents their market back: the tape since their arrival, schedule, cap and figures.

        Raises Unavailable while market data cannot be had.
        """
        by_symbol: dict[str, list[ParentOrder]] = {}
        for execution_id in self.book.unjoined:
            parent = self.book.parents[execution_id]
            by_symbol.setdefault(parent.parameters.symbol, []).append(parent)
        for symbol, parents in by_symbol.items():
            instrument = await self._market.instrument(symbol)
            since = min(_needs_tape_from(parent) for parent in parents)
            refilled = Tape(symbol)
            async for prints in self._market.trades(symbol, 0, since):
                refilled.add(prints)
            async with self.book.lock:
                tape = self.book.tape_of(symbol)
                if len(refilled) and refilled.last_sequence >= tape.last_sequence:
                    tape.replace_prints(refilled)
                for parent in parents:
                    self.book.adopt(parent, instrument)
                for working in self.book.of(symbol):
                    working.restore(tape)
                await self._stop_killed()

    # -- What risk says -----------------------------------------------------------------------------

    async def on_kill_switches(self, switches: KillSwitches) -> None:
        """Stop the parents of accounts whose switch is on."""
        self._switches = switches
        async with self.book.lock:
            await self._stop_killed()

    async def _stop_killed(self) -> None:
        # Under the lock; also for parents that begin to work after the switches were heard.
        for parent in [working.parent for working in self.book.working.values()]:
            if not self._switches.stop(parent.parameters.account):
                continue
            if parent.state.is_final or parent.state is ExecutionState.STOPPING:
                continue
            event = self._event(parent, EventKind.STOPPING, ExecutionState.STOPPING, "KILL_SWITCH")
            await self.book.commit(parent, [event])

    def _event(
        self, parent: ParentOrder, kind: EventKind, state: ExecutionState, reason: str = "", message: str = ""
    ) -> Event:
        return Event(kind, parent.execution_id, self.book.now_nanos, state, reason, message)

    def _kept(self, key: str, content: bytes) -> Execution | None:
        kept: KeptAnswer | None = self._journal.answer(key)
        if kept is None:
            return None
        if kept.content_hash != content:
            raise AlreadyExists("REQUEST_ID_REUSED", request_id=key.partition("/")[2])
        return kept.execution


def _require(parent: ParentOrder, *states: ExecutionState) -> None:
    if parent.state in states:
        return
    if parent.state.is_final:
        raise FailedPrecondition("EXECUTION_FINAL", execution_id=parent.execution_id, state=parent.state.name)
    raise FailedPrecondition(
        "EXECUTION_STATE",
        f"not possible while the execution is {parent.state.name}",
        execution_id=parent.execution_id,
        state=parent.state.name,
    )


def _needs_tape_from(parent: ParentOrder) -> int:
    begins = parent.arrival_time_nanos or parent.parameters.start_time_nanos
    return min(begins, parent.plan.session_volume_time_nanos or begins)


def _hash(parameters: Parameters) -> bytes:
    return sha256(repr(parameters).encode()).digest()
