"""What holds for a working parent whatever the market does: cap, exactness, no burst."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from servers.execution.adapters.memory import OPEN_NANOS, practice_instrument
from servers.execution.domain.events import (
    ChildState,
    Event,
    EventKind,
    ExecutionState,
    SchedulePlan,
    Start,
)
from servers.execution.domain.parameters import Algorithm, Parameters, SessionTimes, plan_horizon
from servers.execution.domain.parent import ParentOrder
from servers.execution.domain.placing import Tuning
from servers.execution.domain.report import peak_participation
from servers.execution.domain.tape import Prints, Tape
from servers.execution.domain.working import WorkingParent, take_in
from servers.model.market import MarketPhase, Quote, TradeFlag, TradingStatus
from servers.model.nanos import NANO, Money
from servers.model.order import Fill, Liquidity, OrderState, Side

SYMBOL = "ACME"
CLOSE = OPEN_NANOS + 23_400 * NANO
TUNING = Tuning()

moments = st.lists(
    st.tuples(
        st.sampled_from([1, 1, 1, 2, 5, 40, 200]),  # seconds to the next step
        st.integers(0, 4_000),  # shares that trade in it
        st.sampled_from(["on", "on", "on", "on", "halted", "restart", "replay"]),
        st.floats(0, 1),  # how much of a child fills
    ),
    min_size=10,
    max_size=60,
)


class Market:
    """A market without a server: the test moves it, fills children and keeps every fact."""

    def __init__(self, quantity: int, algorithm: Algorithm = Algorithm.TWAP) -> None:
        asked = Parameters(SYMBOL, SYMBOL, Side.BUY, quantity * NANO, algorithm, horizon_nanos=1_200 * NANO)
        parameters, _ = plan_horizon(asked, SessionTimes(OPEN_NANOS, CLOSE), OPEN_NANOS, NANO)
        plan = SchedulePlan(
            CLOSE, (1 / 78,) * 78, 300 * NANO, OPEN_NANOS, 40_000.0,
            daily_volatility=0.015, impact_fraction=0.0005, session_volume_time_nanos=OPEN_NANOS,
        )  # fmt: skip
        start = Start(parameters, 0, "", plan)
        self.events = [Event(EventKind.STARTED, "X", OPEN_NANOS, ExecutionState.PENDING, start=start)]
        self.parent = ParentOrder.from_event(self.events[0])
        self.working = WorkingParent(self.parent, practice_instrument(), TUNING)
        self.tape = Tape(SYMBOL)
        self.now = OPEN_NANOS
        self.sequence = 1
        self.sent: list[tuple[int, int]] = []

    def phase(self, phase: MarketPhase) -> None:
        if phase is not self.tape.phase:
            self.tape.on_status(TradingStatus(SYMBOL, phase, self.now, "", OPEN_NANOS, CLOSE))

    def trade(self, shares: int) -> None:
        if not shares:
            return
        times, prices, sizes, flags = (
            np.array([value], dtype=np.int64)
            for value in (self.now, 30 * NANO, shares * NANO, TradeFlag.ELIGIBLE)
        )
        prints = Prints(SYMBOL, self.sequence, times, prices, sizes, flags)
        self.sequence += 1
        self.working.on_prints(self.tape.add(prints), self.tape)
        tick = NANO // 100
        quote = Quote(SYMBOL, 30 * NANO - tick, NANO, 30 * NANO + tick, NANO, 30 * NANO, self.now)
        self.tape.on_quote(quote)

    def take(self, event: Event) -> None:
        ended = [self.parent.children[state.client_order_id] for state in event.child_states]
        ended = [record for record in ended if not record.state.is_final]
        self.events.append(event)
        self.parent.apply(event)
        take_in(self.working, event, ended)

    def step(self, fill_share: float, shares: int) -> None:
        decision = self.working.step(self.now, self.tape)
        for event in decision.events:
            self.take(event)
            if event.kind is EventKind.ARRIVED:
                self.working.begin(self.tape)
        for child in decision.children:
            self.take(Event(EventKind.CHILD, "X", self.now, self.parent.state, child=child))
            self.sent.append((self.now, child.terms.quantity_nanos))
        for key in decision.cancels:
            self.end(key)
        left = shares // 2 * NANO
        for key in list(self.parent.working):
            # A child that rests takes part in what traded; one that crosses finds what the far side shows.
            record = self.parent.working[key]
            wanted = int(record.leaves_quantity_nanos // NANO * fill_share) * NANO
            quantity = wanted if record.is_immediate else min(wanted, left)
            left -= 0 if record.is_immediate else quantity
            if quantity:
                self.fill(key, quantity)
            if key in self.parent.working and self.parent.working[key].is_immediate:
                self.end(key)

    def fill(self, key: str, quantity: int) -> None:
        record = self.parent.working[key]
        fill = Fill(
            "V", f"F{len(self.events)}", SYMBOL, key, "X", SYMBOL, Side.BUY, quantity,
            record.child.terms.limit_price_nanos, Money("USD"), Liquidity.TAKER, self.now,
        )  # fmt: skip
        left = self.parent.residual_quantity_nanos - quantity
        state = self.parent.state if left else ExecutionState.FILLED
        self.take(Event(EventKind.PROGRESS, "X", self.now, state, fills=(fill,)))

    def end(self, key: str) -> None:
        state = ChildState(key, OrderState.CANCELLED)
        self.take(Event(EventKind.PROGRESS, "X", self.now, self.parent.state, child_states=(state,)))

    def restart(self, *, replay: bool) -> None:
        if replay:
            parent = ParentOrder.from_event(self.events[0])
            for event in self.events[1:]:
                parent.apply(event)
            assert replace(parent) == self.parent
            self.parent = parent
        self.working = WorkingParent(self.parent, practice_instrument(), TUNING)
        self.working.restore(self.tape)


@settings(max_examples=75, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(moments, st.sampled_from([500, 5_000, 100_000]), st.sampled_from(list(Algorithm)))
def test_the_cap_the_quantity_and_the_rate_of_children_hold_through_gaps_halts_and_restarts(
    steps: Any, quantity: Any, algorithm: Any
) -> None:
    market = Market(quantity, algorithm)
    is_even = algorithm in (Algorithm.TWAP, Algorithm.STATIC_VWAP)
    ends = market.parent.parameters.end_time_nanos
    slice_nanos = market.parent.parameters.slice_nanos
    for seconds, shares, what, fill_share in steps:
        market.now += seconds * NANO
        market.phase(MarketPhase.HALTED if what == "halted" else MarketPhase.CONTINUOUS)
        if what != "halted":
            market.trade(shares)
        sent, left = len(market.sent), market.parent.residual_quantity_nanos
        if what in ("restart", "replay"):
            market.restart(replay=what == "replay")
        market.step(fill_share, 0 if what == "halted" else shares)
        parent = market.parent
        # Exactness: filled, working and unsent are the whole, and nothing is ever above it.
        assert parent.filled_quantity_nanos + parent.working_quantity_nanos <= parent.quantity_nanos
        assert sum(fill.quantity_nanos for fill in parent.fills.values()) == parent.filled_quantity_nanos
        if what == "halted":
            assert len(market.sent) == sent
            assert not parent.working
        # No burst after whatever gap: one step sends at most a few slices of what is left of the plan.
        planned_until = ends - market.parent.parameters.horizon_nanos / 20
        slices_left = max((planned_until - market.now) / slice_nanos - 1, 1)
        if is_even:
            assert sum(size for _, size in market.sent[sent:]) <= 8 * left / slices_left + 2 * NANO
    times = [time for time, _ in market.sent]
    for time in times:
        assert sum(time - NANO < other <= time for other in times) <= TUNING.max_children_per_second
    if market.parent.arrival_time_nanos:
        fills, arrival = list(market.parent.fills.values()), market.parent.arrival_time_nanos
        peak = peak_participation(fills, market.tape, arrival, 300 * NANO, own_on_tape=False)
        assert peak <= 0.1
    assert len(market.parent.children) == len(market.sent)
