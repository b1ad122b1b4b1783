"""Money crosses the wire exactly, or rounded once where the wire has fewer places."""

from __future__ import annotations

import pytest
from google.type.money_pb2 import Money as WireMoney
from hypothesis import given
from hypothesis import strategies as st

from servers.model.errors import InvalidInput
from servers.model.nanos import ATTO, NANO, Money
from servers.wire.money import (
    attos_to_decimal,
    money_from_wire,
    money_to_wire,
    nanos_from_timestamp,
    timestamp_from_nanos,
)

ATTOS = st.integers(-(10**40), 10**40)


@given(ATTOS)
def test_a_decimal_keeps_every_digit(attos: int) -> None:
    whole, _, part = attos_to_decimal(attos).value.partition(".")
    sign = -1 if whole.startswith("-") else 1
    assert sign * (abs(int(whole)) * ATTO + int(part.ljust(18, "0") or 0)) == attos


@pytest.mark.parametrize(
    ("attos", "text"), [(0, "0"), (ATTO, "1"), (-ATTO // 2, "-0.5"), (1, "0.000000000000000001")]
)
def test_a_decimal_is_as_short_as_it_is_exact(attos: int, text: str) -> None:
    assert attos_to_decimal(attos).value == text


@given(st.integers(-(2**62), 2**62))
def test_money_in_nanos_comes_back_as_it_went(nanos: int) -> None:
    money = Money("USD", nanos * NANO)
    assert money_from_wire(money_to_wire(money), "fee") == money


def test_money_is_rounded_half_to_even() -> None:
    half = NANO // 2
    assert [money_to_wire(Money("USD", n * NANO + half)).nanos for n in (0, 1, 2)] == [0, 2, 2]
    assert money_to_wire(Money("USD", -NANO - half)).nanos == -2


@pytest.mark.parametrize(
    "message",
    [
        WireMoney(units=1),
        WireMoney(currency_code="usd", units=1),
        WireMoney(currency_code="US1"),
        WireMoney(currency_code="USD", units=1, nanos=-1),
        WireMoney(currency_code="USD", nanos=10**9),
    ],
)
def test_money_that_cannot_be_is_refused(message: WireMoney) -> None:
    with pytest.raises(InvalidInput, match="fee"):
        money_from_wire(message, "fee")


@given(st.integers(0, 2**62))
def test_times_keep_their_nanoseconds(nanos: int) -> None:
    assert nanos_from_timestamp(timestamp_from_nanos(nanos)) == nanos
