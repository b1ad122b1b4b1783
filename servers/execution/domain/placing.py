"""Which children to send and to cancel at a market time, for one parent in continuous trading.

See `placement` for the rule and the prices. This keeps what the rule needs from step to step: when the
last children went, how far crossing has to reach, and what held the parent back for how long.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from zlib import crc32

from native.iceberg import IcebergSlices
from servers.execution.domain.controls import Rate
from servers.execution.domain.events import Child
from servers.execution.domain.figures import Figures
from servers.execution.domain.finishing import Plan
from servers.execution.domain.impact import ImpactModel
from servers.execution.domain.parameters import MINUTE_NANOS, CompletionRule
from servers.execution.domain.parent import ChildRecord, ParentOrder
from servers.execution.domain.placement import (
    REACHES_E4,
    Due,
    child_quantity,
    closing_terms,
    crossing_price,
    crossing_terms,
    opening_price,
    opening_terms,
    passive_price,
    passive_terms,
)
from servers.execution.domain.tape import Tape
from servers.model.clock import NANOS_PER_SECOND
from servers.model.instrument import Instrument
from servers.model.nanos import INT64_MAX
from servers.model.order import OrderTerms
from servers.model.participation import ASSUMED_PACE

_REQUOTES_PER_SLICE = 6
_LEARNING_RATE = 0.3
_LEAST_IMMEDIATE_SHARE = 0.3
_OPENING_NOTICE_NANOS = MINUTE_NANOS


@dataclass(frozen=True, slots=True)
class Tuning:
    """How children are placed; the same for every parent.

    Args:
        max_children_per_second: children a market second and parent.
        cap_margin: share of the cap that is left unused when a child is granted, because the volume of
            the trailing window may fall before it fills.
        assumed_pace: share of its present pace that volume is taken to keep after a child has filled, so that
            the cap goes on to hold while older volume leaves the window.
        closing_cutoff_nanos: time before the close at which a residual goes into the closing auction.
        rejections_to_tell: children refused in a row by risk or the venue before an event says so.
        impact_fraction: what trading at 1 % of the daily volume is taken to cost, as a fraction of the price,
            when the shortfall schedule is planned.
        schedule_band: distance of the filled from the scheduled share that is told, as a fraction.
        band_patience_nanos: market time for which it must be.
    """

    max_children_per_second: int = 4
    cap_margin: float = 0.02
    assumed_pace: float = ASSUMED_PACE
    closing_cutoff_nanos: int = 5 * MINUTE_NANOS
    rejections_to_tell: int = 5
    impact: ImpactModel = field(default_factory=ImpactModel)
    impact_fraction: float = 0.0005
    schedule_band: float = 0.05
    band_patience_nanos: int = 2 * MINUTE_NANOS


@dataclass(slots=True)
class Orders:
    """Children to send and ids of children to cancel."""

    children: list[Child] = field(default_factory=list)
    cancels: list[str] = field(default_factory=list)


class Placer:
    """Places one parent's children under its cap."""

    def __init__(self, parent: ParentOrder, instrument: Instrument, figures: Figures, tuning: Tuning) -> None:
        self._parent = parent
        self._instrument = instrument
        self._figures = figures
        self._tuning = tuning
        self._child_times: deque[int] = deque(maxlen=tuning.max_children_per_second)
        self._posted_slice = -1
        self._reach_level = 0
        self._immediate_share = 1.0
        self._lasting: dict[str, int] = {}
        shown, lot = parent.parameters.display_quantity_nanos, instrument.lot_size_nanos
        self._slices = IcebergSlices(shown, lot, seed=crc32(parent.execution_id.encode())) if shown else None
        self.is_auction_joined = False
        self.held_back_nanos: dict[str, int] = {}

    # -- What the children tell ---------------------------------------------------------------------

    def on_child_end(self, record: ChildRecord) -> None:
        """Take in that a child is final: one that crossed in vain makes the next one reach farther."""
        wanted, filled = record.child.terms.quantity_nanos, record.filled_quantity_nanos
        if record.is_for_auction and not filled:  # refused, or taken out by a pause: it may join again
            self.is_auction_joined = False
        was_lasting = self._lasting.pop(record.child.client_order_id, None) is not None
        if record.is_immediate:
            self._immediate_share += _LEARNING_RATE * (filled / wanted - self._immediate_share)
        if record.is_immediate or was_lasting:
            level = self._reach_level + (2 * filled < wanted) - (filled >= wanted)
            self._reach_level = min(max(level, 0), len(REACHES_E4) - 1)

    def hold_back(self, reason: str, nanos: int) -> None:
        """Note that something held the parent back for so long."""
        self.held_back_nanos[reason] = self.held_back_nanos.get(reason, 0) + nanos

    # -- Continuous trading -------------------------------------------------------------------------

    def place(
        self, now: int, tape: Tape, schedule: Plan, rate: Rate, gap_nanos: int, *, is_passive_only: bool
    ) -> Orders:
        """Return what to send and cancel now. `gap_nanos` is the market time since the step before."""
        orders = Orders()
        if self._joins_close(now, tape):
            self._place_for_close(orders, tape)
            return orders
        slice_index, due = self._due(now, schedule)
        room = self._room(now)
        orders.cancels.extend(self._stale(now, tape, due, is_passive_only=is_passive_only))
        if due.open <= 0:
            return orders
        if rate is Rate.NONE:
            self.hold_back("CONTROL", gap_nanos)
            return orders
        if rate is Rate.HALF:
            if self._posted_slice == slice_index:
                return orders
            due = Due(due.late // 2, due.open // 2, due.slice_plan)
        crossed = 0
        if due.late > 0 and is_passive_only:
            self.hold_back("CONTROL", gap_nanos)
        elif due.late > 0:
            crossed = self._cross(orders, now, tape, due, room, gap_nanos)
        late = 0 if is_passive_only else due.late
        rest = Due(0, due.open - max(crossed, late), due.slice_plan)
        if (
            rest.open > 0
            and not orders.cancels
            and self._post(orders, now, tape, rest, room - crossed, crossed)
        ):
            self._posted_slice = slice_index
        return orders

    def working(self, *, for_auction: bool) -> Iterator[str]:
        """Yield the ids of working children that no cancel was asked for yet."""
        for client_order_id, record in self._parent.working.items():
            if not record.is_cancel_requested and (for_auction or not record.is_for_auction):
                yield client_order_id

    def _due(self, now: int, schedule: Plan) -> tuple[int, Due]:
        parent, slice_nanos = self._parent, self._parent.parameters.slice_nanos
        index = max(now - schedule.start_nanos, 0) // slice_nanos
        slice_start = schedule.start_nanos + index * slice_nanos
        slice_end = min(slice_start + slice_nanos, schedule.end_nanos)
        by_start = schedule.target_nanos(min(slice_start, now))
        by_end = schedule.target_nanos(max(slice_end, now))
        late = max(by_start - parent.filled_quantity_nanos, 0)
        open_nanos = by_end - parent.filled_quantity_nanos - parent.working_quantity_nanos
        return index, Due(late, max(open_nanos, 0), by_end - by_start)

    def _cap(self, now: int) -> float:
        parameters = self._parent.parameters
        end = parameters.end_time_nanos
        tail = max((end - self._parent.arrival_time_nanos) // 20, parameters.slice_nanos)
        if parameters.completion_rule is CompletionRule.CLEAN_UP and now >= end - tail:
            return parameters.clean_up_participation_rate
        return parameters.max_participation_rate

    def _room(self, now: int) -> int:
        cap = self._cap(now)
        return INT64_MAX if cap >= 1.0 else self._figures.room(now, cap * (1 - self._tuning.cap_margin))

    def _stale(self, now: int, tape: Tape, due: Due, *, is_passive_only: bool) -> Iterator[str]:
        # Children that rest where nobody meets them, that are late, or that the cap no longer covers.
        parameters = self._parent.parameters
        near = passive_price(parameters.side, tape.quote, self._instrument, parameters.limit_price_nanos)
        cap = self._cap(now)
        is_above = cap < 1.0 and self._figures.window_room(now, cap) < self._parent.working_quantity_nanos
        is_late = due.late > 0 and not is_passive_only and self._crossing_price(tape, 0) > 0
        requote_nanos = parameters.slice_nanos // _REQUOTES_PER_SLICE
        may_requote = now - self._last_child_nanos >= requote_nanos
        for client_order_id in self.working(for_auction=False):
            record = self._parent.working[client_order_id]
            if client_order_id in self._lasting:
                if is_above or now - self._lasting[client_order_id] >= requote_nanos:
                    yield client_order_id
                continue
            is_away = bool(near) and record.child.terms.limit_price_nanos != near
            if not record.is_immediate and (is_above or is_late or (is_away and may_requote)):
                yield client_order_id

    def _crossing_price(self, tape: Tape, level: int) -> int:
        parameters = self._parent.parameters
        limit = parameters.limit_price_nanos
        return crossing_price(parameters.side, tape.quote, self._instrument, level, limit)

    def _cross(self, orders: Orders, now: int, tape: Tape, due: Due, room: int, gap_nanos: int) -> int:
        parameters = self._parent.parameters
        price = self._crossing_price(tape, self._reach_level)
        if not price:
            self.hold_back("LIMIT_PRICE" if parameters.limit_price_nanos else "NO_QUOTE", gap_nanos)
            return 0
        if room < due.late:
            self.hold_back("PARTICIPATION_CAP", gap_nanos)
        crossing = sum(
            record.leaves_quantity_nanos
            for key, record in self._parent.working.items()
            if record.is_immediate or key in self._lasting
        )
        quantity = self._quantity(now, due, due.late - crossing, room, 0)
        if quantity:
            is_immediate = self._immediate_share >= _LEAST_IMMEDIATE_SHARE
            terms = crossing_terms(
                parameters.symbol, parameters.side, quantity, price, is_immediate=is_immediate
            )
            child = self._add(orders, terms, tape)
            if not is_immediate:
                self._lasting[child.client_order_id] = now
        return quantity

    def _post(self, orders: Orders, now: int, tape: Tape, due: Due, room: int, crossed: int) -> bool:
        parameters = self._parent.parameters
        price = passive_price(parameters.side, tape.quote, self._instrument, parameters.limit_price_nanos)
        wanted = due.open
        if self._slices is not None:
            shown = self._slices.size_nanos(len(self._parent.children) + len(orders.children), wanted)
            wanted = max(shown, parameters.min_child_quantity_nanos)
        quantity = self._quantity(now, due, wanted, room, crossed) if price else 0
        if quantity:
            self._add(orders, passive_terms(parameters.symbol, parameters.side, quantity, price), tape)
        return quantity > 0

    def _quantity(self, now: int, due: Due, wanted: int, room: int, crossed: int) -> int:
        # Under a cap that binds, wait for a decent child instead of sending crumbs; take a turn when sending.
        parameters = self._parent.parameters
        if wanted <= 0:
            return 0
        is_decent = 4 * min(room, wanted) >= due.slice_plan
        if not is_decent and now - self._last_child_nanos < parameters.slice_nanos // 12:
            return 0
        unsent = self._parent.unsent_quantity_nanos - crossed
        quantity = child_quantity(
            wanted, due, room, parameters.min_child_quantity_nanos, unsent, self._instrument
        )
        return quantity if quantity and self._take_turn(now) else 0

    # -- Auctions -----------------------------------------------------------------------------------

    def place_for_open(self, now: int, tape: Tape, schedule: Plan) -> Orders:
        """Return the child for the opening auction, within a minute of it: what the first slice asks for."""
        orders = Orders()
        parameters, opens = self._parent.parameters, tape.session_open_time_nanos
        if (
            not parameters.join_opening_auction
            or self._parent.children
            or not opens - _OPENING_NOTICE_NANOS <= now < opens
            or parameters.start_time_nanos > opens
        ):
            return orders
        limit = parameters.limit_price_nanos
        price = opening_price(parameters.side, tape.quote, self._instrument, limit)
        first = schedule.target_nanos(schedule.start_nanos + parameters.slice_nanos)
        quantity = self._instrument.floor_to_lot(first)
        if price and quantity >= self._instrument.min_quantity_nanos:
            self._take_turn(now)
            self._add(orders, opening_terms(parameters.symbol, parameters.side, quantity, price), tape)
        return orders

    def _joins_close(self, now: int, tape: Tape) -> bool:
        parameters, close = self._parent.parameters, tape.session_close_time_nanos
        if self.is_auction_joined:
            return True
        joins = parameters.completion_rule is CompletionRule.CLOSING_AUCTION or (
            parameters.join_closing_auction and parameters.end_time_nanos >= close
        )
        last_moment = close - self._tuning.closing_cutoff_nanos
        begins = min(parameters.end_time_nanos - parameters.slice_nanos, last_moment)
        return joins and bool(close) and now >= begins

    def _place_for_close(self, orders: Orders, tape: Tape) -> None:
        if self.is_auction_joined:
            return
        if self._parent.working:
            orders.cancels.extend(self.working(for_auction=False))
            return
        self.is_auction_joined = True
        parameters = self._parent.parameters
        quantity = self._instrument.floor_to_lot(self._parent.unsent_quantity_nanos)
        if quantity >= self._instrument.min_quantity_nanos:
            limit = parameters.limit_price_nanos
            self._add(orders, closing_terms(parameters.symbol, parameters.side, quantity, limit), tape)

    # -- Small accounts -----------------------------------------------------------------------------

    @property
    def _last_child_nanos(self) -> int:
        return self._child_times[-1] if self._child_times else 0

    def _take_turn(self, now: int) -> bool:
        """Return whether one more child may go in this market second, and count it."""
        times = self._child_times
        if len(times) == times.maxlen and times[0] > now - NANOS_PER_SECOND:
            return False
        times.append(now)
        return True

    def _add(self, orders: Orders, terms: OrderTerms, tape: Tape) -> Child:
        number = len(self._parent.children) + len(orders.children) + 1
        mid = tape.quote.reference_price_nanos or self._parent.arrival_price_nanos
        child = Child(f"{self._parent.execution_id}-{number}", terms, mid)
        orders.children.append(child)
        return child
