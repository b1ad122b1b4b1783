"""The pure rules: links, repeats, spam, aggregates, bursts."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.model.nanos import NANO
from servers.news.domain.aggregate import SOURCE_CAP, aggregate, base_weight
from servers.news.domain.bursts import QUIET_SECONDS, BurstWatch, hour_of_week
from servers.news.domain.linking import Linker
from servers.news.domain.post import MARKET, LinkKind, Post, PostKind, PostLink, Reading
from servers.news.domain.repeats import Repeats, canonical
from servers.news.domain.spam import spam_score

NOON = 1_700_000_000 * NANO
LINKER = Linker(
    {"ACME": ("Acme Corporation", "Acme"), "BOLT": ("Bolt Motors", "Bolt"), "GM": ("Bolt Motors",)}
)


def found(text: str) -> dict[str, LinkKind]:
    return {link.entity: link.kind for link in LINKER.links(text)}


def test_a_cashtag_is_surer_than_a_name_and_a_name_is_a_whole_word() -> None:
    assert found("$acme and $NONE rise") == {"ACME": LinkKind.CASHTAG}
    assert found("Acme Corporation reports earnings") == {"ACME": LinkKind.ALIAS}
    assert found("acmeist poets, $5 and US$ACME") == {}
    assert LINKER.links("$ACME is Acme Corporation")[0].confidence == 1.0


def test_a_short_name_is_surer_beside_a_word_of_the_trade() -> None:
    (plain,) = LINKER.links("acme it is")
    (beside,) = LINKER.links("acme shares it is")
    assert plain.confidence < 0.7 < beside.confidence


def test_a_name_that_two_share_links_to_both_and_less_surely() -> None:
    links = {link.entity: link.confidence for link in LINKER.links("Bolt Motors opens a plant")}
    assert links["GM"] < 0.5


def test_terms_of_the_market_link_to_the_market() -> None:
    assert found("Wall Street waits for the Fed") == {MARKET: LinkKind.MARKET}


def test_a_copy_is_found_by_its_words_and_a_near_copy_by_its_runs() -> None:
    repeats = Repeats()
    text = "Acme raises its full year guidance after a very strong quarter in Europe and in Asia this time"
    assert repeats.original_of("1", text) == ""
    assert repeats.original_of("1", text) == ""
    assert repeats.original_of("2", text.upper() + " https://example.invalid @someone") == "1"
    assert repeats.original_of("3", "RT " + text + " wow") == "1"
    assert repeats.original_of("4", "Bolt cuts its outlook after a weak quarter and lays off many") == ""
    assert repeats.original_of("5", "up we go") == ""
    assert repeats.original_of("6", "Up, we go!") == "5"


def test_what_is_forgotten_is_no_original_any_more_and_the_oldest_go_first() -> None:
    repeats = Repeats(capacity=2)
    assert [repeats.original_of(str(n), f"text number {n} of five words") for n in range(3)] == ["", "", ""]
    assert len(repeats) == 2
    repeats.forget("2")
    repeats.forget("2")
    assert repeats.original_of("7", "text number 2 of five words") == ""
    assert repeats.original_of("8", "text number 0 of five words") == ""


@given(st.text(max_size=200))
def test_any_text_has_a_canonical_form_that_is_its_own(text: str) -> None:
    assert canonical(canonical(text)) == canonical(text)
    assert 0.0 < spam_score(text, 0, 1) < 1.0
    LINKER.links(text)
    assert Repeats().original_of("1", text) == ""


@pytest.mark.parametrize(
    ("text", "followers", "posts", "is_spam"),
    [
        ("GUARANTEED profit, join our telegram group t.me/x $A $B $C $D $E", 3, 1, True),
        ("Double your money, DM me!!!", 0, 1, True),
        ("$ACME beats estimates, revenue up 12%", 2_000, 3, False),
        ("Watching $ACME today", 5, 1, False),
        ("$ACME again, join us", 5, 190, True),
    ],
)
def test_signs_of_spam_add_up(text: str, followers: int, posts: int, is_spam: bool) -> None:
    assert (spam_score(text, followers, posts) >= 0.5) is is_spam


# -- Aggregates ---------------------------------------------------------------------------------------


def voice(
    number: int,
    score: float = 0.9,
    *,
    source: str = "board",
    author: str = "",
    age: float = 0.0,
    reach: int = 999,
) -> tuple[Post, PostLink]:
    reading = Reading(score, 0.9, "llm/1", True, True, False)
    link = PostLink("ACME", LinkKind.CASHTAG, 1.0, reading)
    post = Post(
        f"p{number}",
        source,
        PostKind.SOCIAL,
        author or f"a{number}",
        999,
        NOON - round(age * NANO),
        0,
        "text",
        links=(link,),
    )
    return post, link


def test_what_nobody_says_is_nothing() -> None:
    none = aggregate([], PostKind.SOCIAL, NOON)
    assert (none.score, none.post_count, none.newest_time_nanos) == (0.0, 0, 0)


def test_an_author_counts_once_however_much_he_writes() -> None:
    once = aggregate([voice(1)], PostKind.SOCIAL, NOON)
    often = aggregate([voice(n, author="a") for n in range(9)], PostKind.SOCIAL, NOON)
    assert often.score == pytest.approx(once.score)
    assert len(often.authors) == 1
    assert often.effective_author_count == pytest.approx(1.0)


def test_few_voices_are_shrunk_and_old_ones_fade() -> None:
    few = aggregate([voice(1)], PostKind.SOCIAL, NOON).score
    many = aggregate([voice(n) for n in range(20)], PostKind.SOCIAL, NOON).score
    assert 0 < few < many < 0.9
    old = aggregate([voice(1, age=1_800.0)], PostKind.SOCIAL, NOON)
    assert 0 < old.score < few
    assert aggregate([voice(1, age=1e6)], PostKind.SOCIAL, NOON).post_count == 0


@given(st.integers(1, 30), st.integers(1, 5))
def test_no_source_outweighs_the_others_by_more_than_its_cap(loud: int, quiet: int) -> None:
    voices = [voice(n, 1.0, source="loud") for n in range(loud)]
    voices += [voice(100 + n, -1.0, source="quiet") for n in range(quiet)]
    both = aggregate(voices, PostKind.SOCIAL, NOON)
    # Of the whole weight, loud's share is at most the cap, so the mean is at most 2 cap - 1.
    assert both.score <= 2 * SOURCE_CAP - 1 + 1e-9
    assert both.sources == {"loud", "quiet"}


@pytest.mark.parametrize(
    "change",
    [{"spam_score": 0.5}, {"original_post_id": "p0"}],
)
def test_spam_and_copies_weigh_nothing(change: dict[str, object]) -> None:
    post, link = voice(1)
    assert base_weight(post, link) > 0
    assert base_weight(replace(post, **change), link) == 0  # type: ignore[arg-type]  # fields of a post
    assert base_weight(post, replace(link, reading=None)) == 0
    assert base_weight(post, replace(link, reading=Reading(0.9, 0.69, "llm/1", True, True, False))) == 0


# -- Bursts -------------------------------------------------------------------------------------------


def test_the_epoch_began_on_a_thursday() -> None:
    assert hour_of_week(0) == 72
    assert hour_of_week(4 * 86_400 * NANO) == 0


def ordinary_month(watch: BurstWatch, seed: int) -> list[int]:
    """Twenty sessions of posts that come as they please, an author a post; return when alerts were raised."""
    chance = random.Random(seed)
    alerts = []
    for day in range(28):
        if day % 7 > 4:
            continue
        opens = (day * 24 + 14) * 3_600
        second = 0.0
        while second < 23_400:
            second += chance.expovariate(1 / 150 if second < 3_600 else 1 / 300)
            burst = watch.take(f"u{chance.randrange(5_000)}", NOON + round((opens + second) * NANO))
            if burst is not None:
                alerts.append(burst.event_time_nanos)
    return alerts


def test_a_planted_burst_is_noticed_within_two_minutes_and_false_alerts_are_rare_in_a_month() -> None:
    planted, noticed, false_alerts = 0, 0, 0
    for seed in range(20):
        watch = BurstWatch()
        false_alerts += len(ordinary_month(watch, seed))
        start = NOON + (28 * 24 + 15) * 3_600 * NANO
        planted += 1
        times = [start + round(n * 6 * NANO) for n in range(20)]
        bursts = [burst for n, time in enumerate(times) if (burst := watch.take(f"x{n}", time)) is not None]
        noticed += bool(bursts) and bursts[0].event_time_nanos - start <= 120 * NANO
    assert noticed == planted
    assert false_alerts <= 0.15 * planted


def test_after_an_alert_there_is_quiet_and_one_author_alone_is_no_burst() -> None:
    watch = BurstWatch()
    assert not [1 for n in range(50) if watch.take("one", NOON + n * NANO)]
    bursts = [n for n in range(100) if watch.take(f"u{n}", NOON + (600 + n) * NANO)]
    assert len(bursts) == 1
    later = NOON + (QUIET_SECONDS + 5_000) * NANO
    assert [n for n in range(30) if watch.take(f"v{n}", later + n * NANO)]
    assert watch.zscore(later) > 0
    assert watch.ratio(later) > 0
