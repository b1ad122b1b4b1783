"""Run a backtest: the one function that the command, the server and a cluster's client call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from servers.backtest.inputs import DayInputs, day_inputs
from servers.backtest.jobs import run_jobs, split
from servers.backtest.options import BacktestOptions, check_options
from servers.backtest.panel import read_panel
from servers.backtest.shortfall_study import SizedResult
from servers.backtest.tracking import first_test_session, study_panel
from servers.backtest.tracking_algorithms import ALGORITHMS
from servers.backtest.tracking_statistics import StudyResult
from servers.calendars import Calendars
from servers.forecast import Panel
from servers.model.errors import InvalidInput

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """A finished backtest: one of the two studies, and what a report draws from.

    Attributes:
        tracking: of orders of zero size.
        sized: of orders with a size.
        panel: volume and price by symbol, session and bin.
    """

    options: BacktestOptions
    panel: Panel
    tracking: StudyResult | None = None
    sized: SizedResult | None = None

    def to_json(self) -> dict[str, object]:
        """Return the study as JSON values."""
        study = self.tracking or self.sized
        assert study is not None
        return study.to_json()


def run_backtest(
    options: BacktestOptions,
    *,
    workers: int = 1,
    cluster: str = "",
    resume: Path | None = None,
    progress: Progress | None = None,
    calendars: Calendars | None = None,
) -> BacktestResult:
    """Return the result of a backtest; the same for any number of workers.

    The file is read and checked as a whole before anything is done with it. `workers`, `cluster` and `resume`
    concern orders with a size, as `run_jobs` says. Raises InvalidInput for options that are none,
    FILE_MALFORMED with the row and the column, and VALUE_OUT_OF_RANGE when nothing is left to evaluate.
    """
    check_options(options)
    told = progress or (lambda what, done, total: None)
    told("reading", 0, 1)
    panel = read_panel(
        options.path,
        options.is_bars,
        options.calendar,
        calendars or Calendars(),
        must_be_ordered=not options.is_zero_size,
    )
    told("reading", 1, 1)
    until = options.train_until or None
    if options.is_zero_size:
        chosen = {name: ALGORITHMS[name]() for name in options.algorithms}
        study = study_panel(panel, chosen, until, lambda done, total: told("sessions", done, total))
        return BacktestResult(options, panel, tracking=study)
    inputs = day_inputs(panel, until, lambda done, total: told("forecasts", done, total))
    if not inputs:
        raise InvalidInput(
            "VALUE_OUT_OF_RANGE", "no symbol has a session before the first with orders", field="train_until"
        )
    results = run_jobs(
        split(inputs, options),
        workers=workers,
        cluster=cluster,
        resume=resume,
        progress=lambda done, total: told("orders", done, total),
    )
    sized = SizedResult(
        options, tuple(results), first_test_session(panel, until), len({result.date for result in results})
    )
    return BacktestResult(options, panel, sized=sized)


def sample_inputs(result: BacktestResult) -> DayInputs:
    """Return the symbol-day that a report shows: the first symbol's in the middle of the test."""
    inputs = day_inputs(result.panel, result.options.train_until or None)
    days = inputs[min(inputs)]
    return days[len(days) // 2]
