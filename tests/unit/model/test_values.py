"""Numbers, orders and instruments as values: exact, and refused with the field when they cannot be."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.model.clock import ManualClock
from servers.model.errors import InvalidInput, TapelineError
from servers.model.instrument import Instrument, TickBand
from servers.model.nanos import INT64_MAX, NANO, Money, divide_half_even, nanos_from_text, nanos_to_text
from servers.model.order import (
    Order,
    OrderState,
    OrderTerms,
    OrderType,
    Side,
    TimeInForce,
    check_account,
    check_client_order_id,
    check_request_id,
    check_symbol,
)


def terms(**changes: object) -> OrderTerms:
    values: dict[str, object] = {
        "symbol": "ACME",
        "side": Side.BUY,
        "order_type": OrderType.LIMIT,
        "time_in_force": TimeInForce.DAY,
        "quantity_nanos": 100 * NANO,
        "limit_price_nanos": 50 * NANO,
    }
    return OrderTerms(**{**values, **changes})  # type: ignore[arg-type] # wrong values are the point


@given(st.integers(-INT64_MAX, INT64_MAX))
def test_nanos_are_read_as_they_are_written(nanos: int) -> None:
    assert nanos_from_text(nanos_to_text(nanos)) == nanos


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**20))
def test_division_rounds_half_to_even(numerator: int, denominator: int) -> None:
    quotient = divide_half_even(numerator, denominator)
    distance = abs(Fraction(numerator, denominator) - quotient)
    assert distance <= Fraction(1, 2)
    if distance == Fraction(1, 2):
        assert quotient % 2 == 0


@pytest.mark.parametrize("text", ["", "x", "1e30", "nan", "inf", "0.0000000001", "9223372036.9"])
def test_a_text_that_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"decimal|finite|range"):
        nanos_from_text(text)


def test_currencies_are_never_mixed() -> None:
    assert Money("USD", 5) - Money("USD", 7) + -Money("USD", 1) == Money("USD", -3)
    assert abs(Money("USD", -3)) == Money("USD", 3)
    assert str(Money.from_text("USD", "1234.567")) == "1,234.57 USD"
    with pytest.raises(ValueError, match="without a rate"):
        Money("USD", 1) + Money("EUR", 1)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"symbol": ""}, "symbol"),
        ({"symbol": "acme"}, "symbol"),
        ({"quantity_nanos": 0}, "quantity_nanos"),
        ({"quantity_nanos": -1}, "quantity_nanos"),
        ({"limit_price_nanos": 0}, "limit_price_nanos"),
        ({"order_type": OrderType.MARKET}, "limit_price_nanos"),
        ({"display_quantity_nanos": 101 * NANO}, "display_quantity_nanos"),
        ({"time_in_force": TimeInForce.GTD}, "expire_time_nanos"),
        ({"expire_time_nanos": 5}, "expire_time_nanos"),
        ({"order_type": OrderType.LIMIT_ON_CLOSE, "time_in_force": TimeInForce.IOC}, "time_in_force"),
        ({"time_in_force": TimeInForce.IOC, "is_post_only": True}, "time_in_force"),
        ({"order_type": OrderType.MARKET, "limit_price_nanos": 0, "is_post_only": True}, "order_type"),
    ],
)
def test_terms_that_no_order_can_have_name_their_field(changes: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        terms(**changes).validate()
    assert caught.value.metadata["field"] == field


def test_terms_that_an_order_may_have_are_taken() -> None:
    terms().validate()
    terms(time_in_force=TimeInForce.GTD, expire_time_nanos=5).validate()
    terms(order_type=OrderType.MARKET_ON_CLOSE, limit_price_nanos=0).validate()
    terms(is_post_only=True, display_quantity_nanos=10 * NANO).validate()


def test_ids_are_checked_by_one_rule() -> None:
    for check in (check_client_order_id, check_request_id):
        assert check("01J-a_b.c:1") == "01J-a_b.c:1"
        with pytest.raises(InvalidInput, match="empty"):
            check("")
        with pytest.raises(InvalidInput):
            check("a" * 65)
    assert check_account("desk-1") == "desk-1"
    assert check_symbol("BRK.B") == "BRK.B"
    for wrong in ("", "a b", "x" * 33):
        with pytest.raises(InvalidInput):
            check_account(wrong)


def test_an_order_knows_what_is_left_and_what_it_paid() -> None:
    order = Order("1", "demo", terms(), OrderState.PARTIALLY_FILLED, 3 * NANO, 10 * NANO * NANO)
    assert order.leaves_quantity_nanos == 97 * NANO
    assert order.average_price_nanos == 3_333_333_333
    assert Order("1", "demo", terms(), OrderState.CANCELLED, 3 * NANO).leaves_quantity_nanos == 0
    assert Order("1", "demo", terms(), OrderState.NEW).average_price_nanos == 0
    assert Side.BUY.opposite is Side.SELL
    assert Side.SELL.sign == -1


def test_an_instrument_has_its_grid() -> None:
    bands = (TickBand(0, 100_000), TickBand(NANO, 10_000_000))
    instrument = Instrument("A", "PRACTICE", "USD", bands, NANO, NANO, "XNYS")
    assert instrument.tick_at(NANO - 1) == 100_000
    assert instrument.tick_at(NANO) == 10_000_000
    assert instrument.floor_to_tick(1_019_999_999) == 1_010_000_000
    assert instrument.ceil_to_tick(1_010_000_001) == 1_020_000_000
    assert instrument.is_on_tick(500_100_000)
    assert not instrument.is_on_lot(NANO + 1)
    assert instrument.floor_to_lot(2 * NANO + 1) == 2 * NANO


@pytest.mark.parametrize(
    ("bands", "lot", "least"),
    [
        ((), NANO, NANO),
        ((TickBand(5, 1),), NANO, NANO),
        ((TickBand(0, 0),), NANO, NANO),
        ((TickBand(0, 1),), NANO, 1),
    ],
)
def test_an_instrument_without_a_grid_is_refused(bands: tuple[TickBand, ...], lot: int, least: int) -> None:
    with pytest.raises(ValueError, match="A:"):
        Instrument("A", "PRACTICE", "USD", bands, lot, least, "XNYS")


def test_market_time_never_goes_back() -> None:
    clock = ManualClock(10)
    clock.advance(5)
    assert clock.now_nanos() == 10
    clock.tick(1e-9)
    assert clock.now_nanos() == 11


def test_an_error_carries_its_reason_and_facts_as_text() -> None:
    error = InvalidInput("FIELD_INVALID", field="price", value=3)
    assert error.metadata == {"field": "price", "value": "3"}
    assert str(error) == "a field has a value that is not allowed"
    assert isinstance(error, TapelineError)
