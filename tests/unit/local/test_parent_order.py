"""Words of the command line become a parent order, or an error that says what is wrong."""

from __future__ import annotations

import pytest
from tapeline.execution.v1 import execution_pb2
from tapeline.trading.v1 import side_pb2

from servers.local.parent_order import ParentOrder, algorithm_from_text, algorithm_to_text, duration_nanos
from servers.model.nanos import NANO

NEW_YORK = "America/New_York"


def test_a_start_is_a_time_of_the_session_in_the_venues_time_zone() -> None:
    order = ParentOrder("buy", "1,500,000", "bac", "vwap", start="09:30", horizon="4h")
    parameters = order.to_parameters("2013-10-07", NEW_YORK)
    assert parameters.start_time_nanos == 1381152600 * NANO  # 13:30 UTC, daylight saving time
    assert parameters.quantity_nanos == 1_500_000 * NANO
    assert parameters.horizon_nanos == 4 * 3600 * NANO
    assert parameters.side == side_pb2.SIDE_BUY
    assert parameters.symbol == "BAC"
    assert parameters.algorithm == execution_pb2.ALGORITHM_STATIC_VWAP


def test_a_start_follows_daylight_saving_time() -> None:
    order = ParentOrder("SELL", "1", "A", start="09:30:05")
    before = order.to_parameters("2024-03-08", NEW_YORK).start_time_nanos
    after = order.to_parameters("2024-03-11", NEW_YORK).start_time_nanos
    assert after - before == (3 * 24 - 1) * 3600 * NANO


def test_without_words_the_server_decides() -> None:
    parameters = ParentOrder("BUY", "10", "ACME").to_parameters("2024-03-08", NEW_YORK)
    assert parameters.start_time_nanos == 0
    assert parameters.limit_price_nanos == 0
    assert parameters.completion_rule == execution_pb2.COMPLETION_RULE_LEAVE_RESIDUAL


@pytest.mark.parametrize(
    ("order", "word"),
    [
        (ParentOrder("HOLD", "1", "A"), "side 'HOLD'"),
        (ParentOrder("BUY", "many", "A"), "quantity"),
        (ParentOrder("BUY", "-5", "A"), "above 0"),
        (ParentOrder("BUY", "1e400", "A"), "quantity"),
        (ParentOrder("BUY", "0.0000000001", "A"), "nine decimal places"),
        (ParentOrder("BUY", "1", "A", "magic"), "twap, static_vwap"),
        (ParentOrder("BUY", "1", "A", start="noon"), "09:30"),
        (ParentOrder("BUY", "1", "A", start="25:00"), "25:00"),
        (ParentOrder("BUY", "1", "A", horizon="soon"), "4h, 90m"),
        (ParentOrder("BUY", "1", "A", limit_price="0"), "limit price"),
        (ParentOrder("BUY", "1", "A", completion="maybe"), "leave_residual"),
    ],
)
def test_a_wrong_word_is_named(order: ParentOrder, word: str) -> None:
    with pytest.raises(ValueError, match=word.replace("(", r"\(")):
        order.to_parameters("2024-03-08", NEW_YORK)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("4h", 14400), ("90m", 5400), ("1h30m", 5400), ("45s", 45), ("1.5h", 5400), (" 2H ", 7200)],
)
def test_durations_are_read(text: str, seconds: int) -> None:
    assert duration_nanos(text) == seconds * NANO


@pytest.mark.parametrize("text", ["", "h", "4", "-1h", "4h 30m x"])
def test_other_texts_are_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        duration_nanos(text)


def test_what_an_algorithm_takes_reaches_the_request_and_what_was_not_said_stays_unsaid() -> None:
    order = ParentOrder(
        "BUY",
        "1000",
        "A",
        "pov",
        target_participation=0.05,
        display="100",
        max_impact=0.01,
        max_deviation=0.02,
    )
    asked = order.to_parameters("2024-03-08", NEW_YORK)
    assert asked.algorithm == execution_pb2.ALGORITHM_POV
    assert (asked.target_participation_rate, asked.display_quantity_nanos) == (0.05, 100 * NANO)
    assert (asked.max_market_impact, asked.max_vwap_deviation) == (0.01, 0.02)
    assert not asked.HasField("risk_aversion")
    assert not asked.HasField("tracking_tolerance")
    averse = ParentOrder("BUY", "1", "A", "shortfall", risk_aversion=0.0).to_parameters(
        "2024-03-08", NEW_YORK
    )
    assert averse.HasField("risk_aversion")
    exact = ParentOrder("BUY", "1", "A", "adaptive_vwap", tolerance=0.1).to_parameters("2024-03-08", NEW_YORK)
    assert exact.tracking_tolerance == 0.1


def test_an_algorithm_has_one_name_and_may_have_an_alias() -> None:
    assert algorithm_to_text(algorithm_from_text("vwap")) == "static_vwap"
    assert algorithm_to_text(algorithm_from_text("static-vwap")) == "static_vwap"
    assert algorithm_to_text(algorithm_from_text("TWAP")) == "twap"
