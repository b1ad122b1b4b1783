"""The pipeline: each post once, read, edited, deleted; what listeners hear."""

import asyncio
from dataclasses import replace

import pytest

from servers.model.errors import NotFound, OutOfRange, Unavailable
from servers.model.nanos import NANO
from servers.model.social_events import planted_events
from servers.news.adapters.simulated import BOARD, WIRE, simulated_posts
from servers.news.domain.desk import KEPT_NANOS, TrendKind
from servers.news.domain.post import LONGEST_POST_ID, Action, Post, PostKind, PostState
from tests.unit.news.newsroom import NAMES, NOON, Room, post


async def kept_post(room: Room) -> Post:
    """Return what the store has of the first post."""
    kept: Post | None = await room.store.get("board:1")
    assert kept is not None
    return kept


DAY = (NOON, NOON + round(6.5 * 3_600) * NANO)


async def test_a_post_is_taken_once_read_once_and_counts(room: Room) -> None:
    await room.engine.take([post(1), post(1)])
    await room.engine.take([post(1)])
    await room.read_all()
    assert len(room.reader.asked) == 1
    assert room.engine.counts["taken"] == 1
    sentiment = room.engine.desk.sentiment("ACME")
    assert sentiment.social.score > 0
    assert sentiment.post_ids == ("board:1",)
    assert sentiment.traceparent.startswith("00-")
    (link,) = (await kept_post(room)).links
    assert link.reading is not None
    assert link.reading.is_llm


async def test_an_author_is_kept_as_a_digest_alone(room: Room) -> None:
    await room.engine.take([post(1, author="jane_doe")])
    kept = await kept_post(room)
    assert "jane" not in repr(kept)
    assert len(kept.author_digest) == 24


async def test_what_is_unlinked_spam_or_a_copy_is_not_read(room: Room) -> None:
    spam = "GUARANTEED profit up, join our telegram group t.me/x $ACME $B $C $D $E"
    await room.engine.take(
        [
            post(1, "nothing in particular"),
            post(2, spam),
            post(3, "$ACME up it goes"),
            post(4, "$ACME up it goes"),
        ]
    )
    await room.read_all()
    assert [question.post_id for question in room.reader.asked] == ["board:3"]
    assert (room.engine.counts["unlinked"], room.engine.counts["spam"], room.engine.counts["duplicate"]) == (
        1,
        1,
        1,
    )


async def test_while_nobody_reads_posts_wait(room: Room) -> None:
    room.reader.is_up = False
    await room.engine.take([post(1)])
    with pytest.raises(Unavailable):
        await room.engine.read_some()
    assert room.engine.waiting_count == 1
    room.reader.is_up = True
    await room.read_all()
    assert room.engine.waiting_count == 0


async def test_an_edit_replaces_the_text_and_is_read_again(room: Room) -> None:
    await room.engine.take([post(1)])
    await room.read_all()
    await room.engine.take([post(1, "$ACME goes down", 60, action=Action.EDITED)])
    await room.read_all()
    kept = await kept_post(room)
    assert (kept.state, kept.text) == (PostState.EDITED, "$ACME goes down")
    assert kept.event_time_nanos == NOON
    assert room.engine.desk.sentiment("ACME").social.score < 0
    assert room.reader.forgotten == ["board:1"]


async def test_a_deletion_reaches_the_store_the_aggregate_and_the_reader(room: Room) -> None:
    await room.engine.take([post(1), post(2, "$ACME rises, up up")])
    await room.read_all()
    await room.engine.take([post(1, action=Action.DELETED)])
    await room.engine.delete("board:2")
    assert room.engine.desk.sentiment("ACME").social.post_count == 0
    assert (await kept_post(room)).text == ""
    assert room.reader.forgotten == ["board:1", "board:2"]
    with pytest.raises(NotFound, match="no post"):
        await room.engine.delete("board:9")


async def test_a_deletion_does_not_wait_for_the_reader(room: Room) -> None:
    await room.engine.take([post(1)])
    room.reader.is_up = False
    await room.engine.delete("board:1")
    assert room.log.lines == ["intelligence does not hear of a deletion yet"]
    assert room.engine.waiting_count == 0


async def test_a_deletion_that_the_reader_did_not_hear_of_is_kept_until_it_confirms(room: Room) -> None:
    await room.engine.take([post(1), post(2)])
    room.reader.is_up = False
    await room.engine.take([post(1, action=Action.DELETED), post(2, "$ACME is new", action=Action.EDITED)])
    with pytest.raises(Unavailable):
        await room.engine.forget_some()
    again = Room(room.store)  # the news server is started again; the store is what stays
    await asyncio.wait_for(again.engine.forgetting_due(), 5)
    assert await again.engine.forget_some() == 2
    assert again.reader.forgotten == ["board:1", "board:2"]
    assert await again.engine.forget_some() == 0


async def test_a_deletion_of_what_was_never_there_asks_nothing_of_the_reader(room: Room) -> None:
    await room.engine.take([post(7, action=Action.DELETED), post(8, "$ACME new", action=Action.EDITED)])
    assert await room.engine.forget_some() == 0


async def test_readings_that_overlap_take_different_posts_and_come_back_when_nobody_answers(
    room: Room,
) -> None:
    await room.engine.take([post(number, f"$ACME up {number}") for number in range(40)])
    assert sorted(
        await asyncio.gather(room.engine.read_some(), room.engine.read_some(), room.engine.read_some())
    ) == [8, 16, 16]
    assert len({question.post_id for question in room.reader.asked}) == len(room.reader.asked) == 40
    room.reader.is_up = False
    await room.engine.take([post(50, "$BOLT up"), post(51, "$CRUX up")])
    with pytest.raises(Unavailable):
        await room.engine.read_some()
    assert (room.engine.waiting_count, room.engine.queued_count) == (2, 2)
    room.reader.is_up = True
    await room.read_all()
    assert [question.post_id for question in room.reader.asked][40:] == ["board:50", "board:51"]


async def test_an_edit_that_names_no_author_leaves_the_post_to_its_own(room: Room) -> None:
    await room.engine.take([post(1, author="ann", follower_count=7)])
    before = await kept_post(room)
    await room.engine.take([post(1, "$ACME down", author="", follower_count=0, action=Action.EDITED)])
    after = await kept_post(room)
    assert (after.author_digest, after.follower_count) == (before.author_digest, 7)


def test_a_platforms_id_that_is_too_long_still_makes_one_post() -> None:
    long, other = (post(1, source="feed", kind=PostKind.NEWS), post(2, source="feed"))
    ids = {
        replace(one, platform_id=f"https://news.example/{'a' * 300}/{number}").post_id
        for number, one in enumerate((long, other, other))
    }
    assert len(ids) == 3
    assert {len(one) for one in ids} == {LONGEST_POST_ID}
    assert long.post_id == "feed:1"


async def test_an_unsure_reading_does_not_count_and_a_shed_one_is_told(room: Room) -> None:
    await room.engine.take([post(1, "$ACME unsure up"), post(2, "$ACME shed and up")])
    await room.read_all()
    social = room.engine.desk.sentiment("ACME").social
    assert social.post_count == 1
    assert social.is_shed


async def test_news_and_people_stay_apart(room: Room) -> None:
    await room.engine.take([post(1), post(2, "Acme Corporation: down", kind=PostKind.NEWS, source="wire")])
    await room.read_all()
    sentiment = room.engine.desk.sentiment("ACME")
    assert sentiment.social.score > 0 > sentiment.news.score
    assert (sentiment.author_count, sentiment.source_count) == (2, 2)


async def test_posts_are_taken_up_after_a_restart_and_the_unread_wait(room: Room) -> None:
    await room.engine.take([post(1), post(2, "$BOLT goes down")])
    await room.engine.delete("board:2")
    await room.read_all()
    await room.engine.take([post(3, "$CRUX goes up")])
    again = Room(room.store)
    await again.engine.restore(lambda newest: newest - KEPT_NANOS)
    assert again.engine.desk.sentiment("ACME").social.score == room.engine.desk.sentiment("ACME").social.score
    assert again.engine.waiting_count == 1
    await Room().engine.restore(lambda newest: newest)


async def test_what_has_faded_is_not_kept_in_mind(room: Room) -> None:
    await room.engine.take([post(1)])
    room.engine.advance(NOON + KEPT_NANOS + NANO)
    assert room.engine.desk.posts == {}
    assert room.engine.waiting_count == 0
    assert room.engine.desk.sentiment("ACME").social.post_count == 0


async def test_copies_without_reach_and_news_are_a_suspected_pump(room: Room) -> None:
    text = "$CRUX going up tonight my friends, all of us buy at eight"
    await room.engine.take([post(n, text, n, follower_count=20) for n in range(1, 12)])
    (trend,) = room.engine.desk.trends
    assert trend.kind is TrendKind.PUMP_SUSPECTED
    assert room.engine.desk.sentiment("CRUX").is_pump_suspected
    await room.engine.take(
        [post(100 + n, f"$BOLT up because of reason {n} and {n * 7} more", 30 + n) for n in range(15)]
    )
    assert [trend.kind for trend in room.engine.desk.trends][1:] == [TrendKind.BURST]


async def test_listeners_hear_entities_changes_and_alerts(room: Room) -> None:
    entities = room.publisher.follow_entities(5.0)
    trends = room.publisher.follow_trends(0, 5.0)
    changes = room.publisher.follow_changes(0, 0.01)
    assert await anext(changes) == ([], 0)
    first_entities, first_trends = (
        asyncio.ensure_future(anext(entities)),
        asyncio.ensure_future(anext(trends)),
    )
    await asyncio.sleep(0)
    await room.engine.take([post(n, f"$ACME up for reason {n * 13}", n) for n in range(1, 13)])
    names, _ = await first_entities
    assert names == ["ACME"]
    assert [trend.entity for trend in await first_trends] == ["ACME"]
    assert [trend.sequence for trend in await anext(room.publisher.follow_trends(0, 0.01))] == []
    with pytest.raises(OutOfRange, match="above"):
        await anext(room.publisher.follow_trends(99, 0.01))
    found, reached = await anext(changes)
    assert [one.post_id for _, one in found] == [f"board:{n}" for n in range(1, 13)]
    assert reached == 12
    with pytest.raises(OutOfRange, match="above"):
        await anext(room.publisher.follow_changes(99, 0.01))


async def test_a_reader_that_is_too_far_behind_is_cut_off(room: Room) -> None:
    room.publisher.last_sequence = 50
    with pytest.raises(OutOfRange):
        await anext(room.publisher.follow_changes(7, 0.01))


# -- The simulated world ------------------------------------------------------------------------------


def test_the_simulated_world_is_the_same_for_the_same_seed_and_speaks_of_its_events() -> None:
    posts = simulated_posts(3, *DAY, NAMES)
    assert posts == simulated_posts(3, *DAY, NAMES)
    assert posts != simulated_posts(4, *DAY, NAMES)
    assert [one.event_time_nanos for one in posts] == sorted(one.event_time_nanos for one in posts)
    for event in planted_events(3, *DAY, NAMES):
        near = [one for one in posts if 0 < one.event_time_nanos - event.event_time_nanos < 250 * NANO]
        assert sum(f"${event.symbol}" in one.text for one in near) >= 3
        assert any(one.source == WIRE for one in near)
    assert {one.action for one in posts} >= {Action.WRITTEN}
    assert BOARD in {one.source for one in posts}


async def test_a_simulated_session_runs_through_the_pipeline(room: Room) -> None:
    posts = simulated_posts(3, *DAY, NAMES)
    await room.engine.take(posts)
    await room.read_all()
    written = sum(one.action is Action.WRITTEN for one in posts)
    assert room.engine.counts["taken"] == written + room.engine.counts["edited"]
    assert room.engine.waiting_count == 0


async def test_readers_of_changes_get_no_text_of_a_post_that_was_taken_back_or_changed(room: Room) -> None:
    await room.engine.take([post(1, "$ACME goes up, planted"), post(2, "$BOLT goes down, planted too")])
    await room.engine.take(
        [
            post(1, "", action=Action.DELETED),
            post(2, "$BOLT is as it was", action=Action.EDITED),
            post(3, "$CRUX goes up, planted in a group that takes it back"),
            post(3, "", action=Action.DELETED),
        ]
    )
    changes, reached = await anext(room.publisher.follow_changes(0, 0.01).__aiter__())
    assert changes == []
    assert reached == 6
    changes, reached = await anext(aiter(room.publisher.follow_changes(1, 0.01)))
    assert [sequence for sequence, _ in changes] == [2, 3, 4, 5, 6]
    assert not any("planted" in one.text for _, one in changes)
    assert [one.text for _, one in changes if one.text] == ["$BOLT is as it was"] * 2


async def test_whoever_follows_entities_hears_of_a_deletion(room: Room) -> None:
    await room.engine.take([post(1, "$ACME goes up")])
    following = aiter(room.publisher.follow_entities(0.01))
    assert (await anext(following))[0] == []
    await room.engine.delete("board:1")
    assert (await anext(following))[0] == ["ACME"]
