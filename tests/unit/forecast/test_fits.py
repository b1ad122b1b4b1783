import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from native.volume_share import ShareForecast, prior_coefficients
from servers.forecast import DailyVolumeModel
from servers.forecast.cmem import fit_cmem
from servers.forecast.history import Doubles
from servers.forecast.kalman import ITERATIONS, ROBUST_SD, fit_kalman
from servers.forecast.shares import ShareModel, share_rows
from servers.forecast.simplex import minimise


def sessions(days: int = 80, bins: int = 13, seed: int = 2, empty: float = 0.0) -> Doubles:
    """Volume with a level of the day, a U shape and persistence inside the day."""
    draw = np.random.default_rng(seed)
    logs = np.empty((days, bins))
    level = ar = 0.0
    for day in range(days):
        level = 0.8 * level + draw.normal(0, 0.4)
        for place in range(bins):
            ar = 0.8 * ar + draw.normal(0, 0.25)
            logs[day, place] = 7 + level + ar + abs(place - bins / 2) / bins + draw.normal(0, 0.2)
    return np.where(draw.random(logs.shape) < empty, 0.0, np.exp(logs))


def one_ahead(volumes: Doubles, first: int, outlier_sd: float) -> tuple[float, float, float]:
    """Return the mean relative error of the rolling mean, of CMEM and of the filter's median."""
    past = volumes[:first]
    cmem, kalman = fit_cmem(past), fit_kalman(past, outlier_sd)
    assert cmem.has_converged
    assert kalman.iterations < ITERATIONS
    errors: list[tuple[float, float, float]] = []
    for day in range(first, len(volumes)):
        multiplicative, filtered = cmem.forecast(volumes[:day]), kalman.forecast(volumes[:day])
        filtered.begin_day()
        for place, volume in enumerate(volumes[day].tolist()):
            guesses = (
                volumes[day - 20 : day, place].mean(),
                multiplicative.remaining_volumes()[0],
                filtered.next_volume(False),
            )
            if volume > 0:
                errors.append(tuple(abs(guess - volume) / volume for guess in guesses))
            multiplicative.update(volume)
            filtered.update(place, volume)
    return tuple(np.mean(errors, axis=0))


@pytest.mark.parametrize("outlier_sd", [math.inf, ROBUST_SD])
@pytest.mark.parametrize("empty", [0.0, 0.1])
def test_the_filter_is_nearer_than_cmem_and_cmem_nearer_than_the_rolling_mean(
    outlier_sd: float, empty: float
) -> None:
    rolling, cmem, kalman = one_ahead(sessions(empty=empty), 60, outlier_sd)
    assert kalman < cmem < 0.95 * rolling


def test_a_fit_that_goes_on_from_an_earlier_one_needs_fewer_steps() -> None:
    volumes = sessions()
    earlier = fit_kalman(volumes[:70])
    assert fit_kalman(volumes[:71], start=earlier).iterations < earlier.iterations
    again = fit_cmem(volumes[:71], fit_cmem(volumes[:70]))
    assert again.has_converged
    assert again.deviance == pytest.approx(fit_cmem(volumes[:71]).deviance, abs=1e-3)


def test_a_bin_that_never_trades_lies_between_its_neighbours_and_is_expected_to_bring_little() -> None:
    volumes = sessions()
    volumes[:, 4] = 0.0
    fit = fit_kalman(volumes)
    assert (
        min(fit.seasonal[3], fit.seasonal[5]) - 0.2
        < fit.seasonal[4]
        < max(fit.seasonal[3], fit.seasonal[5]) + 0.2
    )
    assert fit.traded[4] == pytest.approx(1 / 82)
    assert fit.traded[3] == 1.0


@pytest.mark.parametrize("fit", [fit_kalman, fit_cmem])
def test_nothing_can_be_fitted_where_nothing_traded(fit: object) -> None:
    assert callable(fit)
    with pytest.raises(ValueError, match="nothing traded"):
        fit(np.zeros((3, 4)))


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=3), st.floats(0.5, 4))
def test_the_simplex_finds_the_bottom_of_a_bowl(bottom: list[float], stretch: float) -> None:
    weights = stretch ** np.arange(len(bottom))

    def bowl(at: Doubles) -> float:
        return float((weights * (at - bottom) ** 2).sum())

    found, value, has_converged = minimise(bowl, np.zeros(len(bottom)), 1e-12)
    assert has_converged
    assert value < 1e-5
    assert found == pytest.approx(bottom, abs=1e-2)


def test_a_daily_forecast_learns_how_much_of_yesterday_lasts() -> None:
    draw = np.random.default_rng(5)
    logs = np.zeros((30, 120))
    for day in range(1, 120):
        logs[:, day] = 0.8 * logs[:, day - 1] + draw.normal(0, 0.5, 30)
    volumes, model = np.exp(10 + logs), DailyVolumeModel()
    for day in range(1, 119):
        model.learn(volumes[:, :day], volumes[:, day])
    known = volumes[:, :119]
    errors = model.forecast(known) - np.log(volumes[:, 119])
    month = np.log(known[:, -20:]).mean(axis=1) - np.log(volumes[:, 119])
    assert (errors**2).mean() < 0.8 * (month**2).mean()


def test_a_daily_forecast_knows_nothing_of_a_name_without_history_and_is_the_past_of_one_day() -> None:
    volumes = np.array([[0.0, 0.0], [0.0, 500.0]])
    forecast = DailyVolumeModel().forecast(volumes)
    assert math.isnan(forecast[0])
    assert math.exp(forecast[1]) == pytest.approx(500.0)


def taught(lasting: float, days: int) -> Doubles:
    """Return coefficients fitted on days whose first half says exactly how much comes in the second."""
    draw, model, bins = np.random.default_rng(7), ShareModel(), 24
    for _ in range(days):
        rows = []
        for _ in range(20):
            surprise = draw.normal(0, 0.6)
            volumes = np.full(bins, 100.0) * np.exp(draw.normal(0, 0.1, bins))
            volumes[: bins // 2] *= np.exp(surprise)
            volumes[bins // 2 :] *= np.exp(lasting * surprise)
            prices = 50 * np.exp(np.cumsum(draw.normal(0, 0.001, bins)))
            rows.append(share_rows(ShareForecast(np.ones(bins), 2_400.0), volumes, prices, 0.01))
        model.learn(rows)
    return model.fit(bins)


def test_the_share_model_learns_how_much_of_a_surprise_lasts() -> None:
    none, whole = taught(0.0, 60), taught(1.0, 60)
    middle, prior = slice(1, 3), prior_coefficients()[1:3].mean()
    assert whole[middle].mean() > prior + 0.2
    assert none[middle].mean() < prior - 0.05


def test_few_days_leave_the_share_model_near_its_prior() -> None:
    assert ShareModel().fit(24).tolist() == prior_coefficients().tolist()
    little = taught(1.0, 1)
    much = taught(1.0, 30)
    prior = prior_coefficients()
    assert np.abs(little - prior)[1:3].max() < np.abs(much - prior)[1:3].max()


def test_a_day_without_trades_teaches_nothing() -> None:
    model = ShareModel()
    model.learn([])
    empty = share_rows(ShareForecast(np.ones(4), 10.0), np.zeros(4), np.full(4, np.nan), 0.01)
    model.learn([empty])
    assert model.fit(4).tolist() == prior_coefficients().tolist()


def test_a_minimum_that_is_not_reached_in_time_is_said() -> None:
    _, value, has_converged = minimise(lambda at: float(at.sum()), np.zeros(2), 1e-9)
    assert not has_converged
    assert value < -100


def test_the_simplex_shrinks_where_no_reflection_helps() -> None:
    def ridge(at: Doubles) -> float:
        return float(np.abs(at[0] - at[1]) * 100 + np.abs(at).sum())

    found, value, has_converged = minimise(ridge, np.array([2.0, -1.0]), 1e-9)
    assert has_converged
    assert value < 0.05
    assert np.abs(found).max() < 0.05
