import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from native.volume_cmem import cmem_filter
from native.volume_forecast import VolumeForecast, expectation_maximisation
from native.volume_share import ShareForecast, prior_coefficients
from tests.native import volume_twins as twins

persistence = st.floats(0.0, 0.98)
variance = st.floats(0.01, 2.0)
outlier_sds = st.sampled_from([math.inf, 1.0, 2.5])


@st.composite
def observed_sessions(draw: Any) -> Any:
    bins, days = draw(st.integers(2, 5)), draw(st.integers(2, 5))
    seed = draw(st.integers(0, 2**32 - 1))
    generator = np.random.default_rng(seed)
    logs = generator.normal(3.0, 1.0, bins * days)
    logs[generator.random(bins * days) < draw(st.sampled_from([0.0, 0.3]))] = np.nan
    logs[0] = 2.0
    dynamics = np.array(
        [draw(persistence), draw(variance), draw(persistence), draw(variance), draw(variance)]
    )
    return bins, logs, dynamics, generator.normal(3.0, 0.5, bins)


@given(observed_sessions(), outlier_sds)
def test_a_step_of_expectation_maximisation_is_that_of_the_textbook(made: Any, outlier_sd: float) -> None:
    bins, logs, dynamics, seasonal = made
    expected = twins.Kalman(bins, dynamics, seasonal, outlier_sd).step(logs.tolist())
    found = expectation_maximisation(logs, bins, dynamics, seasonal, outlier_sd, iterations=1)
    assert found[0] == pytest.approx(expected[0], rel=1e-6, abs=1e-9)
    assert found[1] == pytest.approx(expected[1], rel=1e-8)
    assert found[2] == pytest.approx(expected[2], rel=1e-8)
    assert found[3] == 1


@given(observed_sessions())
def test_the_likelihood_never_falls_without_an_outlier_bound(made: Any) -> None:
    bins, logs, dynamics, seasonal = made
    before = -math.inf
    for _ in range(6):
        dynamics, seasonal, likelihood, _ = expectation_maximisation(
            logs, bins, dynamics, seasonal, iterations=1
        )
        assert likelihood >= before - 1e-6 * (1 + abs(before))
        before = likelihood


@given(observed_sessions(), outlier_sds, st.integers(0, 4))
def test_forecasts_are_the_textbook_filters(made: Any, outlier_sd: float, known: int) -> None:
    bins, logs, dynamics, seasonal = made
    known = min(known, bins)
    whole = len(logs) - bins
    volumes = np.nan_to_num(np.exp(logs), nan=0.0)
    forecast = VolumeForecast(seasonal, dynamics, outlier_sd)
    for day in range(0, whole, bins):
        forecast.take_day(volumes[day : day + bins])
    forecast.begin_day()
    for place in range(known):
        forecast.update(place, volumes[whole + place])
    twin = twins.Kalman(bins, dynamics, seasonal, outlier_sd)
    tail = [math.nan] * (bins - known)
    passed = twin.filter([*logs[: whole + known], *tail]).predicted[whole + known :]
    means = [mean.sum() + seasonal[known + i] for i, (mean, _) in enumerate(passed)]
    variances = [cover.sum() + dynamics[4] for _, cover in passed]
    assert forecast.next_bin == known
    assert forecast.remaining_volumes(False) == pytest.approx(np.exp(means), rel=1e-7)
    expected = [math.exp(mean + spread / 2) for mean, spread in zip(means, variances, strict=True)]
    assert forecast.remaining_volumes() == pytest.approx(expected, rel=1e-7)
    assert forecast.next_volume() == pytest.approx(expected[0] if expected else 0.0, rel=1e-7)
    if expected:
        assert forecast.next_log_sd() == pytest.approx(math.sqrt(variances[0]), rel=1e-7)


def test_an_outlier_moves_the_robust_filter_less() -> None:
    dynamics, seasonal = np.array([0.9, 0.1, 0.5, 0.1, 0.1]), np.zeros(3)
    plain, robust = VolumeForecast(seasonal, dynamics), VolumeForecast(seasonal, dynamics, 2.0)
    for forecast in (plain, robust):
        forecast.begin_day()
        forecast.update(0, math.exp(9.0))
    assert 1.0 < robust.next_volume(False) < plain.next_volume(False)


def test_a_bin_that_seldom_trades_is_expected_to_bring_less() -> None:
    dynamics = np.array([0.9, 0.1, 0.5, 0.1, 0.1])
    always = VolumeForecast(np.zeros(2), dynamics)
    seldom = VolumeForecast(np.zeros(2), dynamics, traded=[1.0, 0.25])
    for forecast in (always, seldom):
        forecast.begin_day()
    assert seldom.remaining_volumes() == pytest.approx(always.remaining_volumes() * [1.0, 0.25])
    assert seldom.remaining_volumes(False).tolist() == always.remaining_volumes(False).tolist()


def test_the_fit_finds_the_parameters_that_made_the_data() -> None:
    generator = np.random.default_rng(3)
    days, bins = 200, 13
    level, ar, logs = 0.0, 0.0, np.zeros((days, bins))
    seasonal = 8 + np.abs(np.linspace(-1, 1, bins))
    for day in range(days):
        level = 0.9 * level + generator.normal(0, 0.3)
        for place in range(bins):
            ar = 0.7 * ar + generator.normal(0, 0.3)
            logs[day, place] = level + ar + seasonal[place] + generator.normal(0, 0.25)
    logs[generator.random(logs.shape) < 0.1] = np.nan
    start = np.array([0.5, 0.5, 0.3, 0.5, 0.5])
    found = expectation_maximisation(logs.ravel(), bins, start, np.full(bins, 8.0), iterations=500)
    assert found[0] == pytest.approx([0.9, 0.09, 0.7, 0.09, 0.0625], abs=0.06)
    assert np.ptp(found[1] - seasonal) < 0.15
    assert 1 < found[3] < 500


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: VolumeForecast([], [0.9, 0.1, 0.5, 0.1, 0.1]), "seasonal"),
        (lambda: VolumeForecast([1.0], [0.9, 0.1, 0.5, 0.1]), "dynamics"),
        (lambda: VolumeForecast([1.0], [0.9, 0.1, 1.0, 0.1, 0.1]), "out of range"),
        (lambda: VolumeForecast([1.0], [0.9, 0.1, 0.5, 0.1, 0.1], 0.0), "outlier_sd"),
        (lambda: VolumeForecast([1.0], [0.9, 0.1, 0.5, 0.1, 0.1], traded=[2.0]), "traded"),
        (lambda: VolumeForecast([1.0], [0.9, 0.1, 0.5, 0.1, 0.1]).update(0, 1.0), "no day"),
        (lambda: expectation_maximisation(np.zeros(3), 2, np.full(5, 0.1), np.zeros(2)), "whole number"),
        (lambda: expectation_maximisation(np.zeros(2), 2, np.full(5, 0.1), np.zeros(1)), "seasonal"),
        (lambda: expectation_maximisation(np.full(2, np.nan), 2, np.full(5, 0.1), np.zeros(2)), "observed"),
        (lambda: ShareForecast([1.0, -1.0], 10.0), "curve"),
        (lambda: ShareForecast([1.0], 0.0), "day_volume"),
        (lambda: ShareForecast([1.0], 10.0, [1.0]), "coefficients"),
        (lambda: ShareForecast([1.0], 10.0).update(1, 5.0), "bin 1"),
        (lambda: ShareForecast([1.0], 10.0).update(0, -5.0), "not a volume"),
        (
            lambda: cmem_filter(np.zeros(3), 2, np.zeros(5), np.ones(2), np.zeros(2), np.zeros(4)),
            "do not fit",
        ),
        (lambda: cmem_filter(np.zeros(2), 2, np.zeros(5), np.ones(2), np.zeros(1), np.zeros(3)), "daily"),
    ],
)
def test_what_cannot_be_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_day_takes_no_bin_twice_and_none_past_the_last() -> None:
    forecast = VolumeForecast(np.zeros(2), [0.9, 0.1, 0.5, 0.1, 0.1])
    forecast.begin_day()
    forecast.update(1, 3.0)
    for wrong in (0, 1, 2):
        with pytest.raises(ValueError, match="is not one of"):
            forecast.update(wrong, 1.0)
    assert forecast.next_volume() == 0.0
    assert forecast.level != 0.0
    forecast.begin_day()
    with pytest.raises(ValueError, match="not a volume"):
        forecast.update(0, math.nan)


@st.composite
def days_of_volume(draw: Any) -> Any:
    bins = draw(st.integers(1, 12))
    curve = draw(st.lists(st.floats(0.1, 5.0), min_size=bins, max_size=bins))
    volumes = draw(st.lists(st.floats(0.0, 1e6), min_size=bins, max_size=bins))
    prices = draw(st.lists(st.sampled_from([math.nan, 9.5, 10.0, 10.4]), min_size=bins, max_size=bins))
    size = len(prior_coefficients())
    coefficients = draw(st.lists(st.floats(-1.0, 1.0), min_size=size, max_size=size))
    previous = draw(st.sampled_from([math.nan, 10.0]))
    return curve, draw(st.floats(1.0, 1e7)), coefficients, volumes, prices, previous


@given(days_of_volume())
def test_the_share_forecast_is_its_twin_at_every_bin(made: Any) -> None:
    curve, day_volume, coefficients, volumes, prices, previous = made
    forecast = ShareForecast(curve, day_volume, coefficients, previous, 0.01)
    for count in range(len(curve) + 1):
        context = (previous, 0.01)
        features = twins.share_features(curve, day_volume, volumes[:count], prices[:count], context)
        rest = twins.share_remaining(curve, day_volume, coefficients, features, count)
        done = math.fsum(volumes[:count])
        assert forecast.features() == pytest.approx(features, rel=1e-9, abs=1e-9)
        assert forecast.remaining_volume() == pytest.approx(rest, rel=1e-9, abs=1e-6)
        assert forecast.remaining_volumes().sum() == pytest.approx(rest, rel=1e-9, abs=1e-6)
        assert forecast.day_volume() == pytest.approx(done + rest, rel=1e-9)
        assert forecast.share_done() == pytest.approx(done / (done + rest) if rest else 1.0, rel=1e-9)
        assert forecast.share_done() - 1e-12 <= forecast.share_after_next_bin() <= 1.0
        if count < len(curve):
            forecast.update(count, volumes[count], prices[count])
    assert forecast.share_after_next_bin() == 1.0
    assert forecast.next_bin == forecast.bins == len(curve)


@given(days_of_volume())
def test_bins_left_out_are_bins_without_volume(made: Any) -> None:
    curve, day_volume, coefficients, volumes, _, _ = made
    told, skipped = (ShareForecast(curve, day_volume, coefficients) for _ in range(2))
    for place, volume in enumerate(volumes):
        kept = volume if place % 3 == 0 else 0.0
        told.update(place, kept)
        if kept or place == len(volumes) - 1:
            skipped.update(place, kept)
    assert told.features() == pytest.approx(skipped.features())
    assert told.volume_done == skipped.volume_done


def test_before_anything_trades_the_forecast_is_the_curve() -> None:
    forecast = ShareForecast([1.0, 1.0, 2.0], 100.0)
    assert forecast.share_after_next_bin() == 0.25
    assert forecast.remaining_volumes().tolist() == [25.0, 25.0, 50.0]
    assert math.isnan(forecast.prior_odds())
    forecast.update(0, 25.0)
    assert forecast.prior_odds() == pytest.approx(math.log(25 / 75))
    assert forecast.knot_weights().sum() == pytest.approx(1.0)


@given(
    st.integers(1, 4).flatmap(
        lambda bins: st.tuples(
            st.just(bins), st.lists(st.floats(0.0, 100.0), min_size=3 * bins, max_size=3 * bins)
        )
    ),
    st.lists(st.floats(0.0, 0.45), min_size=4, max_size=4),
)
def test_the_multiplicative_model_is_its_twin(made: Any, parts: list[float]) -> None:
    bins, volumes = made
    parameters, seasonal = [0.3, *parts], [1.0 + 0.1 * place for place in range(bins)]
    daily, intraday = np.empty(4), np.empty(3 * bins + 1)
    found = cmem_filter(np.array(volumes), bins, np.array(parameters), np.array(seasonal), daily, intraday)
    total, level, around = twins.cmem(volumes, bins, parameters, seasonal)
    assert found == pytest.approx(total, rel=1e-9)
    assert daily[-1] == pytest.approx(level, rel=1e-9)
    assert intraday[-1] == pytest.approx(around, rel=1e-9)
