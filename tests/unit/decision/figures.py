"""Ordinary values for the tests of decision: one symbol, one signal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from servers.decision.domain.cost import Market
from servers.decision.domain.signal import Signal
from servers.decision.domain.sizing import Caps, Policy
from servers.model.nanos import NANO

OPEN = 1_700_000_000 * NANO
MINUTE = 60 * NANO
SESSION = 390 * MINUTE
NOW = OPEN + 60 * MINUTE
ACME = Market(50 * NANO, 2.0, 0.015, 5e6, SESSION)
POLICY = Policy(caps=Caps(participation_rate=0.1))


def signal(bps: float = 40.0, **more: Any) -> Signal:
    """Return a trustworthy signal that holds from now on."""
    made = Signal(
        signal_id=f"S{bps:g}",
        symbol="ACME",
        event_time_nanos=NOW,
        half_life_nanos=30 * MINUTE,
        horizon_nanos=30 * MINUTE,
        probability_up=0.7 if bps > 0 else 0.3,
        price_only_probability_up=0.5,
        expected_return_bps=bps,
        deviation_bps=40.0,
        post_ids=("p1", "p2", "p3"),
        model_versions=("signals/1", "market_llm/1"),
        author_count=3,
        source_count=2,
    )
    return replace(made, **more)
