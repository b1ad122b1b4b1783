"""Protobuf to portfolio's values and back."""

from __future__ import annotations

from collections.abc import Iterable

from google.type.money_pb2 import Money as WireMoney
from tapeline.orders.v1 import order_event_pb2
from tapeline.portfolio.v1 import portfolio_service_pb2, position_pb2

from servers.model.errors import InvalidInput
from servers.model.nanos import INT64_MAX, NANO, Money
from servers.portfolio.domain.adjustments import Adjustment, AdjustmentKind
from servers.portfolio.domain.ledger import Key
from servers.portfolio.engine import Holding
from servers.portfolio.ports import FillFact
from servers.wire.money import attos_to_decimal, money_from_wire, money_to_wire
from servers.wire.trading import fill_from_wire

_KINDS = {kind.value: kind for kind in AdjustmentKind}
_FILLED = order_event_pb2.ORDER_EVENT_KIND_FILLED
_BUSTED = order_event_pb2.ORDER_EVENT_KIND_BUSTED
_CORRECTED = order_event_pb2.ORDER_EVENT_KIND_CORRECTED


def fill_fact_from_wire(event: order_event_pb2.OrderEvent) -> FillFact | None:
    """Return what an order event says of a fill; None when it says nothing of one."""
    if event.kind not in (_FILLED, _BUSTED, _CORRECTED):
        return None
    return FillFact(
        event.sequence,
        fill_from_wire(event.fill),
        event.kind == _BUSTED,
        fill_from_wire(event.corrected_fill) if event.kind == _CORRECTED else None,
        event.order.traceparent,
    )


def adjustment_from_wire(message: position_pb2.Adjustment) -> Adjustment:
    """Return a validated adjustment; raises InvalidInput that names the field."""
    kind = _KINDS.get(message.kind)
    if kind is None:
        raise InvalidInput(
            "ENUM_UNSPECIFIED", f"kind is {message.kind}: unspecified or unknown", field="kind"
        )
    adjustment = Adjustment(
        kind,
        message.account,
        message.symbol,
        message.quantity_nanos,
        message.price_nanos,
        money_from_wire(message.cash, "cash") if message.HasField("cash") else None,
        message.ratio_numerator,
        message.ratio_denominator,
        message.new_symbol,
        message.effective_time_nanos,
        message.sequence,
    )
    adjustment.validate()
    return adjustment


def adjustment_to_wire(adjustment: Adjustment) -> position_pb2.Adjustment:
    message = position_pb2.Adjustment(
        sequence=adjustment.sequence,
        kind=position_pb2.AdjustmentKind.ValueType(adjustment.kind),
        account=adjustment.account,
        symbol=adjustment.symbol,
        quantity_nanos=adjustment.quantity_nanos,
        price_nanos=adjustment.price_nanos,
        ratio_numerator=adjustment.ratio_numerator,
        ratio_denominator=adjustment.ratio_denominator,
        new_symbol=adjustment.new_symbol,
        effective_time_nanos=adjustment.effective_time_nanos,
    )
    if adjustment.cash is not None:
        message.cash.CopyFrom(money_to_wire(adjustment.cash))
    return message


def position_to_wire(holding: Holding) -> position_pb2.Position:
    state, code = holding.history.state, holding.history.currency_code
    return position_pb2.Position(
        account=holding.account,
        symbol=holding.symbol,
        quantity_nanos=_int64(state.quantity_nanos),
        average_price_nanos=_int64(state.average_price_nanos),
        realised_profit=amount_to_wire(code, state.realised_attos),
        unrealised_profit=amount_to_wire(code, holding.unrealised_attos),
        fees=amount_to_wire(code, state.fees_attos),
        mark_price_nanos=holding.mark_price_nanos,
        mark_time_nanos=holding.mark_time_nanos,
        open_cost=attos_to_decimal(state.open_cost_attos),
    )


def no_position_to_wire(key: Key) -> position_pb2.Position:
    """Return what says that a position is gone: its symbol was changed."""
    account, symbol = key
    return position_pb2.Position(account=account, symbol=symbol)


def cash_to_wire(account: str, code: str, attos: int) -> position_pb2.CashBalance:
    return position_pb2.CashBalance(account=account, amount=amount_to_wire(code, attos))


def portfolio_to_wire(
    account: str, holdings: list[Holding], cash: dict[str, int], orders_sequence: int
) -> portfolio_service_pb2.GetPortfolioResponse:
    return portfolio_service_pb2.GetPortfolioResponse(
        positions=[position_to_wire(holding) for holding in holdings],
        cash=[cash_to_wire(account, code, attos) for code, attos in cash.items()],
        realised_profit=_sums(
            (one.history.currency_code, one.history.state.realised_attos) for one in holdings
        ),
        unrealised_profit=_sums((one.history.currency_code, one.unrealised_attos) for one in holdings),
        fees=_sums((one.history.currency_code, one.history.state.fees_attos) for one in holdings),
        orders_sequence=orders_sequence,
    )


def _code(holding: Holding) -> str:
    return holding.history.currency_code


def _sums(amounts: Iterable[tuple[str, int]]) -> list[WireMoney]:
    sums: dict[str, int] = {}
    for code, attos in amounts:
        sums[code] = sums.get(code, 0) + attos
    return [amount_to_wire(code, attos) for code, attos in sorted(sums.items())]


def amount_to_wire(currency_code: str, attos: int) -> WireMoney:
    """Return an amount rounded to nanos; one that int64 units cannot hold is capped."""
    most = INT64_MAX * NANO * NANO
    return money_to_wire(Money(currency_code, max(-most, min(most, attos))))


def _int64(value: int) -> int:
    return max(-INT64_MAX, min(INT64_MAX, value))
