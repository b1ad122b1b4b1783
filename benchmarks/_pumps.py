"""PUMP_SUSPECTED on the announcements of real pump groups, and on what ordinary people wrote.

Groups, symbols and times are those of `pump_telegram.csv`, which has no texts: the words are ours
(`pump_wordings.toml`). Ordinary posts are real. Both are split: groups and texts without a date by a hash,
tweets by year.
"""

import csv
import gzip
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

from servers.model.nanos import NANO
from servers.news.domain.desk import Desk, Trend, TrendKind
from servers.news.domain.linking import Linker
from servers.news.domain.post import Post, PostKind

Part = Literal["training", "held_out"]
SOCIAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "social"
WORDINGS = Path(__file__).with_name("pump_wordings.toml")
TWEETS_YEAR: dict[Part, int] = {"training": 2014, "held_out": 2015}
LEFT = ("1 hour", "45 minutes", "30 min", "20 minutes", "15 mins")
MEMBERS = 8_000
FOUND_WITHIN_SECONDS = 120
SUSPECTED_SECONDS = 7_200
ADVANCE_EACH = 100
_CASHTAG = re.compile(r"\$([A-Z]{1,6})\b")


@dataclass(frozen=True, slots=True)
class Announcement:
    """One row of the data: a group tells its members what to buy."""

    symbol: str
    group: str
    exchange: str
    time_nanos: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What was found of announcements, and alerted of ordinary posts; `calls` by the words of one post."""

    announced: int
    found: int
    ordinary: int
    alerts: int
    calls: int


def is_there() -> bool:
    """Return whether the data lies beside the project."""
    return (SOCIAL / "pump_telegram.csv").exists()


def measure(part: Part) -> Figures:
    """Replay a part of the announcements, then of what ordinary people wrote."""
    announced = [one for one in announcements() if part_of(one.group) == part]
    trends = _replay(announced_posts(announced, part), {one.symbol: () for one in announced})
    found = sum(_is_found(one, trends) for one in announced)
    tweets = list(_tweets(TWEETS_YEAR[part]))
    others = [*_stocktwits(part), *_headlines(part)]
    named: dict[str, tuple[str, ...]] = {
        symbol: () for post in others for symbol in _CASHTAG.findall(post.text)
    }
    alerts = [*_replay(tweets, _companies()), *_replay(others, named)]
    calls = sum(trend.message.startswith("a post calls") for trend in alerts)
    return Figures(len(announced), found, len(tweets) + len(others), len(alerts), calls)


def part_of(name: str) -> Part:
    """Return the part that a group or a text belongs to, by a hash of it."""
    return "training" if _hash(name) % 2 == 0 else "held_out"


def announcements() -> list[Announcement]:
    """Return the rows in order of time."""
    with (SOCIAL / "pump_telegram.csv").open(encoding="utf-8", newline="") as file:
        found = [
            Announcement(
                row["symbol"],
                row["group"],
                row["exchange"],
                _nanos(
                    datetime.strptime(f"{row['date']} {row['hour']}", "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
                ),
            )
            for row in csv.DictReader(file)
        ]
    return sorted(found, key=lambda one: (one.time_nanos, one.group))


def announced_posts(announced: Iterable[Announcement], part: Part) -> list[Post]:
    """Return what the groups write: a countdown, the name, and what follows."""
    wordings: list[dict[str, Any]] = tomllib.loads(WORDINGS.read_text(encoding="utf-8"))[part]
    posts = []
    for number, one in enumerate(announced):
        wording = wordings[_hash(f"{one.group}/wording") % len(wordings)]
        before, after = wording["before"], wording["after"]
        seconds = [-1_200, -120][-len(before) :] if before else []
        said = [*zip(seconds, before, strict=True), (0, wording["release"]), *((90, text) for text in after)]
        for second, text in said:
            words = text.format(symbol=one.symbol, exchange=one.exchange, left=LEFT[number % len(LEFT)])
            time = one.time_nanos + second * NANO
            posts.append(_post(f"{number}/{second}", one.group, MEMBERS, time, words))
    return sorted(posts, key=lambda post: post.event_time_nanos)


def _is_found(one: Announcement, trends: Sequence[Trend]) -> bool:
    first = one.time_nanos - SUSPECTED_SECONDS * NANO
    last = one.time_nanos + FOUND_WITHIN_SECONDS * NANO
    return any(
        trend.entity == one.symbol and first <= trend.burst.event_time_nanos <= last for trend in trends
    )


def _replay(posts: Iterable[Post], names: dict[str, tuple[str, ...]]) -> list[Trend]:
    """Return the suspicions that posts raise, in order of time."""
    desk = Desk(Linker(names))
    found: list[Trend] = []
    for number, post in enumerate(posts):
        _, trends = desk.take(post)
        found += [trend for trend in trends if trend.kind is TrendKind.PUMP_SUSPECTED]
        if number % ADVANCE_EACH == 0:
            desk.advance(post.event_time_nanos)
    return found


def _tweets(year: int) -> list[Post]:
    posts: dict[str, Post] = {}
    with gzip.open(SOCIAL / "stocknet" / "tweets.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            time = datetime.strptime(row["created_at"], "%a %b %d %H:%M:%S %z %Y")
            if time.year == year:
                posts[row["id"]] = _post(
                    row["id"], row["user"], row["followers"] or 0, _nanos(time), row["text"]
                )
    return sorted(posts.values(), key=lambda post: post.event_time_nanos)


def _stocktwits(part: Part) -> Iterator[Post]:
    yield from _minutely(SOCIAL / "sentiment" / "stockemotions_train.csv", "original", part, 2020)


def _headlines(part: Part) -> Iterator[Post]:
    yield from _minutely(SOCIAL / "sentiment" / "twitter_financial_news_train.csv", "text", part, 2021)


def _minutely(path: Path, column: str, part: Part, year: int) -> Iterator[Post]:
    """Yield texts that have neither time nor author: one a minute, by an author each."""
    start = _nanos(datetime(year, 1, 1, tzinfo=UTC))
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file)):
            if part_of(row[column]) == part:
                time = start + number * 60 * NANO
                yield _post(f"{path.stem}/{number}", f"{path.stem}/{number}", 500, time, row[column])


def _companies() -> dict[str, tuple[str, ...]]:
    names: dict[str, tuple[str, ...]] = {}
    for line in (SOCIAL / "stocknet" / "stock_table.txt").read_text(encoding="utf-8").splitlines():
        fields = [field.strip() for field in line.split("\t")]
        symbol = next((field for field in fields if field.startswith("$")), None)
        if symbol is not None:
            names[symbol[1:]] = (fields[fields.index(symbol) + 1],)
    return names


def _post(number: str, author: str, followers: int, time_nanos: int, text: str) -> Post:
    return Post(f"chat:{number}", "chat", PostKind.SOCIAL, author, followers, time_nanos, time_nanos, text)


def _nanos(time: datetime) -> int:
    return round(time.timestamp()) * NANO


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
