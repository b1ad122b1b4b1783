"""Posts through real servers and the real Triton: a file at full speed, and one burst up to its signal."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks._burst import follow_burst
from benchmarks._post_feed import Feed
from benchmarks.news_llm import replay
from servers.local.triton import ROOT, is_installed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.processes,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not is_installed() or not (ROOT / "build" / "triton" / "recipe.json").exists(),
        reason="Triton's environment or the LLM's weights are not set up",
    ),
]
POSTS, PATIENCE_POSTS = 3_000, 60
TWO_MINUTES_SECONDS = 120.0


async def test_a_file_at_full_speed_is_read_once_by_the_llm_as_far_as_the_budget_goes_and_shed_beyond(
    tmp_path: Path,
) -> None:
    feed = Feed(POSTS, planted_each=100)
    done = await replay(
        tmp_path,
        feed,
        budget_texts_per_second=8.0,
        max_queue_age_seconds=5.0,
        patience_posts=PATIENCE_POSTS,
    )
    assert feed.planted > 10
    assert (done.kept.lost, done.kept.twice, done.kept.undeleted, done.kept.unread) == (0, 0, 0, 0)
    assert done.kept.copies_missed + done.kept.false_copies + done.kept.spam_missed < 0.02
    # What is left when the file has ended is read in turn; before that the most relevant are.
    assert PATIENCE_POSTS / 2 < done.read_by_llm < done.asked / 2
    assert done.shed > done.asked / 2
    assert done.files_with_planted_text == []


async def test_a_burst_is_alerted_and_has_become_a_published_signal_within_two_minutes(
    tmp_path: Path,
) -> None:
    burst = await follow_burst(tmp_path)
    assert 0 < burst.alert_seconds <= TWO_MINUTES_SECONDS
    assert 0 < burst.signal_seconds <= TWO_MINUTES_SECONDS
    assert not burst.is_lexicon_only
    assert burst.probability_up > 0.5, "the event is a good one"
