"""Every limit refuses what breaks it, names itself, the value and the bound, and lets the rest pass."""

from __future__ import annotations

from dataclasses import replace

import pytest

from servers.model.instrument import ListingState, ShortSaleState
from servers.model.market import MarketPhase, MarketTime, Quote
from servers.model.order import OrderType, Side, TimeInForce
from servers.risk.domain.limits import KillSwitch, Limits
from servers.risk.domain.reasons import REJECTION_REASONS
from tests.unit.risk.world import LOOSE, NANO, SELL, World, instrument, usd


def test_an_account_without_limits_may_do_nothing() -> None:
    assert World(Limits("other")).reason("o", 1) == "ACCOUNT_UNKNOWN"


def test_an_order_without_any_bound_passes() -> None:
    assert World().reason("o", 1_000_000) == ""


def test_an_unknown_symbol_is_refused() -> None:
    assert World().reason("o", 1, symbol="NONE") == "SYMBOL_UNKNOWN"


def test_a_suspended_instrument_is_refused() -> None:
    world = World()
    world.market.instruments["ACME"] = instrument("ACME", listing_state=ListingState.SUSPENDED)
    assert world.reason("o", 1) == "INSTRUMENT_NOT_TRADABLE"


def test_another_currency_is_refused_for_want_of_a_rate() -> None:
    world = World()
    world.market.instruments["ACME"] = instrument("ACME", currency_code="INR")
    rejection = world.check("o", 1)
    assert rejection is not None
    assert (rejection.reason, rejection.value, rejection.bound) == ("CURRENCY_NOT_CONVERTIBLE", "INR", "USD")


@pytest.mark.parametrize(
    ("limits", "quantity", "reason", "limit", "value", "bound"),
    [
        (
            replace(LOOSE, max_order_quantity_nanos=10 * NANO),
            11,
            "ORDER_QUANTITY_ABOVE_LIMIT",
            "max_order_quantity_nanos",
            "11 shares",
            "10 shares",
        ),
        (
            replace(LOOSE, max_order_notional=usd(1_000)),
            11,
            "ORDER_NOTIONAL_ABOVE_LIMIT",
            "max_order_notional",
            "1,100.00 USD",
            "1,000.00 USD",
        ),
        (
            replace(LOOSE, max_position_nanos=10 * NANO),
            11,
            "POSITION_ABOVE_LIMIT",
            "max_position_nanos",
            "11 shares",
            "10 shares",
        ),
        (
            replace(LOOSE, max_gross_exposure=usd(1_000)),
            11,
            "GROSS_EXPOSURE_ABOVE_LIMIT",
            "max_gross_exposure",
            "1,100.00 USD",
            "1,000.00 USD",
        ),
        (
            replace(LOOSE, buying_power=usd(1_000)),
            11,
            "BUYING_POWER_EXCEEDED",
            "buying_power",
            "1,100.00 USD",
            "1,000.00 USD",
        ),
        (
            replace(LOOSE, max_participation=0.0001),
            11,
            "PARTICIPATION_ABOVE_LIMIT",
            "max_participation",
            "0.000110",
            "0.0001",
        ),
    ],
)
def test_one_share_above_a_limit_is_refused_and_the_limit_itself_is_not(
    limits: Limits, quantity: int, reason: str, limit: str, value: str, bound: str
) -> None:
    rejection = World(limits).check("o", quantity)
    assert rejection is not None
    assert (rejection.reason, rejection.limit) == (reason, limit)
    assert (rejection.value, rejection.bound) == (value, bound)
    assert rejection.message
    assert World(limits).reason("o", quantity - 1) == ""


@pytest.mark.parametrize(
    "limits",
    [
        replace(LOOSE, symbol="ACME", max_position_nanos=10 * NANO),
        replace(LOOSE, symbol="ACME", max_gross_exposure=usd(1_000)),
        replace(LOOSE, symbol="ACME", buying_power=usd(1_000)),
        replace(LOOSE, symbol="ACME", max_order_notional=usd(1_000)),
    ],
)
def test_a_limit_of_a_symbol_holds_for_that_symbol_alone(limits: Limits) -> None:
    world = World(LOOSE, limits)
    assert world.reason("o1", 11) != ""
    assert world.reason("o2", 11, symbol="BOLT", price=50.0) == ""


@pytest.mark.parametrize(
    ("side", "price", "is_refused"),
    [
        ("BUY", 105.0, False),
        ("BUY", 105.01, True),
        ("BUY", 1.0, False),
        ("SELL", 95.0, False),
        ("SELL", 94.99, True),
    ],
)
def test_a_limit_price_may_lie_so_far_on_its_aggressive_side(
    side: str, price: float, is_refused: bool
) -> None:
    world = World(replace(LOOSE, price_collar=0.05, short_sale_permitted=True))
    rejection = world.check("o", 1, Side[side], price=price)
    assert (rejection is not None) == is_refused
    if rejection is not None:
        assert (rejection.reason, rejection.limit, rejection.bound) == (
            "PRICE_COLLAR",
            "price_collar",
            "0.05",
        )


def test_participation_without_a_median_volume_is_refused() -> None:
    world = World(replace(LOOSE, max_participation=0.1))
    world.market.median_volumes.clear()
    assert world.reason("o", 1) == "MEDIAN_VOLUME_UNKNOWN"


# -- Market -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [MarketPhase.HALTED, MarketPhase.CLOSED])
def test_a_phase_that_takes_no_orders_refuses(phase: MarketPhase) -> None:
    world = World()
    world.quote("ACME", 100.0, phase)
    rejection = world.check("o", 1)
    assert rejection is not None
    assert (rejection.reason, rejection.value) == ("MARKET_PHASE", phase.name)


def test_without_any_quote_there_is_no_reference() -> None:
    world = World()
    world.market.quotes.clear()
    assert world.reason("o", 1) == "REFERENCE_PRICE_MISSING"


def test_in_continuous_trading_a_quote_without_prices_is_no_reference() -> None:
    world = World()
    world.market.quotes["ACME"] = Quote("ACME", phase=MarketPhase.CONTINUOUS)
    assert world.reason("o", 1) == "REFERENCE_PRICE_MISSING"


def test_before_the_open_a_limit_order_needs_no_reference_and_a_market_order_does() -> None:
    world = World()
    world.market.quotes["ACME"] = Quote("ACME", phase=MarketPhase.PRE_OPEN)
    assert world.reason("limit", 1) == ""
    assert world.reason("market", 1, price=0.0) == "REFERENCE_PRICE_MISSING"


def test_a_price_older_than_its_limit_in_market_time_is_stale() -> None:
    world = World(replace(LOOSE, max_reference_age_seconds=30.0))
    world.pass_time(30.0)
    assert world.reason("o1", 1) == ""
    world.pass_time(0.5)
    rejection = world.check("o2", 1)
    assert rejection is not None
    assert (rejection.reason, rejection.value, rejection.bound) == (
        "REFERENCE_PRICE_STALE",
        "30.500 s",
        "30 s",
    )


def test_without_a_stated_age_a_price_is_stale_after_a_minute() -> None:
    world = World()
    world.pass_time(60.5)
    assert world.reason("o", 1) == "REFERENCE_PRICE_STALE"


def test_a_feed_whose_time_stands_still_makes_every_price_stale() -> None:
    world = World()
    world.clock.tick(5.5)
    assert world.reason("o", 1) == "REFERENCE_PRICE_STALE"


def test_a_clock_that_is_held_is_no_silent_feed() -> None:
    world = World()
    world.clock.tick(5.5)
    world.market.take_time(MarketTime(world.market.now_nanos, 0.0, is_held=True), world.clock.now_nanos())
    assert world.reason("o", 1) == ""


# -- Kill switch and restriction ----------------------------------------------------------------------


@pytest.mark.parametrize("account", ["a", ""])
def test_the_kill_switch_refuses_orders_and_parents(account: str) -> None:
    world = World()
    world.controls.set_kill_switch(KillSwitch(account, is_on=True, reason="drill"))
    assert world.reason("o", 1) == "KILL_SWITCH_ON"
    assert world.start("e", 1) == "KILL_SWITCH_ON"
    world.controls.set_kill_switch(KillSwitch(account, is_on=False, reason="over"))
    assert world.reason("o2", 1) == ""


def test_a_restricted_symbol_may_only_be_reduced() -> None:
    world = World(LOOSE, Limits("a", "ACME", is_restricted=True))
    world.open_position(10)
    assert world.reason("o1", 1) == "RESTRICTED"
    assert world.reason("o2", 10, SELL) == ""


# -- Shorts, own orders, duplicates, rates --------------------------------------------------------------


def test_a_sale_beyond_the_position_needs_permission_of_account_and_instrument() -> None:
    world = World()
    world.open_position(10)
    assert world.reason("o1", 10, SELL) == ""
    rejection = world.check("o2", 1, SELL)
    assert rejection is not None
    assert (rejection.reason, rejection.value) == ("SHORT_SALE_NOT_PERMITTED", "1 shares")
    allowed = World(replace(LOOSE, short_sale_permitted=True))
    assert allowed.reason("o", 1, SELL) == ""
    allowed.market.instruments["ACME"] = replace(
        instrument("ACME"), short_sale_state=ShortSaleState.PROHIBITED
    )
    assert allowed.reason("o2", 1, SELL) == "SHORT_SALE_NOT_PERMITTED"


def test_an_order_that_would_meet_an_own_resting_order_is_refused() -> None:
    world = World(replace(LOOSE, short_sale_permitted=True))
    assert world.reason("s", 5, SELL, price=101.0) == ""
    world.accept("s", 5, SELL, price=101.0)
    assert world.reason("b1", 5, price=100.99) == ""
    rejection = world.check("b2", 5, price=101.0)
    assert rejection is not None
    assert rejection.reason == "SELF_TRADE"
    assert "own order s" in rejection.message
    assert world.reason("b3", 5, price=0.0) == "SELF_TRADE"
    world.cancel("s", 5, SELL)
    assert world.reason("b4", 5, price=101.0) == ""


@pytest.mark.parametrize("price", [99.0, 0.0])
def test_a_sell_meets_own_resting_buys_too(price: float) -> None:
    world = World(replace(LOOSE, short_sale_permitted=True))
    world.check("b", 5, price=99.0)
    assert world.reason("s1", 5, SELL, price=99.01) == ""
    assert world.reason("s2", 5, SELL, price=price) == "SELF_TRADE"


def test_orders_that_never_rest_are_not_met() -> None:
    world = World(replace(LOOSE, short_sale_permitted=True))
    world.check("s", 5, SELL, price=100.0, time_in_force=TimeInForce.IOC)
    assert world.reason("b", 5, price=101.0) == ""


def test_orders_for_the_close_are_left_to_the_venue() -> None:
    world = World(replace(LOOSE, short_sale_permitted=True))
    world.check("s", 5, SELL, price=100.0)
    assert world.reason("b", 5, price=101.0, order_type=OrderType.LIMIT_ON_CLOSE) == ""


def test_the_same_content_within_the_window_is_a_duplicate_and_children_are_not() -> None:
    world = World(replace(LOOSE, duplicate_window_seconds=10.0))
    assert world.reason("o1", 5) == ""
    rejection = world.check("o2", 5)
    assert rejection is not None
    assert (rejection.reason, rejection.bound) == ("DUPLICATE_ORDER", "10 s")
    assert world.reason("o3", 6) == ""
    assert world.reason("o4", 5, execution_id="e") == ""
    world.pass_time(11.0)
    assert world.reason("o5", 5) == ""


def test_a_burst_of_twice_the_rate_passes_and_then_the_rate_holds() -> None:
    world = World(replace(LOOSE, max_orders_per_second=5.0))
    reasons = [world.reason(f"o{number}", 1) for number in range(12)]
    assert reasons == [""] * 10 + ["ORDER_RATE_ABOVE_LIMIT"] * 2
    world.pass_time(1.0)
    assert [world.reason(f"p{number}", 1) for number in range(6)] == [""] * 5 + ["ORDER_RATE_ABOVE_LIMIT"]


def test_cancels_take_from_the_message_rate_and_always_pass() -> None:
    world = World(replace(LOOSE, max_messages_per_second=2.0))
    for _ in range(50):
        world.engine.rates.count_cancel("a", "ACME", world.clock.now_nanos())
    assert world.reason("o1", 1) == "MESSAGE_RATE_ABOVE_LIMIT"
    world.pass_time(3.0)
    assert world.reason("o2", 1) == ""


def test_new_limits_start_with_new_rates() -> None:
    world = World(replace(LOOSE, max_orders_per_second=0.0))
    assert world.reason("o1", 1) == "ORDER_RATE_ABOVE_LIMIT"
    world.controls.set_limits(replace(LOOSE, max_orders_per_second=5.0))
    assert world.reason("o2", 1) == ""


# -- Loss -------------------------------------------------------------------------------------------


def test_a_loss_at_its_limit_stops_what_adds_and_lets_out_what_reduces() -> None:
    world = World(replace(LOOSE, max_daily_loss=usd(1_000)))
    world.open_position(100)
    world.quote("ACME", 90.01)
    assert world.reason("o1", 1, price=90.0) == ""
    world.quote("ACME", 90.0)
    rejection = world.check("o2", 1, price=90.0)
    assert rejection is not None
    assert (rejection.reason, rejection.value) == ("DAILY_LOSS_ABOVE_LIMIT", "1,000.00 USD")
    assert world.reason("o3", 50, SELL, price=91.0) == ""


def test_a_new_session_begins_with_no_loss() -> None:
    world = World(replace(LOOSE, max_daily_loss=usd(1_000)))
    world.open_position(100)
    world.quote("ACME", 80.0)
    assert world.reason("o1", 1, price=80.0) == "DAILY_LOSS_ABOVE_LIMIT"
    world.pass_time(86_400.0)
    world.books.roll_sessions()
    world.quote("ACME", 80.0)
    assert world.reason("o2", 1, price=80.0) == ""
    assert world.engine.profit_attos("a") == 0


def test_realised_loss_and_fees_count() -> None:
    world = World(replace(LOOSE, max_daily_loss=usd(105)))
    world.books.roll_sessions()
    world.fill("b", 10, 10, 0, price=110.0, fee=5)
    assert world.engine.profit_attos("a") == -usd(105).attos
    assert world.reason("o", 1) == "DAILY_LOSS_ABOVE_LIMIT"


def test_every_reason_that_the_tests_meet_stands_in_the_table() -> None:
    world = World(replace(LOOSE, max_position_nanos=NANO))
    world.check("o", 2)
    assert set(world.engine.refused) <= set(REJECTION_REASONS)
