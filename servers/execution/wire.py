"""Protobuf and domain of execution: requests, views, events and reports, both ways."""

from __future__ import annotations

import math
from decimal import Context, Decimal
from typing import Any

from google.type.money_pb2 import Money as WireMoney
from tapeline.execution.v1 import execution_pb2
from tapeline.trading.v1 import order_pb2

from native.slippage import Shortfall
from servers.execution.domain.events import (
    Child,
    ChildState,
    Event,
    EventKind,
    ExecutionState,
    SchedulePlan,
    Start,
)
from servers.execution.domain.parameters import Algorithm, CompletionRule, Parameters
from servers.execution.domain.quality import Markout, Quality
from servers.execution.domain.report import Benchmark, ExecutionReport
from servers.execution.domain.view import Execution
from servers.model.errors import InvalidInput
from servers.model.nanos import Money
from servers.model.order import OrderState
from servers.wire.money import (
    attos_to_decimal,
    money_from_wire,
    money_to_wire,
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
_MARKOUT_FIELDS = ("horizon_nanos", "cost_bps", "maker_bps", "taker_bps", "fill_count")
_REPORT_SAME_NAME = (
    "residual_quantity_nanos",
    "residual_reason",
    "residual_message",
    "interval_volume",
    "interval_trade_count",
    "interval_start_time_nanos",
    "interval_end_time_nanos",
    "eligibility_rule",
    "peak_window_participation_rate",
    "duration_nanos",
    "fill_count",
    "child_count",
    "impact_model",
    "fallback",
    "own_fills_in_benchmark",
    "interval_vwap_other",
    "maker_quantity_nanos",
    "taker_quantity_nanos",
    "auction_quantity_nanos",
)


# -- Parameters -------------------------------------------------------------------------------------


def parameters_from_wire(message: execution_pb2.ExecutionParameters) -> Parameters:
    """Return what is asked for, its own ranges checked. Raises InvalidInput that names the field."""
    algorithm = _ALGORITHMS.get(message.algorithm)
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
        **{field: getattr(parameters, field) for field in _SAME_NAME},
    )


def _stored_parameters(message: execution_pb2.ExecutionParameters) -> Parameters:
    # What the journal holds was checked when it was accepted.
    return Parameters(
        side=side_from_wire(message.side),
        algorithm=Algorithm(message.algorithm),
        completion_rule=CompletionRule(message.completion_rule),
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
    )


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
        report_from_wire(message.report) if message.HasField("report") else None,
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
    )


# -- Reports ----------------------------------------------------------------------------------------


def report_to_wire(report: ExecutionReport, view: Execution) -> execution_pb2.ExecutionReport:
    costs, code = report.shortfall, report.currency_code
    return execution_pb2.ExecutionReport(
        execution=execution_to_wire(view),
        benchmarks=[
            execution_pb2.Benchmark(
                name=benchmark.name,
                price_nanos=benchmark.price_nanos,
                price=benchmark.price,
                slippage_bps=benchmark.slippage_bps,
                slippage=money_to_wire(Money(code, benchmark.slippage_attos)),
                note=benchmark.note,
            )
            for benchmark in report.benchmarks
        ],
        shortfall=execution_pb2.Shortfall(
            delay=attos_to_decimal(costs.delay_e18),
            spread=attos_to_decimal(costs.spread_e18),
            impact=attos_to_decimal(costs.impact_e18),
            timing=attos_to_decimal(costs.timing_e18),
            opportunity=attos_to_decimal(costs.opportunity_e18),
            fees=attos_to_decimal(costs.fees_e18),
            total=attos_to_decimal(costs.total_e18),
            currency_code=code,
        ),
        fees=money_to_wire(Money(code, costs.fees_e18)),
        markouts=[
            execution_pb2.Markout(**{field: getattr(markout, field) for field in _MARKOUT_FIELDS})
            for markout in report.markouts
        ],
        quality=None if report.quality is None else _quality_to_wire(report.quality),
        **{field: getattr(report, field) for field in _REPORT_SAME_NAME},
    )


def report_from_wire(message: execution_pb2.ExecutionReport) -> ExecutionReport:
    """Return a report that this server wrote."""
    costs = message.shortfall
    parts = (costs.delay, costs.spread, costs.impact, costs.timing, costs.opportunity, costs.fees)
    return ExecutionReport(
        benchmarks=tuple(
            Benchmark(
                benchmark.name,
                benchmark.price_nanos,
                benchmark.price,
                benchmark.slippage_bps,
                _attos(benchmark.slippage),
                benchmark.note,
            )
            for benchmark in message.benchmarks
        ),
        shortfall=Shortfall(*(_decimal_attos(part.value) for part in parts)),
        currency_code=costs.currency_code,
        participation_rate=message.execution.participation_rate,
        markouts=tuple(
            Markout(**{field: getattr(markout, field) for field in _MARKOUT_FIELDS})
            for markout in message.markouts
        ),
        quality=_quality_from_wire(message.quality) if message.HasField("quality") else None,
        **{field: getattr(message, field) for field in _REPORT_SAME_NAME},
    )


def _quality_to_wire(quality: Quality) -> execution_pb2.QualityScore:
    return execution_pb2.QualityScore(
        tracking=quality.tracking,
        shortfall=quality.shortfall,
        completion=quality.completion,
        conformance=quality.conformance,
        score=quality.score,
        control_count=quality.control_count,
        note=quality.note,
    )


def _quality_from_wire(message: execution_pb2.QualityScore) -> Quality:
    return Quality(
        message.tracking if message.HasField("tracking") else None,
        message.shortfall if message.HasField("shortfall") else None,
        message.completion,
        message.conformance,
        message.control_count,
        message.note,
    )


def _attos(message: WireMoney) -> int:
    return money_from_wire(message, "slippage").attos


def _decimal_attos(text: str) -> int:
    return int(Decimal(text).scaleb(18, Context(prec=60)))
