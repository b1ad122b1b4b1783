"""Posts as platforms deliver them, with all that happens to them, and what should become of each."""

import csv
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from servers.model.nanos import NANO
from servers.news.adapters.store import SqlPostStore
from servers.news.domain.post import SPAM_FROM, Action, PostKind, SourcePost

START = 1_700_000_000 * NANO
SECONDS_APART = 3
SYMBOLS = 50
SECRET = "zq-planted-once-and-nowhere-else-7731"
_WORDS = """
    guidance margin revenue order contract plant supplier buyback dividend upgrade downgrade probe recall
    launch patent strike debt cash quarter outlook demand price cost merger stake board chief auditor export
    tariff shortage record surprise weak strong soft firm late early quiet crowded stretched cheap dear
"""


@dataclass(frozen=True, slots=True)
class Shares:
    """Of all that is delivered; the rest is new."""

    copies: float = 0.15
    again: float = 0.05
    spam: float = 0.08
    edits: float = 0.05
    deletions: float = 0.07


class Feed:
    """A feed, the same every time.

    Of a hundred deliveries about 60 are new, 15 copy another's text, 5 are delivered again, 8 are spam, 5 are
    edits and 7 deletions. One new or edited post in a thousand carries the planted text. Authors' reach is
    heavy-tailed.
    """

    def __init__(self, count: int, shares: Shares | None = None, planted_each: int = 1_000) -> None:
        self.unique: set[str] = set()
        self.copies: set[str] = set()
        self.spam: set[str] = set()
        self.deleted: set[str] = set()
        self.edits = 0
        self.planted = 0
        self._count = count
        self._shares = shares or Shares()
        self._planted_each = planted_each
        self._chance = random.Random(20)
        self._recent: list[SourcePost] = []

    def __iter__(self) -> Iterator[SourcePost]:
        for number in range(self._count):
            post = self._next(number)
            if post.action is Action.DELETED:
                self.deleted.add(post.post_id)
            elif post.action is Action.EDITED:
                self.edits += 1
            else:
                self.unique.add(post.post_id)
            yield post

    def _next(self, number: int) -> SourcePost:
        chance, shares = self._chance, self._shares
        draw = chance.random()
        time_nanos = START + number * SECONDS_APART * NANO
        earlier = chance.choice(self._recent[-2_000:]) if self._recent else None
        if draw < (edge := shares.spam):
            text = f"GUARANTEED PROFIT!!! join our group {number} free signals $S1 $S2 $S3 $S4 $S5 t.me/x"
            post = self._post(number, time_nanos, text, followers=3)
            self.spam.add(post.post_id)
            return post
        if earlier is not None:
            if draw < (edge := edge + shares.copies):
                post = self._post(number, time_nanos, f"RT @someone: {earlier.text} https://t.co/{number}")
                self.copies.add(post.post_id)
                return post
            if draw < (edge := edge + shares.again):
                return earlier
            if draw < edge + shares.edits + shares.deletions:
                self._recent.remove(earlier)
                action = Action.EDITED if draw < edge + shares.edits else Action.DELETED
                text = self._words(number) if action is Action.EDITED else ""
                return SourcePost(
                    earlier.platform_id, earlier.source, earlier.kind, "", time_nanos, text, 0, action
                )
        post = self._post(number, time_nanos, self._words(number))
        self._recent.append(post)
        del self._recent[:-4_000]
        return post

    def _words(self, number: int) -> str:
        words = " ".join(self._chance.choices(_WORDS.split(), k=14))
        planted = f" {SECRET}" if number % self._planted_each == self._planted_each // 2 else ""
        self.planted += bool(planted)
        return f"$S{self._chance.randrange(SYMBOLS)} {words}{planted}"

    def _post(self, number: int, time_nanos: int, text: str, followers: int = -1) -> SourcePost:
        author = f"u{self._chance.randrange(5_000)}"
        reach = round(10 ** self._chance.uniform(1.0, 5.0)) if followers < 0 else followers
        return SourcePost(str(number), "board", PostKind.SOCIAL, author, time_nanos, text, reach)


def write_csv(posts: list[SourcePost], path: Path) -> None:
    """Write posts as a file that `source = file` replays."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "time_ms", "source", "kind", "author", "followers", "text", "action"))
        for post in posts:
            writer.writerow(
                (
                    post.platform_id,
                    post.event_time_nanos // 1_000_000,
                    post.source,
                    post.kind.name.lower(),
                    post.author,
                    post.follower_count,
                    post.text,
                    post.action.name.lower(),
                )
            )


@dataclass(frozen=True, slots=True)
class Kept:
    """What a store has of a feed, beside what it should have."""

    lost: int
    twice: int
    undeleted: int
    unread: int
    copies_missed: float
    false_copies: float
    spam_missed: float


async def what_is_kept(feed: Feed, store: SqlPostStore) -> Kept:
    """Compare a store with the feed that went in."""
    kept = await store.since(0)
    by_id = {post.post_id: post for post in kept}
    originals = [
        post
        for post in kept
        if post.text and post.post_id not in feed.copies and post.post_id not in feed.spam
    ]
    copies = [by_id[one] for one in feed.copies if one in by_id and by_id[one].text]
    spam = [by_id[one] for one in feed.spam if one in by_id and by_id[one].text]
    return Kept(
        lost=len(feed.unique - by_id.keys()),
        twice=len(kept) - len(by_id),
        undeleted=sum(bool(by_id[one].text) for one in feed.deleted if one in by_id),
        unread=sum(post.is_relevant and not post.is_read for post in kept),
        copies_missed=sum(not post.is_duplicate for post in copies) / max(1, len(copies)),
        false_copies=sum(post.is_duplicate for post in originals) / max(1, len(originals)),
        spam_missed=sum(post.spam_score < SPAM_FROM for post in spam) / max(1, len(spam)),
    )
