"""The tracking study: whole-day orders of zero size, how far their average price ends from the day's VWAP.

Orders of zero size pay no spread and move no price, so what is left is the schedule's own error. DEFINITIONS
(docs/definitions.md, evaluation) says the rules: a weight is fixed before the bin's first trade, a bin
without trades fills nothing and its weight carries over, nothing is back-filled, models see the past only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from servers.backtest.tracking_algorithms import ALGORITHMS, ALIASES, DaySchedule, TrackingAlgorithm
from servers.backtest.tracking_statistics import StudyResult
from servers.calendars import Calendars
from servers.forecast import Panel
from servers.forecast.history import Doubles
from servers.model.errors import InvalidInput
from servers.recordings import RecordedBars

BIN_NANOS = 300 * 1_000_000_000
WARM_UP_SESSIONS = 20
"""Without a date to train until, this many sessions are training (half of all where there are fewer)."""

LEAST_SHARE_IN_SESSIONS = 0.5
"""Of a file's volume; what trades before and after the session is some per cent on most venues."""

MEDIAN_SESSIONS = 20
BLIND_VOLUME_RATIO = 3.0
"""The outcome-blind rule leaves out a day with more volume than this times the forecast, and half days."""

Progress = Callable[[int, int], None]


def run_study(
    bars: Mapping[str, RecordedBars],
    calendar: str,
    algorithms: Collection[str] = tuple(ALGORITHMS),
    train_until: str | None = None,
    progress: Progress | None = None,
    calendars: Calendars | None = None,
) -> StudyResult:
    """Return the tracking errors of the algorithms on every session after `train_until`.

    Args:
        bars: recorded bars by symbol; symbols without volume (indices) take no part.
        calendar: code of the trading calendar, such as "XNYS".
        algorithms: names out of ALGORITHMS; `vwap` is an alias of `static_vwap`.
        train_until: last session (local date, "YYYY-MM-DD") that is not evaluated.
        progress: told (sessions done, sessions in all) after each.
        calendars: to look sessions up in.

    Raises InvalidInput FIELD_INVALID for a name that is none, VALUE_OUT_OF_RANGE when nothing is left to
    evaluate, and what `Calendars` raises.
    """
    names = [ALIASES.get(name, name) for name in algorithms]
    for name in names:
        if name not in ALGORITHMS:
            raise InvalidInput("FIELD_INVALID", f"no algorithm {name[:40]!r}", field="algorithms")
    panel = load_panel(bars, calendar, calendars or Calendars())
    chosen = {name: ALGORITHMS[name]() for name in dict.fromkeys(names)}
    return study_panel(panel, chosen, train_until, progress)


def load_panel(
    bars: Mapping[str, RecordedBars], calendar: str, calendars: Calendars, bin_nanos: int = BIN_NANOS
) -> Panel:
    """Return the panel of all sessions that the bars touch, of the symbols that have volume."""
    traded = {symbol: mine for symbol, mine in bars.items() if mine.volume.any()}
    if not traded:
        raise InvalidInput("VALUE_OUT_OF_RANGE", "the file has no bar with volume", field="bars")
    start = min(int(mine.start_nanos[0]) for mine in traded.values())
    end = max(int(mine.start_nanos[-1]) for mine in traded.values())
    panel = Panel.from_bars(traded, calendars.sessions_between(calendar, start, end + 1), bin_nanos)
    require_sessions(panel.volumes.sum() / sum(mine.volume.sum() for mine in traded.values()), calendar)
    # A session of the calendar on which nothing was recorded is a gap of the file, not a day without volume.
    return panel.only(np.flatnonzero(panel.volumes.any(axis=(0, 2))))


def require_sessions(share: float, calendar: str) -> None:
    """Check that of a file's volume at least half lies inside sessions.

    Raises InvalidInput VALUE_OUT_OF_RANGE: with another market's calendar, or times that are no UTC, a study
    would be of the few minutes that happen to overlap.
    """
    if share < LEAST_SHARE_IN_SESSIONS:
        raise InvalidInput(
            "VALUE_OUT_OF_RANGE",
            f"only {share:.1%} of the file's volume lies inside sessions of {calendar}: another calendar, or "
            "times that are not UTC?",
            field="calendar",
        )


def study_panel(
    panel: Panel,
    algorithms: Mapping[str, TrackingAlgorithm],
    train_until: str | None = None,
    progress: Progress | None = None,
) -> StudyResult:
    """Return what `run_study` returns, for a panel and for algorithms of one's own.

    A symbol-day takes part when something traded on it, every algorithm has a schedule for it, and every
    schedule bought something: one that wanted nothing in the few bins that traded has no average price.
    """
    first = first_test_session(panel, train_until)
    days, symbols, is_kept, errors = [], [], [], []
    unfilled = 0
    for day in range(len(panel.sessions)):
        past, bins = panel.before(day), int(panel.bin_counts[day])
        volumes, prices = panel.volumes[:, day, :bins], panel.prices[:, day, :bins]
        planned = [algorithm.schedules(past, bins) if day else [] for algorithm in algorithms.values()]
        for symbol in np.flatnonzero(volumes.any(axis=1)) if day >= first else ():
            schedules = [plan[symbol] for plan in planned]
            if any(schedule is None for schedule in schedules):
                continue
            found = [tracking_error_bps(made, volumes[symbol], prices[symbol]) for made in schedules if made]
            if not np.isfinite(found).all():
                unfilled += 1
                continue
            errors.append(found)
            days.append(day)
            symbols.append(int(symbol))
            is_kept.append(_is_kept(panel, past, day, int(symbol)))
        if day:
            for algorithm in algorithms.values():
                algorithm.learn(past, volumes, prices)
        if progress is not None:
            progress(day + 1, len(panel.sessions))
    if not errors:
        raise InvalidInput(
            "VALUE_OUT_OF_RANGE", f"no symbol can be evaluated after {train_until}", field="train_until"
        )
    return StudyResult(
        algorithms=tuple(algorithms),
        errors_bps=np.array(errors),
        days=np.array(days),
        symbols=np.array(symbols),
        is_kept=np.array(is_kept),
        dates=tuple(session.date for session in panel.sessions),
        symbol_names=panel.symbols,
        train_days=first,
        unfilled_symbol_days=unfilled,
    )


def tracking_error_bps(schedule: DaySchedule, volumes: Doubles, prices: Doubles) -> float:
    """Return |average price / VWAP of the session - 1| in bps of an order that follows the schedule, or NaN.

    The schedule is asked before it is told of a bin. Nothing is sold back: where a schedule asks for less
    than is done, nothing is filled. A rest that is left because the last bins had no trades stays unfilled.
    """
    done = paid = 0.0
    for place, (volume, price) in enumerate(zip(volumes.tolist(), prices.tolist(), strict=True)):
        weight = max(schedule.share_after_next_bin() - done, 0.0)
        if volume > 0:
            done += weight
            paid += weight * price
        schedule.update(place, volume, price)
    traded = volumes > 0
    vwap = float(volumes[traded] @ prices[traded] / volumes[traded].sum())
    return abs(paid / done / vwap - 1.0) * 1e4 if done > 0 else float("nan")


def first_test_session(panel: Panel, train_until: str | None) -> int:
    """Return the index of the first session evaluated. Raises InvalidInput for none."""
    dates: Sequence[str] = [session.date for session in panel.sessions]
    if train_until is None:
        first = min(WARM_UP_SESSIONS, len(dates) // 2)
    else:
        first = sum(date <= train_until for date in dates)
    first = max(first, 1)
    if first >= len(dates):
        raise InvalidInput(
            "VALUE_OUT_OF_RANGE",
            f"no session after {train_until}: the file has {dates[0]} to {dates[-1]}",
            field="train_until",
        )
    return first


def _is_kept(panel: Panel, past: Panel, day: int, symbol: int) -> bool:
    """Tell whether the outcome-blind rule keeps a symbol-day: its forecast is the median of 20 sessions."""
    earlier = past.volumes[symbol, past.is_whole].sum(axis=1)[-MEDIAN_SESSIONS:]
    usual = float(np.median(earlier)) if len(earlier) else 0.0
    return bool(panel.is_whole[day]) and float(panel.volumes[symbol, day].sum()) <= BLIND_VOLUME_RATIO * usual
