"""Which schedule a parent follows: the one asked for, kept up to date, or a simpler one when it must be.

Adaptive VWAP falls back to the static curve, and that, like shortfall, to equal slices. A schedule that was
left comes back when what was missing is there again. Each change begins with what is done: never a burst.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from native.adaptive_schedule import AdaptiveVwapSchedule
from native.pov_schedule import PovSchedule
from native.schedule import Schedule, StaticVwapSchedule, TwapSchedule
from native.shortfall_schedule import ShortfallSchedule
from servers.execution.domain.conditions import Conditions, ConditionWatch
from servers.execution.domain.figures import SESSION_NANOS, Figures, Volume
from servers.execution.domain.finishing import EarlyFinish, last_share
from servers.execution.domain.forecast import SessionForecast, VolumeForecaster, volume_between
from servers.execution.domain.parameters import Algorithm
from servers.execution.domain.parent import ParentOrder
from servers.execution.domain.tape import Tape
from servers.model.clock import NANOS_PER_SECOND
from servers.model.instrument import Instrument
from servers.model.nanos import NANO
from servers.model.participation import capacity_rate

_STALE_SILENCES = 6
_STALE_BINS = 2
_REFERENCE_RATE = 0.01
"""Share of the daily volume at whose rate the impact fraction of a plan is stated."""


class Fallback(NamedTuple):
    """A change of the schedule in force."""

    schedule: Algorithm
    reason: str
    message: str


class _Choice(NamedTuple):
    schedule: Algorithm
    reason: str = "RECOVERED"
    why: str = "what it needs is there again"


class ScheduleKeeper:
    """One parent's schedule.

    Args:
        figures: what the market has done since arrival.

    Attributes:
        schedule: the one in force; None before arrival.
        in_force: which it is.
        conditions: what the market was like in the last slice, for adaptive VWAP.
    """

    def __init__(self, parent: ParentOrder, instrument: Instrument, figures: Figures) -> None:
        self._parent = parent
        self._instrument = instrument
        self._figures = figures
        self._watch = ConditionWatch()
        self._unusable: set[Algorithm] = set()
        self._forecaster: VolumeForecaster | None = None
        self._forecast_error = ""
        self._now_nanos = 0
        self._slice_index = -1
        self._slice_volume_nanos = 0
        self._slice_expected = 0.0
        self._finish: EarlyFinish | None = None
        self.schedule: Schedule | None = None
        self.in_force = parent.parameters.algorithm
        self._told = parent.schedule or parent.parameters.algorithm
        self.conditions = Conditions()

    # -- Making -------------------------------------------------------------------------------------

    def begin(self, tape: Tape) -> None:
        """Make the schedule from arrival on; market and own fills since then have been counted."""
        parent = self._parent
        self._now_nanos = parent.last_event_time_nanos
        self._told = parent.schedule or parent.parameters.algorithm
        if parent.parameters.algorithm is Algorithm.ADAPTIVE_VWAP:
            self._begin_forecast(tape)
        self.schedule, self.in_force = self.make(parent.arrival_time_nanos, self._told)
        self._finish = EarlyFinish(self.schedule.start_nanos, self.schedule.end_nanos, self._last_share())
        if self.in_force in (Algorithm.ADAPTIVE_VWAP, Algorithm.POV):
            times, sizes = tape.continuous(parent.arrival_time_nanos)
            self.schedule.add_volume(times.data, sizes.data)

    def _last_share(self) -> float:
        plan, parameters = self._parent.plan, self._parent.parameters
        session = plan.session_close_time_nanos - plan.session_open_time_nanos
        horizon = parameters.end_time_nanos - self._parent.arrival_time_nanos
        is_known = 0 < plan.session_open_time_nanos < plan.session_close_time_nanos
        expected = plan.median_daily_volume * horizon / session if is_known else 0.0
        quantity = parameters.quantity_nanos / NANO
        return last_share(quantity, expected, parameters.max_participation_rate, max(horizon, 1))

    def _begin_forecast(self, tape: Tape) -> None:
        plan = self._parent.plan
        try:
            if plan.forecast is None:
                forecaster = SessionForecast(self._edges(), plan.curve_shares, plan.median_daily_volume)
            else:
                shares = plan.forecast.curve_shares
                forecaster = SessionForecast(
                    self._edges(len(shares)), shares, plan.forecast.day_volume, plan.forecast
                )
        except ValueError:  # no curve: `make` goes on without
            return
        price = self._parent.arrival_price_nanos / NANO or math.nan
        forecaster.begin(plan.session_volume, plan.session_volume_time_nanos, price)
        forecaster.add(*tape.continuous_prints(plan.session_volume_time_nanos))
        self._forecaster = forecaster

    def _edges(self, count: int | None = None) -> list[int]:
        plan = self._parent.plan
        bins = range((len(plan.curve_shares) if count is None else count) + 1)
        return [plan.curve_open_time_nanos + i * plan.curve_bin_nanos for i in bins]

    def make(self, start: int, wanted: Algorithm | None = None) -> tuple[Schedule, Algorithm]:
        """Return a schedule from a start on, and which: the wanted one (that asked for), or a simpler one."""
        algorithm = wanted or self._parent.parameters.algorithm
        while algorithm is not Algorithm.TWAP:
            try:
                return self._make(algorithm, start), algorithm
            except ValueError:  # its inputs do not cover the horizon, or say nothing about it
                self._unusable.add(algorithm)
                algorithm = _simpler(algorithm)
        return self._make(Algorithm.TWAP, start), Algorithm.TWAP

    def _make(self, algorithm: Algorithm, start: int) -> Schedule:
        plan, parameters = self._parent.plan, self._parent.parameters
        end = max(parameters.end_time_nanos, start + 1)
        quantity, lot = parameters.quantity_nanos, self._instrument.lot_size_nanos
        match algorithm:
            case Algorithm.STATIC_VWAP:
                return StaticVwapSchedule(quantity, lot, start, end, self._edges(), plan.curve_shares)
            case Algorithm.ADAPTIVE_VWAP:
                # Before the open nothing is known but the curve.
                forecaster = self._forecaster
                volumes = forecaster.expect(start) if forecaster else plan.curve_shares
                edges = forecaster.edges_nanos if forecaster else self._edges()
                return AdaptiveVwapSchedule(
                    quantity,
                    lot,
                    start,
                    end,
                    edges,
                    volumes,
                    tolerance=parameters.tracking_tolerance or 0.0,
                    capacity_rate=self._capacity_rate(),
                )
            case Algorithm.POV:
                return PovSchedule(
                    quantity,
                    lot,
                    start,
                    max(parameters.end_time_nanos, start + 1),
                    parameters.target_participation_rate,
                    parameters.slice_nanos,
                    own_on_tape=plan.own_fills_on_tape is not False,
                )
            case Algorithm.SHORTFALL:
                return self._make_shortfall(quantity, lot, start, end)
            case _:
                return TwapSchedule(quantity, lot, start, end)

    def _capacity_rate(self) -> float:
        # A cap lets a number of shares through only of a forecast in shares, not of a curve alone.
        forecaster = self._forecaster
        is_in_shares = forecaster is not None and forecaster.is_in_shares
        return capacity_rate(self._parent.parameters.max_participation_rate) if is_in_shares else 0.0

    def _make_shortfall(self, quantity: int, lot: int, start: int, end: int) -> ShortfallSchedule:
        plan, parent = self._parent.plan, self._parent
        daily_volume = self._figures.daily_volume(self._now_nanos)
        price = parent.arrival_price_nanos / NANO
        if daily_volume <= 0 or price <= 0:
            raise ValueError("no daily volume is known")
        day_seconds = SESSION_NANOS / NANOS_PER_SECOND
        return ShortfallSchedule(
            quantity,
            lot,
            start,
            end,
            parent.parameters.risk_aversion or 0.0,
            plan.daily_volatility * price / math.sqrt(day_seconds),
            plan.impact_fraction * price / (_REFERENCE_RATE * daily_volume / day_seconds),
        )

    # -- What should be done when: a `Plan` ---------------------------------------------------------

    @property
    def start_nanos(self) -> int:
        """Start of the schedule; 0 before arrival."""
        return self.schedule.start_nanos if self.schedule else 0

    @property
    def end_nanos(self) -> int:
        """When all is to be done, a little before the horizon ends; 0 before arrival."""
        return self._finish.done_nanos if self._finish else 0

    def target_nanos(self, now: int, /) -> int:
        """Return what should be done by a market time, in 1e-9 shares; 0 before arrival."""
        if self.schedule is None or self._finish is None:
            return 0
        follows_volume = self.in_force is Algorithm.POV
        return self.schedule.target_nanos(now if follows_volume else self._finish.moment(now))

    def replan(self, now: int, done_nanos: int) -> None:
        """Spread what is not done over what is left."""
        if self.schedule is not None and self._finish is not None:
            self.schedule.replan(now, done_nanos)
            self._finish.replan(now)

    # -- What comes in ------------------------------------------------------------------------------

    def on_volume(self, volume: Volume | None) -> None:
        """Take in times, sizes and prices of eligible continuous prints since arrival."""
        if volume is None or self.schedule is None:
            return
        self.schedule.add_volume(volume[0].data, volume[1].data)
        if self._forecaster is not None:
            self._forecaster.add(*volume)

    def recount(self, volume: Volume | None, tape: Tape) -> None:
        """Take in all of them anew: a print was cancelled."""
        if self.schedule is None:
            return
        self.schedule.recount_volume()
        if volume is not None:
            self.schedule.add_volume(volume[0].data, volume[1].data)
        if self._forecaster is not None:
            self._begin_forecast(tape)

    # -- Keeping ------------------------------------------------------------------------------------

    def keep(self, now: int, tape: Tape, *, is_deviating: bool) -> Fallback | None:
        """Bring the schedule up to date at a market time in continuous trading; return a change to tell."""
        schedule, parameters = self.schedule, self._parent.parameters
        assert schedule is not None
        self._now_nanos = now
        index = max(now - schedule.start_nanos, 0) // parameters.slice_nanos
        is_new_slice, self._slice_index = index != self._slice_index, index
        if is_new_slice and parameters.algorithm is Algorithm.ADAPTIVE_VWAP:
            self._revise(now, tape)
        choice = self._choose(now, tape, is_deviating=is_deviating)
        if choice.schedule is not self.in_force:
            self._switch(choice.schedule, now)
        if self.in_force is self._told:
            return None
        was, self._told = self._told, self.in_force
        if self.in_force is not choice.schedule:
            choice = _Choice(self.in_force, "CURVE_UNUSABLE", "the volume curve does not cover the horizon")
        return Fallback(
            self.in_force, choice.reason, f"{was.name} gives way to {self.in_force.name}: {choice.why}"
        )

    def _choose(self, now: int, tape: Tape, *, is_deviating: bool) -> _Choice:
        asked = self._parent.parameters.algorithm
        silence = now - tape.last_message_time_nanos
        choice = _Choice(asked)
        if asked is Algorithm.ADAPTIVE_VWAP:
            static = Algorithm.STATIC_VWAP
            if is_deviating:
                choice = _Choice(static, "VWAP_DEVIATION", "own average off the market's VWAP")
            elif silence > self._stale_nanos:
                seconds = silence / NANOS_PER_SECOND
                choice = _Choice(
                    static, "VOLUME_STALE", f"nothing was heard of the market for {seconds:,.0f} s"
                )
            elif self._forecast_error:
                choice = _Choice(static, "FORECAST_FAILED", self._forecast_error)
        elif asked is Algorithm.SHORTFALL and asked in self._unusable:
            if self._figures.daily_volume(now) > 0:
                self._unusable.discard(asked)
            else:
                return _Choice(Algorithm.TWAP, "NO_DAILY_VOLUME", "no daily volume is known yet")
        while choice.schedule in self._unusable:
            why = f"{choice.schedule.name} has no usable volume curve"
            choice = _Choice(_simpler(choice.schedule), "CURVE_UNUSABLE", why)
        return choice

    @property
    def _stale_nanos(self) -> int:
        # A name may well be quiet for a bin or two; a feed that stands still for longer is broken.
        silences = _STALE_SILENCES * self._parent.parameters.max_feed_silence_nanos
        return max(silences, _STALE_BINS * self._parent.plan.curve_bin_nanos)

    def _switch(self, wanted: Algorithm, now: int) -> None:
        parent = self._parent
        schedule, self.in_force = self.make(parent.arrival_time_nanos, wanted)
        done = min(parent.filled_quantity_nanos + parent.working_quantity_nanos, parent.quantity_nanos)
        self.schedule = schedule
        self.replan(now, done)

    def _revise(self, now: int, tape: Tape) -> None:
        # Once a slice: what the last one was like, what is expected now, and the curve that follows from it.
        forecaster, figures = self._forecaster, self._figures
        if forecaster is None:
            return
        traded = (figures.quantity_nanos - self._slice_volume_nanos) / NANO
        self._slice_volume_nanos = figures.quantity_nanos
        self.conditions = self._watch.sample(tape.quote, traded, self._slice_expected)
        try:
            volumes = forecaster.expect(now)
            ends = now + self._parent.parameters.slice_nanos
            self._slice_expected = volume_between(forecaster.edges_nanos, volumes, now, ends)
            if isinstance(self.schedule, AdaptiveVwapSchedule):
                self.schedule.sense(*self.conditions)
                self.schedule.revise(now, volumes)
        except (ValueError, ArithmeticError) as error:
            self._forecast_error = str(error)
        else:
            self._forecast_error = ""


def _simpler(algorithm: Algorithm) -> Algorithm:
    return Algorithm.STATIC_VWAP if algorithm is Algorithm.ADAPTIVE_VWAP else Algorithm.TWAP
