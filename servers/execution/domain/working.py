"""A parent order at work: at each market time, what to send, what to cancel, what to tell.

`WorkingParent` decides and never acts: `step` returns a `Decision`, and the engine journals it, applies
the events and talks to the market. Precedence: market phase > limit price > risk > participation cap >
completion > schedule.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from native.participation import ParticipationTracker
from native.schedule import Schedule, StaticVwapSchedule, TwapSchedule
from native.slippage import average_price
from servers.execution.domain.controls import Deviation, DeviationControl, ImpactControl, Rate
from servers.execution.domain.events import Child, Event, EventKind, ExecutionState
from servers.execution.domain.impact import ImpactModel, RecentQuantity
from servers.execution.domain.parameters import MINUTE_NANOS, CompletionRule
from servers.execution.domain.parent import ChildRecord, ParentOrder
from servers.execution.domain.placement import (
    Due,
    child_quantity,
    closing_terms,
    crossing_price,
    crossing_terms,
    passive_price,
    passive_terms,
)
from servers.execution.domain.tape import Prints, Tape
from servers.model.clock import NANOS_PER_SECOND
from servers.model.instrument import Instrument
from servers.model.market import MarketPhase, TradeFlag
from servers.model.nanos import INT64_MAX, NANO, nanos_to_text
from servers.model.order import Fill, Liquidity, OrderTerms

_EVENT_SPACING_NANOS = 5 * MINUTE_NANOS
_STEP_GAP_NANOS = 30 * NANOS_PER_SECOND
_REQUOTES_PER_SLICE = 6


@dataclass(frozen=True, slots=True)
class Tuning:
    """How children are placed; the same for every parent.

    Args:
        max_children_per_second: children a market second and parent.
        cap_margin: share of the cap that is left unused when a child is granted, because the volume of
            the trailing window may fall before it fills.
        shortest_window_nanos: the cap holds in every window from this length to the parent's own.
        closing_cutoff_nanos: time before the close at which a residual goes into the closing auction.
        rejections_to_pause: children refused in a row by risk or the venue before the parent pauses.
    """

    max_children_per_second: int = 4
    cap_margin: float = 0.02
    shortest_window_nanos: int = MINUTE_NANOS
    closing_cutoff_nanos: int = 5 * MINUTE_NANOS
    rejections_to_pause: int = 5
    impact: ImpactModel = field(default_factory=ImpactModel)


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
        self._tuning = tuning
        parameters = parent.parameters
        self.tracker = self._new_tracker()
        self.schedule: Schedule | None = None
        self.market_notional_attos = 0
        self.market_quantity_nanos = 0
        self.market_trade_count = 0
        self.impact_control = ImpactControl(parameters.max_market_impact)
        self.deviation_control = DeviationControl(parameters.max_vwap_deviation)
        self._recent = RecentQuantity(tuning.impact.half_life_seconds)
        self._child_times: deque[int] = deque()
        self._posted_slice = -1
        self._ticks_beyond = 0
        self._rejected_in_a_row = 0
        self._last_step_nanos = 0
        self._blocked_nanos: dict[str, int] = {}
        self._told_nanos: dict[str, int] = {}
        self._must_replan = ""
        self._tracked_until_nanos = 0
        self._is_closing_sent = False

    def _new_tracker(self) -> ParticipationTracker:
        window = self.parent.parameters.participation_window_nanos
        return ParticipationTracker(
            window,
            min(window, self._tuning.shortest_window_nanos),
            own_on_tape=self.parent.plan.own_fills_on_tape is not False,
        )

    # -- What comes in ----------------------------------------------------------------------------

    def on_prints(self, prints: Prints, tape: Tape) -> None:
        """Take in a run of prints of the symbol, each once and in order; `tape` holds them already."""
        if not self.parent.arrival_time_nanos:
            return
        if (prints.flags & TradeFlag.CANCEL).any():
            self.begin(tape)
            return
        counts = (prints.flags & TradeFlag.ELIGIBLE) != 0
        counts &= (prints.flags & TradeFlag.CANCEL) == 0
        counts &= (prints.times >= self.parent.arrival_time_nanos) & (prints.times < self.end_time_nanos)
        if not counts.any():
            return
        self._count(prints.prices[counts], prints.sizes[counts])
        counts &= (prints.flags & TradeFlag.AUCTION) == 0
        self._track(prints.times[counts], prints.sizes[counts])

    def on_fill(self, fill: Fill) -> None:
        """Take in a fill that was booked."""
        self._recent.add(fill.event_time_nanos, fill.quantity_nanos)
        if fill.liquidity is not Liquidity.AUCTION:
            self.tracker.add_own_fill(fill.event_time_nanos, fill.quantity_nanos)
        self._rejected_in_a_row = 0

    def on_bust(self, fill: Fill) -> None:
        """Take back a fill."""
        self._recent.add(fill.event_time_nanos, -fill.quantity_nanos)
        if fill.liquidity is not Liquidity.AUCTION:
            self.tracker.correct_own_fill(fill.event_time_nanos, fill.quantity_nanos)

    def on_child_end(self, record: ChildRecord) -> None:
        """Take in that a child is final."""
        wanted, filled = record.child.terms.quantity_nanos, record.filled_quantity_nanos
        if record.is_immediate:
            self._ticks_beyond = self._ticks_beyond + 1 if filled < wanted else 0

    def on_child_rejected(self, reason: str) -> None:
        """Take in that a child was refused; a passive one that would have crossed does not count."""
        if reason != "POST_ONLY_WOULD_CROSS":
            self._rejected_in_a_row += 1

    def restore(self, tape: Tape) -> None:
        """Take the market since arrival and the own fills in again, and plan anew: after a restart."""
        if self.parent.arrival_time_nanos:
            self.begin(tape)
            self._must_replan = "RESTARTED"

    # -- What goes out ----------------------------------------------------------------------------

    @property
    def end_time_nanos(self) -> int:
        """End of the horizon, market time."""
        return self.parent.parameters.end_time_nanos

    @property
    def market_vwap(self) -> float:
        """VWAP of the market since arrival in currency units; 0.0 when nothing printed."""
        if not self.market_quantity_nanos:
            return 0.0
        return self.market_notional_attos / (self.market_quantity_nanos * NANO)

    @property
    def daily_volume(self) -> float:
        """Median daily volume in shares, or what has been seen so far stretched to a session; 0 for unknown."""
        plan, parent = self.parent.plan, self.parent
        if plan.median_daily_volume > 0:
            return plan.median_daily_volume
        seen_nanos = self._last_step_nanos - parent.arrival_time_nanos
        if seen_nanos < 5 * MINUTE_NANOS:
            return 0.0
        return self.market_quantity_nanos / NANO * (390 * MINUTE_NANOS) / seen_nanos

    def scheduled_nanos(self, now_nanos: int) -> int:
        """What the schedule says should be done by now, in 1e-9 shares."""
        return self.schedule.target_nanos(now_nanos) if self.schedule else 0

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
            self._arrive(decision, now_nanos, tape)
            return decision
        if parent.state is ExecutionState.STOPPING:
            self._wind_down(decision, now_nanos, parent.reason)
            return decision
        if parent.state is ExecutionState.FILLED:
            decision.is_finished = has_ended and not parent.working
            if has_ended:
                self._cancel_all(decision)
            return decision
        if has_ended and not self._waits_for_close(tape, now_nanos):
            self._wind_down(decision, now_nanos, "HORIZON_ENDED")
            return decision
        if parent.state is ExecutionState.PAUSED:
            self._cancel_all(decision)
            return decision
        if not self._follow_phase(decision, now_nanos, tape):
            self._note_blocked("HALTED", gap_nanos)
            return decision
        if gap_nanos > max(parent.parameters.max_feed_silence_nanos, _STEP_GAP_NANOS):
            self._must_replan = self._must_replan or "FEED_GAP"
        if self._must_replan:
            self._replan(decision, now_nanos, self._must_replan)
        self._control(decision, now_nanos, tape)
        if decision.events and decision.events[-1].state is ExecutionState.PAUSED:
            self._cancel_all(decision)
            return decision
        if may_send:
            self._place(decision, now_nanos, tape, gap_nanos)
        return decision

    def resume(self, now_nanos: int) -> None:
        """Go on after a pause: what was missed is planned anew at the next step."""
        if self.deviation_control.mode is Deviation.PAUSE:
            self.deviation_control.answer()
        self._rejected_in_a_row = 0
        self._must_replan = "RESUMED"

    def residual(self, now_nanos: int) -> tuple[str, str]:
        """Return why something is left, and a sentence with the numbers; empty texts when nothing is."""
        parent = self.parent
        left = parent.residual_quantity_nanos
        if not left:
            return "", ""
        reason = parent.reason if parent.reason in ("CANCELLED", "KILL_SWITCH") else ""
        if not reason and self._blocked_nanos:
            reason = max(self._blocked_nanos, key=lambda key: self._blocked_nanos[key])
        reason = reason or "HORIZON_ENDED"
        cap = parent.parameters.max_participation_rate
        share = self.participation_rate
        minutes = {key: nanos / MINUTE_NANOS for key, nanos in sorted(self._blocked_nanos.items())}
        held = ", ".join(f"{key} {value:,.1f} min" for key, value in minutes.items()) or "nothing"
        return reason, (
            f"{nanos_to_text(left)} of {nanos_to_text(parent.quantity_nanos)} shares are left:"
            f" {nanos_to_text(self.market_quantity_nanos, 0)} eligible shares traded since arrival, own share"
            f" {share:.4f}, cap {cap:g}; held back by: {held}."
        )

    @property
    def participation_rate(self) -> float:
        """Own share of the eligible volume since arrival, own included."""
        own = self.parent.filled_quantity_nanos
        volume = self.market_quantity_nanos
        if self.parent.plan.own_fills_on_tape is False:
            volume += own
        return min(own / volume, 1.0) if volume else 0.0

    # -- Arrival, phases, ends ----------------------------------------------------------------------

    def _arrive(self, decision: Decision, now: int, tape: Tape) -> None:
        parent = self.parent
        start = parent.parameters.start_time_nanos
        price = tape.quote.reference_price_nanos or tape.last_price_before(now + 1)
        if now < start or tape.phase is not MarketPhase.CONTINUOUS or not price:
            return
        # A market that opened late, or was halted at the start, begins the interval when it trades.
        arrived = max(start, min(tape.phase_time_nanos, now))
        is_mid = bool(tape.quote.mid_price_nanos)
        decision.events.append(
            self._event(
                EventKind.ARRIVED,
                now,
                ExecutionState.RUNNING,
                message=f"arrival price {nanos_to_text(price)}: {'mid of the best quote' if is_mid else 'last price'}",
                arrival_price_nanos=price,
                arrival_time_nanos=arrived,
            )
        )

    def begin(self, tape: Tape) -> None:
        """Count market and own fills since arrival from the start, and make the schedule if there is none."""
        parent, parameters = self.parent, self.parent.parameters
        arrival, end = parent.arrival_time_nanos, self.end_time_nanos
        self.tracker = self._new_tracker()
        self._tracked_until_nanos = 0
        self.market_notional_attos = self.market_quantity_nanos = self.market_trade_count = 0
        prices, sizes, times = tape.eligible(arrival)
        inside = times < end
        self._count(prices[inside], sizes[inside])
        continuous_times, continuous_sizes = tape.continuous(arrival)
        inside = continuous_times < end
        self._track(continuous_times[inside], continuous_sizes[inside])
        self._recent = RecentQuantity(self._tuning.impact.half_life_seconds)
        for fill in parent.fills.values():
            self.on_fill(fill)
        if self.schedule is None:
            # The schedule ends a little before the horizon: the last slice has to be finished too.
            tail = min(parameters.slice_nanos, (end - arrival) // 20)
            self.schedule = self._make_schedule(arrival, max(end - tail, arrival + 1))

    def _make_schedule(self, start: int, end: int) -> Schedule:
        plan, quantity, lot = self.parent.plan, self.parent.quantity_nanos, self.instrument.lot_size_nanos
        if plan.curve_shares:
            edges = [
                plan.curve_open_time_nanos + i * plan.curve_bin_nanos
                for i in range(len(plan.curve_shares) + 1)
            ]
            try:
                return StaticVwapSchedule(quantity, lot, start, end, edges, plan.curve_shares)
            except ValueError:  # the curve has no weight between arrival and end, or does not cover it
                return TwapSchedule(quantity, lot, start, end)
        return TwapSchedule(quantity, lot, start, end)

    def _follow_phase(self, decision: Decision, now: int, tape: Tape) -> bool:
        """Return whether children may be sent in this phase; stop and start the schedule's clock."""
        schedule = self.schedule
        if schedule is None:
            return False
        if tape.phase is not MarketPhase.CONTINUOUS:
            if not schedule.is_frozen and tape.phase is not MarketPhase.CLOSING_AUCTION:
                schedule.freeze(now)
            self._cancel_all(decision)
            return False
        if schedule.is_frozen:
            schedule.resume(now)
            self._must_replan = self._must_replan or "HALT"
        return True

    def _replan(self, decision: Decision, now: int, reason: str) -> None:
        assert self.schedule is not None
        parent = self.parent
        self._must_replan = ""
        before = self.schedule.target_nanos(now)
        done = min(parent.filled_quantity_nanos + parent.working_quantity_nanos, parent.quantity_nanos)
        self.schedule.replan(now, done)
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

    def _waits_for_close(self, tape: Tape, now: int) -> bool:
        return self._is_closing_sent and any(record.is_for_auction for record in self.parent.working.values())

    def _wind_down(self, decision: Decision, now: int, reason: str) -> None:
        parent = self.parent
        if parent.working:
            if parent.state is not ExecutionState.STOPPING:
                decision.events.append(self._event(EventKind.STOPPING, now, ExecutionState.STOPPING, reason))
            self._cancel_all(decision)
            return
        decision.is_finished = True

    def _cancel_all(self, decision: Decision, *, is_passive_only: bool = False) -> None:
        for client_order_id, record in self.parent.working.items():
            if record.is_cancel_requested or (is_passive_only and record.is_for_auction):
                continue
            if record.is_immediate and is_passive_only:
                continue
            decision.cancels.append(client_order_id)

    # -- Controls -----------------------------------------------------------------------------------

    def _control(self, decision: Decision, now: int, tape: Tape) -> None:
        parent = self.parent
        if self._rejected_in_a_row >= self._tuning.rejections_to_pause:
            decision.events.append(
                self._event(
                    EventKind.PAUSED,
                    now,
                    ExecutionState.PAUSED,
                    "CHILDREN_REJECTED",
                    f"{self._rejected_in_a_row} children in a row were refused",
                )
            )
            return
        own = (
            parent.filled_notional_attos / (parent.filled_quantity_nanos * NANO)
            if parent.filled_quantity_nanos
            else 0
        )
        was = self.deviation_control.mode
        change = self.deviation_control.update(
            own, self.market_vwap, parent.filled_quantity_nanos / parent.quantity_nanos
        )
        if change is not None:
            is_pause = self.deviation_control.mode is Deviation.PAUSE
            kind = EventKind.PAUSED if is_pause else EventKind.CONTROL
            state = ExecutionState.PAUSED if is_pause else parent.state
            decision.events.append(self._event(kind, now, state, *change))
            if is_pause:
                return
            if was is not Deviation.NORMAL and self.deviation_control.mode is Deviation.NORMAL:
                self._replan(decision, now, "VWAP_DEVIATION")
        change = self.impact_control.update(self._impact(now))
        if change is not None:
            decision.events.append(self._event(EventKind.CONTROL, now, parent.state, *change))
            if self.impact_control.rate is Rate.FULL:
                self._replan(decision, now, change.reason)

    def _impact(self, now: int) -> float:
        next_child = self.parent.working_quantity_nanos
        return self._tuning.impact.fraction(self._recent.at(now) + next_child, self.daily_volume)

    # -- Placement ----------------------------------------------------------------------------------

    def _place(self, decision: Decision, now: int, tape: Tape, gap_nanos: int) -> None:
        parent, parameters, instrument = self.parent, self.parent.parameters, self.instrument
        assert self.schedule is not None
        if self._place_for_close(decision, now, tape):
            return
        slice_index, due = self._due(now)
        is_silent = now - tape.last_message_time_nanos > parameters.max_feed_silence_nanos
        passive_only = is_silent or self.deviation_control.mode is not Deviation.NORMAL
        room = self._room(now)
        self._cancel_stale(decision, now, tape, due, room, passive_only=passive_only)
        if due.open <= 0 or self.impact_control.rate is Rate.NONE:
            if due.open > 0:
                self._note_blocked("CONTROL", gap_nanos)
            return
        unsent = parent.unsent_quantity_nanos
        if self.impact_control.rate is Rate.HALF:
            if self._posted_slice == slice_index:
                return
            due = Due(due.late // 2, due.open // 2, due.slice_plan)
        sent = 0
        if due.late > 0 and not passive_only:
            sent = self._cross(decision, now, tape, due, room, unsent, gap_nanos)
        elif due.late > 0 and not decision.cancels:
            self._note_blocked("CONTROL", gap_nanos)
        late = 0 if passive_only else due.late
        rest = Due(0, due.open - max(sent, late), due.slice_plan)
        if rest.open > 0 and not decision.cancels:
            self._post(decision, now, tape, rest, room - sent, unsent - sent, slice_index)

    def _due(self, now: int) -> tuple[int, Due]:
        assert self.schedule is not None
        parent, schedule = self.parent, self.schedule
        slice_nanos = parent.parameters.slice_nanos
        index = max(now - schedule.start_nanos, 0) // slice_nanos
        slice_start = schedule.start_nanos + index * slice_nanos
        slice_end = min(slice_start + slice_nanos, schedule.end_nanos)
        by_start = schedule.target_nanos(min(slice_start, now))
        by_end = schedule.target_nanos(max(slice_end, now))
        late = max(by_start - parent.filled_quantity_nanos, 0)
        open_nanos = by_end - parent.filled_quantity_nanos - parent.working_quantity_nanos
        return index, Due(late, max(open_nanos, 0), by_end - by_start)

    def _room(self, now: int) -> int:
        """Return what the cap leaves for new children, in 1e-9 shares."""
        parameters = self.parent.parameters
        cap = parameters.max_participation_rate
        tail = max((self.end_time_nanos - self.parent.arrival_time_nanos) // 20, parameters.slice_nanos)
        if parameters.completion_rule is CompletionRule.CLEAN_UP and now >= self.end_time_nanos - tail:
            cap = parameters.clean_up_participation_rate
        if cap >= 1.0:
            return INT64_MAX
        allowed = self.tracker.allowed_nanos(now, cap * (1 - self._tuning.cap_margin))
        return max(allowed - self.parent.working_quantity_nanos, 0)

    def _cancel_stale(
        self, decision: Decision, now: int, tape: Tape, due: Due, room: int, *, passive_only: bool
    ) -> None:
        """Cancel children that rest where nobody meets them, are late, or that the cap no longer covers."""
        parameters = self.parent.parameters
        near = passive_price(parameters.side, tape.quote, self.instrument, parameters.limit_price_nanos)
        working = self.parent.working_quantity_nanos
        cap = parameters.max_participation_rate
        is_above = cap < 1.0 and self._window_room(now) < working
        is_late = due.late > 0 and not passive_only and self._may_cross(tape)
        requote_nanos = parameters.slice_nanos // _REQUOTES_PER_SLICE
        for client_order_id, record in self.parent.working.items():
            if record.is_cancel_requested or record.is_immediate or record.is_for_auction:
                continue
            is_away = bool(near) and record.child.terms.limit_price_nanos != near
            if is_above or is_late or (is_away and now - self._last_child_nanos >= requote_nanos):
                decision.cancels.append(client_order_id)

    def _window_room(self, now: int) -> float:
        # What may still be done in the parent's own window, at the full cap.
        cap = self.parent.parameters.max_participation_rate
        own, volume = self.tracker.own_nanos(now), self.tracker.volume_nanos(now)
        return (cap * volume - own) / (1 - cap)

    def _may_cross(self, tape: Tape) -> bool:
        parameters = self.parent.parameters
        price = crossing_price(parameters.side, tape.quote, self.instrument, 0, parameters.limit_price_nanos)
        return price > 0

    def _cross(
        self, decision: Decision, now: int, tape: Tape, due: Due, room: int, unsent: int, gap_nanos: int
    ) -> int:
        parameters = self.parent.parameters
        price = crossing_price(
            parameters.side, tape.quote, self.instrument, self._ticks_beyond, parameters.limit_price_nanos
        )
        if not price:
            self._note_blocked("LIMIT_PRICE", gap_nanos)
            return 0
        if room < due.late:
            self._note_blocked("PARTICIPATION_CAP", gap_nanos)
        if not self._is_worth_it(now, due, min(room, due.late)):
            return 0
        quantity = child_quantity(
            due.late, due, room, parameters.min_child_quantity_nanos, unsent, self.instrument
        )
        if not quantity or not self._take_turn(now):
            return 0
        self._add(decision, crossing_terms(parameters.symbol, parameters.side, quantity, price), tape)
        return quantity

    def _post(
        self, decision: Decision, now: int, tape: Tape, due: Due, room: int, unsent: int, slice_index: int
    ) -> None:
        parameters = self.parent.parameters
        price = passive_price(parameters.side, tape.quote, self.instrument, parameters.limit_price_nanos)
        if not price or not self._is_worth_it(now, due, min(room, due.open)):
            return
        quantity = child_quantity(
            due.open, due, room, parameters.min_child_quantity_nanos, unsent, self.instrument
        )
        if not quantity or not self._take_turn(now):
            return
        self._posted_slice = slice_index
        self._add(decision, passive_terms(parameters.symbol, parameters.side, quantity, price), tape)

    def _is_worth_it(self, now: int, due: Due, quantity: int) -> bool:
        # Under a cap that binds, wait for a decent child instead of sending crumbs.
        spacing = self.parent.parameters.slice_nanos // 4
        return 4 * quantity >= due.slice_plan or now - self._last_child_nanos >= spacing

    def _place_for_close(self, decision: Decision, now: int, tape: Tape) -> bool:
        """Send what is left into the closing auction when its time has come. Return whether it has."""
        parameters, close = self.parent.parameters, tape.session_close_time_nanos
        if not close or self._is_closing_sent:
            return self._is_closing_sent
        joins = parameters.completion_rule is CompletionRule.CLOSING_AUCTION or (
            parameters.join_closing_auction and self.end_time_nanos >= close
        )
        begins = min(self.end_time_nanos - parameters.slice_nanos, close - self._tuning.closing_cutoff_nanos)
        if not joins or now < begins:
            return False
        if self.parent.working:
            self._cancel_all(decision)
            return True
        self._is_closing_sent = True
        quantity = self.instrument.floor_to_lot(self.parent.unsent_quantity_nanos)
        if quantity >= self.instrument.min_quantity_nanos:
            terms = closing_terms(parameters.symbol, parameters.side, quantity, parameters.limit_price_nanos)
            self._add(decision, terms, tape)
        return True

    def _add(self, decision: Decision, terms: OrderTerms, tape: Tape) -> None:
        number = len(self.parent.children) + len(decision.children) + 1
        mid = tape.quote.reference_price_nanos or self.parent.arrival_price_nanos
        decision.children.append(Child(f"{self.parent.execution_id}-{number}", terms, mid))

    # -- Small accounts -----------------------------------------------------------------------------

    @property
    def _last_child_nanos(self) -> int:
        return self._child_times[-1] if self._child_times else 0

    def _take_turn(self, now: int) -> bool:
        """Return whether one more child may go in this market second, and count it."""
        times = self._child_times
        while times and times[0] <= now - NANOS_PER_SECOND:
            if len(times) == 1:
                break
            times.popleft()
        if sum(1 for time in times if time > now - NANOS_PER_SECOND) >= self._tuning.max_children_per_second:
            return False
        times.append(now)
        return True

    def _note_blocked(self, reason: str, gap_nanos: int) -> None:
        self._blocked_nanos[reason] = self._blocked_nanos.get(reason, 0) + gap_nanos

    def _count(self, prices: np.ndarray, sizes: np.ndarray) -> None:  # type: ignore[type-arg]
        total = average_price(np.ascontiguousarray(prices), np.ascontiguousarray(sizes))
        self.market_notional_attos += total.notional_e18
        self.market_quantity_nanos += total.quantity_nanos
        self.market_trade_count += total.print_count

    def _track(self, times: np.ndarray, sizes: np.ndarray) -> None:  # type: ignore[type-arg]
        if not len(times):
            return
        # A late print counts as volume when it was seen, not when it happened.
        ordered = np.maximum.accumulate(np.maximum(times, self._tracked_until_nanos))
        self._tracked_until_nanos = int(ordered[-1])
        self.tracker.add_volume(ordered, np.ascontiguousarray(sizes))

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
