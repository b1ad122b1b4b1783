"""A parent order's durable state: the fold of its events."""

from __future__ import annotations

from dataclasses import dataclass, field

from servers.execution.domain.events import Child, ChildState, Event, EventKind, ExecutionState, SchedulePlan
from servers.execution.domain.experiments import Assignment
from servers.execution.domain.parameters import Algorithm, Parameters
from servers.execution.domain.report import ExecutionReport
from servers.model.nanos import divide_half_even
from servers.model.order import Fill, OrderState, Rejection, TimeInForce

REASONS_TO_STOP = ("CANCELLED", "KILL_SWITCH", "HORIZON_ENDED")
"""Of STOPPING; any other reason is that of a pause."""

MOST_TOLD = 4
"""Changes of the schedule that a report tells one by one."""


@dataclass(slots=True)
class ChildRecord:
    """A child with what has become of it.

    Attributes:
        is_cancel_requested: a cancel is on its way; not durable, a restart asks again.
    """

    child: Child
    filled_quantity_nanos: int = 0
    state: OrderState = OrderState.PENDING_NEW
    is_cancel_requested: bool = False

    @property
    def leaves_quantity_nanos(self) -> int:
        """What may still fill."""
        return 0 if self.state.is_final else self.child.terms.quantity_nanos - self.filled_quantity_nanos

    @property
    def is_immediate(self) -> bool:
        """Whether it takes liquidity or nothing."""
        return self.child.terms.time_in_force is TimeInForce.IOC

    @property
    def is_for_auction(self) -> bool:
        """Whether it waits for an auction."""
        return self.child.terms.order_type.is_on_close


@dataclass(slots=True)
class ParentOrder:
    """One parent order. Change it through `apply` alone: replaying its events gives the same again."""

    execution_id: str
    parameters: Parameters
    plan: SchedulePlan
    create_time_nanos: int
    traceparent: str
    state: ExecutionState
    rejection: Rejection | None = None
    reason: str = ""
    arrival_price_nanos: int = 0
    arrival_time_nanos: int = 0
    children: dict[str, ChildRecord] = field(default_factory=dict)
    working: dict[str, ChildRecord] = field(default_factory=dict)
    fills: dict[str, Fill] = field(default_factory=dict)
    filled_quantity_nanos: int = 0
    filled_notional_attos: int = 0
    last_event_time_nanos: int = 0
    last_fill_time_nanos: int = 0
    report: ExecutionReport | None = None
    schedule: Algorithm | None = None
    fallbacks: list[str] = field(default_factory=list)
    assignment: Assignment | None = None

    @classmethod
    def from_event(cls, event: Event) -> ParentOrder:
        """Return the parent that STARTED or REJECTED describes."""
        if event.start is None:
            raise ValueError(f"{event.kind.name} does not begin a parent order")
        start = event.start
        return cls(
            event.execution_id,
            start.parameters,
            start.plan,
            start.create_time_nanos,
            start.traceparent,
            event.state,
            start.rejection,
            event.reason,
            last_event_time_nanos=event.event_time_nanos,
            assignment=start.assignment,
        )

    @property
    def quantity_nanos(self) -> int:
        """The whole quantity in 1e-9 shares."""
        return self.parameters.quantity_nanos

    @property
    def working_quantity_nanos(self) -> int:
        """At the venue or on the way to it, in 1e-9 shares."""
        return sum(record.leaves_quantity_nanos for record in self.working.values())

    @property
    def unsent_quantity_nanos(self) -> int:
        """What has not been sent and may still be: what risk keeps reserved, in 1e-9 shares."""
        if self.state.is_final or self.state is ExecutionState.STOPPING:
            return 0
        return max(self.quantity_nanos - self.filled_quantity_nanos - self.working_quantity_nanos, 0)

    @property
    def residual_quantity_nanos(self) -> int:
        """What is not filled, in 1e-9 shares."""
        return max(self.quantity_nanos - self.filled_quantity_nanos, 0)

    @property
    def state_below_quantity(self) -> ExecutionState:
        """State that a bust takes a filled parent back to: what it was told to do still holds."""
        if self.reason in REASONS_TO_STOP:
            return ExecutionState.STOPPING
        if self.reason:
            return ExecutionState.PAUSED
        return ExecutionState.RUNNING if self.arrival_time_nanos else ExecutionState.PENDING

    @property
    def average_price_nanos(self) -> int:
        """Average fill price, rounded half to even; 0 when nothing is filled."""
        if not self.filled_quantity_nanos:
            return 0
        return divide_half_even(self.filled_notional_attos, self.filled_quantity_nanos)

    @property
    def fallback(self) -> str:
        """What was not followed as it was asked for, and why: at the start, then the first few changes."""
        told = self.fallbacks[:MOST_TOLD]
        if len(self.fallbacks) > MOST_TOLD:
            told.append(f"{len(self.fallbacks) - MOST_TOLD} more changes of the schedule.")
        return " ".join(text for text in (self.plan.fallback, *told) if text)

    @property
    def volume_forecast(self) -> str:
        """Which forecast of volume the schedule follows, for people; empty where it follows none."""
        plan = self.plan
        if self.parameters.algorithm is not Algorithm.ADAPTIVE_VWAP:
            return ""
        if plan.forecast is not None:
            return plan.forecast.sentence
        if plan.median_daily_volume > 0:
            return (
                "not fitted: earlier sessions say too little, or could not be had; their mean curve, a median"
                f" day of {plan.median_daily_volume:,.0f} shares and the coefficients that hold without a fit"
            )
        return "not fitted: no volume history; a typical curve, at the level of what trades in the session"

    @property
    def child_count(self) -> int:
        """How many children there have been."""
        return len(self.children) if self.report is None else self.report.child_count

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be written about it: reported or refused."""
        return self.report is not None or self.state is ExecutionState.REJECTED

    def next_child_id(self) -> str:
        """Return the id of the next child, fixed before it is sent."""
        return f"{self.execution_id}-{len(self.children) + 1}"

    def mids_when_sent(self) -> list[int]:
        """Return, for each fill, the mid at which its child was planned, in 1e-9 currency units."""
        return [self.children[fill.client_order_id].child.mid_price_nanos for fill in self.fills.values()]

    def apply(self, event: Event) -> None:
        """Take in one event of this parent."""
        self.state = event.state
        self.last_event_time_nanos = max(self.last_event_time_nanos, event.event_time_nanos)
        match event.kind:
            case EventKind.ARRIVED:
                self.arrival_price_nanos = event.arrival_price_nanos
                self.arrival_time_nanos = event.arrival_time_nanos
            case EventKind.CHILD if event.child is not None:
                record = ChildRecord(event.child)
                self.children[event.child.client_order_id] = record
                self.working[event.child.client_order_id] = record
            case EventKind.PROGRESS:
                for fill in event.busted_fills:
                    self._unbook(fill)
                for fill in event.fills:
                    self._book(fill)
                for child_state in event.child_states:
                    self._end(child_state)
            case EventKind.PAUSED | EventKind.STOPPING:
                self.reason = event.reason
            case EventKind.RESUMED:
                self.reason = ""
            case EventKind.FALLBACK:
                self.schedule = event.schedule
                self.fallbacks.append(f"{event.message}.")
            case EventKind.FINISHED:
                self.report = event.report
                # Nobody asks for them again, and a server lives for years: the journal keeps them.
                self.children, self.fills = {}, {}
            case _:
                pass

    def _book(self, fill: Fill) -> None:
        record = self.children[fill.client_order_id]
        self.fills[fill.venue_execution_id] = fill
        self.last_fill_time_nanos = max(self.last_fill_time_nanos, fill.event_time_nanos)
        self.filled_quantity_nanos += fill.quantity_nanos
        self.filled_notional_attos += fill.notional_attos
        record.filled_quantity_nanos += fill.quantity_nanos
        if not record.state.is_final and record.filled_quantity_nanos >= record.child.terms.quantity_nanos:
            record.state = OrderState.FILLED
            del self.working[fill.client_order_id]

    def _unbook(self, fill: Fill) -> None:
        booked = self.fills.pop(fill.venue_execution_id)
        self.filled_quantity_nanos -= booked.quantity_nanos
        self.filled_notional_attos -= booked.notional_attos
        self.children[booked.client_order_id].filled_quantity_nanos -= booked.quantity_nanos

    def _end(self, child_state: ChildState) -> None:
        record = self.children[child_state.client_order_id]
        record.state = child_state.state
        self.working.pop(child_state.client_order_id, None)
