"""A parent order at work: at each market time, what to send, what to cancel, what to tell.

`WorkingParent` decides and never acts: `step` returns a `Decision`, and the engine journals it, applies
the events and talks to the market. Precedence: market phase > limit price > risk > participation cap >
completion > schedule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from native.schedule import Schedule
from servers.execution.domain.band import ScheduleBand
from servers.execution.domain.controls import (
    DEVIATION_REASON,
    Deviation,
    DeviationControl,
    ImpactControl,
    Rate,
)
from servers.execution.domain.events import Child, Event, EventKind, ExecutionState
from servers.execution.domain.figures import Figures
from servers.execution.domain.parameters import MINUTE_NANOS, Algorithm
from servers.execution.domain.parent import ChildRecord, ParentOrder
from servers.execution.domain.placing import Orders, Placer, Tuning
from servers.execution.domain.scheduling import ScheduleKeeper
from servers.execution.domain.tape import Prints, Tape
from servers.model.clock import NANOS_PER_SECOND
from servers.model.instrument import Instrument
from servers.model.market import MarketPhase, TradeFlag
from servers.model.nanos import NANO, nanos_to_text
from servers.model.order import Fill

_LONGEST_WAIT_SECONDS = 60
_STEP_GAP_NANOS = 30 * NANOS_PER_SECOND


@dataclass(slots=True)
class Decision:
    """What a step wants done, in this order: journal and apply `events`, send `children`, cancel."""

    events: list[Event] = field(default_factory=list)
    children: list[Child] = field(default_factory=list)
    cancels: list[str] = field(default_factory=list)
    is_finished: bool = False

    def __bool__(self) -> bool:
        return bool(self.events or self.children or self.cancels or self.is_finished)


class WorkingParent:
    """One parent order with its schedule, its cap and its controls."""

    def __init__(self, parent: ParentOrder, instrument: Instrument, tuning: Tuning) -> None:
        self.parent = parent
        self.instrument = instrument
        self.figures = Figures(parent, tuning.assumed_pace, tuning.impact)
        self.keeper = ScheduleKeeper(parent, instrument, self.figures)
        self._tuning = tuning
        self._placer = Placer(parent, instrument, self.figures, tuning)
        self._impact_control = ImpactControl(parent.parameters.max_market_impact)
        self._deviation_control = DeviationControl(parent.parameters.max_vwap_deviation)
        self._band = ScheduleBand(tuning.schedule_band, tuning.band_patience_nanos)
        self._rejected_in_a_row = 0
        self._rejection: str | None = None
        self._wait_until_nanos = 0
        self._last_step_nanos = 0
        self._must_replan = ""
        self.controlled_nanos = 0

    # -- What comes in ----------------------------------------------------------------------------

    def on_prints(self, prints: Prints, tape: Tape) -> None:
        """Take in a run of prints of the symbol, each once and in order; `tape` holds them already."""
        if not self.parent.arrival_time_nanos:
            return
        if (prints.flags & TradeFlag.CANCEL).any():
            self.keeper.recount(self.figures.count_from(tape), tape)
        else:
            self.keeper.on_volume(self.figures.on_prints(prints))

    def on_fill(self, fill: Fill) -> None:
        """Take in a fill that was booked."""
        self.figures.on_fill(fill)
        self._rejected_in_a_row = 0

    def on_bust(self, fill: Fill) -> None:
        """Take back a fill."""
        self.figures.on_bust(fill)

    def on_child_end(self, record: ChildRecord) -> None:
        """Take in that a child is final."""
        self._placer.on_child_end(record)

    def on_child_rejected(self, reason: str) -> None:
        """Take in that a child was refused: wait longer with each one in a row, and tell when it goes on.

        A passive child that would have crossed does not count.
        """
        if reason.startswith("POST_ONLY"):
            return
        self._rejected_in_a_row += 1
        seconds = min(2 ** (self._rejected_in_a_row - 1), _LONGEST_WAIT_SECONDS)
        self._wait_until_nanos = self._last_step_nanos + seconds * NANOS_PER_SECOND
        if self._rejected_in_a_row == self._tuning.rejections_to_tell:
            self._rejection = reason

    def restore(self, tape: Tape) -> None:
        """Take the market since arrival and the own fills in again, and plan anew: after a restart."""
        parent = self.parent
        if not parent.arrival_time_nanos:
            return
        self.begin(tape)
        self._must_replan = "RESTARTED"
        if parent.state is ExecutionState.PAUSED and parent.reason == DEVIATION_REASON:
            self._deviation_control.mode = Deviation.PAUSE

    # -- What goes out ----------------------------------------------------------------------------

    @property
    def schedule(self) -> Schedule | None:
        """The schedule in force; None before arrival."""
        return self.keeper.schedule

    @property
    def end_time_nanos(self) -> int:
        """End of the horizon, market time."""
        return self.parent.parameters.end_time_nanos

    def scheduled_nanos(self, now_nanos: int) -> int:
        """What the schedule says should be done by now, in 1e-9 shares."""
        return self.keeper.target_nanos(now_nanos)

    def step(self, now_nanos: int, tape: Tape, *, may_send: bool = True) -> Decision:
        """Return what is to be done at a market time. The caller acts on it before the next step."""
        decision = Decision()
        parent = self.parent
        if parent.is_over:
            return decision
        gap_nanos = now_nanos - self._last_step_nanos if self._last_step_nanos else 0
        self._last_step_nanos = max(self._last_step_nanos, now_nanos)
        has_ended = now_nanos >= self.end_time_nanos or (
            tape.phase is MarketPhase.CLOSED and 0 < tape.session_close_time_nanos <= now_nanos
        )
        if parent.state is ExecutionState.PENDING:
            if has_ended:
                self._wind_down(decision, now_nanos, "HORIZON_ENDED")
                return decision
            self._arrive(decision, now_nanos, tape, may_send=may_send)
            return decision
        if parent.state is ExecutionState.STOPPING:
            self._wind_down(decision, now_nanos, parent.reason)
            return decision
        if parent.state is ExecutionState.FILLED:
            if not parent.arrival_time_nanos:  # filled by the opening auction alone
                self._arrive(decision, now_nanos, tape, may_send=False)
            decision.is_finished = has_ended and not parent.working and self._has_seen_all(now_nanos)
            if has_ended:
                decision.cancels.extend(self._placer.working(for_auction=True))
            return decision
        if has_ended and not self._waits_for_close():
            self._wind_down(decision, now_nanos, "HORIZON_ENDED")
            return decision
        if parent.state is ExecutionState.PAUSED:
            self._count_control(gap_nanos)
            decision.cancels.extend(self._placer.working(for_auction=True))
            return decision
        if not self._follow_phase(decision, now_nanos, tape):
            self._placer.hold_back("HALTED", gap_nanos)
            return decision
        if gap_nanos > max(parent.parameters.max_feed_silence_nanos, _STEP_GAP_NANOS):
            self._must_replan = self._must_replan or "FEED_GAP"
        if self._must_replan:
            self._replan(decision, now_nanos, self._must_replan)
        self._control(decision, now_nanos)
        self._count_control(gap_nanos)
        if decision.events and decision.events[-1].state is ExecutionState.PAUSED:
            decision.cancels.extend(self._placer.working(for_auction=True))
            return decision
        self._keep_schedule(decision, now_nanos, tape)
        if now_nanos < self._wait_until_nanos:
            self._placer.hold_back("CONTROL", gap_nanos)
        elif may_send:
            self._place(decision, now_nanos, tape, gap_nanos)
        return decision

    def resume(self) -> None:
        """Go on after a pause: what was missed is planned anew at the next step."""
        if self._deviation_control.mode is Deviation.PAUSE:
            self._deviation_control.answer()
        self._rejected_in_a_row = 0
        self._must_replan = "RESUMED"

    def out_of_band(self) -> dict[str, bool]:
        """Return for each reason to look at the parent whether it holds now."""
        return {
            DEVIATION_REASON: self._deviation_control.mode is not Deviation.NORMAL,
            "MARKET_IMPACT": self._impact_control.rate is not Rate.FULL,
            "FALLBACK": self.keeper.in_force is not self.parent.parameters.algorithm,
            "SCHEDULE": self._band.is_out,
        }

    def alerts(self) -> tuple[str, ...]:
        """Return the reasons that hold now."""
        return tuple(reason for reason, is_out in self.out_of_band().items() if is_out)

    def residual(self) -> tuple[str, str]:
        """Return why something is left, and a sentence with the numbers; empty texts when nothing is."""
        parent = self.parent
        left = parent.residual_quantity_nanos
        if not left:
            return "", ""
        reason = parent.reason if parent.reason in ("CANCELLED", "KILL_SWITCH") else ""
        held_back = self._placer.held_back_nanos
        is_pov = parent.parameters.algorithm is Algorithm.POV and self.schedule is not None
        if not reason and is_pov and self._is_at_target():
            reason = "TARGET_RATE"
        if not reason and held_back:
            reason = max(held_back, key=lambda key: held_back[key])
        minutes = ", ".join(
            f"{key} {nanos / MINUTE_NANOS:,.1f} min" for key, nanos in sorted(held_back.items())
        )
        return reason or "HORIZON_ENDED", (
            f"{nanos_to_text(left)} of {nanos_to_text(parent.quantity_nanos)} shares are left:"
            f" {nanos_to_text(self.figures.quantity_nanos, 0)} eligible shares traded since arrival, own"
            f" share {self.figures.participation_rate:.4f}, cap {parent.parameters.max_participation_rate:g};"
            f" held back by: {minutes or 'nothing'}."
        )

    def _is_at_target(self) -> bool:
        # Percentage of volume: what the volume asked for is done but for a slice's rounding.
        target = self.scheduled_nanos(self.end_time_nanos)
        return 50 * (target - self.parent.filled_quantity_nanos) <= target

    # -- Arrival, phases, ends ----------------------------------------------------------------------

    def _arrive(self, decision: Decision, now: int, tape: Tape, *, may_send: bool) -> None:
        parent = self.parent
        start = parent.parameters.start_time_nanos
        if tape.phase is MarketPhase.PRE_OPEN and may_send:
            schedule, _ = self.keeper.make(max(start, tape.session_open_time_nanos))
            self._take(decision, self._placer.place_for_open(now, tape, schedule))
        price = tape.quote.reference_price_nanos or tape.last_price_before(now + 1)
        if now < start or tape.phase is not MarketPhase.CONTINUOUS or not price:
            return
        # A market that opened late, or was halted at the start, begins the interval when it trades.
        # One whose symbol was followed too late begins where its tape does.
        arrived = max(start, min(tape.phase_time_nanos, now), tape.since_nanos or 0)
        is_mid = bool(tape.quote.mid_price_nanos)
        decision.events.append(
            self._event(
                EventKind.ARRIVED,
                now,
                parent.state if parent.state is ExecutionState.FILLED else ExecutionState.RUNNING,
                message=f"arrival price {nanos_to_text(price)}, {'the mid' if is_mid else 'the last price'}",
                arrival_price_nanos=price,
                arrival_time_nanos=arrived,
            )
        )

    def begin(self, tape: Tape) -> None:
        """Count market and own fills since arrival, and make the schedule: ARRIVED has been applied."""
        self.figures.count_from(tape)
        self.keeper.begin(tape)
        self._placer.is_auction_joined = any(
            record.is_for_auction and (record.filled_quantity_nanos or not record.state.is_final)
            for record in self.parent.children.values()
        )

    def _keep_schedule(self, decision: Decision, now: int, tape: Tape) -> None:
        is_deviating = self._deviation_control.mode is not Deviation.NORMAL
        change = self.keeper.keep(now, tape, is_deviating=is_deviating)
        if change is not None:
            event = self._event(EventKind.FALLBACK, now, self.parent.state, change.reason, change.message)
            decision.events.append(replace(event, schedule=change.schedule))
        quantity, filled = self.parent.quantity_nanos, self.parent.filled_quantity_nanos
        told = self._band.update(now, self.scheduled_nanos(now) / quantity, filled / quantity)
        if told is not None:
            decision.events.append(self._event(EventKind.ALERT, now, self.parent.state, *told))

    def _follow_phase(self, decision: Decision, now: int, tape: Tape) -> bool:
        """Return whether children may be sent in this phase; stop and start the schedule's clock."""
        schedule = self.schedule
        if schedule is None:
            return False
        if tape.phase is not MarketPhase.CONTINUOUS:
            if not schedule.is_frozen and tape.phase is not MarketPhase.CLOSING_AUCTION:
                schedule.freeze(now)
            decision.cancels.extend(self._placer.working(for_auction=False))
            return False
        if schedule.is_frozen:
            schedule.resume(now)
            self._must_replan = self._must_replan or "HALT"
        return True

    def _replan(self, decision: Decision, now: int, reason: str) -> None:
        assert self.schedule is not None
        parent = self.parent
        self._must_replan = ""
        before = self.keeper.target_nanos(now)
        done = min(parent.filled_quantity_nanos + parent.working_quantity_nanos, parent.quantity_nanos)
        self.keeper.replan(now, done)
        decision.events.append(
            self._event(
                EventKind.REPLANNED,
                now,
                parent.state,
                reason,
                f"{nanos_to_text(done)} shares done or working, {nanos_to_text(before)} were planned by now:"
                f" the rest goes along what is left of the schedule",
            )
        )

    def _waits_for_close(self) -> bool:
        return any(record.is_for_auction for record in self.parent.working.values())

    def _wind_down(self, decision: Decision, now: int, reason: str) -> None:
        parent = self.parent
        if parent.working:
            if parent.state is not ExecutionState.STOPPING:
                decision.events.append(self._event(EventKind.STOPPING, now, ExecutionState.STOPPING, reason))
            decision.cancels.extend(self._placer.working(for_auction=True))
            return
        decision.is_finished = self._has_seen_all(now)

    def _has_seen_all(self, now: int) -> bool:
        # The venue may be ahead of us: the market up to the last fill belongs to the report.
        return now > self.parent.last_fill_time_nanos

    # -- Controls -----------------------------------------------------------------------------------

    def _count_control(self, gap_nanos: int) -> None:
        is_normal = self._deviation_control.mode is Deviation.NORMAL
        if not is_normal or self._impact_control.rate is not Rate.FULL:
            self.controlled_nanos += gap_nanos

    def _control(self, decision: Decision, now: int) -> None:
        parent = self.parent
        if self._rejection is not None:
            reason, self._rejection = self._rejection, None
            seconds = (self._wait_until_nanos - now) / NANOS_PER_SECOND
            message = f"{self._rejected_in_a_row} children in a row were refused, the last one with {reason}:"
            decision.events.append(
                self._event(
                    EventKind.CONTROL,
                    now,
                    parent.state,
                    "CHILDREN_REJECTED",
                    f"{message} nothing is sent for {max(seconds, 0):.0f} s",
                )
            )
        own = (
            parent.filled_notional_attos / (parent.filled_quantity_nanos * NANO)
            if parent.filled_quantity_nanos
            else 0
        )
        was = self._deviation_control.mode
        change = self._deviation_control.update(
            own, self.figures.vwap, parent.filled_quantity_nanos / parent.quantity_nanos
        )
        if change is not None:
            is_pause = self._deviation_control.mode is Deviation.PAUSE
            kind = EventKind.PAUSED if is_pause else EventKind.CONTROL
            state = ExecutionState.PAUSED if is_pause else parent.state
            decision.events.append(self._event(kind, now, state, *change))
            if is_pause:
                return
            if was is not Deviation.NORMAL and self._deviation_control.mode is Deviation.NORMAL:
                self._replan(decision, now, DEVIATION_REASON)
        change = self._impact_control.update(self.figures.impact(now))
        if change is not None:
            decision.events.append(self._event(EventKind.CONTROL, now, parent.state, *change))
            if self._impact_control.rate is Rate.FULL:
                self._replan(decision, now, change.reason)

    # -- Placement ----------------------------------------------------------------------------------

    def _place(self, decision: Decision, now: int, tape: Tape, gap_nanos: int) -> None:
        assert self.schedule is not None
        is_silent = now - tape.last_message_time_nanos > self.parent.parameters.max_feed_silence_nanos
        is_controlled = self._deviation_control.mode is not Deviation.NORMAL
        orders = self._placer.place(
            now,
            tape,
            self.keeper,
            self._impact_control.rate,
            gap_nanos,
            is_passive_only=is_silent or is_controlled,
        )
        self._take(decision, orders)

    def _take(self, decision: Decision, orders: Orders) -> None:
        decision.children.extend(orders.children)
        decision.cancels.extend(orders.cancels)

    def _event(
        self,
        kind: EventKind,
        now: int,
        state: ExecutionState,
        reason: str = "",
        message: str = "",
        **facts: int,
    ) -> Event:
        return Event(kind, self.parent.execution_id, now, state, reason, message, **facts)  # type: ignore[arg-type]


def take_in(working: WorkingParent, event: Event, records: Sequence[ChildRecord]) -> None:
    """Tell the working parent what PROGRESS has booked; `records` are the children that ended with it."""
    for fill in event.busted_fills:
        working.on_bust(fill)
    for fill in event.fills:
        working.on_fill(fill)
    for record in records:
        working.on_child_end(record)
    for child_state in event.child_states:
        if child_state.rejection is not None:
            working.on_child_rejected(child_state.rejection.reason)
