"""Features, signals, flags and explanations."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.model.errors import InvalidInput
from servers.model.nanos import NANO
from servers.signals.adapters.model_file import load_model
from servers.signals.domain import live
from servers.signals.domain.explanation import explain
from servers.signals.domain.live import MINUTE_NANOS, Bars, PostAggregate
from servers.signals.domain.panel import Group
from servers.signals.domain.signal import (
    Flags,
    Inputs,
    Reading,
    Regime,
    RegimeReading,
    Sentiment,
    Signal,
    Trust,
    make_signal,
)
from servers.signals.domain.trained import from_json
from servers.signals.settings import SIMULATED_MODEL

OPEN = 1_767_623_400 * NANO
MODEL = load_model(SIMULATED_MODEL)


def bars(count: int, seed: int = 1, scale: float = 1.0) -> Bars:
    chance = np.random.default_rng(seed)
    close = scale * 100.0 * np.exp(np.cumsum(6e-4 * chance.standard_normal(count)))
    ends = OPEN + MINUTE_NANOS * np.arange(1, count + 1, dtype=np.int64)
    return Bars(ends, close, close, 1_000.0 + chance.random(count))


def sentiment(score: float, **changes: object) -> Sentiment:
    newest = OPEN + 60 * MINUTE_NANOS
    social = Reading(PostAggregate(score, 6.0, 4.0, newest), 8, 1.0, 1.0, model_versions=("market_llm/1",))
    made = Sentiment("ACME", newest, Reading(), social, post_ids=("p1", "p2"), author_count=6, source_count=2)
    return replace(made, **changes)  # type: ignore[arg-type]  # any field of it


def signal_of(inputs: Inputs) -> Signal:
    made = make_signal(MODEL, inputs, Trust(), 5)
    assert made is not None
    return made


def inputs(said: Sentiment | None, count: int = 60) -> Inputs:
    regime = RegimeReading(Regime.TREND, 0.4, 1.1, 0.9, OPEN)
    return Inputs("ACME", OPEN + 60 * MINUTE_NANOS + NANO, bars(count), said, regime)


def test_posts_move_the_probability_their_way_and_prices_alone_stay() -> None:
    up, down = signal_of(inputs(sentiment(0.8))), signal_of(inputs(sentiment(-0.8)))
    assert down.probability_up < up.price_only_probability_up < up.probability_up
    assert up.price_only_probability_up == down.price_only_probability_up
    assert (up.expected_return_bps > 0) == (up.probability_up > 0.5)
    assert up.flags == Flags()
    assert up.post_ids == ("p1", "p2")
    assert up.sentiment_model_versions == ("market_llm/1",)
    assert up.regime is Regime.TREND


def test_without_posts_it_is_a_signal_of_prices() -> None:
    for said in (None, sentiment(0.8, social=Reading())):
        made = signal_of(inputs(said))
        assert made.flags.price_only
        assert made.probability_up == made.price_only_probability_up
        assert made.post_ids == ()
        assert made.author_count == 0
    missing = {feature.name for feature in signal_of(inputs(None)).features if feature.is_missing}
    assert missing == set(live.NAMES[Group.NEWS] + live.NAMES[Group.SOCIAL])


@pytest.mark.parametrize(
    ("said", "flags"),
    [
        (sentiment(0.5, author_count=1), Flags(one_author_only=True)),
        (sentiment(0.5, source_count=1), Flags(one_source_only=True)),
        (sentiment(0.5, is_pump_suspected=True), Flags(pump_suspected=True)),
        (sentiment(0.5, social=replace(sentiment(0.5).social, llm_share=0.0)), Flags(lexicon_only=True)),
        (sentiment(0.5, social=replace(sentiment(0.5).social, is_shed=True)), Flags(is_shed=True)),
        (
            sentiment(0.5, social=replace(sentiment(0.5).social, calibrated_share=0.2)),
            Flags(is_calibrated=False),
        ),
    ],
)
def test_what_stands_against_its_use_is_flagged(said: Sentiment, flags: Flags) -> None:
    assert signal_of(inputs(said)).flags == flags


def test_old_minutes_make_it_stale() -> None:
    old = replace(inputs(sentiment(0.5)), now_nanos=OPEN + 70 * MINUTE_NANOS)
    assert signal_of(old).flags.is_stale


def test_a_young_session_has_no_signal() -> None:
    assert make_signal(MODEL, inputs(None, count=5), Trust(), 0) is None
    assert make_signal(MODEL, inputs(None, count=6), Trust(), 0) is not None


def test_shares_add_up_to_the_models_score() -> None:
    for said in (None, sentiment(0.7)):
        made = signal_of(inputs(said))
        told = explain(made, MODEL)
        total = told.base_log_odds + sum(part.log_odds for part in told.contributions)
        assert total == pytest.approx(told.model_log_odds)
        linear = MODEL.price_only if said is None else MODEL.with_posts
        odds = linear.slope * told.model_log_odds + linear.offset
        assert 1 / (1 + math.exp(-odds)) == pytest.approx(made.probability_up)
        sizes = [abs(part.log_odds) for part in told.contributions]
        assert sizes == sorted(sizes, reverse=True)
        assert "ACME rises within 30 minutes" in told.text


@given(st.integers(1, 200), st.integers(0, 5), st.floats(0.01, 1e4))
def test_features_do_not_depend_on_the_unit_of_the_price(count: int, seed: int, scale: float) -> None:
    one, other = bars(count, seed), bars(count, seed, scale)
    if count < 3:
        return
    np.testing.assert_allclose(live.price_features(one), live.price_features(other), atol=1e-5)
    np.testing.assert_allclose(live.regime_features(one), live.regime_features(other), atol=1e-5)


def test_the_pull_of_posts_halves_with_age() -> None:
    aggregate = PostAggregate(0.6, 3.0, 99.0, OPEN)
    fresh, old = aggregate.features(OPEN), aggregate.features(OPEN + live.FRESH_HALF_LIFE_NANOS)
    assert fresh[3] == pytest.approx(0.6)
    assert old[3] == pytest.approx(0.3)
    assert fresh[2] == live.BURST_BOUND
    assert PostAggregate().features(OPEN) == (0.0, 0.0, 0.0, 0.0)


def test_the_same_inputs_make_the_same_id_and_others_another() -> None:
    one, two = signal_of(inputs(sentiment(0.5))), signal_of(inputs(sentiment(0.5)))
    assert one.signal_id == two.signal_id != signal_of(inputs(sentiment(0.6))).signal_id


def test_a_model_is_what_its_file_says() -> None:
    again = from_json(MODEL.to_json())
    assert again.version == MODEL.version
    assert MODEL.recipe["world"]["effect_bps"] > 0
    assert "planted effect" in MODEL.description


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"half_life_seconds": 0}, "above 0"),
        ({"with_posts": {}}, "features"),
        (
            {"price_only": {"features": {"x": [0, 1, 0]}, "intercept": 0, "slope": 1, "offset": 0}},
            "other features",
        ),
        ({"horizon_seconds": "soon"}, "soon"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused(change: dict[str, object], why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        from_json(MODEL.to_json() | change)


def test_a_figure_out_of_range_is_refused() -> None:
    table = MODEL.to_json()
    table["price_only"]["features"]["return_1m"][1] = 0.0
    with pytest.raises(InvalidInput, match="out of range"):
        from_json(table)


def test_a_model_file_that_is_no_model_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    for text in ("{", "[]", "{}"):
        path.write_text(text)
        with pytest.raises(InvalidInput, match=r"m\.json"):
            load_model(path)
    with pytest.raises(InvalidInput, match="none"):
        load_model(tmp_path / "none")
