"""Requests that no well-meaning caller sends, made from the descriptors of every RPC.

Each starts as a plausible request and is then made wrong in one way: an enum that does not exist, a
number past its range, an id that is missing, too long or reused, a symbol that nobody knows, bytes that
are no message, a message above the size limit.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from tapeline.decision.v1 import decision_service_pb2
from tapeline.exchange.v1 import exchange_service_pb2
from tapeline.execution.v1 import execution_service_pb2
from tapeline.intelligence.v1 import intelligence_service_pb2
from tapeline.marketdata.v1 import market_data_service_pb2
from tapeline.news.v1 import news_service_pb2
from tapeline.orders.v1 import orders_service_pb2
from tapeline.portfolio.v1 import portfolio_service_pb2
from tapeline.risk.v1 import risk_service_pb2
from tapeline.signals.v1 import signals_service_pb2
from tapeline.trading.v1 import order_pb2

SERVICES: dict[str, ServiceDescriptor] = {
    "exchange": exchange_service_pb2.DESCRIPTOR.services_by_name["ExchangeService"],
    "execution": execution_service_pb2.DESCRIPTOR.services_by_name["ExecutionService"],
    "market_data": market_data_service_pb2.DESCRIPTOR.services_by_name["MarketDataService"],
    "orders": orders_service_pb2.DESCRIPTOR.services_by_name["OrdersService"],
    "portfolio": portfolio_service_pb2.DESCRIPTOR.services_by_name["PortfolioService"],
    "risk": risk_service_pb2.DESCRIPTOR.services_by_name["RiskService"],
    "decision": decision_service_pb2.DESCRIPTOR.services_by_name["DecisionService"],
    "intelligence": intelligence_service_pb2.DESCRIPTOR.services_by_name["IntelligenceService"],
    "news": news_service_pb2.DESCRIPTOR.services_by_name["NewsService"],
    "signals": signals_service_pb2.DESCRIPTOR.services_by_name["SignalsService"],
}
CHANGING = (
    "Submit",
    "Cancel",
    "Replace",
    "Start",
    "Pause",
    "Resume",
    "Set",
    "Record",
    "Control",
    "Amend",
    "Check",
)
TOO_LARGE_BYTES = 5 << 20
INT64_MAX = 2**63 - 1
GARBAGE = (
    "",
    "\x00",
    "no-such-thing",
    "A" * 300,
    "'; DROP TABLE orders; --",
    "\u202eACME",
    "../../etc/passwd",
)


@dataclass(frozen=True)
class HostileRequest:
    """One request: where it goes, its bytes, and in which way it is wrong."""

    server: str
    method: MethodDescriptor
    payload: bytes
    wrong: str

    @property
    def path(self) -> str:
        """The gRPC path."""
        return f"/{self.method.containing_service.full_name}/{self.method.name}"

    @property
    def is_change(self) -> bool:
        """Whether the method changes something when it accepts."""
        return str(self.method.name).startswith(CHANGING)


def methods() -> list[tuple[str, MethodDescriptor]]:
    """Return every RPC of every server."""
    return [(server, method) for server, service in SERVICES.items() for method in service.methods]


def hostile_requests(count: int, seed: int) -> Iterator[HostileRequest]:
    """Yield `count` requests, spread evenly over all RPCs and all ways to be wrong."""
    rng = random.Random(seed)
    every = methods()
    for number in range(count):
        server, method = every[number % len(every)]
        yield _make(rng, server, method, number // len(every))


def plausible(descriptor_type: type[Message], rng: random.Random) -> Message:
    """Return a message whose fields have plausible values."""
    message = descriptor_type()
    for field in message.DESCRIPTOR.fields:
        _fill(message, field, rng)
    return message


def _make(rng: random.Random, server: str, method: MethodDescriptor, turn: int) -> HostileRequest:
    request_type = message_factory.GetMessageClass(method.input_type)
    if turn % 40 == 7:
        junk = rng.randbytes(rng.randrange(1, 300))
        return HostileRequest(server, method, b"\xff\xff" + junk, "bytes that are no message")
    if turn == 11:
        # Field number 1000 is nobody's: the bytes parse and are only too many.
        size = TOO_LARGE_BYTES
        length = bytearray()
        while size:
            length.append((size & 0x7F) | (0x80 if size > 0x7F else 0))
            size >>= 7
        return HostileRequest(server, method, b"\xc2\x3e" + bytes(length) + bytes(TOO_LARGE_BYTES), "5 MB")
    message = plausible(request_type, rng)
    wrong = _spoil(message, rng)
    return HostileRequest(server, method, message.SerializeToString(), wrong)


def _spoil(message: Message, rng: random.Random) -> str:
    """Make one field of the message, at any depth, wrong; return which and how."""
    places = list(_fields(message))
    if not places:
        return "nothing to spoil"
    holder, field = rng.choice(places)
    value = _wrong_value(field, rng)
    if field.is_repeated:
        getattr(holder, field.name).append(value)
    else:
        setattr(holder, field.name, value)
    return f"{field.full_name} = {str(value)[:60]!r}"


def _wrong_value(field: FieldDescriptor, rng: random.Random) -> object:
    kinds: dict[int, Callable[[], object]] = {
        FieldDescriptor.CPPTYPE_ENUM: lambda: rng.choice([0, 99, -1, 2**31 - 1]),
        FieldDescriptor.CPPTYPE_INT32: lambda: rng.choice([-1, -(2**31), 2**31 - 1]),
        FieldDescriptor.CPPTYPE_INT64: lambda: rng.choice([-1, -(2**63), INT64_MAX]),
        FieldDescriptor.CPPTYPE_DOUBLE: lambda: rng.choice([-1.0, float("nan"), float("inf"), 1e300]),
        FieldDescriptor.CPPTYPE_BOOL: lambda: rng.choice([True, False]),
        FieldDescriptor.CPPTYPE_STRING: lambda: rng.choice(GARBAGE),
    }
    if field.type == FieldDescriptor.TYPE_BYTES:
        return rng.choice(GARBAGE).encode("utf-8", "surrogatepass")
    return kinds[field.cpp_type]()


def _fields(message: Message) -> Iterator[tuple[Message, FieldDescriptor]]:
    for field in message.DESCRIPTOR.fields:
        if field.message_type is None:
            yield message, field
        elif not field.message_type.GetOptions().map_entry:
            value = getattr(message, field.name)
            for part in value if field.is_repeated else [value]:
                yield from _fields(part)


def _fill(message: Message, field: FieldDescriptor, rng: random.Random) -> None:
    if field.message_type is not None:
        if field.message_type.GetOptions().map_entry:
            return
        part = plausible(message_factory.GetMessageClass(field.message_type), rng)
        if field.is_repeated:
            getattr(message, field.name).append(part)
        else:
            getattr(message, field.name).CopyFrom(part)
        return
    value = _plausible_value(field, rng)
    if field.is_repeated:
        getattr(message, field.name).append(value)
    else:
        setattr(message, field.name, value)


def _plausible_value(field: FieldDescriptor, rng: random.Random) -> object:
    named: dict[str, object] = {
        "symbol": "ACME",
        "symbols": "ACME",
        "entity": "ACME",
        "entities": "ACME",
        "account": "hostile",
        "currency_code": "USD",
        "calendar": "XNYS",
        "date": "2024-07-03",
        "client_order_id": f"h{rng.randrange(50)}",
        "request_id": f"r{rng.randrange(50)}",
        "order_type": order_pb2.ORDER_TYPE_LIMIT,
        "quantity_nanos": 100 * 10**9,
        "limit_price_nanos": 50 * 10**9,
        "length_nanos": 60 * 10**9,
        "page_size": 10,
        "page_token": "",
        "value": "1.5",
        "nanos": 0,
        "units": 10,
    }
    if field.name in named:
        return named[field.name]
    if field.enum_type is not None:
        return field.enum_type.values[min(1, len(field.enum_type.values) - 1)].number
    if field.type == FieldDescriptor.TYPE_BYTES:
        return b""
    defaults: dict[int, object] = {
        FieldDescriptor.CPPTYPE_INT32: 0,
        FieldDescriptor.CPPTYPE_INT64: 0,
        FieldDescriptor.CPPTYPE_DOUBLE: 0.0,
        FieldDescriptor.CPPTYPE_BOOL: False,
        FieldDescriptor.CPPTYPE_STRING: "",
    }
    return defaults[field.cpp_type]
