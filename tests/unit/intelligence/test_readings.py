"""Labels, calibration, the word list, the regime: what is said of texts and prices."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.intelligence.adapters.files import load_calibrations, load_lexicon
from servers.intelligence.domain.assignment import bucket_of, is_candidates
from servers.intelligence.domain.calibration import UNCALIBRATED, Calibration, Calibrations
from servers.intelligence.domain.regime import News, Regime, classify, features_of
from servers.intelligence.domain.sentiment import (
    Answerer,
    FallbackReason,
    Item,
    Label,
    Scores,
    Sentiment,
    WrongShape,
    scores_from,
)
from servers.model.errors import InvalidInput

LEXICON = load_lexicon()
shares = st.tuples(*(st.floats(0.001, 1.0) for _ in range(3))).map(
    lambda three: Scores(*(one / sum(three) for one in three))
)


# -- Scores -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values", [[0.5, 0.5], [0.5, 0.5, float("nan")], [-0.1, 0.6, 0.5], [0.5, 0.5, 0.5], [0.0, 0.0, 0.0], []]
)
def test_outputs_of_another_shape_are_refused(values: list[float]) -> None:
    with pytest.raises(WrongShape):
        scores_from(values)


def test_scores_are_brought_to_a_sum_of_one() -> None:
    assert sum(scores_from([0.2, 0.3, 0.501])) == pytest.approx(1.0)


def test_of_equal_scores_the_calmer_label_counts() -> None:
    assert Scores(0.4, 0.4, 0.2).label is Label.NEUTRAL
    assert Scores(0.45, 0.1, 0.45).label is Label.BULLISH
    assert Scores(0.5, 0.1, 0.4).label is Label.BEARISH


def test_a_rationale_names_who_and_why_and_never_a_word_of_the_text() -> None:
    item = Item("p", "ACME", "xylophone quarterly", "forum")
    answer = Sentiment(
        item,
        Scores(0.1, 0.1, 0.8),
        0.6,
        "lexicon/1",
        Answerer.LEXICON,
        FallbackReason.SHED,
        False,
        False,
        0.0,
    )
    assert answer.is_shed
    assert answer.rationale == (
        "the word list reads it as clearly bullish, because more relevant posts took the budget;"
        " the source is not calibrated, so the confidence is lowered"
    )
    assert "xylophone" not in answer.rationale


# -- Calibration --------------------------------------------------------------------------------------


@given(shares, st.floats(0.2, 5.0), st.tuples(*(st.floats(-2, 2) for _ in range(3))))
def test_calibrated_scores_are_probabilities(
    scores: Scores, temperature: float, bias: tuple[float, float, float]
) -> None:
    calibrated = Calibration(temperature, bias).apply(scores)
    assert sum(calibrated) == pytest.approx(1.0)
    assert min(calibrated) >= 0.0


@given(shares)
def test_an_uncalibrated_source_keeps_its_label_and_stays_below_the_threshold(scores: Scores) -> None:
    found = Calibrations().apply("1", "forum", scores)
    assert not found.is_source_calibrated
    assert found.confidence <= UNCALIBRATED.confidence_ceiling < 0.7
    assert found.scores.confidence <= scores.confidence + 1e-9
    ordered = sorted(scores)
    if ordered[2] - ordered[1] > 1e-6:
        assert found.scores.label is scores.label


def test_a_calibration_holds_for_its_source_and_version_alone() -> None:
    sharp, flat = Calibration(0.5), Calibration(2.0)
    calibrations = Calibrations({"news": flat}, {"2": {"news": sharp}})
    scores = Scores(0.2, 0.2, 0.6)
    assert calibrations.apply("1", "news", scores).confidence < 0.6
    assert calibrations.apply("2", "news", scores).confidence > 0.6
    assert not calibrations.apply("1", "x", scores).is_source_calibrated
    assert not calibrations.apply("", "news", scores).is_source_calibrated  # the word list's
    assert calibrations.names() == ["news"]


def test_without_a_file_the_calibrations_are_those_that_come_with_the_model() -> None:
    calibrations = load_calibrations(None)
    assert calibrations.uncalibrated.confidence_ceiling < 0.7
    assert {"sim_wire", "sim_board", "sim_stream"} <= set(calibrations.names())
    assert calibrations.apply("1", "sim_wire", Scores(0.1, 0.1, 0.8)).confidence > 0.7
    assert not calibrations.apply("1", "x", Scores(0.1, 0.1, 0.8)).is_source_calibrated


# -- The word list ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Acme beats estimates and raises guidance", Label.BULLISH),
        ("ACME TO THE MOON \U0001f680\U0001f680", Label.BULLISH),
        ("shares are up 4.5% after the upgrade", Label.BULLISH),
        ("Bolt files for bankruptcy amid fraud probe", Label.BEARISH),
        ("down 12% on weak demand", Label.BEARISH),
        ("profit warning sends shares sharply lower", Label.BEARISH),
        ("The annual meeting is on 4 May", Label.NEUTRAL),
        ("", Label.NEUTRAL),
        ("the quarter isn't great and demand is weak", Label.BEARISH),
        ("no bankruptcy", Label.BULLISH),
    ],
)
def test_the_word_list_reads_plain_cases(text: str, label: Label) -> None:
    assert LEXICON.classify(text).scores.label is label


@given(st.text(max_size=300))
def test_the_word_list_answers_whatever_comes_and_is_never_certain(text: str) -> None:
    scores = LEXICON.classify(text).scores
    assert sum(scores) == pytest.approx(1.0)
    assert min(scores) > 0.0
    assert max(scores) < 0.85


def test_an_intensifier_counts() -> None:
    assert (
        LEXICON.weigh("sharply higher")[0] > LEXICON.weigh("higher")[0] > LEXICON.weigh("slightly higher")[0]
    )


# -- Assignment ---------------------------------------------------------------------------------------


def test_an_entity_keeps_its_bucket_and_another_experiment_draws_anew() -> None:
    assert bucket_of("e", "s", "ACME") == bucket_of("e", "s", "ACME")
    assert len({bucket_of(f"e{number}", "s", "ACME") for number in range(50)}) > 40


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.25, 0.5, 1.0])
def test_the_share_of_entities_is_the_stated_one(share: float) -> None:
    count = 20_000
    found = sum(is_candidates("e", "s", f"E{number}", share) for number in range(count))
    assert abs(found - share * count) <= 4 * math.sqrt(count * share * (1 - share))


@given(st.text(min_size=1, max_size=20))
def test_who_is_in_stays_in_when_the_stage_grows(entity: str) -> None:
    is_in = [is_candidates("e", "s", entity, share) for share in (0.0, 0.01, 0.05, 0.25, 0.5, 1.0)]
    assert is_in == sorted(is_in)
    assert is_in[-1]


# -- Regime -------------------------------------------------------------------------------------------


def closes(draw: random.Random, count: int, drift: float, spread: float, pull: float = 0.0) -> list[int]:
    price, made = math.log(100.0), []
    for _ in range(count):
        price += drift + draw.gauss(0, spread) - pull * (price - math.log(100.0))
        made.append(round(math.exp(price) * 1e9))
    return made


def test_a_steady_climb_is_a_trend() -> None:
    answer = classify(features_of(closes(random.Random(1), 120, 0.002, 0.002)), News())
    assert answer.regime is Regime.TREND
    assert "up" in answer.rationale
    assert "no posts" in answer.rationale


def test_prices_that_are_pulled_back_are_a_range() -> None:
    draw = random.Random(2)
    found = [classify(features_of(closes(draw, 120, 0.0, 0.002, 0.4)), News()).regime for _ in range(40)]
    assert found.count(Regime.RANGE) > 30


def test_a_burst_of_moves_is_high_volatility() -> None:
    draw = random.Random(3)
    calm = closes(draw, 120, 0.0, 0.001)
    wild = [round(calm[-1] * math.exp(draw.gauss(0, 0.006))) for _ in range(40)]
    assert classify(features_of(calm + wild), News()).regime is Regime.HIGH_VOLATILITY


def test_posts_that_agree_with_the_drift_make_a_trend_likelier_and_dispute_makes_volatility_likelier() -> (
    None
):
    features = features_of(closes(random.Random(4), 120, 0.0006, 0.003))
    side = math.copysign(1.0, features.drift_score)
    plain = classify(features, News())
    agreed = classify(features, News(0.8 * side, 0.2, 20))
    disputed = classify(features, News(0.0, 1.0, 20, 8.0))
    assert agreed.probabilities[0] > plain.probabilities[0]
    assert disputed.probabilities[2] > plain.probabilities[2]
    assert "20 posts lean" in agreed.rationale


def test_flat_prices_are_a_range_and_break_nothing() -> None:
    answer = classify(features_of([10**9] * 50), News())
    assert answer.regime is Regime.RANGE
    assert sum(answer.probabilities) == pytest.approx(1.0)


@pytest.mark.parametrize("column", [[10**9] * 39, [10**9] * 4_097, [10**9] * 40 + [0]])
def test_closes_that_say_nothing_are_refused(column: list[int]) -> None:
    with pytest.raises(InvalidInput):
        features_of(column)


def test_more_posts_join_an_aggregate_by_their_number() -> None:
    joined = News(0.5, 0.0, 3).joined([-0.5])
    assert joined.post_count == 4
    assert joined.mean_sentiment == pytest.approx(0.25)
    assert joined.disagreement == pytest.approx(math.sqrt((3 * 0.0625 + 0.5625) / 4))
    assert News().joined([]) == News()


@pytest.mark.parametrize("news", [News(1.5), News(0, -0.1), News(0, 0, -1), News(volume_ratio=float("nan"))])
def test_an_aggregate_outside_its_range_is_refused(news: News) -> None:
    with pytest.raises(InvalidInput):
        news.validate()
