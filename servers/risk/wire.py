"""Protobuf to risk's values and back."""

from __future__ import annotations

from typing import Any

from google.type.money_pb2 import Money as WireMoney
from tapeline.execution.v1 import execution_pb2
from tapeline.orders.v1 import order_event_pb2
from tapeline.portfolio.v1 import position_pb2
from tapeline.risk.v1 import limits_pb2, risk_service_pb2
from tapeline.trading.v1 import order_pb2

from servers.model.errors import InvalidInput
from servers.model.nanos import INT64_MAX, NANO, Money
from servers.model.order import (
    FINAL_STATES,
    OrderTerms,
    OrderType,
    Rejection,
    Side,
    TimeInForce,
    check_account,
    check_client_order_id,
    check_range,
    check_symbol,
)
from servers.risk.domain.facts import (
    AdjustmentFact,
    AdjustmentKind,
    ExecutionCheck,
    OrderCheck,
    OrderEventKind,
    OrderFact,
    ParentFact,
)
from servers.risk.domain.limits import KillSwitch, Limits
from servers.risk.domain.simulation import TailRisk
from servers.risk.engine import SymbolReport
from servers.wire.money import money_from_wire, money_to_wire, nanos_from_timestamp, timestamp_from_nanos
from servers.wire.trading import fill_from_wire, rejection_to_wire, side_from_wire, terms_from_wire

APPROVED = risk_service_pb2.Verdict(is_approved=True)
MOST_CHECKS = 1_024

_OPTIONAL_NUMBERS = (
    "max_order_quantity_nanos",
    "price_collar",
    "max_position_nanos",
    "max_participation",
    "max_orders_per_second",
    "max_messages_per_second",
    "duplicate_window_seconds",
    "max_reference_age_seconds",
)
_MONEY = ("max_order_notional", "max_gross_exposure", "max_daily_loss", "buying_power")
_FINAL_STATES = frozenset(state.value for state in FINAL_STATES)
_FINAL_EXECUTIONS = frozenset(
    {
        execution_pb2.EXECUTION_STATE_FILLED,
        execution_pb2.EXECUTION_STATE_DONE,
        execution_pb2.EXECUTION_STATE_CANCELLED,
        execution_pb2.EXECUTION_STATE_REJECTED,
    }
)
_KINDS = {kind.value: kind for kind in OrderEventKind}
_SIDES = {side.value: side for side in Side}
_TYPES = {kind.value: kind for kind in OrderType}
_TIMES = {kind.value: kind for kind in TimeInForce}


# -- Checks -----------------------------------------------------------------------------------------


def check_from_wire(message: risk_service_pb2.OrderCheck) -> OrderCheck:
    """Return the check; raises InvalidInput for ids and terms that can never be right."""
    execution_id, replace_request_id = message.execution_id, message.replace_request_id
    if execution_id:
        check_client_order_id(execution_id)
    if replace_request_id:
        check_client_order_id(replace_request_id)
    return OrderCheck(
        check_account(message.account),
        check_client_order_id(message.client_order_id),
        terms_from_wire(message.terms),
        execution_id,
        replace_request_id,
    )


def checks_from_wire(message: risk_service_pb2.CheckOrdersRequest) -> list[OrderCheck]:
    """Return 1 to 1,024 checks; raises InvalidInput for one that can never be right."""
    check_range("checks", len(message.checks), 1, MOST_CHECKS)
    return [check_from_wire(check) for check in message.checks]


def execution_check_from_wire(message: risk_service_pb2.CheckExecutionRequest) -> ExecutionCheck:
    """Return the check; raises InvalidInput that names the field."""
    if not message.execution_id:
        raise InvalidInput("REQUEST_ID_MISSING", "execution_id is empty", field="execution_id")
    return ExecutionCheck(
        check_client_order_id(message.execution_id),
        check_account(message.account),
        check_symbol(message.symbol),
        side_from_wire(message.side),
        check_range("quantity_nanos", message.quantity_nanos, 1, INT64_MAX),
        check_range("limit_price_nanos", message.limit_price_nanos, 0, INT64_MAX),
    )


def verdict_to_wire(rejection: Rejection | None) -> risk_service_pb2.Verdict:
    """Return the verdict; no rejection approves."""
    if rejection is None:
        return APPROVED
    return risk_service_pb2.Verdict(is_approved=False, rejection=rejection_to_wire(rejection))


# -- Facts of the peers -------------------------------------------------------------------------------


def order_fact_from_wire(message: order_event_pb2.OrderEvent) -> OrderFact | None:
    """Return what orders vouches for; None for a kind that a later version may add."""
    kind = _KINDS.get(message.kind)
    if kind is None:
        return None
    order = message.order
    return OrderFact(
        message.sequence,
        kind,
        order.account,
        order.client_order_id,
        order.execution_id,
        _trusted_terms(order.terms),
        order.leaves_quantity_nanos,
        order.state in _FINAL_STATES,
        fill_from_wire(message.fill) if message.HasField("fill") else None,
        fill_from_wire(message.corrected_fill) if message.HasField("corrected_fill") else None,
        message.request_id,
        _trusted_terms(message.requested_terms) if message.HasField("requested_terms") else None,
    )


def _trusted_terms(message: order_pb2.OrderTerms) -> OrderTerms:
    return OrderTerms(
        message.symbol,
        _SIDES[message.side],
        _TYPES[message.order_type],
        _TIMES[message.time_in_force],
        message.quantity_nanos,
        message.limit_price_nanos,
    )


def parent_fact_from_wire(message: execution_pb2.ExecutionEvent) -> ParentFact:
    """Return what execution vouches for."""
    execution = message.execution
    parameters = execution.parameters
    return ParentFact(
        message.sequence,
        execution.execution_id,
        parameters.account,
        parameters.symbol,
        _SIDES[parameters.side],
        parameters.quantity_nanos,
        execution.state in _FINAL_EXECUTIONS,
    )


def adjustment_fact_from_wire(message: position_pb2.Adjustment) -> AdjustmentFact:
    """Return what portfolio vouches for."""
    return AdjustmentFact(
        message.sequence,
        AdjustmentKind(message.kind),
        message.account,
        message.symbol,
        message.quantity_nanos,
        message.ratio_numerator,
        message.ratio_denominator,
        message.new_symbol,
        message.effective_time_nanos,
    )


# -- Limits and kill switches -------------------------------------------------------------------------


def limits_from_wire(message: limits_pb2.Limits) -> Limits:
    """Return validated limits; raises InvalidInput that names the field."""
    # Fields with presence are listed when they are set, also to 0.
    values: dict[str, Any] = {descriptor.name: value for descriptor, value in message.ListFields()}
    for name in _MONEY:
        if name in values:
            values[name] = money_from_wire(values[name], name)
    limits = Limits(**{"account": "", **values})
    limits.validate()
    return limits


def limits_to_wire(limits: Limits) -> limits_pb2.Limits:
    message = limits_pb2.Limits(
        account=limits.account,
        symbol=limits.symbol,
        is_restricted=limits.is_restricted,
        short_sale_permitted=limits.short_sale_permitted,
    )
    for name in _OPTIONAL_NUMBERS:
        value = getattr(limits, name)
        if value is not None:
            setattr(message, name, value)
    for name in _MONEY:
        amount = getattr(limits, name)
        if amount is not None:
            getattr(message, name).CopyFrom(money_to_wire(amount))
    return message


def kill_switch_from_wire(message: risk_service_pb2.KillSwitch) -> KillSwitch:
    return KillSwitch(
        message.account,
        message.is_on,
        message.reason,
        message.set_by,
        nanos_from_timestamp(message.create_time),
    )


def kill_switch_to_wire(switch: KillSwitch) -> risk_service_pb2.KillSwitch:
    return risk_service_pb2.KillSwitch(
        account=switch.account,
        is_on=switch.is_on,
        reason=switch.reason,
        set_by=switch.set_by,
        create_time=timestamp_from_nanos(switch.create_time_nanos),
    )


# -- Reports ------------------------------------------------------------------------------------------


def exposure_to_wire(account: str, report: SymbolReport, currency_code: str) -> limits_pb2.Exposure:
    return limits_pb2.Exposure(
        account=account,
        symbol=report.symbol,
        position_nanos=_int64(report.position_nanos),
        open_buy_nanos=_int64(report.open_buy_nanos),
        open_sell_nanos=_int64(report.open_sell_nanos),
        reserved_buy_nanos=_int64(report.reserved_buy_nanos),
        reserved_sell_nanos=_int64(report.reserved_sell_nanos),
        reference_price_nanos=report.reference_price_nanos,
        gross=attos_to_wire(currency_code, report.gross_attos),
    )


def report_to_wire(
    tail: TailRisk, confidence: float, currency_code: str, profit_attos: int
) -> risk_service_pb2.GetRiskReportResponse:
    response = risk_service_pb2.GetRiskReportResponse(
        confidence=confidence,
        sessions=tail.sessions,
        daily_profit=attos_to_wire(currency_code, profit_attos),
    )
    for name, amount in (
        ("value_at_risk", tail.value_at_risk),
        ("expected_shortfall", tail.expected_shortfall),
    ):
        if amount is not None:
            getattr(response, name).CopyFrom(attos_to_wire(currency_code, round(amount * NANO) * NANO))
    return response


def attos_to_wire(currency_code: str, attos: int) -> WireMoney:
    """Return an amount rounded to nanos; one that int64 units cannot hold is capped."""
    most = INT64_MAX * NANO * NANO
    return money_to_wire(Money(currency_code, max(-most, min(most, attos))))


def _int64(value: int) -> int:
    return max(-INT64_MAX, min(INT64_MAX, value))
