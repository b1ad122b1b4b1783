"""What goes over the wire comes back, what cannot be is dropped, and the figures are shown."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from google.type.money_pb2 import Money as WireMoney
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from tapeline.decision.v1 import decision_pb2
from tapeline.execution.v1 import execution_pb2
from tapeline.signals.v1 import signal_pb2
from tapeline.trading.v1 import fill_pb2

from servers.decision import wire
from servers.decision.adapters.execution import fact_from_wire, parameters_of
from servers.decision.adapters.market import daily_volatility
from servers.decision.adapters.signals import signal_from_wire
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
from servers.decision.domain.performance import wilson_half_width
from servers.decision.domain.signal import Restriction
from servers.decision.domain.sizing import Action, Holding
from servers.decision.metrics import DecisionCollector
from servers.model.errors import InvalidInput
from servers.model.nanos import NANO, Money
from servers.model.order import Rejection, Side
from tests.unit.decision.decision_desk import Desk
from tests.unit.decision.figures import MINUTE, NOW, signal

nanos = st.integers(-(2**62), 2**62)
texts = st.text("abcXYZ019-", max_size=20)
costs = st.builds(Costs, *[st.floats(0, 1e3)] * 3)
inputs = st.builds(
    Inputs,
    texts,
    nanos,
    st.lists(texts, max_size=3).map(tuple),
    st.lists(texts, max_size=3).map(tuple),
    st.floats(0, 1),
    st.none() | st.floats(0, 1),
    nanos,
    st.integers(0, 100),
    st.integers(0, 100),
    st.lists(texts, max_size=3).map(tuple),
    nanos,
    st.floats(0, 1e3),
    st.floats(0, 1),
    st.floats(0, 1e9),
)
decisions = st.builds(
    Decision,
    decision_id=texts,
    account=texts,
    symbol=texts,
    event_time_nanos=nanos,
    action=st.sampled_from(Action),
    state=st.sampled_from(State),
    reason_code=texts,
    reason=texts,
    holding=st.builds(Holding, nanos, nanos, nanos),
    target_nanos=nanos,
    side=st.none() | st.sampled_from(Side),
    quantity_nanos=nanos,
    edge_bps=st.floats(-1e3, 1e3),
    costs=costs,
    algorithm=texts,
    horizon_nanos=nanos,
    expire_time_nanos=nanos,
    inputs=inputs,
    decided_by=texts,
    execution_id=texts,
    traceparent=texts,
    rejection=st.none() | st.builds(Rejection, texts, texts),
    filled_quantity_nanos=nanos,
    average_price_nanos=nanos,
    outcome_price_nanos=nanos,
    create_time_nanos=st.integers(0, 4_000_000_000 * NANO),
    fees=st.none() | st.builds(Money, st.just("USD"), st.integers(-(10**15), 10**15).map(lambda n: n * NANO)),
    cancelled_execution_id=texts,
)
papers = st.builds(
    PaperTrade, texts, texts, nanos, nanos, nanos, nanos, nanos, st.booleans(), nanos
)  # fmt: skip


@given(decisions)
def test_a_decision_comes_back_from_its_bytes_as_it_was(decision: Decision) -> None:
    sent = wire.decision_to_wire(decision).SerializeToString()
    assert wire.decision_from_wire(decision_pb2.Decision.FromString(sent)) == decision


@given(papers, nanos)
def test_an_event_comes_back_from_its_bytes_as_it_was(paper: PaperTrade, time: int) -> None:
    change = ModeChange(Mode.AUTOPILOT, "ops", "why")
    for event in (
        Event(EventKind.PAPER, time, paper=paper),
        Event(EventKind.MODE_SET, time, mode_change=change),
    ):
        assert wire.event_from_wire(wire.event_to_wire(event, NANO)) == event


def test_a_mode_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInput):
        wire.mode_from_wire(0)


def wire_signal(**more: Any) -> signal_pb2.Signal:
    made = signal_pb2.Signal(
        signal_id="S",
        symbol="ACME",
        event_time_nanos=NOW,
        probability_up=0.6,
        expected_return_bps=12.0,
        half_life_nanos=30 * MINUTE,
        horizon_nanos=60 * MINUTE,
        model_version="m/1",
        sentiment_model_versions=["llm/1"],
        post_ids=["p1"],
        flags=signal_pb2.SignalFlags(is_calibrated=True),
        price_only_probability_up=0.55,
        author_count=2,
        source_count=3,
        volatility_bps=30.0,
        traceparent="T",
    )
    for name, value in more.items():
        setattr(made, name, value)
    return made


def test_a_signal_is_read_with_all_that_decision_needs() -> None:
    read = signal_from_wire(wire_signal())
    assert read is not None
    assert (read.expected_return_bps, read.deviation_bps) == (12.0, 30.0)
    assert (read.half_life_nanos, read.horizon_nanos) == (30 * MINUTE, 60 * MINUTE)
    assert read.model_versions == ("m/1", "llm/1")
    assert (read.author_count, read.source_count, read.post_ids) == (2, 3, ("p1",))
    assert read.price_only_probability_up == 0.55
    assert read.restrictions == frozenset()
    silent = signal_from_wire(wire_signal(price_only_probability_up=0.0))
    assert silent is not None
    assert silent.price_only_probability_up is None


@pytest.mark.parametrize(
    ("flag", "restriction"),
    [
        ("is_stale", Restriction.STALE),
        ("lexicon_only", Restriction.LEXICON_ONLY),
        ("pump_suspected", Restriction.PUMP_SUSPECTED),
        ("one_source_only", Restriction.ONE_SOURCE),
        ("one_author_only", Restriction.ONE_AUTHOR),
        ("is_shed", Restriction.SHED),
    ],
)
def test_every_flag_of_a_signal_restricts_its_use(flag: str, restriction: Restriction) -> None:
    made = wire_signal()
    setattr(made.flags, flag, True)
    made.flags.is_calibrated = False
    read = signal_from_wire(made)
    assert read is not None
    assert read.restrictions == {restriction, Restriction.UNCALIBRATED}


@pytest.mark.parametrize(
    "wrong",
    [
        {"probability_up": 1.1},
        {"probability_up": math.nan},
        {"price_only_probability_up": -0.1},
        {"half_life_nanos": 0},
        {"horizon_nanos": -1},
        {"symbol": ""},
        {"expected_return_bps": math.inf},
        {"volatility_bps": math.nan},
    ],
)
def test_a_signal_that_cannot_be_is_none(wrong: dict[str, Any]) -> None:
    assert signal_from_wire(wire_signal(**wrong)) is None


def order(**more: Any) -> Decision:
    made = Decision(
        "D1", "A", "ACME", NOW, Action.CLOSE, State.APPROVED, side=Side.SELL, quantity_nanos=5 * NANO,
        algorithm="static_vwap", horizon_nanos=10 * MINUTE, expire_time_nanos=NOW + 10 * MINUTE,
        inputs=Inputs(mid_price_nanos=50 * NANO),
    )  # fmt: skip
    return replace(made, **more)


def test_what_execution_is_asked_for_is_all_in_the_record() -> None:
    asked = parameters_of(order())
    assert asked == parameters_of(order(state=State.STARTED, filled_quantity_nanos=1, execution_id="E"))
    assert asked.algorithm == execution_pb2.ALGORITHM_STATIC_VWAP
    assert asked.end_time_nanos == NOW + 10 * MINUTE
    assert asked.horizon_nanos == 0
    with pytest.raises(InvalidInput):
        parameters_of(order(algorithm="guesswork"))


def test_a_fact_carries_the_fees_of_its_fills_less_those_taken_back() -> None:
    def fill(units: int) -> fill_pb2.Fill:
        return fill_pb2.Fill(fee=WireMoney(currency_code="USD", units=units))

    event = execution_pb2.ExecutionEvent(
        event_time_nanos=NOW,
        execution=execution_pb2.Execution(
            execution_id="E",
            state=execution_pb2.EXECUTION_STATE_DONE,
            filled_quantity_nanos=5,
            average_price_nanos=7,
        ),
        fills=[fill(3), fill(4), fill_pb2.Fill()],
        busted_fills=[fill(2)],
    )
    fact = fact_from_wire(event)
    assert (fact.is_over, fact.filled_quantity_nanos, fact.average_price_nanos) == (True, 5, 7)
    assert fact.fees == Money("USD", 5 * NANO * NANO)
    running = execution_pb2.ExecutionEvent(
        execution=execution_pb2.Execution(state=execution_pb2.EXECUTION_STATE_RUNNING)
    )
    assert fact_from_wire(running).fees is None
    assert not fact_from_wire(running).is_over


def test_volatility_is_the_deviation_of_log_returns_of_the_last_twenty_sessions() -> None:
    closes = [100, 101, 99, 102, 100, 103]
    returns = [math.log(b / a) for a, b in zip(closes, closes[1:], strict=False)]  # noqa: RUF007  # plainly
    mean = sum(returns) / len(returns)
    expected = math.sqrt(sum((one - mean) ** 2 for one in returns) / (len(returns) - 1))
    assert daily_volatility(closes) == pytest.approx(expected)
    assert daily_volatility(closes[:5]) == 0.0
    assert daily_volatility([1_000] * 3 + [100, 101] * 10 + [100]) == pytest.approx(
        daily_volatility([100, 101] * 10 + [100])
    )


def test_the_interval_of_a_hit_rate_narrows_with_the_count() -> None:
    assert wilson_half_width(0, 0) == 0.0
    assert wilson_half_width(50, 100) == pytest.approx(0.0962, abs=1e-3)
    assert wilson_half_width(5_000, 10_000) < 0.01
    assert wilson_half_width(0, 10) > 0.1


async def test_the_metrics_show_the_book(desk: Desk) -> None:
    registry = CollectorRegistry()
    registry.register(DecisionCollector(desk.engine))
    await desk.engine.on_signal(signal())
    await desk.engine.on_signal(signal(3.0, event_time_nanos=NOW + 1, author_count=1))
    shown = generate_latest(registry).decode()
    for line in (
        'tapeline_decision_orders_total{action="OPEN"} 1.0',
        'tapeline_decision_declined_total{reason="ONE_AUTHOR"} 1.0',
        'tapeline_decision_open{state="STARTED"} 1.0',
        "tapeline_decision_signals 1.0",
        "tapeline_decision_autopilot 1.0",
        "tapeline_decision_killed 0.0",
        'tapeline_decision_turnover{strategy="decided"} 0.0',
    ):
        assert line in shown
    assert 'tapeline_decision_net_profit{strategy="decided_on_paper"} -' in shown
