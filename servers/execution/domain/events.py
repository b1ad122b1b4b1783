"""Facts about one parent order: what the journal keeps, what replay folds, what readers follow."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from servers.execution.domain.experiments import Assignment
from servers.execution.domain.fitting import FittedForecast
from servers.execution.domain.parameters import Algorithm, Parameters
from servers.execution.domain.report import ExecutionReport
from servers.model.order import Fill, OrderState, OrderTerms, Rejection


class ExecutionState(IntEnum):
    """The numbers are those of tapeline.execution.v1.ExecutionState."""

    PENDING = 1
    RUNNING = 2
    PAUSED = 3
    STOPPING = 4
    FILLED = 5
    DONE = 6
    CANCELLED = 7
    REJECTED = 8

    @property
    def is_final(self) -> bool:
        """Whether nothing more will be traded."""
        return self >= ExecutionState.FILLED


class EventKind(IntEnum):
    """The numbers are those of tapeline.execution.v1.ExecutionEventKind."""

    STARTED = 1
    REJECTED = 2
    CHILD = 3
    PROGRESS = 4
    PAUSED = 5
    RESUMED = 6
    CONTROL = 7
    REPLANNED = 8
    STOPPING = 9
    FINISHED = 10
    ARRIVED = 11
    FALLBACK = 12
    ALERT = 13


@dataclass(frozen=True, slots=True)
class Child:
    """A child as it was planned: its full content, so that a resend is identical."""

    client_order_id: str
    terms: OrderTerms
    mid_price_nanos: int
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class ChildState:
    """A final state of a child, as orders reported it."""

    client_order_id: str
    state: OrderState
    rejection: Rejection | None = None


@dataclass(frozen=True, slots=True)
class SchedulePlan:
    """What a parent was planned from, kept so that a restart plans the same.

    Attributes:
        curve_shares: share of the session's volume in each bin from the open; empty for equal quantities.
        median_daily_volume: shares; 0 without history.
        own_fills_on_tape: whether own fills print on the tape; None when the feed does not say.
        fallback: the schedule that was asked for but could not be had, and why.
        note: what was changed of the request.
        daily_volatility: standard deviation of a day's return as a fraction, for SHORTFALL.
        impact_fraction: what trading at 1 % of the daily volume costs as a fraction, for SHORTFALL.
        session_volume: eligible shares of the session by `session_volume_time_nanos`, for ADAPTIVE_VWAP.
        forecast: what ADAPTIVE_VWAP expects of the session; None where it was not fitted.
        session_open_time_nanos: open of the session, UTC epoch nanoseconds; 0 in plans of old.
    """

    session_close_time_nanos: int
    curve_shares: tuple[float, ...] = ()
    curve_bin_nanos: int = 0
    curve_open_time_nanos: int = 0
    median_daily_volume: float = 0.0
    own_fills_on_tape: bool | None = None
    fallback: str = ""
    note: str = ""
    daily_volatility: float = 0.0
    impact_fraction: float = 0.0
    session_volume: float = 0.0
    session_volume_time_nanos: int = 0
    forecast: FittedForecast | None = None
    session_open_time_nanos: int = 0


@dataclass(frozen=True, slots=True)
class Start:
    """The content of STARTED and REJECTED."""

    parameters: Parameters
    create_time_nanos: int
    traceparent: str
    plan: SchedulePlan
    rejection: Rejection | None = None
    assignment: Assignment | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One fact. `state` is the parent's state after it; times are market time, UTC epoch nanoseconds.

    Attributes:
        schedule: the schedule in force after FALLBACK; None otherwise.
    """

    kind: EventKind
    execution_id: str
    event_time_nanos: int
    state: ExecutionState
    reason: str = ""
    message: str = ""
    start: Start | None = None
    arrival_price_nanos: int = 0
    arrival_time_nanos: int = 0
    child: Child | None = None
    fills: tuple[Fill, ...] = ()
    busted_fills: tuple[Fill, ...] = ()
    child_states: tuple[ChildState, ...] = ()
    report: ExecutionReport | None = field(default=None, compare=False)
    schedule: Algorithm | None = None
