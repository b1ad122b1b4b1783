"""What the market and a parent order have done since its arrival: volume, VWAP, participation."""

from __future__ import annotations

import numpy as np

from native.participation import ParticipationTracker
from native.slippage import average_price
from servers.execution.domain.impact import ImpactModel, RecentQuantity
from servers.execution.domain.parameters import MINUTE_NANOS
from servers.execution.domain.parent import ParentOrder
from servers.execution.domain.tape import Column, Prints, Tape
from servers.model.market import TradeFlag
from servers.model.nanos import NANO
from servers.model.order import Fill, Liquidity

SESSION_NANOS = 390 * MINUTE_NANOS
"""A session for rates and volumes stated by the day."""

Volume = tuple[Column, Column, Column]
"""Times, sizes and prices of eligible continuous prints."""


class Figures:
    """Running figures over [arrival, end of the horizon), and the participation cap's tracker.

    Args:
        assumed_pace: share of its present pace that volume is taken to keep after an own fill, in 0..1.
    """

    def __init__(self, parent: ParentOrder, assumed_pace: float, impact: ImpactModel) -> None:
        self._parent = parent
        self._assumed_pace = assumed_pace
        self._impact = impact
        self._reset()

    def _reset(self) -> None:
        window = self._parent.parameters.participation_window_nanos
        self.tracker = ParticipationTracker(
            window,
            assumed_pace=self._assumed_pace,
            # Also where own fills do not print: they take part in the volume that does, so the cap holds
            # against that volume alone.
            own_on_tape=True,
        )
        self.notional_attos = 0
        self.quantity_nanos = 0
        self.trade_count = 0
        self._tracked_until_nanos = 0
        self._recent = RecentQuantity(self._impact.half_life_seconds)

    def count_from(self, tape: Tape) -> Volume | None:
        """Count everything since arrival anew, market and own fills; return as `on_prints`."""
        self._reset()
        arrival, end = self._parent.arrival_time_nanos, self._parent.parameters.end_time_nanos
        prices, sizes, times = tape.eligible(arrival)
        inside = times < end
        self._count(prices[inside], sizes[inside])
        times, sizes, prices = tape.continuous_prints(arrival)
        inside = times < end
        volume = self._track(times[inside], sizes[inside], prices[inside])
        for fill in self._parent.fills.values():
            self.on_fill(fill)
        return volume

    def on_prints(self, prints: Prints) -> Volume | None:
        """Take in a run of prints without cancels; return the continuous volume in it."""
        counts = (prints.flags & TradeFlag.ELIGIBLE) != 0
        counts &= prints.times >= self._parent.arrival_time_nanos
        counts &= prints.times < self._parent.parameters.end_time_nanos
        if not counts.any():
            return None
        self._count(prints.prices[counts], prints.sizes[counts])
        counts &= (prints.flags & TradeFlag.AUCTION) == 0
        return self._track(prints.times[counts], prints.sizes[counts], prints.prices[counts])

    def on_fill(self, fill: Fill) -> None:
        """Take in an own fill."""
        self._recent.add(fill.event_time_nanos, fill.quantity_nanos)
        if fill.liquidity is not Liquidity.AUCTION:
            self.tracker.add_own_fill(fill.event_time_nanos, fill.quantity_nanos)

    def on_bust(self, fill: Fill) -> None:
        """Take back an own fill."""
        self._recent.add(fill.event_time_nanos, -fill.quantity_nanos)
        if fill.liquidity is not Liquidity.AUCTION:
            self.tracker.correct_own_fill(fill.event_time_nanos, fill.quantity_nanos)

    @property
    def vwap(self) -> float:
        """VWAP of the market since arrival in currency units; 0.0 when nothing printed."""
        if not self.quantity_nanos:
            return 0.0
        return self.notional_attos / (self.quantity_nanos * NANO)

    @property
    def participation_rate(self) -> float:
        """Own share of the eligible volume since arrival, own included."""
        own, volume = self._parent.filled_quantity_nanos, self.quantity_nanos
        if self._parent.plan.own_fills_on_tape is False:
            volume += own
        return min(own / volume, 1.0) if volume else 0.0

    def daily_volume(self, now_nanos: int) -> float:
        """Return the median daily volume in shares, else what was seen stretched to a session; 0: unknown."""
        if self._parent.plan.median_daily_volume > 0:
            return self._parent.plan.median_daily_volume
        seen_nanos = now_nanos - self._parent.arrival_time_nanos
        if seen_nanos < 5 * MINUTE_NANOS:
            return 0.0
        return self.quantity_nanos / NANO * SESSION_NANOS / seen_nanos

    def impact(self, now_nanos: int) -> float:
        """Return the modelled impact of what was executed lately and what works now, as a fraction."""
        quantity = self._recent.at(now_nanos) + self._parent.working_quantity_nanos
        return self._impact.fraction(quantity, self.daily_volume(now_nanos))

    def room(self, now_nanos: int, cap: float) -> int:
        """Return what may still be sent under a cap, what works already taken off, in 1e-9 shares."""
        allowed = self.tracker.allowed_nanos(now_nanos, cap)
        return max(allowed - self._parent.working_quantity_nanos, 0)

    def window_room(self, now_nanos: int, cap: float) -> float:
        """Return what may still fill in the parent's own window alone, in 1e-9 shares."""
        own, volume = self.tracker.own_nanos(now_nanos), self.tracker.volume_nanos(now_nanos)
        return (cap * volume - own) / (1 - cap)

    def _count(self, prices: Column, sizes: Column) -> None:
        total = average_price(prices.data, sizes.data)
        self.notional_attos += total.notional_e18
        self.quantity_nanos += total.quantity_nanos
        self.trade_count += total.print_count

    def _track(self, times: Column, sizes: Column, prices: Column) -> Volume | None:
        if not len(times):
            return None
        # A late print counts as volume when it was seen, not when it happened.
        ordered = np.maximum.accumulate(np.maximum(times, self._tracked_until_nanos))
        self._tracked_until_nanos = int(ordered[-1])
        self.tracker.add_volume(ordered.data, sizes.data)
        return ordered, sizes, prices
