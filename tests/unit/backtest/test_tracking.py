from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from servers.backtest.tracking import study_panel, tracking_error_bps
from servers.backtest.tracking_algorithms import ALGORITHMS, AdaptiveVwap, DaySchedule, FixedSchedule, Twap
from servers.forecast import Panel
from servers.forecast.history import Doubles
from servers.model.calendar import Session
from servers.model.errors import InvalidInput

DAY = 86_400 * 10**9
HOUR = 3_600 * 10**9
BINS = 12


def made_panel(symbols: int = 4, days: int = 30, seed: int = 1, half_day: int | None = None) -> Panel:
    """U-shaped volume with a day's level, persistence within the day and empty bins; prices walk."""
    draw = np.random.default_rng(seed)
    shape = (symbols, days, BINS)
    curve = 1.0 + 2.0 * np.abs(np.linspace(-1, 1, BINS))
    noise = draw.normal(0, 0.3, shape)
    for place in range(1, BINS):
        noise[..., place] += 0.7 * noise[..., place - 1]
    volumes = 1_000 * curve * np.exp(noise + draw.normal(0, 0.5, (symbols, days, 1)))
    volumes[draw.random(shape) < 0.1] = 0.0
    prices = 50 * np.exp(np.cumsum(draw.normal(0, 0.002, (symbols, days * BINS)), axis=1)).reshape(shape)
    counts = np.full(days, BINS, np.int64)
    if half_day is not None:
        counts[half_day] = BINS // 2
        volumes[:, half_day, BINS // 2 :] = 0.0
    sessions = tuple(
        Session("TEST", f"2024-01-{day + 1:02d}", "UTC", day * DAY, day * DAY + 6 * HOUR, day == half_day)
        for day in range(days)
    )
    names = tuple(f"S{symbol}" for symbol in range(symbols))
    return Panel(names, sessions, counts, volumes, np.where(volumes > 0, prices, np.nan))


class Recorder:
    """Passes on what an algorithm says, and writes it down with the day, the symbol and the bin."""

    def __init__(self, algorithm: AdaptiveVwap) -> None:
        self._algorithm = algorithm
        self.said: dict[tuple[int, int, int], float] = {}

    def schedules(self, past: Panel, bins: int) -> list[DaySchedule | None]:
        day = len(past.sessions)
        return [
            schedule and RecordedSchedule(schedule, partial(self.note, day, symbol))
            for symbol, schedule in enumerate(self._algorithm.schedules(past, bins))
        ]

    def note(self, day: int, symbol: int, place: int, share: float) -> None:
        self.said[day, symbol, place] = share

    def learn(self, past: Panel, volumes: Doubles, prices: Doubles) -> None:
        self._algorithm.learn(past, volumes, prices)


class RecordedSchedule:
    def __init__(self, schedule: DaySchedule, note: Callable[[int, float], None]) -> None:
        self._schedule, self._note, self._bin = schedule, note, 0

    def share_after_next_bin(self) -> float:
        share = self._schedule.share_after_next_bin()
        self._note(self._bin, share)
        return share

    def update(self, bin_index: int, volume: float, price: float) -> None:
        self._schedule.update(bin_index, volume, price)
        self._bin = bin_index + 1


class Leaking(AdaptiveVwap):
    """Knows, against the rules, the whole panel: the day's own total is its forecast of the volume."""

    def __init__(self, panel: Panel) -> None:
        super().__init__()
        self._panel = panel

    def schedules(self, past: Panel, bins: int) -> list[DaySchedule | None]:
        super().schedules(past, bins)
        volumes = self._panel.volumes[:, len(past.sessions)].sum(axis=1)
        self._known = replace(self._known, volumes=volumes)
        return [self._known.forecast(symbol) for symbol in range(len(past.symbols))]


def says_the_same_whatever_comes_later(make: Callable[[Panel], AdaptiveVwap], panel: Panel) -> bool:
    """Change all that happens from a bin of a day on, and compare what was said up to that bin."""
    day, place = 24, 5
    later = panel.volumes.copy(), panel.prices.copy()
    for column in later:
        column[:, day, place:] = column[:, day, place:][::-1] * 3.0
        column[:, day + 1 :] *= 0.25
    changed = Panel(panel.symbols, panel.sessions, panel.bin_counts, *later)
    said = []
    for tape in (panel, changed):
        recorder = Recorder(make(tape))
        study_panel(tape, {"recorded": recorder}, panel.sessions[20].date)
        said.append({key: share for key, share in recorder.said.items() if (key[0], key[2]) <= (day, place)})
    assert any(key[::2] == (day, place) for key in said[0])
    return said[0] == said[1]


def test_what_adaptive_vwap_says_depends_on_nothing_that_comes_later() -> None:
    assert says_the_same_whatever_comes_later(lambda _: AdaptiveVwap(), made_panel())


def test_the_leak_test_catches_a_leak_of_the_days_total() -> None:
    assert not says_the_same_whatever_comes_later(Leaking, made_panel())


def test_the_leak_would_have_looked_like_a_better_algorithm() -> None:
    panel = made_panel(symbols=8)
    made = {"honest": AdaptiveVwap(), "leaking": Leaking(panel)}
    honest, leaking = study_panel(panel, made, panel.sessions[19].date).errors_bps.mean(axis=0)
    assert leaking < honest


def test_a_schedule_that_follows_the_volume_exactly_has_no_error() -> None:
    volumes, prices = np.array([100.0, 0.0, 300.0, 100.0]), np.array([10.0, np.nan, 11.0, 12.0])
    assert tracking_error_bps(FixedSchedule(volumes), volumes, prices) == pytest.approx(0.0, abs=1e-9)


def test_an_empty_bin_gets_no_fill_and_its_weight_goes_to_the_next_that_trades() -> None:
    volumes, prices = np.array([100.0, 0.0, 100.0]), np.array([10.0, np.nan, 12.0])
    error = tracking_error_bps(FixedSchedule(np.array([0.25, 0.5, 0.25])), volumes, prices)
    assert error == pytest.approx((11.5 / 11.0 - 1) * 1e4)


def test_what_the_last_bins_did_not_trade_stays_unfilled_and_is_not_put_back() -> None:
    volumes, prices = np.array([100.0, 100.0, 0.0]), np.array([10.0, 12.0, np.nan])
    error = tracking_error_bps(FixedSchedule(np.array([0.2, 0.2, 0.6])), volumes, prices)
    assert error == pytest.approx(0.0, abs=1e-9)


def test_a_symbol_day_on_which_a_schedule_wanted_nothing_takes_no_part() -> None:
    class LastBin:
        def schedules(self, past: Panel, bins: int) -> list[DaySchedule | None]:
            return [FixedSchedule(np.eye(bins)[-1]) for _ in past.symbols]

        def learn(self, past: Panel, volumes: Doubles, prices: Doubles) -> None:
            pass

    panel = made_panel()
    panel.volumes[0, 24, -1], panel.prices[0, 24, -1] = 0.0, np.nan
    result = study_panel(panel, {"twap": Twap(), "last": LastBin()}, panel.sessions[19].date)
    assert np.isfinite(result.errors_bps).all()
    assert ((result.days == 24) & (result.symbols == 0)).sum() == 0
    assert result.to_json()["unfilled_symbol_days"] == (panel.volumes[:, 20:, -1] == 0).sum()
    assert len(result.days) == (panel.volumes[:, 20:, -1] > 0).sum()


def test_a_half_day_is_traded_along_the_curve_that_is_cut_to_it() -> None:
    panel = made_panel(half_day=25)
    result = study_panel(panel, {name: make() for name, make in ALGORITHMS.items()}, panel.sessions[19].date)
    assert np.isfinite(result.errors_bps).all()
    half = result.days == 25
    assert half.sum() == 4
    assert not result.is_kept[half].any()


def test_a_date_after_all_sessions_leaves_nothing_to_evaluate() -> None:
    with pytest.raises(InvalidInput, match="no session after"):
        study_panel(made_panel(days=5), {"adaptive_vwap": AdaptiveVwap()}, "2025-01-01")
