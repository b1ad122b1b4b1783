"""The plain-Python twin of `native.backtest`: one print after the other, everything written out."""

from dataclasses import dataclass, field
from math import exp, sqrt
from typing import Any

import numpy as np

from native.participation import ParticipationTracker

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
        shortest_nanos: int = 60 * ONE,
        limit_price_nanos: int = 0,
    ) -> None:
        self.schedule, self.side, self.costs = schedule, side, costs
        self.step, self.latency = step_nanos, latency_nanos
        self.passive_steps, self.rate_steps = passive_steps, rate_steps
        self.queue_nanos, self.print_share = queue_nanos, int(print_share * ONE + 0.5)
        self.cap, self.limit = cap, limit_price_nanos
        self.tracker = ParticipationTracker(window_nanos, shortest_nanos)
        self.start, self.end = schedule.start_nanos, schedule.end_nanos
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
        aim = self.schedule.target_nanos(self.next_decision)
        due = aim
        if self.passive_steps:
            due = min(self.aims[self.passive_steps - 1], aim)
            self.aims = [aim, *self.aims[:-1]]
        self.marks = [(self.volume, self.done), *self.marks[:-1]]
        if aim > self.done:
            self.children += 1 + (self.done < due < aim)
        elif not self.market_leaves and not self.passive_leaves:
            return
        offset = int(self.costs.half_spread_bps * 1e-4 * self.last_price + 0.5)
        self.coming = (due, aim, self.last_price - self.side * offset)
        self.next_arrival = now + self.latency

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
            self.book(now, fill_price, part, is_passive=True)
            self.passive_leaves -= part
            available -= part
        part = self.lots(available, self.market_leaves)
        if part <= 0:
            return
        volume_then, done_then = self.marks[self.rate_steps - 1]
        own = float(self.done) + float(part) - float(done_then)
        others = max(float(self.volume) - float(volume_then), self.floor)
        impact = displacement + self.costs.rate_impact(own / (own + others))
        fill_price = price + self.side * int((self.costs.half_spread_bps * 1e-4 + impact) * price + 0.5)
        if self.within_limit(fill_price):
            self.book(now, fill_price, part, is_passive=False)
            self.market_leaves -= part

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
