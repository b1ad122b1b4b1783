"""The parent orders of one symbol's session: every algorithm, size, side, placement and cap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from native.adaptive_schedule import AdaptiveVwapSchedule
from native.backtest import Parent
from native.backtest_cap import TrailingCap
from native.backtest_controls import Controls
from native.backtest_costs import CostModel
from native.pov_schedule import PovSchedule
from native.schedule import Schedule, StaticVwapSchedule, TwapSchedule
from native.shortfall_schedule import ShortfallSchedule
from servers.backtest.inputs import DayInputs
from servers.backtest.options import BacktestOptions, CostSettings
from servers.model.participation import ASSUMED_PACE, capacity_rate
from servers.recordings.table import Doubles, Int64s

ONE = 1_000_000_000
"""Nanos of a share, of a second."""

PLACEMENTS = ("market", "passive")
SCALES = (1.0, 0.5, 2.0)
"""Of the cost model: as stated, halved and doubled."""

LISTENING = ("adaptive_vwap", "pov")
"""Schedules that take the market's volume in: each serves one order."""

BASELINE = "twap"
"""Equal slices at market: what every shortfall is compared with."""

FORESIGHT = "foresight"
"""The day's own volumes, known beforehand: no algorithm, but what following the volume could gain at most."""

SESSION_PARTS = ("first_hour", "middle", "last_hour")
PART_NANOS = 3_600 * ONE

CAP_WINDOW_NANOS = 300 * ONE
TRADED_SESSION_SECONDS = 23_400.0


@dataclass(frozen=True, slots=True)
class Variant:
    """How one parent trades.

    Attributes:
        placement: `market`, or `passive` (each step's quantity rests first, what is left goes at market).
        is_capped: whether the participation cap holds.
        is_controlled: whether the impact and deviation controls act.
        scale: of the cost model.
        side: +1 buys, -1 sells.
    """

    algorithm: str
    size: float
    placement: str
    is_capped: bool
    is_controlled: bool
    scale: float
    side: int


def variants(options: BacktestOptions) -> list[Variant]:
    """Return all variants: the baseline and the bound always, scaled costs only under cap and controls."""
    names = dict.fromkeys((BASELINE, *options.algorithms, FORESIGHT))
    cappings = (True, False) if options.cap is not None else (False,)
    controllings = (True, False) if options.max_impact else (False,)
    return [
        Variant(name, size, placement, is_capped, is_controlled, scale, side)
        for size in options.sizes
        for name in names
        for placement in (PLACEMENTS if name != FORESIGHT else PLACEMENTS[:1])
        for is_capped in cappings
        for is_controlled in controllings
        for scale in (SCALES if (is_capped, is_controlled) == (cappings[0], controllings[0]) else SCALES[:1])
        for side in (1, -1)
    ]


def is_broken_down(variant: Variant, options: BacktestOptions) -> bool:
    """Tell whether a variant is one of those that are compared by symbol, volatility and time of day."""
    return (
        variant.placement == PLACEMENTS[0]
        and variant.scale == SCALES[0]
        and variant.is_capped == (options.cap is not None)
        and variant.is_controlled == (options.max_impact > 0)
    )


@dataclass(frozen=True, slots=True)
class Order:
    """A parent that runs, with what it is."""

    variant: Variant
    parent: Parent
    costs: CostModel
    keeps_fills: bool


class DayOrders:
    """Makes the orders of one symbol's session; what they share is made once."""

    def __init__(self, inputs: DayInputs, options: BacktestOptions) -> None:
        self._inputs = inputs
        self._options = options
        self._edges = inputs.edges
        self._table = inputs.revisions() if "adaptive_vwap" in options.algorithms else None
        self._shared: dict[tuple[str, float], Schedule] = {}
        self._step_nanos = round(options.step_seconds * ONE)
        self._step_share = options.step_seconds * ONE / inputs.session.length_nanos

    def quantity_nanos(self, size: float) -> int:
        """Return the order's quantity in whole shares, at least one."""
        return max(1, round(size * self._inputs.median_volume)) * ONE

    def all(self) -> Iterator[Order]:
        """Yield every variant as an order of its own; those that are broken down by time keep their fills."""
        for variant in variants(self._options):
            yield self.order(variant, is_broken_down(variant, self._options))

    def order(self, variant: Variant, keeps_fills: bool = False) -> Order:
        """Return one variant as an order."""
        costs = cost_model(self._options.costs, self._inputs, variant.scale)
        is_passive = variant.placement == "passive"
        parent = Parent(
            self.schedule(variant.algorithm, variant.size, variant.is_capped),
            variant.side,
            costs,
            step_nanos=self._step_nanos,
            latency_nanos=round(self._options.latency_seconds * ONE),
            passive_steps=self._steps(self._options.patience_seconds) if is_passive else 0,
            rate_steps=self._steps(self._options.rate_seconds),
            queue_nanos=round(
                self._options.queue_share * self._inputs.median_volume * self._step_share * ONE
            ),
            print_share=self._options.print_share,
            cap=self._cap() if variant.is_capped else None,
            revisions=self._revisions() if variant.algorithm == "adaptive_vwap" else None,
            controls=self._controls() if variant.is_controlled else None,
            fallback=(
                self.schedule("static_vwap", variant.size)
                if variant.is_controlled and variant.algorithm == "adaptive_vwap"
                else None
            ),
            keep_fills=keeps_fills,
        )
        return Order(variant, parent, costs, keeps_fills)

    def _cap(self) -> TrailingCap | None:
        cap = self._options.cap
        if cap is None:
            return None
        return TrailingCap(cap, CAP_WINDOW_NANOS, assumed_pace=ASSUMED_PACE)

    def _controls(self) -> Controls:
        options = self._options
        answer_nanos = round(options.answer_seconds * ONE)
        return Controls(options.max_impact, options.max_deviation, answer_nanos=answer_nanos)

    def _revisions(self) -> tuple[Int64s, Doubles, Doubles]:
        assert self._table is not None
        # Known when a bin is over: from its end on. The first row is the forecast before the open.
        return np.array(self._edges[1:-1], np.int64), self._table[1:], np.zeros(len(self._table) - 1)

    def _steps(self, seconds: float) -> int:
        return round(seconds / self._options.step_seconds)

    def schedule(self, algorithm: str, size: float, is_capped: bool = False) -> Schedule:
        """Return a schedule; one that does not listen to volume serves all parents of its size."""
        key = algorithm, size
        if key not in self._shared:
            made = self._new_schedule(algorithm, size, is_capped)
            if algorithm in LISTENING:
                return made
            self._shared[key] = made
        return self._shared[key]

    def _new_schedule(self, algorithm: str, size: float, is_capped: bool) -> Schedule:
        session = self._inputs.session
        start, end = session.open_time_nanos, session.close_time_nanos
        quantity = self.quantity_nanos(size)
        match algorithm:
            case "twap":
                return TwapSchedule(quantity, ONE, start, end)
            case "static_vwap":
                weights = self._inputs.static_weights.tolist()
                return StaticVwapSchedule(quantity, ONE, start, end, self._edges, weights)
            case "foresight":
                weights = self._inputs.volumes.tolist()
                return StaticVwapSchedule(quantity, ONE, start, end, self._edges, weights)
            case "adaptive_vwap":
                assert self._table is not None
                expected = self._table[0].tolist()
                return AdaptiveVwapSchedule(
                    quantity,
                    ONE,
                    start,
                    end,
                    self._edges,
                    expected,
                    capacity_rate=capacity_rate(self._options.cap if is_capped else None),
                )
            case "pov":
                # The rate at which the order would end with the day if the day brought its median volume.
                rate = min(size / (1.0 + size), 0.99)
                return PovSchedule(quantity, ONE, start, end, rate, own_on_tape=False)
            case _:
                return self._shortfall(size, quantity, start, end)

    def _shortfall(self, size: float, quantity: int, start: int, end: int) -> Schedule:
        """Return Almgren and Chriss's trajectory; its linear impact is the model's at the mean rate."""
        settings, inputs = self._options.costs, self._inputs
        seconds = inputs.session.length_nanos / ONE
        shares = quantity / ONE
        participation = size / (1.0 + size)
        price = inputs.previous_price
        impact = settings.temporary * inputs.volatility * participation**settings.temporary_power * price
        return ShortfallSchedule(
            quantity,
            ONE,
            start,
            end,
            self._options.risk_aversion,
            inputs.volatility * price / np.sqrt(TRADED_SESSION_SECONDS),
            impact / (shares / seconds),
            0.0,
        )


def cost_model(settings: CostSettings, inputs: DayInputs, scale: float) -> CostModel:
    """Return the cost model of a symbol's session, its spread and coefficients scaled."""
    scaled = replace(
        settings,
        half_spread_bps=settings.half_spread_bps * scale,
        temporary=settings.temporary * scale,
        permanent=settings.permanent * scale,
        root=settings.root * scale,
    )
    return CostModel(
        half_spread_bps=scaled.half_spread_bps,
        daily_volatility=inputs.volatility,
        daily_volume=inputs.median_volume,
        temporary=scaled.temporary,
        temporary_power=scaled.temporary_power,
        permanent=scaled.permanent,
        permanent_share=scaled.permanent_share,
        half_life_seconds=scaled.half_life_seconds,
        root=scaled.root,
    )
