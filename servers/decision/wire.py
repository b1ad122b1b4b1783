"""Protobuf to decision's values and back."""

from __future__ import annotations

from tapeline.decision.v1 import decision_pb2 as pb

from servers.decision.domain.cost import Costs
from servers.decision.domain.decision import (
    Decision,
    Event,
    EventKind,
    Inputs,
    Mode,
    ModeChange,
    PaperTrade,
    State,
)
from servers.decision.domain.sizing import Action, Holding
from servers.model.errors import InvalidInput
from servers.model.order import Side
from servers.wire.money import money_from_wire, money_to_wire, nanos_from_timestamp, timestamp_from_nanos
from servers.wire.trading import rejection_from_wire, rejection_to_wire, side_to_wire

_MODES = {mode.value: mode for mode in Mode}
_SIDES = {side.value: side for side in Side}


def mode_from_wire(value: int) -> Mode:
    """Return the mode. Raises InvalidInput ENUM_UNSPECIFIED."""
    mode = _MODES.get(value)
    if mode is None:
        raise InvalidInput("ENUM_UNSPECIFIED", f"mode is {value}: unspecified or unknown", field="mode")
    return mode


def mode_change_to_wire(change: ModeChange) -> pb.ModeChange:
    return pb.ModeChange(mode=pb.Mode.ValueType(change.mode), set_by=change.set_by, reason=change.reason)


def decision_to_wire(decision: Decision) -> pb.Decision:
    message = pb.Decision(
        decision_id=decision.decision_id,
        account=decision.account,
        symbol=decision.symbol,
        event_time_nanos=decision.event_time_nanos,
        action=pb.Action.ValueType(decision.action),
        reason_code=decision.reason_code,
        reason=decision.reason,
        state=pb.DecisionState.ValueType(decision.state),
        position_nanos=decision.holding.position_nanos,
        working_nanos=decision.holding.working_nanos,
        pending_nanos=decision.holding.pending_nanos,
        target_nanos=decision.target_nanos,
        quantity_nanos=decision.quantity_nanos,
        edge_bps=decision.edge_bps,
        cost=pb.CostEstimate(
            spread_bps=decision.costs.spread_bps,
            impact_bps=decision.costs.impact_bps,
            fees_bps=decision.costs.fees_bps,
            total_bps=decision.costs.total_bps,
        ),
        algorithm=decision.algorithm,
        horizon_nanos=decision.horizon_nanos,
        expire_time_nanos=decision.expire_time_nanos,
        inputs=inputs_to_wire(decision.inputs),
        decided_by=decision.decided_by,
        execution_id=decision.execution_id,
        traceparent=decision.traceparent,
        filled_quantity_nanos=decision.filled_quantity_nanos,
        average_price_nanos=decision.average_price_nanos,
        outcome_price_nanos=decision.outcome_price_nanos,
        create_time=timestamp_from_nanos(decision.create_time_nanos),
        cancelled_execution_id=decision.cancelled_execution_id,
    )
    if decision.side is not None:
        message.side = side_to_wire(decision.side)
    if decision.rejection is not None:
        message.rejection.CopyFrom(rejection_to_wire(decision.rejection))
    if decision.fees is not None:
        message.fees.CopyFrom(money_to_wire(decision.fees))
    return message


def decision_from_wire(message: pb.Decision) -> Decision:
    cost = message.cost
    return Decision(
        decision_id=message.decision_id,
        account=message.account,
        symbol=message.symbol,
        event_time_nanos=message.event_time_nanos,
        action=Action(message.action),
        state=State(message.state),
        reason_code=message.reason_code,
        reason=message.reason,
        holding=Holding(message.position_nanos, message.working_nanos, message.pending_nanos),
        target_nanos=message.target_nanos,
        side=_SIDES.get(message.side),
        quantity_nanos=message.quantity_nanos,
        edge_bps=message.edge_bps,
        costs=Costs(cost.spread_bps, cost.impact_bps, cost.fees_bps),
        algorithm=message.algorithm,
        horizon_nanos=message.horizon_nanos,
        expire_time_nanos=message.expire_time_nanos,
        inputs=inputs_from_wire(message.inputs),
        decided_by=message.decided_by,
        execution_id=message.execution_id,
        traceparent=message.traceparent,
        rejection=rejection_from_wire(message.rejection) if message.HasField("rejection") else None,
        filled_quantity_nanos=message.filled_quantity_nanos,
        average_price_nanos=message.average_price_nanos,
        outcome_price_nanos=message.outcome_price_nanos,
        create_time_nanos=nanos_from_timestamp(message.create_time),
        fees=money_from_wire(message.fees, "fees") if message.HasField("fees") else None,
        cancelled_execution_id=message.cancelled_execution_id,
    )


def inputs_to_wire(inputs: Inputs) -> pb.DecisionInputs:
    return pb.DecisionInputs(
        signal_id=inputs.signal_id,
        signal_time_nanos=inputs.signal_time_nanos,
        post_ids=inputs.post_ids,
        model_versions=inputs.model_versions,
        probability_up=inputs.probability_up,
        price_only_probability_up=inputs.price_only_probability_up,
        half_life_nanos=inputs.half_life_nanos,
        author_count=inputs.author_count,
        source_count=inputs.source_count,
        restrictions=inputs.restrictions,
        mid_price_nanos=inputs.mid_price_nanos,
        spread_bps=inputs.spread_bps,
        daily_volatility=inputs.daily_volatility,
        median_daily_volume=inputs.median_daily_volume,
    )


def inputs_from_wire(message: pb.DecisionInputs) -> Inputs:
    is_said = message.HasField("price_only_probability_up")
    return Inputs(
        signal_id=message.signal_id,
        signal_time_nanos=message.signal_time_nanos,
        post_ids=tuple(message.post_ids),
        model_versions=tuple(message.model_versions),
        probability_up=message.probability_up,
        price_only_probability_up=message.price_only_probability_up if is_said else None,
        half_life_nanos=message.half_life_nanos,
        author_count=message.author_count,
        source_count=message.source_count,
        restrictions=tuple(message.restrictions),
        mid_price_nanos=message.mid_price_nanos,
        spread_bps=message.spread_bps,
        daily_volatility=message.daily_volatility,
        median_daily_volume=message.median_daily_volume,
    )


def event_to_wire(event: Event, create_time_nanos: int) -> pb.DecisionEvent:
    message = pb.DecisionEvent(
        kind=pb.DecisionEventKind.ValueType(event.kind),
        event_time_nanos=event.event_time_nanos,
        create_time=timestamp_from_nanos(create_time_nanos),
    )
    if event.decision is not None:
        message.decision.CopyFrom(decision_to_wire(event.decision))
    if event.mode_change is not None:
        message.mode_change.CopyFrom(mode_change_to_wire(event.mode_change))
    if event.paper is not None:
        paper = event.paper
        message.paper.CopyFrom(
            pb.PaperTrade(
                strategy=paper.strategy,
                symbol=paper.symbol,
                quantity_nanos=paper.quantity_nanos,
                price_nanos=paper.price_nanos,
                cost_nanos=paper.cost_nanos,
                event_time_nanos=paper.event_time_nanos,
                half_life_nanos=paper.half_life_nanos,
                is_larger=paper.is_larger,
                outcome_price_nanos=paper.outcome_price_nanos,
            )
        )
    return message


def event_from_wire(message: pb.DecisionEvent) -> Event:
    paper = change = None
    if message.HasField("paper"):
        trade = message.paper
        paper = PaperTrade(
            trade.strategy,
            trade.symbol,
            trade.quantity_nanos,
            trade.price_nanos,
            trade.cost_nanos,
            trade.event_time_nanos,
            trade.half_life_nanos,
            trade.is_larger,
            trade.outcome_price_nanos,
        )
    if message.HasField("mode_change"):
        kept = message.mode_change
        change = ModeChange(Mode(kept.mode), kept.set_by, kept.reason)
    return Event(
        EventKind(message.kind),
        message.event_time_nanos,
        decision_from_wire(message.decision) if message.HasField("decision") else None,
        change,
        paper,
    )
