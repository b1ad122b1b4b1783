"""Volume forecasts on recorded bars: Kalman, robust Kalman, CMEM and our share model beside the rolling mean.

Bins of 15 minutes, forecast one ahead and for the rest of the day before each bin; every figure is made per
symbol, then averaged. Parameters are refitted every five sessions on all earlier ones, filters run on every
bin.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from benchmarks.report import Options, Row, not_compared
from native.volume_forecast import VolumeForecast
from native.volume_share import ShareForecast
from servers.backtest.tracking import load_panel
from servers.calendars import Calendars
from servers.forecast import Panel, WalkForward
from servers.forecast.cmem import CmemDay, CmemFit, fit_cmem
from servers.forecast.kalman import ROBUST_SD, KalmanFit, fit_kalman
from servers.recordings import load_bars

Doubles = npt.NDArray[np.float64]

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "market"
BIN_NANOS = 900 * 1_000_000_000
REFIT_SESSIONS = 5
ROLLING_SESSIONS = 20
FACTOR_SESSIONS = 40
MAPE_TARGET_PERCENT = -29.0
METHODS = (
    "rolling_mean",
    "rolling_mean_least",
    "cmem",
    "cmem_median",
    "cmem_least",
    "kalman",
    "kalman_robust",
    "kalman_robust_least",
    "kalman_mean",
    "share_model",
)
LEAST = ("rolling_mean", "cmem", "kalman_robust")
"""Also shown times the factor that had the least MAPE in the past, so that no model gains by being low."""

OVER = ("rolling_mean", "rolling_mean_least", "cmem", "cmem_median", "cmem_least")
NOTES = {
    "rolling_mean": f"mean of the bin over {ROLLING_SESSIONS} sessions",
    "cmem": "conditional mean (Brownlees, Cipollini and Gallo 2011)",
    "cmem_median": "the same forecast times the median of past volume over forecast",
    "kalman": "median of a bin, as published (Chen, Feng and Palomar 2016); its sum over the rest of the day",
    "kalman_robust": f"the same, outliers beyond {ROBUST_SD:g} deviations taken out",
    "kalman_mean": "the same filter's conditional mean, empty bins counted in",
    **{
        f"{method}_least": f"{method} times the factor that had the least MAPE in the past"
        for method in ("rolling_mean", "cmem", "kalman_robust")
    },
    "share_model": "the forecast that adaptive_vwap follows",
}


@dataclass(frozen=True, slots=True)
class Recording:
    """One file: how its rows are named, its calendar, and the last session that is not evaluated."""

    name: str
    path: Path
    calendar: str
    train_until: str


RECORDINGS = (
    Recording("us", DATA / "us_1min_2024.csv.xz", "XNYS", "2024-03-28"),
    Recording("nse", DATA / "nse_1min_2016.csv.xz", "XBOM", "2016-08-23"),
)


class DayForecast(Protocol):
    """One method's forecast of one session, bin by bin."""

    def remaining(self) -> Doubles:
        """Return the forecast of every bin not yet taken."""
        ...

    def update(self, place: int, volume: float, price: float) -> None:
        """Take a bin."""
        ...


class RollingMean:
    """The same bin's mean over the last sessions."""

    def __init__(self, past: Doubles) -> None:
        self._means = past[-ROLLING_SESSIONS:].mean(axis=0)
        self._next = 0

    def remaining(self) -> Doubles:
        rest: Doubles = self._means[self._next :]
        return rest

    def update(self, place: int, volume: float, price: float) -> None:
        self._next = place + 1


class Cmem:
    """The multiplicative error model."""

    def __init__(self, day: CmemDay, is_mean: bool) -> None:
        self._day, self._is_mean = day, is_mean

    def remaining(self) -> Doubles:
        return self._day.remaining_volumes(self._is_mean)

    def update(self, place: int, volume: float, price: float) -> None:
        self._day.update(volume)


class Kalman:
    """The filter, with medians or means."""

    def __init__(self, filtered: VolumeForecast, is_mean: bool) -> None:
        self._filter, self._is_mean = filtered, is_mean
        filtered.begin_day()

    def remaining(self) -> Doubles:
        return self._filter.remaining_volumes(self._is_mean)

    def update(self, place: int, volume: float, price: float) -> None:
        self._filter.update(place, volume)


class Scaled:
    """Another method's forecast times a factor for the next bin and one for the rest of the day."""

    def __init__(self, forecast: DayForecast, factors: Doubles) -> None:
        self._forecast = forecast
        self.factors = factors

    def remaining(self) -> Doubles:
        return self._forecast.remaining()

    def update(self, place: int, volume: float, price: float) -> None:
        self._forecast.update(place, volume, price)


class Share:
    """The share model."""

    def __init__(self, forecast: ShareForecast) -> None:
        self._forecast = forecast

    def remaining(self) -> Doubles:
        return self._forecast.remaining_volumes()

    def update(self, place: int, volume: float, price: float) -> None:
        self._forecast.update(place, volume, price)


def run(options: Options) -> list[Row]:
    """Measure every method on every recording."""
    rows: list[Row] = []
    for recording in RECORDINGS:
        if not recording.path.is_file():
            reason = f"no file {recording.path.name} in ../shared/data/market"
            rows.append(not_compared(f"{recording.name}_kalman_bin_mape_gain", "%", None, "max", reason))
            continue
        rows += measured(recording, options.progress)
    return rows


def measured(recording: Recording, progress: Callable[[str], None]) -> list[Row]:
    """Return the rows of one recording."""
    progress(f"{recording.name}: reading")
    panel = load_panel(load_bars(recording.path), recording.calendar, Calendars(), BIN_NANOS)
    panel = panel.only(np.flatnonzero(panel.is_whole))
    first = sum(session.date <= recording.train_until for session in panel.sessions)
    shares = share_forecasts(panel, first)
    figures, converged = [], []
    for symbol, name in enumerate(panel.symbols):
        progress(f"{recording.name}: {name}")
        errors = Errors()
        for day, fits in refitted(panel.volumes[symbol], first):
            converged.append(fits.cmem.has_converged)
            methods = fits.days(panel.volumes[symbol, :day])
            share = shares[day][symbol]
            if share is not None:
                methods["share_model"] = Share(share)
                errors.take(methods, panel.volumes[symbol, day], panel.prices[symbol, day])
        figures.append(errors.figures())
    table = np.nanmean(np.array(figures), axis=0)
    note = (
        f"{len(panel.symbols)} symbols, {len(panel.sessions) - first} sessions; "
        f"CMEM converged in {np.mean(converged):.0%} of its fits"
    )
    return rows_of(recording.name, table, note)


@dataclass(frozen=True, slots=True)
class Fits:
    """What was fitted to one symbol's sessions."""

    cmem: CmemFit
    plain: KalmanFit
    robust: KalmanFit
    factors: dict[str, Doubles]

    def days(self, past: Doubles) -> dict[str, DayForecast]:
        """Return the forecasts of the session after `past`."""
        plain = self.plain_days(past)
        return {
            **plain,
            **{f"{name}_least": Scaled(self.plain_days(past)[name], self.factors[name]) for name in LEAST},
        }

    def plain_days(self, past: Doubles) -> dict[str, DayForecast]:
        """Return those without a factor."""
        return {
            "rolling_mean": RollingMean(past),
            "cmem": Cmem(self.cmem.forecast(past), is_mean=True),
            "cmem_median": Cmem(self.cmem.forecast(past), is_mean=False),
            "kalman": Kalman(self.plain.forecast(past), is_mean=False),
            "kalman_robust": Kalman(self.robust.forecast(past), is_mean=False),
            "kalman_mean": Kalman(self.plain.forecast(past), is_mean=True),
        }


def refitted(volumes: Doubles, first: int) -> Iterator[tuple[int, Fits]]:
    """Yield every session from `first` on with fits to the sessions before it."""
    fits: Fits | None = None
    for day in range(first, len(volumes)):
        if fits is None or (day - first) % REFIT_SESSIONS == 0:
            past = volumes[:day]
            fits = Fits(
                fit_cmem(past, fits.cmem if fits else None),
                fit_kalman(past, start=fits.plain if fits else None),
                fit_kalman(past, ROBUST_SD, fits.robust if fits else None),
                {},
            )
            fits = replace(fits, factors=least_factors(fits, past))
        yield day, fits


def least_factors(fits: Fits, past: Doubles) -> dict[str, Doubles]:
    """Return for each of LEAST the factors (next bin, rest of day) with the least MAPE of late."""
    ratios: dict[str, list[Doubles]] = {name: [] for name in LEAST}
    for day in range(max(1, len(past) - FACTOR_SESSIONS), len(past)):
        days = fits.plain_days(past[:day])
        for place, volume in enumerate(past[day].tolist()):
            actual = np.array([volume, past[day, place:].sum()])
            for name in LEAST:
                ratios[name].append(actual / np.maximum(points(days[name]), 1e-9))
                days[name].update(place, volume, np.nan)
    return {
        name: np.array([_least_factor(column) for column in np.array(found).T]) if found else np.ones(2)
        for name, found in ratios.items()
    }


def _least_factor(ratios: Doubles) -> float:
    """Return the c that minimises the mean of |1 - c / ratio|: their median, weighted by 1 / ratio."""
    known = np.sort(ratios[ratios > 0])
    if not len(known):
        return 1.0
    weights = np.cumsum(1.0 / known)
    return float(known[np.searchsorted(weights, weights[-1] / 2)])


def points(forecast: DayForecast) -> Doubles:
    """Return what a method says of the next bin and of the rest of the day."""
    remaining = forecast.remaining()
    said = np.array([remaining[0], remaining.sum()])
    return said * forecast.factors if isinstance(forecast, Scaled) else said


def share_forecasts(panel: Panel, first: int) -> dict[int, list[ShareForecast | None]]:
    """Return the share model's forecasts of every session from `first` on."""
    walk, found = WalkForward(), {}
    for day in range(1, len(panel.sessions)):
        past = panel.before(day)
        known = walk.before(past, panel.volumes.shape[2])
        if day >= first:
            found[day] = [known.forecast(symbol) for symbol in range(len(panel.symbols))]
        walk.learn(known, past, panel.volumes[:, day], panel.prices[:, day])
    return found


class Errors:
    """Sums of errors of one symbol: by method, for the next bin and for the rest of the day."""

    def __init__(self) -> None:
        shape = (len(METHODS), 2)
        self._relative, self._absolute = np.zeros(shape), np.zeros(shape)
        self._filled, self._volume = np.zeros(2), np.zeros(2)

    def take(self, methods: dict[str, DayForecast], volumes: Doubles, prices: Doubles) -> None:
        """Run the methods over a session."""
        for place, (volume, price) in enumerate(zip(volumes.tolist(), prices.tolist(), strict=True)):
            actual = np.array([volume, volumes[place:].sum()])
            filled = actual > 0
            self._filled += filled
            self._volume += actual
            for row, name in enumerate(METHODS):
                error = np.abs(points(methods[name]) - actual)
                self._absolute[row] += error
                self._relative[row] += np.where(filled, error / np.where(filled, actual, 1.0), 0.0)
                methods[name].update(place, volume, price)

    def figures(self) -> Doubles:
        """Return methods by (bin MAPE, rest MAPE, bin WAPE, rest WAPE), in per cent."""
        with np.errstate(invalid="ignore", divide="ignore"):
            parts = [self._relative / self._filled, self._absolute / self._volume]
        return np.asarray(np.concatenate(parts, axis=1) * 100.0)


def rows_of(name: str, table: Doubles, note: str) -> list[Row]:
    """Return every figure, then how far each method lies below the rolling mean and below CMEM."""
    figures = ("bin_mape", "rest_mape", "bin_wape", "rest_wape")
    rows = [
        Row(f"{name}_{method}_{figure}", float(table[place, column]), "%", None, "max", NOTES[method])
        for column, figure in enumerate(figures)
        for place, method in enumerate(METHODS)
    ]
    for column, figure in enumerate(figures):
        for over in OVER:
            for method in METHODS[METHODS.index(over) + 1 :]:
                ratio = table[METHODS.index(method), column] / table[METHODS.index(over), column]
                is_published = (method, figure) == ("kalman_robust", "bin_mape") and over in LEAST
                rows.append(
                    Row(
                        f"{name}_{method}_{figure}_over_{over}",
                        float((ratio - 1.0) * 100.0),
                        "%",
                        MAPE_TARGET_PERCENT if is_published else None,
                        "max",
                        note if is_published else "",
                    )
                )
    return rows
