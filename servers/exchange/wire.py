"""Protobuf and values of the exchange."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tapeline.exchange.v1 import exchange_service_pb2 as pb
from tapeline.exchange.v1 import report_pb2
from tapeline.trading.v1 import market_pb2

from servers.exchange.domain import NewOrder, Report, ReportKind
from servers.exchange.ports import Level, QuoteColumns
from servers.exchange.tape import Prints
from servers.model.errors import InvalidInput
from servers.model.order import check_account, check_client_order_id, check_request_id
from servers.wire.trading import (
    fill_from_wire,
    fill_to_wire,
    rejection_from_wire,
    rejection_to_wire,
    terms_from_wire,
    terms_to_wire,
)

MAX_BASKET = 256
_MAX_TEXT = 128


def entry_from_wire(message: pb.OrderEntry) -> NewOrder:
    """Return an entry; raises InvalidInput for what can never be right."""
    if not message.HasField("terms"):
        raise InvalidInput("FIELD_MISSING", "terms are missing", field="terms")
    for field in ("execution_id", "traceparent"):
        if len(getattr(message, field)) > _MAX_TEXT:
            raise InvalidInput("FIELD_INVALID", f"{field} is longer than {_MAX_TEXT}", field=field)
    return NewOrder(
        check_account(message.account),
        check_client_order_id(message.client_order_id),
        terms_from_wire(message.terms),
        message.execution_id,
        message.traceparent,
    )


def entry_to_wire(entry: NewOrder) -> pb.OrderEntry:
    return pb.OrderEntry(
        account=entry.account,
        client_order_id=entry.client_order_id,
        execution_id=entry.execution_id,
        terms=terms_to_wire(entry.terms),
        traceparent=entry.traceparent,
    )


def basket_from_wire(message: pb.SubmitOrdersRequest) -> list[NewOrder]:
    """Return the entries of a basket; raises InvalidInput when there are none or too many."""
    if not 1 <= len(message.entries) <= MAX_BASKET:
        raise InvalidInput("VALUE_OUT_OF_RANGE", f"a basket has 1 to {MAX_BASKET} orders", field="entries")
    return [entry_from_wire(entry) for entry in message.entries]


def change_key_from_wire(message: pb.CancelOrderRequest | pb.ReplaceOrderRequest) -> tuple[str, str]:
    """Return the key of the order that a request changes; checks its request id too."""
    check_request_id(message.request_id)
    return check_account(message.account), check_client_order_id(message.client_order_id)


def report_to_wire(report: Report) -> report_pb2.ExecutionReport:
    return report_pb2.ExecutionReport(
        sequence=report.sequence,
        kind=report_pb2.ReportKind.ValueType(report.kind),
        account=report.account,
        client_order_id=report.client_order_id,
        venue_order_id=report.venue_order_id,
        terms=terms_to_wire(report.terms),
        filled_quantity_nanos=report.filled_quantity_nanos,
        leaves_quantity_nanos=report.leaves_quantity_nanos,
        fill=fill_to_wire(report.fill) if report.fill else None,
        corrected_fill=fill_to_wire(report.corrected_fill) if report.corrected_fill else None,
        rejection=rejection_to_wire(report.rejection) if report.rejection else None,
        reason=report.reason,
        request_id=report.request_id,
        event_time_nanos=report.event_time_nanos,
        traceparent=report.traceparent,
    )


def report_from_wire(message: report_pb2.ExecutionReport) -> Report:
    return Report(
        sequence=message.sequence,
        kind=ReportKind(message.kind),
        account=message.account,
        client_order_id=message.client_order_id,
        venue_order_id=message.venue_order_id,
        terms=terms_from_wire(message.terms),
        filled_quantity_nanos=message.filled_quantity_nanos,
        leaves_quantity_nanos=message.leaves_quantity_nanos,
        event_time_nanos=message.event_time_nanos,
        fill=fill_from_wire(message.fill) if message.HasField("fill") else None,
        corrected_fill=fill_from_wire(message.corrected_fill) if message.HasField("corrected_fill") else None,
        rejection=rejection_from_wire(message.rejection) if message.HasField("rejection") else None,
        reason=message.reason,
        request_id=message.request_id,
        traceparent=message.traceparent,
    )


def prints_to_wire(prints: Prints, wall_nanos: int) -> market_pb2.TradeBatch:
    return market_pb2.TradeBatch(
        symbol=prints.symbol,
        count=prints.length,
        first_sequence=prints.first_sequence,
        event_time_nanos=prints.times,
        price_nanos=prints.prices,
        size_nanos=prints.sizes,
        flags=prints.flags,
        receive_time_nanos=wall_nanos,
    )


def quotes_to_wire(
    symbol: str, columns: QuoteColumns, first_sequence: int, wall_nanos: int
) -> list[market_pb2.QuoteBatch]:
    """Return the quotes in batches of at most 1,000."""
    batches = []
    for first in range(0, columns.length, 1_000):
        count = min(1_000, columns.length - first)
        part = slice(8 * first, 8 * (first + count))
        batches.append(
            market_pb2.QuoteBatch(
                symbol=symbol,
                count=count,
                first_sequence=first_sequence + first,
                event_time_nanos=columns.times[part],
                bid_price_nanos=columns.bid_prices[part],
                bid_size_nanos=columns.bid_sizes[part],
                ask_price_nanos=columns.ask_prices[part],
                ask_size_nanos=columns.ask_sizes[part],
                receive_time_nanos=wall_nanos,
            )
        )
    return batches


def depth_to_wire(symbol: str, bids: list[Level], asks: list[Level], time_nanos: int) -> market_pb2.Depth:
    def levels(side: list[Level]) -> list[market_pb2.DepthLevel]:
        return [
            market_pb2.DepthLevel(
                price_nanos=level.price_nanos,
                size_nanos=min(level.size_nanos, 2**63 - 1),
                orders=level.orders,
            )
            for level in side
        ]

    return market_pb2.Depth(symbol=symbol, bids=levels(bids), asks=levels(asks), event_time_nanos=time_nanos)


def clock_to_payload(state: Mapping[str, Any]) -> bytes:
    """Return the venue's clock and prices as the journal keeps them."""
    return json.dumps(state, sort_keys=True).encode()


def clock_from_payload(payload: bytes) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(payload)
    return state
