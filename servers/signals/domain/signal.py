"""A signal: how probable a rise is, from which figures, and what stands against its use."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from enum import IntEnum
from statistics import NormalDist

import numpy as np

from servers.model.nanos import NANO
from servers.signals.domain import live
from servers.signals.domain.live import Bars, PostAggregate
from servers.signals.domain.model import LinearModel
from servers.signals.domain.panel import Doubles, Group
from servers.signals.domain.trained import ALL_GROUPS, PRICE_GROUPS, TrainedModel, names_of

MOST_POST_IDS = 100
LEAST_PROBABILITY = 1e-4
"""Probabilities stay so far from 0 and 1: beyond, the normal law says more than any model knows."""


class Regime(IntEnum):
    """Numbered as on the wire."""

    UNSPECIFIED = 0
    TREND = 1
    RANGE = 2
    HIGH_VOLATILITY = 3


@dataclass(frozen=True, slots=True)
class Reading:
    """What posts of one kind add up to, and who read them."""

    aggregate: PostAggregate = field(default_factory=PostAggregate)
    post_count: int = 0
    llm_share: float = 0.0
    calibrated_share: float = 0.0
    is_shed: bool = False
    disagreement: float = 0.0
    volume_ratio: float = 0.0
    model_versions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sentiment:
    """What posts say of one symbol, news and people apart."""

    symbol: str
    event_time_nanos: int
    news: Reading
    social: Reading
    is_pump_suspected: bool = False
    post_ids: tuple[str, ...] = ()
    traceparent: str = ""
    author_count: int = 0
    source_count: int = 0

    @property
    def post_count(self) -> int:
        """Return how many posts count."""
        return self.news.post_count + self.social.post_count

    @property
    def readings(self) -> tuple[Reading, ...]:
        """Return those with posts."""
        return tuple(reading for reading in (self.news, self.social) if reading.post_count)


@dataclass(frozen=True, slots=True)
class RegimeReading:
    """The regime as intelligence classified it, with the figures it rests on, at a market time."""

    regime: Regime
    efficiency_ratio: float
    variance_ratio: float
    volatility_ratio: float
    event_time_nanos: int


@dataclass(frozen=True, slots=True)
class Flags:
    """What limits a signal's use; see the contract."""

    is_stale: bool = False
    is_calibrated: bool = True
    lexicon_only: bool = False
    pump_suspected: bool = False
    one_source_only: bool = False
    one_author_only: bool = False
    is_shed: bool = False
    price_only: bool = False


@dataclass(frozen=True, slots=True)
class FeatureValue:
    """One figure as the model saw it."""

    name: str
    group: Group
    value: float
    age_nanos: int
    is_missing: bool


@dataclass(frozen=True, slots=True)
class Signal:
    """See `tapeline.signals.v1.Signal`; the fields are the same."""

    signal_id: str
    symbol: str
    event_time_nanos: int
    probability_up: float
    price_only_probability_up: float
    expected_return_bps: float
    volatility_bps: float
    half_life_nanos: int
    horizon_nanos: int
    features: tuple[FeatureValue, ...]
    model_version: str
    flags: Flags
    regime: Regime
    post_ids: tuple[str, ...] = ()
    author_count: int = 0
    source_count: int = 0
    sentiment_model_versions: tuple[str, ...] = ()
    traceparent: str = ""
    create_time_nanos: int = 0


@dataclass(frozen=True, slots=True)
class Trust:
    """When inputs are too old or too doubtful.

    Attributes:
        stale_nanos: a newest minute older than this makes a signal stale.
        least_calibrated_share: share of the posts' weight whose reading has to be calibrated for its source.
    """

    stale_nanos: int = 180 * NANO
    least_calibrated_share: float = 0.5


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that a signal is made of. `sentiment` is None while news does not answer."""

    symbol: str
    now_nanos: int
    bars: Bars
    sentiment: Sentiment | None
    regime: RegimeReading | None


def make_signal(model: TrainedModel, inputs: Inputs, trust: Trust, create_time_nanos: int) -> Signal | None:
    """Return the signal of a moment, or None while the session is too young to know a volatility."""
    volatility = live.minute_volatility(inputs.bars)
    if not math.isfinite(volatility):
        return None
    groups = _groups(inputs)
    values = {name: value for group in ALL_GROUPS for name, value in groups[group]}
    price_only = _probability(model.price_only, _vector(values, PRICE_GROUPS))
    sentiment = inputs.sentiment
    with_posts = sentiment is not None and sentiment.post_count > 0
    probability = _probability(model.with_posts, _vector(values, ALL_GROUPS)) if with_posts else price_only
    horizon_minutes = model.horizon_nanos / live.MINUTE_NANOS
    spread_bps = 1e4 * volatility * math.sqrt(horizon_minutes)
    features = tuple(
        FeatureValue(name, group, 0.0 if math.isnan(value) else value, _age(inputs, group), math.isnan(value))
        for group in ALL_GROUPS
        for name, value in groups[group]
    )
    known = sentiment if with_posts else None
    return Signal(
        signal_id=_signal_id(model, inputs, features),
        symbol=inputs.symbol,
        event_time_nanos=inputs.now_nanos,
        probability_up=probability,
        price_only_probability_up=price_only,
        # Of a normal move: the mean that makes a rise so probable at this spread.
        expected_return_bps=spread_bps * NormalDist().inv_cdf(probability),
        volatility_bps=spread_bps,
        half_life_nanos=model.half_life_nanos,
        horizon_nanos=model.horizon_nanos,
        features=features,
        model_version=model.version,
        flags=_flags(inputs, known, trust),
        regime=inputs.regime.regime if inputs.regime else Regime.UNSPECIFIED,
        post_ids=known.post_ids[:MOST_POST_IDS] if known else (),
        author_count=known.author_count if known else 0,
        source_count=known.source_count if known else 0,
        sentiment_model_versions=tuple(
            sorted({version for reading in known.readings for version in reading.model_versions})
        )
        if known
        else (),
        traceparent=known.traceparent if known else "",
        create_time_nanos=create_time_nanos,
    )


def as_stale(signal: Signal) -> Signal:
    """Return the signal with its flag of age set."""
    return replace(signal, flags=replace(signal.flags, is_stale=True))


def values_of(signal: Signal, model: LinearModel) -> Doubles:
    """Return a signal's features in the order of a model; NaN for those that were missing."""
    by_name = {feature.name: feature for feature in signal.features}
    return np.array([math.nan if by_name[name].is_missing else by_name[name].value for name in model.names])


def _groups(inputs: Inputs) -> dict[Group, tuple[tuple[str, float], ...]]:
    sentiment, regime = inputs.sentiment, inputs.regime
    unknown = (math.nan,) * len(live.POST_NAMES)
    figures = {
        Group.PRICE: live.price_features(inputs.bars),
        Group.REGIME: (
            (regime.efficiency_ratio, regime.variance_ratio, regime.volatility_ratio)
            if regime
            else (math.nan,) * len(live.REGIME_NAMES)
        ),
        Group.NEWS: sentiment.news.aggregate.features(inputs.now_nanos) if sentiment else unknown,
        Group.SOCIAL: sentiment.social.aggregate.features(inputs.now_nanos) if sentiment else unknown,
    }
    return {group: tuple(zip(live.NAMES[group], figures[group], strict=True)) for group in ALL_GROUPS}


def _vector(values: dict[str, float], groups: tuple[Group, ...]) -> Doubles:
    return np.array([values[name] for name in names_of(groups)])


def _probability(model: LinearModel, values: Doubles) -> float:
    probability = float(model.probability(values[None, :])[0])
    return min(max(probability, LEAST_PROBABILITY), 1.0 - LEAST_PROBABILITY)


def _age(inputs: Inputs, group: Group) -> int:
    sentiment = inputs.sentiment
    newest = {
        Group.PRICE: int(inputs.bars.end_nanos[-1]),
        Group.REGIME: inputs.regime.event_time_nanos if inputs.regime else 0,
        Group.NEWS: sentiment.news.aggregate.newest_nanos if sentiment else 0,
        Group.SOCIAL: sentiment.social.aggregate.newest_nanos if sentiment else 0,
    }[group]
    return max(inputs.now_nanos - newest, 0) if newest else 0


def _flags(inputs: Inputs, sentiment: Sentiment | None, trust: Trust) -> Flags:
    is_stale = inputs.now_nanos - int(inputs.bars.end_nanos[-1]) > trust.stale_nanos
    if sentiment is None:
        return Flags(is_stale=is_stale, price_only=True)
    readings = sentiment.readings
    return Flags(
        is_stale=is_stale,
        is_calibrated=all(reading.calibrated_share >= trust.least_calibrated_share for reading in readings),
        lexicon_only=all(reading.llm_share <= 0.0 for reading in readings),
        pump_suspected=sentiment.is_pump_suspected,
        one_source_only=sentiment.source_count == 1,
        one_author_only=sentiment.author_count == 1,
        is_shed=any(reading.is_shed for reading in readings),
    )


def _signal_id(model: TrainedModel, inputs: Inputs, features: tuple[FeatureValue, ...]) -> str:
    content = repr(
        (model.version, [(feature.name, feature.value, feature.is_missing) for feature in features])
    )
    digest = hashlib.sha256(content.encode()).hexdigest()[:10]
    return f"{inputs.symbol}-{inputs.now_nanos // 1_000_000}-{digest}"
