"""Run a backtest: the one function that the command, the server and a cluster's client call."""

from __future__ import annotations

from collections.abc import Callable

from servers.backtest.options import BacktestOptions, check_options
from servers.backtest.tracking import run_study
from servers.calendars import Calendars
from servers.recordings import load_bars

Progress = Callable[[int, int], None]


def run_backtest(
    options: BacktestOptions, progress: Progress | None = None, calendars: Calendars | None = None
) -> dict[str, object]:
    """Return the result of a backtest as JSON values.

    Raises InvalidInput for options that are none, and FILE_MALFORMED with the row and the column; nothing is
    written and nothing half done.
    """
    check_options(options)
    study = run_study(
        load_bars(options.path),
        options.calendar,
        options.algorithms,
        options.train_until or None,
        progress,
        calendars,
    )
    return study.to_json()
