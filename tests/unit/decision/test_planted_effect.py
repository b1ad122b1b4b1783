"""On the simulated market decisions earn what was planted and nothing that was not."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

from servers.decision.domain.book import ON_PAPER, DecisionBook
from servers.decision.domain.cost import Market
from servers.decision.domain.decision import Mode, ModeChange
from servers.decision.domain.signal import Signal
from servers.decision.market import View
from servers.decision.paper import PaperDesk
from servers.exchange.simulated import FlowSettings, SimulatedMarket
from servers.model.instrument import Instrument, TickBand
from servers.model.market import MarketPhase
from servers.model.nanos import NANO
from servers.model.social_events import SocialEvent, planted_events
from tests.unit.decision.figures import MINUTE, OPEN, POLICY, SESSION, signal

ACME = Instrument("ACME", "PRACTICE", "USD", (TickBand(0, NANO // 100),), NANO, NANO, "XNYS")
CLOSE = OPEN + SESSION
EXPECTED_BPS = 80.0
BOTH_SIDES = replace(POLICY, is_short_permitted=True)
SESSIONS = 20


def told(event: SocialEvent, now_nanos: int) -> Signal:
    """Return the signal of one who read of an event a minute ago and knows how much is still to come."""
    left = 2.0 ** (-(now_nanos - event.event_time_nanos) / event.half_life_nanos)
    return signal(
        event.direction * EXPECTED_BPS * event.strength * left / 2,
        event_time_nanos=now_nanos,
        half_life_nanos=event.half_life_nanos,
        horizon_nanos=event.half_life_nanos,
        deviation_bps=150.0 * math.sqrt(event.half_life_nanos / SESSION),
    )


def session_profit(seed: int, effect_bps: float) -> tuple[float, int]:
    """Return a session's profit on paper in dollars, and the orders: every event is read as if it counted."""
    flow = FlowSettings(seed, 50 * NANO, 4e5, 0.015, social_effect_bps=effect_bps, social_seed=seed)
    market = SimulatedMarket(ACME, flow)
    market.begin_session(OPEN, CLOSE)
    market.enter_phase(MarketPhase.PRE_OPEN, OPEN - 300 * NANO)
    market.advance(OPEN)
    market.enter_phase(MarketPhase.CONTINUOUS, OPEN)
    book = DecisionBook(ModeChange(Mode.APPROVAL, "test"))
    desk = PaperDesk(BOTH_SIDES, 300.0)
    events = planted_events(seed, OPEN, CLOSE, ["ACME"], effect_bps)
    mid = 0
    for minute in range(1, SESSION // MINUTE):
        now = OPEN + minute * MINUTE
        market.advance(now)
        bids, asks = market.depth(1)
        mid = (bids[0].price_nanos + asks[0].price_nanos) // 2
        spread = 1e4 * (asks[0].price_nanos - bids[0].price_nanos) / mid
        known = [event for event in events if event.event_time_nanos <= now - MINUTE]
        view = View(Market(mid, spread, 0.015, 5e6, SESSION), None)
        for fact in desk.events(book, "ACME", told(known[-1], now) if known else None, view, now):
            book.apply(fact)
    ledger = book.ledgers[ON_PAPER]
    return ledger.net_profit_attos({"ACME": mid}) / NANO / NANO, ledger.orders


def test_what_is_planted_is_earned_and_where_nothing_is_the_costs_are_lost() -> None:
    planted = [session_profit(seed, EXPECTED_BPS) for seed in range(SESSIONS)]
    nothing = [session_profit(seed, 0.0) for seed in range(SESSIONS)]
    assert sum(orders for _, orders in planted) > 2 * SESSIONS
    gain = [with_it - without for (with_it, _), (without, _) in zip(planted, nothing, strict=True)]
    for profits, sign in ((gain, 1), ([profit for profit, _ in planted], 1)):
        error = statistics.stdev(profits) / math.sqrt(SESSIONS)
        assert sign * statistics.mean(profits) > 3 * error
    error = statistics.stdev(profit for profit, _ in nothing) / math.sqrt(SESSIONS)
    assert statistics.mean(profit for profit, _ in nothing) < 2 * error
