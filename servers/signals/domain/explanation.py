"""Why a signal is what it is: each feature's share of the log-odds, in figures and in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from servers.signals.domain.live import WORDS
from servers.signals.domain.signal import FeatureValue, Signal, values_of
from servers.signals.domain.trained import TrainedModel

MOST_NAMED = 3
NEGLIGIBLE = 0.005


@dataclass(frozen=True, slots=True)
class Contribution:
    """One feature's share of the log-odds, against its typical value."""

    feature: FeatureValue
    typical_value: float
    log_odds: float
    text: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """All shares, largest first; `base_log_odds` and they add up to `model_log_odds`."""

    signal: Signal
    contributions: tuple[Contribution, ...]
    base_log_odds: float
    model_log_odds: float
    text: str
    model_description: str


def explain(signal: Signal, model: TrainedModel) -> Explanation:
    """Return what made a signal, by the model that answered: with posts, or of prices alone."""
    linear = model.price_only if signal.flags.price_only else model.with_posts
    shares = linear.contributions(values_of(signal, linear)[None, :])[0]
    by_name = {feature.name: feature for feature in signal.features}
    parts = []
    for at in np.argsort(-np.abs(shares), kind="stable").tolist():
        feature, typical, share = by_name[linear.names[at]], float(linear.means[at]), float(shares[at])
        parts.append(Contribution(feature, typical, share, _words(feature, typical, share)))
    total = float(shares.sum()) + linear.intercept
    return Explanation(
        signal, tuple(parts), linear.intercept, total, _text(signal, tuple(parts)), model.description
    )


def _words(feature: FeatureValue, typical: float, share: float) -> str:
    if feature.is_missing:
        return f"{WORDS[feature.name]}: not known, so it counts for nothing"
    way = "up" if share > 0 else "down"
    if abs(share) < NEGLIGIBLE:
        return f"{WORDS[feature.name]}: {feature.value:.2f}, which says next to nothing"
    return (
        f"{WORDS[feature.name]}: {feature.value:.2f} (typically {typical:.2f}) speaks for {way}, {share:+.2f}"
    )


def _text(signal: Signal, parts: tuple[Contribution, ...]) -> str:
    strong = [part for part in parts if abs(part.log_odds) >= NEGLIGIBLE][:MOST_NAMED]
    why = "; ".join(part.text for part in strong) or "no feature says anything"
    basis = (
        "from prices alone"
        if signal.flags.price_only
        else f"from prices and {signal.author_count} authors of {signal.source_count} sources "
        f"(prices alone: {signal.price_only_probability_up:.1%})"
    )
    return (
        f"{signal.symbol} rises within {signal.horizon_nanos // 60_000_000_000} minutes with "
        f"{signal.probability_up:.1%}, {basis}; expected {signal.expected_return_bps:+.1f} bps. {why}."
    )
