"""How often a platform is asked, how long it is left alone, and what is handed on."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.model.errors import InvalidInput
from servers.model.nanos import NANO
from servers.news.adapters.platforms import following
from servers.news.adapters.platforms.following import WATCHED_SECONDS, Watch
from servers.news.adapters.platforms.session import number, retry_after
from servers.news.domain.pacing import BackOff, RateLimit
from servers.news.domain.post import Action, Post, PostKind, PostState, SourcePost
from servers.news.settings import NewsSettings
from servers.news.sources import check_sources, restore

NOW = 1_700_000_000 * NANO


@given(
    st.integers(1, 20),
    st.floats(1.0, 900.0),
    st.lists(st.floats(0.0, 60.0), max_size=200),
)
def test_no_window_wherever_it_begins_sees_more_requests_than_allowed(
    requests: int, window: float, pauses: list[float]
) -> None:
    limit, now, sent = RateLimit(requests, window), NOW, []
    for pause in pauses:
        now += round(pause * NANO)
        while (wait := limit.wait_seconds(now)) > 0:
            now += max(1, round(wait * NANO))
        limit.sent(now)
        sent.append(now)
    for number_, first in enumerate(sent):
        within = [one for one in sent[number_:] if one < first + window * NANO]
        assert len(within) <= requests


def test_what_the_platform_says_takes_precedence_over_the_configured_limit() -> None:
    limit = RateLimit(100, 60.0)
    limit.heard(5.0, NOW + 50 * NANO)
    assert limit.wait_seconds(NOW) == 0
    limit.heard(0.0, NOW + 50 * NANO)
    assert limit.wait_seconds(NOW) == 50
    limit.close(NOW + 20 * NANO)
    assert limit.wait_seconds(NOW) == 50, "a shorter wait does not end a longer one"
    limit.heard(0.0, None)
    assert limit.wait_seconds(NOW + 50 * NANO) == 0


def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one request"):
        RateLimit(0, 60.0)


def test_waits_grow_by_a_factor_or_a_step_to_their_bound_and_begin_anew() -> None:
    doubling = BackOff(5.0, 18.0)
    assert [doubling.next_seconds() for _ in range(4)] == [5.0, 10.0, 18.0, 18.0]
    doubling.reset()
    assert doubling.next_seconds() == 5.0
    linear = BackOff(0.0, 0.6, 1.0, 0.25)
    assert [linear.next_seconds() for _ in range(4)] == [0.0, 0.25, 0.5, 0.6]


def test_retry_after_is_read_as_seconds_and_as_a_date() -> None:
    assert retry_after({"Retry-After": "120"}, NOW) == NOW + 120 * NANO
    date = "Tue, 14 Nov 2023 22:15:00 GMT"
    assert retry_after({"Retry-After": date}, NOW) == 1_700_000_100 * NANO
    assert retry_after({"Retry-After": "soon"}, NOW) is None
    assert retry_after({}, NOW) is None
    assert number("many") is None


def written(number_: int, text: str, action: Action = Action.WRITTEN, age_seconds: float = 0) -> SourcePost:
    time = NOW - round(age_seconds * NANO)
    return SourcePost(str(number_), "x", PostKind.SOCIAL, "author", time, text, 5, action)


class Taken:
    """Collects what is delivered; fails when told to."""

    def __init__(self) -> None:
        self.posts: list[SourcePost] = []
        self.fails = False

    async def __call__(self, posts: Sequence[SourcePost]) -> None:
        if self.fails:
            raise OSError("disk full")
        self.posts += posts

    @property
    def actions(self) -> list[tuple[str, Action]]:
        return [(post.platform_id, post.action) for post in self.posts]


async def test_each_post_is_handed_on_once_and_again_only_when_its_text_changes() -> None:
    watch, taken = Watch("x"), Taken()
    for _ in range(2):
        await watch.hand_on([written(1, "first"), written(2, "second")], taken)
    await watch.hand_on([written(1, "first, corrected")], taken)
    assert taken.actions == [("1", Action.WRITTEN), ("2", Action.WRITTEN), ("1", Action.EDITED)]


async def test_an_edited_post_seen_first_after_a_restart_counts_as_new_and_as_an_edit() -> None:
    watch, taken = Watch("x"), Taken()
    await watch.hand_on([written(1, "as it is now", Action.EDITED)], taken)
    assert taken.actions == [("1", Action.WRITTEN), ("1", Action.EDITED)]


async def test_a_post_that_could_not_be_delivered_is_delivered_the_next_time() -> None:
    watch, taken = Watch("x"), Taken()
    taken.fails = True
    with pytest.raises(OSError, match="disk full"):
        await watch.hand_on([written(1, "first")], taken)
    taken.fails = False
    assert await watch.hand_on([written(1, "first")], taken) == 1


async def test_only_what_was_handed_on_is_taken_back_and_only_once() -> None:
    watch, taken = Watch("x"), Taken()
    await watch.hand_on([written(1, "first")], taken)
    assert await watch.take_back({"1", "7"}, NOW, taken) == 1
    assert await watch.take_back({"1"}, NOW, taken) == 0
    assert taken.actions[-1] == ("1", Action.DELETED)
    assert taken.posts[-1].text == ""


async def test_posts_are_looked_at_in_turn_and_not_after_a_day() -> None:
    watch, taken = Watch("x"), Taken()
    old = written(0, "old", age_seconds=WATCHED_SECONDS + 1)
    await watch.hand_on([old, *(written(n, f"text {n}") for n in range(1, 5))], taken)
    assert watch.next(3, NOW) == ["1", "2", "3"]
    watch.looked_at(["1", "2", "3"])
    assert watch.next(3, NOW) == ["4", "1", "2"]
    assert len(watch) == 4


async def test_no_more_are_remembered_than_can_be_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "MOST_WATCHED", 3)
    watch, taken = Watch("x"), Taken()
    for count in range(10):
        await watch.hand_on([written(count, f"text {count}")], taken)
    assert len(watch) == 3
    assert await watch.hand_on([written(9, "text 9")], taken) == 0


async def test_what_is_kept_over_a_restart_is_not_handed_on_again_but_its_edits_are() -> None:
    watch, taken = Watch("x"), Taken()
    one = Post("x:1", "x", PostKind.SOCIAL, "digest", 5, NOW, NOW, "kept")
    gone = Post("x:2", "x", PostKind.SOCIAL, "", 0, NOW, NOW, "", state=PostState.DELETED)
    other = Post("reddit:3", "reddit", PostKind.SOCIAL, "digest", 5, NOW, NOW, "elsewhere")
    restore(watch, "x", [one, gone, other])
    assert watch.next(10, NOW) == ["1"]
    await watch.hand_on([written(1, "kept")], taken)
    assert taken.posts == []
    await watch.hand_on([written(1, "kept, changed")], taken)
    assert taken.actions == [("1", Action.EDITED)]


@pytest.mark.parametrize(
    ("given_", "field"),
    [
        ({"source": "file"}, "file"),
        ({"source": "platforms", "x_bearer_token": "t"}, "x_query"),
        ({"source": "platforms", "reddit_client_id": "i"}, "reddit_subreddits"),
        ({"source": "platforms", "telegram_api_id": 1}, "telegram_channels"),
        ({"source": "platforms", "rss_feeds": "https://news.example/feed"}, "rss_feeds"),
    ],
)
def test_a_source_that_lacks_something_is_refused_by_the_name_of_the_setting(
    given_: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_sources(NewsSettings.model_validate(given_))
    assert refused.value.metadata["field"] == field


def test_secrets_do_not_show() -> None:
    settings = NewsSettings.model_validate(
        {"x_bearer_token": "very secret", "reddit_client_secret": "very secret"}
    )
    assert "very secret" not in repr(settings)
    assert "very secret" not in str(settings.model_dump())
