"""Posts of the simulated world: people and an outlet that speak of its events at about their time.

The events are those of `servers.model.social_events`, which the practice venue draws too. Beside them there
is what there always is: posts about nothing, questions, copies, spam, corrections, posts taken back.
Everything is the same for the same seed, session and names.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from servers.model.errors import TapelineError
from servers.model.nanos import NANO
from servers.model.social_events import EventKind, SocialEvent, planted_events
from servers.news.adapters.market import GrpcMarket
from servers.news.domain.post import Action, PostKind, SourcePost
from servers.news.ports import Log, MarketTimes, Take

WIRE, BOARD, STREAM = "sim_wire", "sim_board", "sim_stream"
"""The outlet, the message board and the short-message service of the simulated world."""
CROWD = 400
NOISE_AN_HOUR = 12.0
EARLIEST_SECONDS, LATEST_SECONDS = 2.0, 240.0
"""Between an event and those who speak of it."""
PHRASES = Path(__file__).with_name("phrases.toml")


class SimulatedPosts:
    """`PostSource` that follows market time. What lies before the time of its start is delivered at once.

    Args:
        follow: yields market times.
        seed: of the events; the venue's `social_seed`.
    """

    name = "simulated"

    def __init__(self, market: GrpcMarket, times: MarketTimes, seed: int, log: Log) -> None:
        self._market = market
        self._times = times
        self._seed = seed
        self._log = log

    async def run(self, take: Take) -> None:
        posts: list[SourcePost] = []
        closes = 0
        place = 0
        async for now in self._times.follow():
            if now >= closes:
                try:
                    session = await self._market.session()
                except TapelineError as error:
                    self._log.info("no session yet", reason=error.reason)
                    continue
                if session.close_time_nanos <= closes:
                    continue
                closes, place = session.close_time_nanos, 0
                posts = simulated_posts(self._seed, session.open_time_nanos, closes, session.names)
            due = place
            while due < len(posts) and posts[due].event_time_nanos <= now:
                due += 1
            if due > place:
                await take(posts[place:due])
                place = due


def simulated_posts(
    seed: int, open_nanos: int, close_nanos: int, names: Mapping[str, tuple[str, ...]]
) -> list[SourcePost]:
    """Return the posts of one session, in order of time.

    Args:
        names: of each symbol, the display name first.
    """
    writer = _Writer(random.Random(f"posts/{seed}/{open_nanos}"), names)
    posts: list[SourcePost] = []
    for event in planted_events(seed, open_nanos, close_nanos, names):
        posts += writer.speak_of(event)
    hours = (close_nanos - open_nanos) / (3_600 * NANO)
    for _ in range(round(NOISE_AN_HOUR * hours)):
        posts += writer.noise(open_nanos + writer.chance.randrange(close_nanos - open_nanos))
    return sorted(
        (post for post in posts if post.event_time_nanos < close_nanos),
        key=lambda post: (post.event_time_nanos, post.platform_id, post.action),
    )


def labelled_texts(
    source: str, names: Mapping[str, tuple[str, ...]], count: int, seed: int
) -> list[tuple[str, str]]:
    """Return texts of one source with the tone that they were written in: to calibrate a reader for it."""
    writer = _Writer(random.Random(f"labelled/{seed}/{source}"), names)
    who = "news" if source == WIRE else "social"
    texts = []
    for _ in range(count):
        tone = writer.chance.choice(("bearish", "neutral", "bullish"))
        texts.append((writer.text(who, tone, writer.chance.choice(sorted(names))), tone))
    return texts


class _Writer:
    """Words for events and for nothing, from the phrases of the world."""

    def __init__(self, chance: random.Random, names: Mapping[str, tuple[str, ...]]) -> None:
        self.chance = chance
        self._names = names
        self._phrases: dict[str, Any] = tomllib.loads(PHRASES.read_text(encoding="utf-8"))
        self._count = 0

    def speak_of(self, event: SocialEvent) -> list[SourcePost]:
        """Return who speaks of an event: some on the board and the stream, the outlet at once or later."""
        tone = "bullish" if event.direction > 0 else "bearish"
        is_news = event.kind is EventKind.NEWS
        posts = [
            self._post(
                WIRE,
                event.event_time_nanos + round(self._delay(is_first=is_news) * NANO),
                self.text("news", tone, event.symbol),
            )
        ]
        voices = 3 + round(3 * event.strength)
        phrases = self._several("social", tone, voices)
        for author, phrase in zip(self.chance.sample(range(CROWD), voices), phrases, strict=True):
            source = BOARD if self.chance.random() < 0.5 else STREAM
            time = event.event_time_nanos + round(self._delay(is_first=not is_news) * NANO)
            text = self._said(phrase, "social", tone, event.symbol)
            post = self._post(source, time, text, author)
            posts.append(post)
            if self.chance.random() < 0.1:
                posts.append(
                    self._post(STREAM, time + 20 * NANO, f"RT: {post.text}", self.chance.randrange(CROWD))
                )
        return posts

    def noise(self, time: int) -> list[SourcePost]:
        """Return one thing that nobody trades on; now and then one that is corrected or taken back."""
        symbol = self.chance.choice(sorted(self._names))
        draw = self.chance.random()
        author = self.chance.randrange(CROWD)
        if draw < 0.1:
            return [self._post(WIRE, time, self.text("news", "neutral", symbol))]
        if draw < 0.2:
            return [self._post(STREAM, time, self.text("social", "spam", symbol), CROWD + author)]
        tone = "chatter" if draw < 0.4 else "neutral"
        post = self._post(BOARD, time, self.text("social", tone, symbol), author)
        if draw > 0.95:
            return [post, self._later(post, Action.DELETED, "")]
        if draw > 0.9:
            return [post, self._later(post, Action.EDITED, self.text("social", "neutral", symbol))]
        return [post]

    def _later(self, post: SourcePost, action: Action, text: str) -> SourcePost:
        time = post.event_time_nanos + self.chance.randrange(60, 600) * NANO
        return SourcePost(post.platform_id, post.source, post.kind, post.author, time, text, 0, action)

    def _delay(self, *, is_first: bool) -> float:
        longest = LATEST_SECONDS / 4 if is_first else LATEST_SECONDS
        return EARLIEST_SECONDS + self.chance.random() * (longest - EARLIEST_SECONDS)

    def _several(self, who: str, tone: str, count: int) -> list[str]:
        """Return so many phrases, each again only when all have been used."""
        phrases: list[str] = []
        while len(phrases) < count:
            known = list(self._phrases[who][tone])
            self.chance.shuffle(known)
            phrases += known
        return phrases[:count]

    def text(self, who: str, tone: str, symbol: str) -> str:
        return self._said(self.chance.choice(self._phrases[who][tone]), who, tone, symbol)

    def _said(self, phrase: str, who: str, tone: str, symbol: str) -> str:
        clauses = self._phrases["clauses"].get(tone)
        if clauses:
            phrase += f". {self.chance.choice(clauses)}"
        if who == "social" and tone != "spam":
            phrase = self.chance.choice(self._phrases["social"]["openings"]) + phrase
            phrase += self.chance.choice(self._phrases["social"]["endings"])
        name = self._names[symbol][0] or symbol
        return str(phrase.format(name=name, tag=f"${symbol}", figure=self.chance.randint(3, 40)))

    def _post(self, source: str, time: int, text: str, author: int = -1) -> SourcePost:
        self._count += 1
        kind = PostKind.NEWS if source == WIRE else PostKind.SOCIAL
        # Reach is heavy-tailed: most have few followers, an outlet has many.
        followers = (
            250_000 if author < 0 else 0 if author >= CROWD else round(60 * (CROWD / (author + 1)) ** 1.1)
        )
        return SourcePost(
            f"{time}-{self._count}",
            source,
            kind,
            "wire" if author < 0 else f"u{author}",
            time,
            text,
            followers,
        )
