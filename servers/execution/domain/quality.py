"""How good an execution was: markouts, and the quality score against control orders of earlier sessions.

Score = 100 x (0.5 T + 0.2 S + 0.2 C + 0.1 L). A control order is the same interval of an earlier session, by
the static schedule that was known before it, filled at each bin's VWAP without cost. T and S are the shares
of them that did worse; without earlier sessions they are unknown, and so is the score.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from servers.execution.domain.tape import Column, Tape
from servers.model.clock import NANOS_PER_SECOND
from servers.model.nanos import NANO
from servers.model.order import Fill, Liquidity, Side

Doubles = npt.NDArray[np.float64]

MARKOUT_SECONDS = (1, 10, 60, 300)
BIN_SECONDS = 300
MOST_CONTROLS = 60
LEAST_CONTROLS = 5
"""Fewer say nothing: the score is then unknown."""

_BIN_NANOS = BIN_SECONDS * NANOS_PER_SECOND
_BPS = 1e4


@dataclass(frozen=True, slots=True)
class Markout:
    """What fills had cost so long after: side x (fill - price then) / fill in bps; NaN where no fill says."""

    horizon_nanos: int
    cost_bps: float
    maker_bps: float
    taker_bps: float
    fill_count: int


@dataclass(frozen=True, slots=True)
class PastDay:
    """Bars of BIN_SECONDS of an earlier session, oldest first; bins without a trade have none.

    Attributes:
        offsets: start of each after the session's open, nanoseconds.
        prices: VWAP in currency units.
        volumes: shares.
        date: of the session at its venue, "YYYY-MM-DD".
        length_nanos: of the session; shorter than usual on a half day.
    """

    offsets: Column
    prices: Doubles
    volumes: Doubles
    date: str = ""
    length_nanos: int = 0


@dataclass(frozen=True, slots=True)
class Control:
    """One control order: tracking error in bps, shortfall in units of the interval's volatility."""

    tracking_error_bps: float
    shortfall_sigmas: float


@dataclass(frozen=True, slots=True)
class Quality:
    """The components, 0 to 1; None where they are not known. See the module."""

    tracking: float | None
    shortfall: float | None
    completion: float
    conformance: float
    control_count: int
    note: str

    @property
    def score(self) -> float | None:
        """0 to 100; None with fewer than LEAST_CONTROLS control orders."""
        if self.tracking is None or self.shortfall is None or self.control_count < LEAST_CONTROLS:
            return None
        return 100 * (
            0.5 * self.tracking + 0.2 * self.shortfall + 0.2 * self.completion + 0.1 * self.conformance
        )


def markouts(side: Side, fills: Sequence[Fill], tape: Tape) -> tuple[Markout, ...]:
    """Return what the fills had cost after each of MARKOUT_SECONDS, by the last eligible price then.

    A fill counts when the tape reaches beyond that time. The means weigh by quantity.
    """
    prices, _, times = tape.eligible()
    return tuple(
        _markout(side, fills, prices, times, seconds * NANOS_PER_SECOND) for seconds in MARKOUT_SECONDS
    )


def _markout(side: Side, fills: Sequence[Fill], prices: Column, times: Column, horizon: int) -> Markout:
    ends = int(times[-1]) if len(times) else 0
    costs: dict[bool, list[tuple[float, int]]] = {True: [], False: []}
    for fill in fills:
        then = fill.event_time_nanos + horizon
        at = int(np.searchsorted(times, then, side="right")) - 1
        if then > ends or at < 0 or fill.liquidity is Liquidity.AUCTION:
            continue
        cost = side.sign * (fill.price_nanos - int(prices[at])) / fill.price_nanos * _BPS
        costs[fill.liquidity is Liquidity.MAKER].append((cost, fill.quantity_nanos))
    both = costs[True] + costs[False]
    return Markout(horizon, _mean(both), _mean(costs[True]), _mean(costs[False]), len(both))


def _mean(costs: Sequence[tuple[float, int]]) -> float:
    total = sum(quantity for _, quantity in costs)
    return sum(cost * quantity for cost, quantity in costs) / total if total else math.nan


def control_orders(days: Sequence[PastDay], side: Side, begin: int, end: int) -> list[Control]:
    """Return a control order for each session that has one before it.

    `begin` and `end` of the interval are nanoseconds after the open. The schedule's weights are the mean
    shares of the sessions before; a bin without a trade passes its weight on. At most the last MOST_CONTROLS.
    """
    controls = []
    bins = max((int(day.offsets[-1]) // _BIN_NANOS + 1 for day in days if len(day.offsets)), default=0)
    shares = np.zeros(bins)
    for number, day in enumerate(days):
        places = day.offsets // _BIN_NANOS
        if number and len(days) - number <= MOST_CONTROLS:
            control = _control(shares / number, day, side, begin, end)
            if control is not None:
                controls.append(control)
        total = float(day.volumes.sum())
        if total > 0:
            np.add.at(shares, places, day.volumes / total)
    return controls


def _control(curve: Doubles, day: PastDay, side: Side, begin: int, end: int) -> Control | None:
    inside = (day.offsets + _BIN_NANOS > begin) & (day.offsets < end) & (day.volumes > 0)
    prices, volumes, places = day.prices[inside], day.volumes[inside], day.offsets[inside] // _BIN_NANOS
    if len(prices) < 2:
        return None
    # Weight of every bin since the one that traded before: what passed without a trade is carried over.
    done = np.concatenate(([0.0], np.cumsum(curve)))
    first = min(int(begin // _BIN_NANOS), len(curve))
    until = done[np.minimum(places + 1, len(curve))]
    weights = np.diff(np.concatenate(([done[first]], until)))
    sigma = float(np.sqrt((np.diff(np.log(prices)) ** 2).sum()))
    if not weights.sum() > 0 or not sigma > 0:
        return None
    average = float((weights * prices).sum() / weights.sum())
    vwap = float((volumes * prices).sum() / volumes.sum())
    arrival = float(prices[0])
    return Control(abs(average / vwap - 1) * _BPS, side.sign * (average / arrival - 1) / sigma)


def quality(
    controls: Sequence[Control],
    tracking_error_bps: float,
    shortfall_sigmas: float,
    completion: float,
    conformance: float,
) -> Quality:
    """Return the score's components; own figures that are NaN leave theirs unknown."""
    tracking: float | None = None
    shortfall: float | None = None
    note = "no earlier sessions to compare with"
    if controls:
        if not math.isnan(tracking_error_bps):
            tracking = _share([control.tracking_error_bps > tracking_error_bps for control in controls])
        if not math.isnan(shortfall_sigmas):
            shortfall = _share([control.shortfall_sigmas > shortfall_sigmas for control in controls])
        note = (
            f"control orders of {len(controls)} earlier sessions: static schedule, {BIN_SECONDS // 60}-minute"
            " bins, filled at each bin's VWAP without cost; a static schedule scores about 65"
        )
    return Quality(tracking, shortfall, completion, conformance, len(controls), note)


def _share(worse: Sequence[bool]) -> float:
    return sum(worse) / len(worse)


def completion(
    filled_nanos: int,
    quantity_nanos: int,
    limit_nanos: int,
    side: Side,
    cap: float,
    prices: Column,
    sizes: Column,
) -> float:
    """Return the fraction filled of what the limit and the cap allowed; 1 where they allowed nothing.

    `prices` and `sizes` are the eligible continuous prints of the interval.
    """
    if limit_nanos:
        sizes = sizes[side.sign * (limit_nanos - prices) >= 0]
    allowed = min(quantity_nanos, int(cap * float(sizes.sum())))
    return min(filled_nanos / allowed, 1.0) if allowed > 0 else 1.0


def interval_sigma(
    prices: Column, times: Column, start: int, end: int, step_nanos: int = _BIN_NANOS
) -> float:
    """Return the volatility of an interval: the root of summed squared log returns, NaN of a single step."""
    marks = np.arange(start + step_nanos, end + 1, step_nanos)
    places = np.searchsorted(times, np.concatenate(([start + 1], marks)), side="right") - 1
    places = places[places >= 0]
    if len(places) < 2:
        return math.nan
    sigma = float(np.sqrt((np.diff(np.log(prices[places] / NANO)) ** 2).sum()))
    return sigma if sigma > 0 else math.nan
