"""The plain-Python twin of `native.backtest`: one print after the other, everything written out."""

from dataclasses import dataclass, field
from math import exp, sqrt
from typing import Any

import numpy as np

from native.adaptive_schedule import AdaptiveVwapSchedule
from native.participation import ParticipationTracker
from native.pov_schedule import PovSchedule

ONE = 10**9
NEVER = 2**63 - 1


@dataclass
class Costs:
    half_spread_bps: float
    daily_volatility: float
    daily_volume: float
    temporary: float = 0.142
    temporary_power: float = 0.6
    permanent: float = 0.314
    permanent_share: float = 1.0
    half_life_seconds: float = 1800.0
    root: float = 0.0
    pushes: list[tuple[int, float]] = field(default_factory=list)

    def displacement(self, now: int) -> float:
        """Sum over all pushes: what stays, and what is left of what fades."""
        decay = self.half_life_seconds * 1e9 / 0.6931471805599453
        left = 0.0
        for time, part in self.pushes:
            left += part * (self.permanent_share + (1 - self.permanent_share) * exp(-(now - time) / decay))
        return self.daily_volatility * (self.permanent * left + self.root * sqrt(left))

    def rate_impact(self, participation: float) -> float:
        return float(self.temporary * self.daily_volatility * participation**self.temporary_power)


@dataclass
class Fill:
    time: int
    price: int
    size: int
    is_passive: bool


@dataclass
class TwinControls:
    """Both controls, as docs/definitions.md says them."""

    max_impact: float
    max_deviation: float
    answer_nanos: int | None
    rate: str = "full"
    mode: str = "normal"
    is_answered: bool = False
    paused_at: int = 0
    actions: int = 0

    @property
    def is_stopped(self) -> bool:
        return self.rate == "none" or self.mode == "paused"

    def take(self, now: int, impact: float, deviation: float | None) -> None:
        if impact > 1.5 * self.max_impact:
            self.actions += self.rate != "none"
            self.rate = "none"
        elif impact > self.max_impact and self.rate == "full":
            self.actions += 1
            self.rate = "half"
        elif impact < 0.75 * self.max_impact:
            self.rate = "full"
        if deviation is None or self.mode == "paused":
            return
        if deviation > 2 * self.max_deviation and not self.is_answered:
            self.actions += 1
            self.mode, self.paused_at = "paused", now
        elif deviation > self.max_deviation:
            self.actions += self.mode == "normal"
            self.mode = "passive"
        elif deviation < 0.75 * self.max_deviation:
            self.mode, self.is_answered = "normal", False


class TwinParent:
    def __init__(
        self,
        schedule: Any,
        side: int,
        costs: Costs,
        *,
        step_nanos: int,
        latency_nanos: int = 0,
        passive_steps: int = 0,
        rate_steps: int = 15,
        queue_nanos: int = 0,
        print_share: float = 1.0,
        cap: float | None = None,
        window_nanos: int = 300 * ONE,
        assumed_pace: float = 0.0,
        limit_price_nanos: int = 0,
        controls: TwinControls | None = None,
        fallback: Any = None,
    ) -> None:
        self.schedule, self.side, self.costs = schedule, side, costs
        self.step, self.latency = step_nanos, latency_nanos
        self.passive_steps, self.rate_steps = passive_steps, rate_steps
        self.queue_nanos, self.print_share = queue_nanos, int(print_share * ONE + 0.5)
        self.cap, self.limit = cap, limit_price_nanos
        self.tracker = ParticipationTracker(window_nanos, assumed_pace=assumed_pace)
        self.start, self.end = schedule.start_nanos, schedule.end_nanos
        self.controls, self.fallback = controls, fallback
        self.own_plan: tuple[Any, int, int] | None = None
        self.market_notional = 0
        self.next_decision, self.next_arrival = self.start, NEVER
        self.market_leaves = self.passive_leaves = self.passive_limit = self.queue = 0
        self.last_price = self.done = self.volume = 0
        self.aims = [0] * 64
        self.marks: list[tuple[int, int]] = [(0, 0)] * 64
        self.fills: list[Fill] = []
        self.children = 0
        self.coming = (0, 0, 0)
        self.floor = costs.daily_volume * 1e9 * (self.step / (self.end - self.start))

    def move_to(self, now: int) -> None:
        while min(self.next_decision, self.next_arrival) <= now:
            if self.next_arrival <= self.next_decision:
                self.arrive()
            else:
                self.decide(self.next_decision)

    def decide(self, now: int) -> None:
        if now >= self.end:
            self.market_leaves = self.passive_leaves = 0
            self.next_decision = self.next_arrival = NEVER
            return
        self.next_decision = min(now + self.step, self.end)
        self.marks = [(self.volume, self.done), *self.marks[:-1]]
        controls = self.controls
        if controls:
            if (
                controls.mode == "paused"
                and controls.answer_nanos is not None
                and now - controls.paused_at >= controls.answer_nanos
            ):
                controls.mode, controls.is_answered = "passive", True
                self.plan_anew(now)
            self.control(now, self.impact_with(self.costs.displacement(now), 0))
        aim = self.target(self.next_decision)
        due = aim
        if self.passive_steps:
            due = min(self.aims[self.passive_steps - 1], aim)
            self.aims = [aim, *self.aims[:-1]]
        if controls and controls.is_stopped:
            return
        if controls and controls.rate == "half":
            aim, due = (self.done + self.half(part - self.done) for part in (aim, due))
        if controls and controls.mode == "passive":
            due = min(due, self.done)
        if aim > self.done:
            self.children += 1 + (self.done < due < aim)
        elif not self.market_leaves and not self.passive_leaves:
            return
        offset = int(self.costs.half_spread_bps * 1e-4 * self.last_price + 0.5)
        self.coming = (due, aim, self.last_price - self.side * offset)
        self.next_arrival = now + self.latency

    def target(self, moment: int) -> int:
        if self.own_plan is None:
            return int(self.schedule.target_nanos(moment))
        curve, done, share = self.own_plan
        if share >= 1.0:
            return done
        now = curve.planned_share(moment)
        if now >= 1.0:
            return int(self.schedule.quantity_nanos)
        lot = int(self.schedule.lot_nanos)
        lots = (self.schedule.quantity_nanos - done) // lot
        return done + int(lots * (now - share) / (1.0 - share) + 0.5) * lot

    def plan_anew(self, now: int) -> None:
        assert self.controls
        if self.fallback is not None and self.controls.mode != "normal":
            self.own_plan = (self.fallback, self.done, self.fallback.planned_share(now))
        elif isinstance(self.schedule, (AdaptiveVwapSchedule, PovSchedule)):
            self.own_plan = None
            self.schedule.replan(now, self.done)
        else:
            self.own_plan = (self.schedule, self.done, self.schedule.planned_share(now))

    def control(self, now: int, impact: float) -> None:
        controls = self.controls
        assert controls
        deviation = None
        if 10 * self.done >= self.schedule.quantity_nanos and self.volume > 0:
            own = sum(fill.price * fill.size for fill in self.fills) / self.done
            deviation = abs(own / (self.market_notional / self.volume) - 1)
        rate, mode = controls.rate, controls.mode
        controls.take(now, impact, deviation)
        if (rate, mode) == (controls.rate, controls.mode):
            return
        if controls.is_stopped:
            self.market_leaves = self.passive_leaves = 0
            self.next_arrival = NEVER
        due, aim, limit = self.coming
        if controls.mode == "passive":
            self.market_leaves = 0
            due = min(due, self.done)
        if rate == "full" and controls.rate == "half":
            self.market_leaves, self.passive_leaves = (
                self.half(self.market_leaves),
                self.half(self.passive_leaves),
            )
            due, aim = self.done + self.half(due - self.done), self.done + self.half(aim - self.done)
        self.coming = (due, aim, limit)
        is_released = (rate != "full" and controls.rate == "full") or (
            ("normal", "passive", "paused").index(controls.mode) < ("normal", "passive", "paused").index(mode)
        )
        if is_released or (self.fallback is not None and mode == "normal" != controls.mode):
            self.plan_anew(now)

    def half(self, leaves: int) -> int:
        lot = int(self.schedule.lot_nanos)
        return leaves if leaves < 2 * lot else leaves // 2 // lot * lot

    def impact_with(self, displacement: float, part: int) -> float:
        volume_then, done_then = self.marks[self.rate_steps - 1]
        own = float(self.done) + float(part) - float(done_then)
        others = max(float(self.volume) - float(volume_then), self.floor)
        return displacement + self.costs.rate_impact(own / (own + others))

    def arrive(self) -> None:
        self.next_arrival = NEVER
        due, aim, self.passive_limit = self.coming
        at_market = max(self.done, due)
        self.market_leaves = at_market - self.done
        self.passive_leaves = max(0, aim - at_market)
        self.queue = self.queue_nanos

    def take(self, now: int, price: int, size: int, takeable: int) -> None:
        self.move_to(now)
        if self.start <= now < self.end:
            self.volume += size
            self.market_notional += price * size
            self.tracker.add_volume(column(now), column(size))
            self.schedule.add_volume(column(now), column(size))
            if self.market_leaves or self.passive_leaves:
                self.fill_from(now, price, takeable)
        self.last_price = price

    def fill_from(self, now: int, price: int, size: int) -> None:
        resting = 0
        if self.passive_leaves and self.passive_limit > 0:
            if self.side * (self.passive_limit - price) > 0:
                resting, self.queue = size, 0
            elif self.passive_limit == price:
                ahead = min(self.queue, size)
                self.queue -= ahead
                resting = size - ahead
        available = size * self.print_share // ONE
        if self.cap is not None:
            available = min(available, self.tracker.allowed_nanos(now, self.cap))
        if available <= 0:
            return
        displacement = self.costs.displacement(now)
        part = self.lots(min(available, resting), self.passive_leaves)
        fill_price = self.passive_limit + self.side * int(displacement * self.passive_limit + 0.5)
        if part > 0 and self.within_limit(fill_price):
            if self.controls:
                self.control(now, self.impact_with(displacement, part))
                part = min(part, self.passive_leaves)
            if part > 0:
                self.book(now, fill_price, part, is_passive=True)
                self.passive_leaves -= part
                available -= part
        part = self.lots(available, self.market_leaves)
        if part <= 0 or not self.within_limit(self.market_price(displacement, price, part)):
            return
        if self.controls:
            self.control(now, self.impact_with(displacement, part))
            part = min(part, self.market_leaves)
        if part > 0:
            self.book(now, self.market_price(displacement, price, part), part, is_passive=False)
            self.market_leaves -= part

    def market_price(self, displacement: float, price: int, part: int) -> int:
        cost = self.costs.half_spread_bps * 1e-4 + self.impact_with(displacement, part)
        return price + self.side * int(cost * price + 0.5)

    def lots(self, available: int, leaves: int) -> int:
        return leaves if leaves <= available else available - available % int(self.schedule.lot_nanos)

    def within_limit(self, price: int) -> bool:
        return self.limit == 0 or self.side * (price - self.limit) <= 0

    def book(self, now: int, price: int, size: int, *, is_passive: bool) -> None:
        self.done += size
        self.costs.pushes.append((now, size * 1e-9 / self.costs.daily_volume))
        self.tracker.add_own_fill(now, size)
        self.fills.append(Fill(now, price, size, is_passive))


def column(value: int) -> Any:
    return np.array([value], np.int64)
