"""Kept answers: found again for a while, and gone without a trace when a post is deleted."""

from __future__ import annotations

import pickle
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from servers.intelligence.answers import FORGOTTEN_SECONDS, KeptAnswers
from servers.intelligence.domain.sentiment import RawAnswer, Scores

ANSWER = RawAnswer(Scores(0.1, 0.2, 0.7), "v")


def digest(text: str) -> bytes:
    return sha256(text.encode()).digest()


def test_an_answer_is_found_until_its_time_is_over() -> None:
    kept = KeptAnswers(10, 100.0)
    kept.put(digest("a"), "1", "p1", ANSWER, 0.0, 0.0)
    assert kept.get(digest("a"), "1", "p2", 99.0) == ANSWER
    assert kept.get(digest("a"), "2", "p2", 99.0) is None
    assert kept.get(digest("a"), "1", "p2", 100.0) is None
    assert len(kept) == 0


def test_the_oldest_leave_when_there_are_too_many() -> None:
    kept = KeptAnswers(2, 100.0)
    for name in "abc":
        kept.put(digest(name), "1", name, ANSWER, 0.0, 0.0)
    assert kept.get(digest("a"), "1", "x", 1.0) is None
    assert kept.get(digest("c"), "1", "x", 1.0) == ANSWER


def test_nothing_is_kept_when_nothing_may_be() -> None:
    kept = KeptAnswers(0, 100.0)
    kept.put(digest("a"), "1", "p1", ANSWER, 0.0, 0.0)
    assert len(kept) == 0


def test_a_post_is_forgotten_with_all_its_texts_and_versions() -> None:
    kept = KeptAnswers(10, 100.0)
    kept.put(digest("before the edit"), "1", "p1", ANSWER, 0.0, 0.0)
    kept.put(digest("after the edit"), "1", "p1", ANSWER, 0.0, 0.0)
    kept.put(digest("after the edit"), "2", "p1", ANSWER, 0.0, 0.0)
    kept.put(digest("another"), "1", "p2", ANSWER, 0.0, 0.0)
    assert kept.forget(["p1"], [], 1.0) == 3
    assert len(kept) == 1
    assert kept.get(digest("another"), "1", "p2", 1.0) == ANSWER


def test_a_post_that_only_used_a_kept_answer_forgets_it_too() -> None:
    kept = KeptAnswers(10, 100.0)
    kept.put(digest("a"), "1", "p1", ANSWER, 0.0, 0.0)
    assert kept.get(digest("a"), "1", "p2", 1.0) == ANSWER
    assert kept.forget(["p2"], [], 2.0) == 1
    assert kept.get(digest("a"), "1", "p1", 3.0) is None


def test_a_text_is_forgotten_by_its_digest() -> None:
    kept = KeptAnswers(10, 100.0)
    kept.put(digest("a"), "1", "p1", ANSWER, 0.0, 0.0)
    assert kept.forget([], [digest("a")], 1.0) == 1
    assert kept.forget([], [digest("a")], 1.0) == 0


def test_what_was_in_flight_when_it_was_forgotten_is_not_kept() -> None:
    kept = KeptAnswers(10, 100.0)
    kept.forget(["p1"], [digest("b")], 5.0)
    kept.put(digest("a"), "1", "p1", ANSWER, 4.0, 6.0)
    kept.put(digest("b"), "1", "p2", ANSWER, 4.0, 6.0)
    assert len(kept) == 0
    kept.put(digest("a"), "1", "p1", ANSWER, 5.5, 6.0)  # asked for anew, after it
    assert len(kept) == 1


def test_what_has_had_its_time_is_dropped_and_so_is_the_memory_of_deletions() -> None:
    kept = KeptAnswers(10, 100.0)
    kept.put(digest("a"), "1", "p1", ANSWER, 0.0, 0.0)
    kept.forget(["gone"], [], 0.0)
    kept.expire(max(100.0, FORGOTTEN_SECONDS) + 1.0)
    assert len(kept) == 0
    kept.put(digest("z"), "1", "gone", ANSWER, -1.0, 0.0)
    assert len(kept) == 1


def test_nothing_that_is_kept_holds_the_text_or_its_plain_digest() -> None:
    kept = KeptAnswers(10, 100.0)
    text = "a planted and unique string"
    kept.put(digest(text), "1", "p1", ANSWER, 0.0, 0.0)
    held = pickle.dumps(vars(kept))
    assert text.encode() not in held
    assert digest(text) not in held


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.sampled_from("abcd"), st.sampled_from("12"), st.sampled_from("pqr")),
            st.tuples(st.just("get"), st.sampled_from("abcd"), st.sampled_from("12"), st.sampled_from("pqr")),
            st.tuples(st.just("forget"), st.sampled_from("pqr"), st.just(""), st.just("")),
        ),
        max_size=60,
    )
)
def test_after_a_deletion_nothing_of_the_post_is_found(steps: list[tuple[str, str, str, str]]) -> None:
    """Against a plain model: which texts each post has used."""
    kept = KeptAnswers(100, 1e9)
    used: dict[str, set[str]] = {"p": set(), "q": set(), "r": set()}
    for now, (what, name, version, post) in enumerate(steps):
        if what == "put":
            kept.put(digest(name), version, post, ANSWER, float(now), float(now))
            used[post].add(name)
        elif what == "get":
            if kept.get(digest(name), version, post, float(now)) is not None:
                used[post].add(name)
        else:
            kept.forget([name], [], float(now))
            for text in used[name]:
                for one in "12":
                    assert kept.get(digest(text), one, "reader", float(now)) is None
            gone = set(used[name])
            for texts in used.values():
                texts -= gone  # kept for nobody any more, until somebody asks again
    for post in used:
        kept.forget([post], [], 1e6)
    assert len(kept) == 0
