"""Which schedule is in force: what cannot be had gives way, and comes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from servers.execution.adapters.memory import OPEN_NANOS, practice_instrument
from servers.execution.domain.events import Event, EventKind, ExecutionState, SchedulePlan, Start
from servers.execution.domain.figures import Figures
from servers.execution.domain.forecast import Volumes
from servers.execution.domain.impact import ImpactModel
from servers.execution.domain.parameters import Algorithm, Parameters, SessionTimes, plan_horizon
from servers.execution.domain.parent import ParentOrder
from servers.execution.domain.scheduling import ScheduleKeeper
from servers.execution.domain.tape import Column, Prints, Tape
from servers.model.market import MarketPhase, Quote, TradeFlag, TradingStatus
from servers.model.nanos import NANO
from servers.model.order import Side

CLOSE = OPEN_NANOS + 23_400 * NANO
FLAT = SchedulePlan(CLOSE, (1 / 78,) * 78, 300 * NANO, OPEN_NANOS, session_volume_time_nanos=OPEN_NANOS)


class Broken:
    """A forecast that says nothing."""

    edges_nanos: Sequence[int] = ()
    is_in_shares = False

    def begin(self, volume: float, time_nanos: int, price: float = 0.0) -> None:
        """Begin."""

    def add(self, times: Column, sizes: Column, prices: Column) -> None:
        """Take in prints."""

    def expect(self, now_nanos: int) -> Volumes:
        raise ValueError("the forecast has no level")


class Desk:
    """One parent that has arrived, its keeper and its tape."""

    def __init__(self, algorithm: Algorithm, plan: SchedulePlan) -> None:
        asked = Parameters("demo", "ACME", Side.BUY, 1_000 * NANO, algorithm, horizon_nanos=1_200 * NANO)
        parameters, _ = plan_horizon(asked, SessionTimes(OPEN_NANOS, CLOSE), OPEN_NANOS, NANO)
        start = Start(parameters, 0, "", plan)
        self.parent = ParentOrder.from_event(
            Event(EventKind.STARTED, "X", OPEN_NANOS, ExecutionState.PENDING, start=start)
        )
        self.parent.apply(
            Event(
                EventKind.ARRIVED, "X", OPEN_NANOS, ExecutionState.RUNNING,
                arrival_price_nanos=30 * NANO, arrival_time_nanos=OPEN_NANOS,
            )
        )  # fmt: skip
        self.tape = Tape("ACME")
        self.tape.on_status(TradingStatus("ACME", MarketPhase.CONTINUOUS, OPEN_NANOS, "", OPEN_NANOS, CLOSE))
        self.figures = Figures(self.parent, 0.25, ImpactModel())
        self.keeper = ScheduleKeeper(self.parent, practice_instrument(), self.figures)
        self.figures.count_from(self.tape)
        self.keeper.begin(self.tape)

    def trade(self, seconds: int, shares: int, *, cancels: int = 0) -> None:
        time = OPEN_NANOS + seconds * NANO
        row = [time, 30 * NANO, shares * NANO, TradeFlag.CANCEL if cancels else TradeFlag.ELIGIBLE]
        times, prices, sizes, flags = (np.array([value], dtype=np.int64) for value in row)
        cancelled = np.array([cancels], dtype=np.int64)
        first = self.tape.last_sequence + 1
        fresh = self.tape.add(Prints("ACME", first, times, prices, sizes, flags, cancelled))
        if cancels:
            self.keeper.recount(self.figures.count_from(self.tape), self.tape)
        else:
            self.keeper.on_volume(self.figures.on_prints(fresh))

    def keep(self, seconds: int) -> tuple[Algorithm, str] | None:
        now = OPEN_NANOS + seconds * NANO
        tick = NANO // 100
        self.tape.on_quote(Quote("ACME", 30 * NANO - tick, NANO, 30 * NANO + tick, NANO, 30 * NANO, now))
        change = self.keeper.keep(now, self.tape, is_deviating=False)
        return None if change is None else (change.schedule, change.reason)


def test_a_curve_that_does_not_cover_the_horizon_gives_way_to_equal_slices() -> None:
    short = SchedulePlan(CLOSE, (0.5, 0.5), 300 * NANO, OPEN_NANOS)
    for algorithm in (Algorithm.STATIC_VWAP, Algorithm.ADAPTIVE_VWAP):
        desk = Desk(algorithm, short)
        assert desk.keeper.in_force is Algorithm.TWAP
        assert desk.keep(1) == (Algorithm.TWAP, "CURVE_UNUSABLE")
        assert desk.keep(2) is None
        assert desk.keep(60) is None
    assert Desk(Algorithm.ADAPTIVE_VWAP, SchedulePlan(CLOSE)).keeper.in_force is Algorithm.TWAP


def test_a_forecast_that_fails_gives_way_to_the_static_curve_until_it_speaks_again() -> None:
    desk = Desk(Algorithm.ADAPTIVE_VWAP, FLAT)
    assert desk.keep(1) is None
    sound, desk.keeper._forecaster = desk.keeper._forecaster, Broken()
    assert desk.keep(10) == (Algorithm.STATIC_VWAP, "FORECAST_FAILED")
    assert desk.keep(20) is None
    desk.keeper._forecaster = sound
    assert desk.keep(30) == (Algorithm.ADAPTIVE_VWAP, "RECOVERED")


def target_after_a_bin(plan: SchedulePlan) -> float:
    schedule = Desk(Algorithm.ADAPTIVE_VWAP, plan).keeper.schedule
    assert schedule is not None
    return schedule.target_nanos(OPEN_NANOS + 300 * NANO) / (1_000 * NANO)


def test_an_order_that_the_cap_will_hold_back_begins_ahead_of_the_curve() -> None:
    quiet = SchedulePlan(
        CLOSE, FLAT.curve_shares, 300 * NANO, OPEN_NANOS, 156_000.0, session_volume_time_nanos=OPEN_NANOS
    )
    # 8,000 shares in four equal bins, of which a tenth can be done: after the first bin, 600 of 1,000.
    assert target_after_a_bin(quiet) == pytest.approx(0.4, abs=0.002)
    busy = replace(quiet, median_daily_volume=1_560_000.0)
    assert target_after_a_bin(busy) == pytest.approx(0.25, abs=0.002)


def test_a_curve_alone_says_nothing_of_what_the_cap_lets_through() -> None:
    assert target_after_a_bin(FLAT) == pytest.approx(0.25, abs=0.002)


def test_a_cancelled_print_is_no_volume_to_follow() -> None:
    desk = Desk(Algorithm.POV, SchedulePlan(CLOSE))
    desk.trade(1, 1_000)
    desk.trade(2, 500)
    assert desk.keeper.schedule is not None
    assert desk.keeper.schedule.target_nanos(OPEN_NANOS + 3 * NANO) == 120 * NANO
    desk.trade(3, 1_000, cancels=1)
    assert desk.keeper.schedule.target_nanos(OPEN_NANOS + 4 * NANO) == 40 * NANO


def test_a_cancelled_print_leaves_the_forecast_too() -> None:
    desk = Desk(Algorithm.ADAPTIVE_VWAP, FLAT)
    assert desk.keeper._forecaster is not None
    desk.trade(1, 1_000)
    before = desk.keeper._forecaster.expect(OPEN_NANOS + 300 * NANO).sum()
    desk.trade(2, 9_000)
    desk.trade(3, 9_000, cancels=2)
    assert desk.keeper._forecaster.expect(OPEN_NANOS + 300 * NANO).sum() == before
