"""google.type.Money and Decimal to exact values and back."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.decimal_pb2 import Decimal as WireDecimal
from google.type.money_pb2 import Money as WireMoney

from servers.model.errors import InvalidInput
from servers.model.nanos import ATTO, NANO, Money


def money_from_wire(message: WireMoney, field: str) -> Money:
    """Return the amount; raises InvalidInput for a bad currency code or nanos of the wrong sign."""
    code = message.currency_code
    if len(code) != 3 or not (code.isascii() and code.isalpha() and code.isupper()):
        raise InvalidInput(
            "FIELD_INVALID", f"{field}.currency_code {code[:8]!r} is not an ISO 4217 code", field=field
        )
    if abs(message.nanos) >= NANO or message.units * message.nanos < 0:
        raise InvalidInput(
            "VALUE_OUT_OF_RANGE", f"{field}: units and nanos disagree in sign or range", field=field
        )
    return Money(code, (message.units * NANO + message.nanos) * NANO)


def money_to_wire(money: Money) -> WireMoney:
    """Return the amount rounded half to even to nanos."""
    nanos = money.rounded_nanos()
    sign = -1 if nanos < 0 else 1
    units, rest = divmod(abs(nanos), NANO)
    return WireMoney(currency_code=money.currency_code, units=sign * units, nanos=sign * rest)


def attos_to_decimal(attos: int) -> WireDecimal:
    """Return 1e-18 units as an exact decimal number, without trailing zeros."""
    whole, part = divmod(abs(attos), ATTO)
    digits = f"{part:018d}".rstrip("0")
    sign = "-" if attos < 0 else ""
    return WireDecimal(value=f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}")


def timestamp_from_nanos(nanos: int) -> Timestamp:
    """Return UTC epoch nanoseconds as a Timestamp."""
    seconds, rest = divmod(nanos, NANO)
    return Timestamp(seconds=seconds, nanos=rest)


def nanos_from_timestamp(message: Timestamp) -> int:
    """Return a Timestamp as UTC epoch nanoseconds."""
    return message.seconds * NANO + message.nanos
