"""Stock-days: what was known shortly before 16:00 New York, and how the price moved from the next open.

Prices up to a session's close are known before the next open; posts are cut at 16:00 less a margin. A post
after the cut belongs to the next session.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from zoneinfo import ZoneInfo

import numpy as np

from servers.signals.domain.panel import Bools, Doubles, FeatureBlock, Group, Int64s, Panel
from servers.signals.evaluation.files import Posts, Prices
from servers.signals.evaluation.price_features import price_features
from servers.signals.evaluation.text_features import Channel, TextReading, channel_features

NEW_YORK = ZoneInfo("America/New_York")
NEXT_OPEN, LABEL_CLOSE = time(9, 30), time(16, 0)
EARLIER_SESSIONS = 21
"""A stock needs so many sessions of prices before its first stock-day."""


@dataclass(frozen=True, slots=True)
class DailyOptions:
    """How stock-days are cut.

    Attributes:
        margin_seconds: posts are cut so long before 16:00 New York.
        horizon_sessions: the move runs from the next open to the close so many sessions on, 1 the same day's.
        leak_posts_sessions, leak_prices_sessions: sessions that posts and prices look ahead. Above 0 only to
            show that the audits see it.
    """

    margin_seconds: int = 900
    horizon_sessions: int = 1
    leak_posts_sessions: int = 0
    leak_prices_sessions: int = 0


@dataclass(frozen=True, slots=True)
class Features:
    """Features on the grid: sessions by symbols by names, for each group."""

    names: dict[Group, tuple[str, ...]]
    values: dict[Group, Doubles]


def cut_nanos(prices: Prices, margin_seconds: int) -> Int64s:
    """Return the moment of each session at which posts are cut, UTC epoch nanoseconds."""
    return _moments(prices, LABEL_CLOSE) - margin_seconds * 1_000_000_000


def _moments(prices: Prices, clock: time) -> Int64s:
    return np.array(
        [int(datetime.combine(day, clock, NEW_YORK).timestamp()) * 1_000_000_000 for day in prices.dates],
        dtype=np.int64,
    )


def moves_after(prices: Prices, horizon_sessions: int) -> Doubles:
    """Return each session's log return from the next open to the close of the horizon; NaN if unknown."""
    moves = np.full(prices.close.shape, np.nan)
    last = len(prices.dates) - horizon_sessions
    if last > 0:
        moves[:last] = np.log(prices.close[horizon_sessions:] / prices.open[1 : last + 1])
    return moves


def build_features(
    prices: Prices,
    posts: Posts,
    reading: TextReading,
    options: DailyOptions,
    on_step: Callable[[str], None] = lambda step: None,
) -> Features:
    """Return every feature of every session. Nothing after a session's cut goes into its row."""
    on_step("features of prices")
    names, values = price_features(prices)
    found = Features({Group.PRICE: names}, {Group.PRICE: _ahead(values, options.leak_prices_sessions)})
    cuts = cut_nanos(prices, options.margin_seconds)
    session = np.searchsorted(cuts, posts.time_nanos, side="left").astype(np.int64)
    moves = moves_after(prices, options.horizon_sessions)
    for group, chosen in ((Group.NEWS, posts.is_news), (Group.SOCIAL, ~posts.is_news)):
        on_step(f"features of {group.value} posts")
        channel = _channel(posts, chosen & (session < len(cuts)), session, prices.close.shape)
        names, values = channel_features(channel, reading, moves, options.horizon_sessions)
        found.names[group] = tuple(f"{group.value}_{name}" for name in names)
        found.values[group] = _ahead(values, options.leak_posts_sessions)
    return found


def _channel(posts: Posts, chosen: Bools, session: Int64s, shape: tuple[int, ...]) -> Channel:
    """Keep each text once a stock-day, and each author's posts as one voice."""
    cell = session[chosen] * shape[1] + posts.symbol[chosen]
    text, author = posts.text[chosen], posts.author[chosen]
    _, first = np.unique(np.column_stack([cell, text]), axis=0, return_index=True)
    first.sort()
    cell, text, author = cell[first], text[first], author[first]
    share, reach = posts.share[chosen][first], posts.reach[chosen][first]
    _, voice, posts_of = np.unique(
        np.column_stack([cell, author]), axis=0, return_inverse=True, return_counts=True
    )
    weight = share * (1.0 + reach) / posts_of[voice.ravel()]
    return Channel((shape[0], shape[1]), cell, text, weight, 1.0 / posts_of[voice.ravel()])


def _ahead(values: Doubles, sessions: int) -> Doubles:
    if sessions == 0:
        return values
    moved = np.full_like(values, np.nan)
    moved[:-sessions] = values[sessions:]
    return moved


def build_panel(prices: Prices, features: Features, options: DailyOptions, first_session: int) -> Panel:
    """Return the stock-days from a session on: all that have a move and enough earlier prices."""
    moves = moves_after(prices, options.horizon_sessions)
    known = np.isfinite(moves) & (np.cumsum(np.isfinite(prices.close), axis=0) >= EARLIER_SESSIONS)
    known &= np.isfinite(prices.close)
    known[:first_session] = False
    session, symbol = np.nonzero(known)
    starts, ends = _moments(prices, NEXT_OPEN), _moments(prices, LABEL_CLOSE)
    return Panel(
        day=session.astype(np.int64),
        decision_nanos=cut_nanos(prices, options.margin_seconds)[session],
        label_start_nanos=starts[session + 1],
        label_end_nanos=ends[session + options.horizon_sessions],
        moves=moves[session, symbol],
        blocks={
            group: FeatureBlock(features.names[group], features.values[group][session, symbol])
            for group in features.values
        },
    )


def sessions_with_posts(prices: Prices, posts: Posts, margin_seconds: int) -> tuple[int, int]:
    """Return the first session that posts belong to, and the one after the last."""
    cuts = cut_nanos(prices, margin_seconds)
    places: Sequence[int] = np.searchsorted(cuts, posts.time_nanos[[0, -1]], side="left").tolist()
    return places[0], min(places[1] + 1, len(cuts))
