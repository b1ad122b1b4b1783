"""Protobuf and domain of execution: requests, views, events and reports, both ways."""

from __future__ import annotations

import math
from typing import Any

from tapeline.execution.v1 import execution_pb2
from tapeline.trading.v1 import order_pb2

from servers.execution.adapters import reports
from servers.execution.domain.events import (
    Child,
    ChildState,
    Event,
    EventKind,
    ExecutionState,
    SchedulePlan,
    Start,
)
from servers.execution.domain.experiments import Assignment, Experiment
from servers.execution.domain.fitting import FittedForecast
from servers.execution.domain.parameters import Algorithm, CompletionRule, Parameters
from servers.execution.domain.report import ExecutionReport
from servers.execution.domain.view import Execution
from servers.model.errors import InvalidInput
from servers.model.order import OrderState
from servers.wire.money import (
    nanos_from_timestamp,
    timestamp_from_nanos,
)
from servers.wire.trading import (
    fill_from_wire,
    fill_to_wire,
    rejection_from_wire,
    rejection_to_wire,
    side_from_wire,
    side_to_wire,
    terms_from_wire,
    terms_to_wire,
)

_ALGORITHMS = {algorithm.value: algorithm for algorithm in Algorithm}
_RULES = {0: CompletionRule.LEAVE_RESIDUAL, **{rule.value: rule for rule in CompletionRule}}
_FRACTIONS = (
    "max_participation_rate",
    "clean_up_participation_rate",
    "max_market_impact",
    "max_vwap_deviation",
    "target_participation_rate",
    "risk_aversion",
    "tracking_tolerance",
)
_SAME_NAME = (
    "account",
    "symbol",
    "quantity_nanos",
    "start_time_nanos",
    "end_time_nanos",
    "horizon_nanos",
    "max_participation_rate",
    "participation_window_nanos",
    "limit_price_nanos",
    "clean_up_participation_rate",
    "decision_price_nanos",
    "decision_time_nanos",
    "join_opening_auction",
    "join_closing_auction",
    "min_child_quantity_nanos",
    "max_market_impact",
    "max_vwap_deviation",
    "slice_nanos",
    "max_feed_silence_nanos",
    "target_participation_rate",
    "display_quantity_nanos",
)
# -- Parameters -------------------------------------------------------------------------------------


def parameters_from_wire(message: execution_pb2.ExecutionParameters) -> Parameters:
    """Return what is asked for, its own ranges checked. Raises InvalidInput that names the field."""
    experiment = _experiment_from_wire(message)
    # What an experiment draws takes the place of the first that it compares.
    algorithm = _ALGORITHMS.get(message.algorithm) if experiment is None else experiment.algorithms[0]
    if algorithm is None:
        raise InvalidInput(
            "ENUM_UNSPECIFIED", f"algorithm is {message.algorithm}: unspecified or unknown", field="algorithm"
        )
    rule = _RULES.get(message.completion_rule)
    if rule is None:
        raise InvalidInput(
            "ENUM_UNSPECIFIED",
            f"completion_rule is {message.completion_rule}: unknown",
            field="completion_rule",
        )
    for field in _FRACTIONS:
        if not math.isfinite(getattr(message, field)):
            raise InvalidInput("VALUE_OUT_OF_RANGE", f"{field} is not finite", field=field)
    parameters = Parameters(
        side=side_from_wire(message.side),
        algorithm=algorithm,
        completion_rule=rule,
        experiment=experiment,
        **_same(message),
    )
    parameters.validate()
    return parameters


def parameters_to_wire(parameters: Parameters) -> execution_pb2.ExecutionParameters:
    return execution_pb2.ExecutionParameters(
        side=side_to_wire(parameters.side),
        algorithm=execution_pb2.Algorithm.ValueType(parameters.algorithm),
        completion_rule=execution_pb2.CompletionRule.ValueType(parameters.completion_rule),
        risk_aversion=parameters.risk_aversion,
        tracking_tolerance=parameters.tracking_tolerance,
        experiment=None if parameters.experiment is None else experiment_to_wire(parameters.experiment),
        **{field: getattr(parameters, field) for field in _SAME_NAME},
    )


def experiment_to_wire(experiment: Experiment) -> execution_pb2.Experiment:
    return execution_pb2.Experiment(
        name=experiment.name,
        algorithms=[execution_pb2.Algorithm.ValueType(algorithm) for algorithm in experiment.algorithms],
        seed=experiment.seed,
        planned_parent_count=experiment.planned_parent_count,
        smallest_effect_bps=experiment.smallest_effect_bps,
    )


def _experiment_from_wire(message: execution_pb2.ExecutionParameters) -> Experiment | None:
    if not message.HasField("experiment"):
        return None
    if message.algorithm:
        raise InvalidInput(
            "FIELD_INVALID", "the experiment draws the algorithm: leave it out", field="algorithm"
        )
    asked = message.experiment
    algorithms = tuple(_ALGORITHMS[number] for number in asked.algorithms if number in _ALGORITHMS)
    if len(algorithms) != len(asked.algorithms):
        raise InvalidInput(
            "ENUM_UNSPECIFIED", "an algorithm of the experiment is unspecified or unknown", field="algorithms"
        )
    experiment = Experiment(
        asked.name, algorithms, asked.seed, asked.planned_parent_count, asked.smallest_effect_bps
    )
    return experiment.checked()


def _stored_experiment(message: execution_pb2.ExecutionParameters) -> Experiment | None:
    if not message.HasField("experiment"):
        return None
    kept = message.experiment
    return Experiment(
        kept.name,
        tuple(Algorithm(number) for number in kept.algorithms),
        kept.seed,
        kept.planned_parent_count,
        kept.smallest_effect_bps,
    )


def _stored_parameters(message: execution_pb2.ExecutionParameters) -> Parameters:
    # What the journal holds was checked when it was accepted.
    return Parameters(
        side=side_from_wire(message.side),
        algorithm=Algorithm(message.algorithm),
        completion_rule=CompletionRule(message.completion_rule),
        experiment=_stored_experiment(message),
        **_same(message),
    )


def _same(message: execution_pb2.ExecutionParameters) -> dict[str, Any]:
    return {
        "risk_aversion": message.risk_aversion if message.HasField("risk_aversion") else None,
        "tracking_tolerance": message.tracking_tolerance if message.HasField("tracking_tolerance") else None,
        **{field: getattr(message, field) for field in _SAME_NAME},
    }


# -- Views ------------------------------------------------------------------------------------------


def execution_to_wire(view: Execution) -> execution_pb2.Execution:
    return execution_pb2.Execution(
        execution_id=view.execution_id,
        parameters=parameters_to_wire(view.parameters),
        state=execution_pb2.ExecutionState.ValueType(view.state),
        filled_quantity_nanos=view.filled_quantity_nanos,
        working_quantity_nanos=view.working_quantity_nanos,
        scheduled_quantity_nanos=view.scheduled_quantity_nanos,
        average_price_nanos=view.average_price_nanos,
        interval_vwap_nanos=view.interval_vwap_nanos,
        slippage_vwap_bps=view.slippage_vwap_bps,
        participation_rate=view.participation_rate,
        arrival_price_nanos=view.arrival_price_nanos,
        arrival_time_nanos=view.arrival_time_nanos,
        event_time_nanos=view.event_time_nanos,
        create_time=timestamp_from_nanos(view.create_time_nanos),
        traceparent=view.traceparent,
        rejection=None if view.rejection is None else rejection_to_wire(view.rejection),
        child_count=view.child_count,
        reason=view.reason,
        schedule=execution_pb2.Algorithm.ValueType(view.schedule or 0),
        assignment=None if view.assignment is None else _assignment_to_wire(view.assignment),
        alerts=view.alerts,
    )


def report_to_wire(report: ExecutionReport, view: Execution) -> execution_pb2.ExecutionReport:
    return reports.report_to_wire(report, execution_to_wire(view))


def _assignment_to_wire(assignment: Assignment) -> execution_pb2.Assignment:
    return execution_pb2.Assignment(
        stratum=assignment.stratum, block=assignment.block, place=assignment.place
    )


def _assignment_from_wire(message: execution_pb2.Execution) -> Assignment | None:
    if not message.HasField("assignment"):
        return None
    return Assignment(message.assignment.stratum, message.assignment.block, message.assignment.place)


def execution_from_wire(message: execution_pb2.Execution) -> Execution:
    """Return a view that this server wrote."""
    return Execution(
        execution_id=message.execution_id,
        parameters=_stored_parameters(message.parameters),
        state=ExecutionState(message.state),
        filled_quantity_nanos=message.filled_quantity_nanos,
        working_quantity_nanos=message.working_quantity_nanos,
        scheduled_quantity_nanos=message.scheduled_quantity_nanos,
        average_price_nanos=message.average_price_nanos,
        interval_vwap_nanos=message.interval_vwap_nanos,
        slippage_vwap_bps=message.slippage_vwap_bps,
        participation_rate=message.participation_rate,
        arrival_price_nanos=message.arrival_price_nanos,
        arrival_time_nanos=message.arrival_time_nanos,
        event_time_nanos=message.event_time_nanos,
        create_time_nanos=nanos_from_timestamp(message.create_time),
        traceparent=message.traceparent,
        rejection=rejection_from_wire(message.rejection) if message.HasField("rejection") else None,
        child_count=message.child_count,
        reason=message.reason,
        schedule=_ALGORITHMS.get(message.schedule),
        assignment=_assignment_from_wire(message),
        alerts=tuple(message.alerts),
    )


# -- Events -----------------------------------------------------------------------------------------


def event_to_wire(
    event: Event, view: Execution, unsent_quantity_nanos: int, orders_sequence: int, create_time_nanos: int
) -> execution_pb2.ExecutionEvent:
    """Return an event for the journal: with the parent after it, and sequence 0."""
    return execution_pb2.ExecutionEvent(
        kind=execution_pb2.ExecutionEventKind.ValueType(event.kind),
        execution=execution_to_wire(view),
        child=None if event.child is None else _child_to_wire(event.child),
        reason=event.reason,
        message=event.message,
        report=None if event.report is None else report_to_wire(event.report, view),
        orders_sequence=orders_sequence,
        event_time_nanos=event.event_time_nanos,
        create_time=timestamp_from_nanos(create_time_nanos),
        unsent_quantity_nanos=unsent_quantity_nanos,
        plan=None if event.start is None else _plan_to_wire(event.start.plan),
        fills=[fill_to_wire(fill) for fill in event.fills],
        busted_fills=[fill_to_wire(fill) for fill in event.busted_fills],
        child_states=[
            execution_pb2.ChildState(
                client_order_id=child.client_order_id,
                state=order_pb2.OrderState.ValueType(child.state),
                rejection=None if child.rejection is None else rejection_to_wire(child.rejection),
            )
            for child in event.child_states
        ],
    )


def event_from_wire(message: execution_pb2.ExecutionEvent) -> Event:
    """Return an event out of the journal."""
    view, kind = message.execution, EventKind(message.kind)
    start = None
    if kind in (EventKind.STARTED, EventKind.REJECTED):
        start = Start(
            _stored_parameters(view.parameters),
            nanos_from_timestamp(view.create_time),
            view.traceparent,
            _plan_from_wire(message.plan),
            rejection_from_wire(view.rejection) if view.HasField("rejection") else None,
            _assignment_from_wire(view),
        )
    return Event(
        kind,
        view.execution_id,
        message.event_time_nanos,
        ExecutionState(view.state),
        message.reason,
        message.message,
        start,
        view.arrival_price_nanos if kind is EventKind.ARRIVED else 0,
        view.arrival_time_nanos if kind is EventKind.ARRIVED else 0,
        _child_from_wire(message.child) if message.HasField("child") else None,
        tuple(fill_from_wire(fill) for fill in message.fills),
        tuple(fill_from_wire(fill) for fill in message.busted_fills),
        tuple(
            ChildState(
                child.client_order_id,
                OrderState(child.state),
                rejection_from_wire(child.rejection) if child.HasField("rejection") else None,
            )
            for child in message.child_states
        ),
        reports.report_from_wire(message.report) if message.HasField("report") else None,
        _ALGORITHMS.get(view.schedule) if kind is EventKind.FALLBACK else None,
    )


def _child_to_wire(child: Child) -> execution_pb2.ChildOrder:
    return execution_pb2.ChildOrder(
        client_order_id=child.client_order_id,
        terms=terms_to_wire(child.terms),
        mid_price_nanos=child.mid_price_nanos,
        traceparent=child.traceparent,
    )


def _child_from_wire(message: execution_pb2.ChildOrder) -> Child:
    return Child(
        message.client_order_id, terms_from_wire(message.terms), message.mid_price_nanos, message.traceparent
    )


def _plan_to_wire(plan: SchedulePlan) -> execution_pb2.SchedulePlan:
    return execution_pb2.SchedulePlan(
        curve_shares=plan.curve_shares,
        curve_bin_nanos=plan.curve_bin_nanos,
        curve_open_time_nanos=plan.curve_open_time_nanos,
        median_daily_volume=plan.median_daily_volume,
        own_fills_on_tape=plan.own_fills_on_tape,
        fallback=plan.fallback,
        note=plan.note,
        session_close_time_nanos=plan.session_close_time_nanos,
        daily_volatility=plan.daily_volatility,
        impact_fraction=plan.impact_fraction,
        session_volume=plan.session_volume,
        session_volume_time_nanos=plan.session_volume_time_nanos,
        forecast=None if plan.forecast is None else _forecast_to_wire(plan.forecast),
        session_open_time_nanos=plan.session_open_time_nanos,
    )


def _plan_from_wire(message: execution_pb2.SchedulePlan) -> SchedulePlan:
    return SchedulePlan(
        session_close_time_nanos=message.session_close_time_nanos,
        curve_shares=tuple(message.curve_shares),
        curve_bin_nanos=message.curve_bin_nanos,
        curve_open_time_nanos=message.curve_open_time_nanos,
        median_daily_volume=message.median_daily_volume,
        own_fills_on_tape=message.own_fills_on_tape if message.HasField("own_fills_on_tape") else None,
        fallback=message.fallback,
        note=message.note,
        daily_volatility=message.daily_volatility,
        impact_fraction=message.impact_fraction,
        session_volume=message.session_volume,
        session_volume_time_nanos=message.session_volume_time_nanos,
        forecast=_forecast_from_wire(message.forecast) if message.HasField("forecast") else None,
        session_open_time_nanos=message.session_open_time_nanos,
    )


def _forecast_to_wire(forecast: FittedForecast) -> execution_pb2.VolumeForecast:
    return execution_pb2.VolumeForecast(
        curve_shares=forecast.curve_shares,
        day_volume=forecast.day_volume,
        coefficients=forecast.coefficients,
        previous_price=forecast.previous_price,
        typical_move=forecast.typical_move,
        session_count=forecast.session_count,
        peer_count=forecast.peer_count,
    )


def _forecast_from_wire(message: execution_pb2.VolumeForecast) -> FittedForecast:
    return FittedForecast(
        tuple(message.curve_shares),
        message.day_volume,
        tuple(message.coefficients),
        message.previous_price,
        message.typical_move,
        message.session_count,
        message.peer_count,
    )
