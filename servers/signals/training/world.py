"""Sessions of a simulated market in which posts may foretell prices, by a stated effect.

Prices walk at random with a volatility that clusters and a spread that bounces; the events of
`servers.model.social_events` push them, or, with an effect of 0, do not. Posts speak of the events in
either case, late, sometimes wrongly, and amid posts about nothing. What they add up to is aggregated as news
does it: decaying, weighted, shrunk.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from servers.model.nanos import NANO
from servers.model.social_events import EventKind, SocialEvent, planted_events
from servers.signals.domain import live
from servers.signals.domain.live import MINUTE_NANOS, Bars, PostAggregate
from servers.signals.domain.panel import Doubles, FeatureBlock, Group, Panel

SESSION_MINUTES = 390
DAY_NANOS = 86_400 * NANO
FIRST_OPEN_NANOS = 1_767_623_400 * NANO  # 2026-01-05 14:30 UTC
STEP_MINUTES, HORIZON_MINUTES = 5, 30
MINUTE_VOLATILITY = 6e-4
HALF_SPREAD = 1.5e-4
POST_HALF_LIFE_MINUTES, SHRINKAGE = 30.0, 1.5
NOISE_POSTS_AN_HOUR = {EventKind.NEWS: 0.4, EventKind.SOCIAL: 5.0}
READ_RIGHT, READ_WRONG = 0.8, 0.08
"""Of posts about an event; the rest is read as neutral and does not count."""


@dataclass(frozen=True, slots=True)
class WorldOptions:
    """How much is simulated, and what is planted.

    Attributes:
        effect_bps: basis points that a price moves for an event of strength 1; 0 plants nothing.
        delay_minutes: prices begin to follow so long after the event, and so after the first posts. The
            practice venue has no delay.
        draws: how many times the venue's number of events happen.
    """

    effect_bps: float
    sessions: int = 60
    symbols: int = 8
    seed: int = 1
    delay_minutes: int = 0
    draws: int = 1


@dataclass(frozen=True, slots=True)
class World:
    """Rows of all sessions, and what one who knew the events would have answered."""

    panel: Panel
    oracle: Doubles


@dataclass(frozen=True, slots=True)
class _Posts:
    minutes: Doubles
    scores: Doubles


def simulate(options: WorldOptions, on_session: Callable[[int], None] = lambda session: None) -> World:
    """Simulate; the same options give the same world."""
    rows: list[tuple[int, int, float, float]] = []
    features: dict[Group, list[tuple[float, ...]]] = {group: [] for group in live.NAMES}
    for session in range(options.sessions):
        opens = FIRST_OPEN_NANOS + session * DAY_NANOS
        for symbol in range(options.symbols):
            _session(options, session, symbol, opens, rows, features)
        on_session(session + 1)
    columns = np.array(rows)
    order = np.lexsort((columns[:, 1], columns[:, 0]))
    day, minute = columns[order, 0].astype(np.int64), columns[order, 1].astype(np.int64)
    decision = FIRST_OPEN_NANOS + day * DAY_NANOS + minute * MINUTE_NANOS
    panel = Panel(
        day=day,
        decision_nanos=decision,
        label_start_nanos=decision,
        label_end_nanos=decision + HORIZON_MINUTES * MINUTE_NANOS,
        moves=columns[order, 2],
        blocks={
            group: FeatureBlock(names, np.array(features[group])[order])
            for group, names in live.NAMES.items()
        },
    )
    return World(panel, columns[order, 3])


def _session(
    options: WorldOptions,
    session: int,
    symbol: int,
    opens: int,
    rows: list[tuple[int, int, float, float]],
    features: dict[Group, list[tuple[float, ...]]],
) -> None:
    chance = np.random.default_rng((options.seed, session, symbol))
    closes = opens + SESSION_MINUTES * MINUTE_NANOS
    seeds = range(options.seed * 100, options.seed * 100 + options.draws)
    events = [
        event
        for seed in seeds
        for event in planted_events(seed, opens, closes, (f"SIM{symbol}",), options.effect_bps)
    ]
    delay = options.delay_minutes * MINUTE_NANOS
    ends = opens + MINUTE_NANOS * np.arange(1, SESSION_MINUTES + 1, dtype=np.int64)
    drift = np.array([sum(event.drift_bps(int(end) - delay) for event in events) for end in ends]) * 1e-4
    spread = _volatility(chance)
    fair = np.cumsum(spread * chance.standard_normal(SESSION_MINUTES)) + drift
    traded = 100.0 * np.exp(fair + HALF_SPREAD * chance.choice((-1.0, 1.0), SESSION_MINUTES))
    place = np.linspace(-1.0, 1.0, SESSION_MINUTES)
    volume = 1_000.0 * (0.6 + 1.2 * place**2) * np.exp(0.6 * chance.standard_normal(SESSION_MINUTES))
    kinds = {kind: _posts(chance, kind, events, opens) for kind in EventKind}
    for minute in range(STEP_MINUTES * 3, SESSION_MINUTES - HORIZON_MINUTES, STEP_MINUTES):
        bars = Bars(ends[:minute], traded[:minute], traded[:minute], volume[:minute])
        now = int(ends[minute - 1])
        features[Group.PRICE].append(live.price_features(bars))
        features[Group.REGIME].append(live.regime_features(bars))
        for kind, group in ((EventKind.NEWS, Group.NEWS), (EventKind.SOCIAL, Group.SOCIAL)):
            features[group].append(_aggregate(kinds[kind], kind, minute, opens).features(now))
        after = minute - 1 + HORIZON_MINUTES
        move = math.log(traded[after] / traded[minute - 1])
        # Of events that have happened, what is still to come; of later ones nothing can be known.
        known = [event for event in events if event.event_time_nanos <= now]
        coming = 1e-4 * sum(
            event.drift_bps(int(ends[after]) - delay) - event.drift_bps(now - delay) for event in known
        )
        noise = math.sqrt(float((spread[minute : after + 1] ** 2).sum()) + 2.0 * HALF_SPREAD**2)
        bounce = float(fair[minute - 1] - math.log(traded[minute - 1] / 100.0))
        oracle = 0.5 * math.erfc(-(coming + bounce) / noise / math.sqrt(2.0))
        rows.append((session, minute, move, oracle))


def _volatility(chance: np.random.Generator) -> Doubles:
    """Return each minute's volatility: a level of the day, a U over the session, and what clusters."""
    place = np.linspace(-1.0, 1.0, SESSION_MINUTES)
    shocks = 0.12 * chance.standard_normal(SESSION_MINUTES)
    clustering = np.zeros(SESSION_MINUTES)
    for minute in range(1, SESSION_MINUTES):
        clustering[minute] = 0.95 * clustering[minute - 1] + shocks[minute]
    level = math.exp(0.25 * float(chance.standard_normal()))
    volatility: Doubles = MINUTE_VOLATILITY * level * (0.8 + 0.5 * place**2) * np.exp(clustering)
    return volatility


def _posts(chance: np.random.Generator, kind: EventKind, events: list[SocialEvent], opens: int) -> _Posts:
    minutes: list[float] = []
    scores: list[float] = []
    for event in events:
        if kind is EventKind.NEWS and event.kind is not EventKind.NEWS:
            continue
        usual = 2.0 if kind is EventKind.NEWS else 8.0
        delay = 3.0 if kind is EventKind.NEWS else 8.0
        happened = (event.event_time_nanos - opens) / MINUTE_NANOS
        for _ in range(1 + int(chance.poisson(usual * event.strength))):
            fate = float(chance.random())
            sign = 1 if fate < READ_RIGHT else -1 if fate < READ_RIGHT + READ_WRONG else 0
            minutes.append(happened + float(chance.exponential(delay)))
            scores.append(sign * event.direction * float(chance.uniform(0.4, 0.95)))
    count = int(chance.poisson(NOISE_POSTS_AN_HOUR[kind] * SESSION_MINUTES / 60))
    minutes += (SESSION_MINUTES * chance.random(count)).tolist()
    scores += chance.uniform(-0.9, 0.9, count).tolist()
    order = np.argsort(minutes)
    return _Posts(np.array(minutes)[order], np.array(scores)[order])


def _aggregate(posts: _Posts, kind: EventKind, minute: int, opens: int) -> PostAggregate:
    known = (posts.minutes <= minute) & (posts.scores != 0.0)
    if not known.any():
        return PostAggregate()
    minutes, scores = posts.minutes[known], posts.scores[known]
    weights = np.exp2((minutes - minute) / POST_HALF_LIFE_MINUTES)
    total = float(weights.sum())
    recent = float((minutes > minute - 10).sum())
    usual = NOISE_POSTS_AN_HOUR[kind] / 6.0
    return PostAggregate(
        score=float(weights @ scores) / (total + SHRINKAGE),
        effective_authors=total**2 / float((weights**2).sum()) if total > 1e-6 else 0.0,
        zscore=(recent - usual) / math.sqrt(usual + 1.0),
        newest_nanos=opens + int(float(minutes[-1]) * MINUTE_NANOS),
    )
