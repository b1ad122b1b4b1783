"""A post, and what has been found out about it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from hashlib import blake2b
from typing import NamedTuple

MARKET = "MARKET"
"""The entity of posts that speak of the whole market."""
SPAM_FROM = 0.5
LONGEST_TEXT = 8_000
LONGEST_POST_ID = 128


class PostKind(IntEnum):
    """Who writes; numbered as on the wire."""

    NEWS = 1
    SOCIAL = 2


class PostState(IntEnum):
    """What became of a post; numbered as on the wire."""

    LIVE = 1
    EDITED = 2
    DELETED = 3


class LinkKind(IntEnum):
    """How a post was linked; numbered as on the wire."""

    CASHTAG = 1
    ALIAS = 2
    MARKET = 3


class Action(IntEnum):
    """What a source says of a post."""

    WRITTEN = 1
    EDITED = 2
    DELETED = 3


def joined(text: str) -> str:
    """Return a text whose surrogates are joined to characters; U+FFFD stands for one that is alone."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


@dataclass(frozen=True, slots=True)
class SourcePost:
    """What a source delivers: a post, its new text, or that it is gone.

    Attributes:
        platform_id: the platform's id, unique in the source.
        source: name of the source, which is also the name of its calibration.
        author: the platform's author id; hashed at once and kept nowhere.
        event_time_nanos: when it was written, edited or deleted, market time.

    Escapes of JSON and HTML can spell half a character, which no store and no message can carry: halves that
    belong together are joined, others become U+FFFD.
    """

    platform_id: str
    source: str
    kind: PostKind
    author: str
    event_time_nanos: int
    text: str = ""
    follower_count: int = 0
    action: Action = Action.WRITTEN

    def __post_init__(self) -> None:
        for name in ("platform_id", "source", "author", "text"):
            object.__setattr__(self, name, joined(getattr(self, name)))

    @property
    def post_id(self) -> str:
        """Unique among all sources; a platform's id that is too long for one ends in a digest of it."""
        plain = f"{self.source}:{self.platform_id}"
        if len(plain) <= LONGEST_POST_ID:
            return plain
        digest = blake2b(plain.encode(), digest_size=16).hexdigest()
        return f"{plain[: LONGEST_POST_ID - len(digest) - 1]}~{digest}"


class Reading(NamedTuple):
    """What a model says of a post and an entity.

    Attributes:
        score: probability of rise less probability of fall, -1 to 1.
        confidence: calibrated probability of the label, 0 to 1.
    """

    score: float
    confidence: float
    model_version: str
    is_llm: bool
    is_calibrated: bool
    is_shed: bool


@dataclass(frozen=True, slots=True)
class PostLink:
    """One entity that a post speaks of; `reading` is None until it is read."""

    entity: str
    kind: LinkKind
    confidence: float
    reading: Reading | None = None


@dataclass(frozen=True, slots=True)
class Post:
    """A post as it stands. Times are UTC epoch nanoseconds; `create_time_nanos` is wall time."""

    post_id: str
    source: str
    kind: PostKind
    author_digest: str
    follower_count: int
    event_time_nanos: int
    create_time_nanos: int
    text: str
    links: tuple[PostLink, ...] = ()
    state: PostState = PostState.LIVE
    original_post_id: str = ""
    spam_score: float = 0.0
    traceparent: str = ""

    @property
    def is_duplicate(self) -> bool:
        return bool(self.original_post_id)

    @property
    def is_relevant(self) -> bool:
        """Whether it is worth a model's time: linked, not spam, not a repeat, not deleted."""
        return (
            bool(self.links)
            and self.spam_score < SPAM_FROM
            and not self.is_duplicate
            and self.state is not PostState.DELETED
        )

    @property
    def is_read(self) -> bool:
        """Whether every entity of it has a reading."""
        return all(link.reading is not None for link in self.links)

    def read(self, readings: dict[str, Reading]) -> Post:
        """Return the post with the readings of its entities."""
        links = tuple(replace(link, reading=readings.get(link.entity, link.reading)) for link in self.links)
        return replace(self, links=links)

    def deleted(self) -> Post:
        """Return what may be kept of it: that it was, and where."""
        return replace(self, text="", links=(), state=PostState.DELETED, author_digest="", follower_count=0)
