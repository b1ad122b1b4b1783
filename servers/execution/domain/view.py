"""A parent order as readers see it: its state with live figures."""

from __future__ import annotations

from dataclasses import dataclass

from native.slippage import slippage_bps
from servers.execution.domain.events import ExecutionState
from servers.execution.domain.experiments import Assignment
from servers.execution.domain.parameters import Algorithm, Parameters
from servers.execution.domain.parent import ParentOrder
from servers.execution.domain.working import WorkingParent
from servers.model.nanos import NANO, divide_half_even
from servers.model.order import Rejection


@dataclass(frozen=True, slots=True)
class Execution:
    """See tapeline.execution.v1.Execution for each field."""

    execution_id: str
    parameters: Parameters
    state: ExecutionState
    filled_quantity_nanos: int = 0
    working_quantity_nanos: int = 0
    scheduled_quantity_nanos: int = 0
    average_price_nanos: int = 0
    interval_vwap_nanos: int = 0
    slippage_vwap_bps: float = 0.0
    participation_rate: float = 0.0
    arrival_price_nanos: int = 0
    arrival_time_nanos: int = 0
    event_time_nanos: int = 0
    create_time_nanos: int = 0
    traceparent: str = ""
    rejection: Rejection | None = None
    child_count: int = 0
    reason: str = ""
    schedule: Algorithm | None = None
    assignment: Assignment | None = None
    alerts: tuple[str, ...] = ()


def execution_view(parent: ParentOrder, working: WorkingParent | None, now_nanos: int) -> Execution:
    """Return the parent as it stands at a market time; figures of a finished one come from its report."""
    vwap_nanos, bps, share, scheduled = 0, 0.0, 0.0, 0
    if parent.report is not None:
        report = parent.report
        benchmark = report.benchmark("interval_vwap")
        if benchmark is not None:
            vwap_nanos = benchmark.price_nanos
            bps = benchmark.slippage_bps if benchmark.slippage_bps == benchmark.slippage_bps else 0.0
        share, scheduled = report.participation_rate, parent.quantity_nanos
    elif working is not None:
        figures = working.figures
        if figures.quantity_nanos:
            vwap_nanos = divide_half_even(figures.notional_attos, figures.quantity_nanos)
        if vwap_nanos and parent.filled_quantity_nanos:
            own = parent.filled_notional_attos / (parent.filled_quantity_nanos * NANO)
            bps = slippage_bps(parent.parameters.side.sign, own, figures.vwap)
        share, scheduled = figures.participation_rate, working.scheduled_nanos(now_nanos)
    return Execution(
        execution_id=parent.execution_id,
        parameters=parent.parameters,
        state=parent.state,
        filled_quantity_nanos=parent.filled_quantity_nanos,
        working_quantity_nanos=parent.working_quantity_nanos,
        scheduled_quantity_nanos=scheduled,
        average_price_nanos=parent.average_price_nanos,
        interval_vwap_nanos=vwap_nanos,
        slippage_vwap_bps=bps,
        participation_rate=share,
        arrival_price_nanos=parent.arrival_price_nanos,
        arrival_time_nanos=parent.arrival_time_nanos,
        event_time_nanos=(
            parent.last_event_time_nanos if parent.is_over else max(now_nanos, parent.last_event_time_nanos)
        ),
        create_time_nanos=parent.create_time_nanos,
        traceparent=parent.traceparent,
        rejection=parent.rejection,
        child_count=parent.child_count,
        reason=parent.reason,
        schedule=_schedule_in_force(parent),
        assignment=parent.assignment,
        alerts=() if working is None or parent.is_over else working.alerts(),
    )


def _schedule_in_force(parent: ParentOrder) -> Algorithm | None:
    if not parent.arrival_time_nanos:
        return None
    return parent.schedule or parent.parameters.algorithm
