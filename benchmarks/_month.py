"""A simulated month: who is alerted of what, beside what was planted.

Twenty sessions of the simulated world with its own events, more chatter than it has by itself (busier in the
first hour), and in each session one burst: so many people write of one name within 100 seconds.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from servers.model.nanos import NANO
from servers.model.social_events import planted_events
from servers.news.adapters.simulated import BOARD, labelled_texts, simulated_posts
from servers.news.domain.desk import Desk, Trend, TrendKind
from servers.news.domain.linking import Linker
from servers.news.domain.post import Action, Post, PostKind, SourcePost
from servers.reference import DEFAULT_INSTRUMENTS_FILE, load_instruments

FIRST_DAY = datetime(2026, 11, 2, 14, 30, tzinfo=UTC)
DAYS, SESSION_SECONDS = 28, 23_400
BUSY_SECONDS, QUIET_SECONDS_APART, BUSY_SECONDS_APART = 3_600, 300.0, 150.0
BURST_SECONDS = 100
BELONGS_SECONDS = 300
"""An alert belongs to what began at most so long before."""


@dataclass(frozen=True, slots=True)
class Month:
    """What came of a month.

    Attributes:
        seconds: for each planted burst, from its first post to its alert; None when there was none.
        alerts: of any kind.
        false_alerts: those that belong to nothing that happened.
        called_pumps: alerts of what happened that suspect a pump, where there is none.
    """

    posts: int
    seconds: tuple[float | None, ...]
    alerts: int
    false_alerts: int
    called_pumps: int


def simulated_month(seed: int, voices: int) -> Month:
    """Run a month with bursts of so many voices through the desk."""
    data = load_instruments(DEFAULT_INSTRUMENTS_FILE)
    names = {
        one.symbol: tuple(dict.fromkeys((one.display_name, *one.aliases)))
        for one in data.instruments.values()
    }
    chance = random.Random(f"month/{seed}")
    desk = Desk(Linker(names))
    happened: list[tuple[str, int]] = []
    bursts: list[tuple[str, int]] = []
    count = 0
    for day in range(DAYS):
        opens = FIRST_DAY + timedelta(days=day)
        if opens.weekday() > 4:
            continue
        begins = round(opens.timestamp()) * NANO
        ends = begins + SESSION_SECONDS * NANO
        happened += [
            (event.symbol, event.event_time_nanos) for event in planted_events(seed, begins, ends, names)
        ]
        posts = simulated_posts(seed, begins, ends, names) + _chatter(chance, begins, names)
        burst = _burst(chance, begins, names, day, voices)
        bursts.append((_symbol_of(burst), burst[0].event_time_nanos))
        for post in sorted((*posts, *burst), key=lambda one: one.event_time_nanos):
            if post.action is Action.WRITTEN:
                count += 1
                desk.take(_as_post(post))
        desk.advance(ends)
    trends = list(desk.trends)
    known = [*happened, *bursts]
    mine = [trend for trend in trends if any(_belongs(trend, one) for one in known)]
    return Month(
        posts=count,
        seconds=tuple(_seconds(trends, burst) for burst in bursts),
        alerts=len(trends),
        false_alerts=len(trends) - len(mine),
        called_pumps=sum(trend.kind is TrendKind.PUMP_SUSPECTED for trend in mine),
    )


def _belongs(trend: Trend, happened: tuple[str, int]) -> bool:
    symbol, time_nanos = happened
    return trend.entity == symbol and 0 <= trend.burst.event_time_nanos - time_nanos <= BELONGS_SECONDS * NANO


def _seconds(trends: list[Trend], burst: tuple[str, int]) -> float | None:
    times = [trend.burst.event_time_nanos for trend in trends if _belongs(trend, burst)]
    return (min(times) - burst[1]) / NANO if times else None


def _chatter(chance: random.Random, begins: int, names: Mapping[str, tuple[str, ...]]) -> list[SourcePost]:
    posts = []
    for symbol in sorted(names):
        second = 0.0
        while True:
            second += chance.expovariate(
                1.0 / (BUSY_SECONDS_APART if second < BUSY_SECONDS else QUIET_SECONDS_APART)
            )
            if second >= SESSION_SECONDS:
                break
            text = f"${symbol} {' '.join(f'{chance.getrandbits(20):x}' for _ in range(8))}"
            posts.append(_written(symbol, begins + round(second * NANO), f"c{chance.randrange(5_000)}", text))
    return posts


def _burst(
    chance: random.Random, begins: int, names: Mapping[str, tuple[str, ...]], day: int, voices: int
) -> list[SourcePost]:
    symbol = chance.choice(sorted(names))
    start = begins + chance.randrange(600, SESSION_SECONDS - 600) * NANO
    said = labelled_texts(BOARD, {symbol: names[symbol]}, 200, seed=day)
    texts = list(dict.fromkeys(text for text, tone in said if tone == "bullish"))[:voices]
    seconds = sorted([0.0, *(chance.random() * BURST_SECONDS for _ in texts[1:])])
    return [
        _written(symbol, start + round(second * NANO), f"b{day}-{place}", text)
        for place, (second, text) in enumerate(zip(seconds, texts, strict=True))
    ]


def _written(symbol: str, time_nanos: int, author: str, text: str) -> SourcePost:
    return SourcePost(
        f"{symbol}/{time_nanos}/{author}", BOARD, PostKind.SOCIAL, author, time_nanos, text, 400
    )


def _symbol_of(burst: list[SourcePost]) -> str:
    return burst[0].platform_id.partition("/")[0]


def _as_post(post: SourcePost) -> Post:
    return Post(
        post.post_id,
        post.source,
        post.kind,
        post.author,
        post.follower_count,
        post.event_time_nanos,
        post.event_time_nanos,
        post.text,
    )
