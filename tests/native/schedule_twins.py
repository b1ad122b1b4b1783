"""Plain-Python twins of the schedules: the specification, as exact and as slow as it needs to be."""

import math
from abc import ABC, abstractmethod
from bisect import bisect
from collections.abc import Sequence
from fractions import Fraction

from tests.native import twins

MASK = 2**64 - 1
# Gauss-Hermite's rule with five points for a standard normal (Abramowitz and Stegun, table 25.10).
NODES = (-2.8569700138728056, -1.3556261799742659, 0.0, 1.3556261799742659, 2.8569700138728056)
WEIGHTS = (0.011257411327720689, 0.22207592200561266, 8 / 15, 0.22207592200561266, 0.011257411327720689)


class CurveTwin(ABC):
    """A schedule along a share of time that is known beforehand."""

    def __init__(self, quantity: int, start: int, end: int) -> None:
        self.quantity, self.start, self.end = quantity, start, end
        self.frozen = False
        self.plan(start, 0)

    @abstractmethod
    def share(self, now: int) -> Fraction:
        """Return the share that the curve has done at a time, 0 to 1."""

    def plan(self, now: int, done: int) -> None:
        self.plan_time, self.done = max(now, self.start), done
        self.planned_share = self.share(self.plan_time)

    def target(self, now: int) -> Fraction:
        """Return the target before it is rounded to lots."""
        planned = self.planned_share
        if self.frozen or now <= self.plan_time or planned == 1:
            return Fraction(self.done)
        left = self.quantity - self.done
        return self.done + left * (self.share(min(now, self.end)) - planned) / (1 - planned)

    def add_volume(self, time: int, size: int) -> None:  # noqa: B027 - a fixed curve ignores volume
        """Take in volume."""


class StaticTwin(CurveTwin):
    def __init__(
        self, quantity: int, start: int, end: int, edges: Sequence[int], weights: Sequence[float]
    ) -> None:
        self.edges = [start, *[edge for edge in edges if start < edge < end], end]
        self.shares = [twins.curve_share(edges, weights, start, end, edge) for edge in self.edges]
        super().__init__(quantity, start, end)

    def share(self, now: int) -> Fraction:
        if now <= self.start or now >= self.end:
            return Fraction(int(now >= self.end))
        at = bisect(self.edges, now) - 1
        low, high = self.edges[at : at + 2]
        return self.shares[at] + (self.shares[at + 1] - self.shares[at]) * Fraction(now - low, high - low)


class ShortfallTwin(CurveTwin):
    """Almgren and Chriss's difference equation, solved as a linear system instead of by its closed form."""

    def __init__(
        self, quantity: int, start: int, end: int, aversion: float, sigma: float, eta: float, steps: int
    ) -> None:
        steps = steps if aversion else 1  # indifferent to risk: a straight line
        self.times = [start + (end - start) * j // steps for j in range(steps + 1)]
        interval = (end - start) * 1e-9 / steps
        pull = aversion * sigma**2 / eta * interval**2
        self.left = [Fraction(x) for x in tridiagonal(pull, steps)]
        super().__init__(quantity, start, end)

    def share(self, now: int) -> Fraction:
        for low, high, begin, end in zip(self.times, self.times[1:], self.left, self.left[1:], strict=False):
            if low <= now < high:
                return 1 - begin + (begin - end) * Fraction(now - low, high - low)
        return Fraction(int(now >= self.end))


def tridiagonal(pull: float, steps: int) -> list[float]:
    """Return x with x[j-1] - (2 + pull) x[j] + x[j+1] = 0, x[0] = 1 and x[steps] = 0."""
    ratios = [0.0] * (steps + 1)  # x[j] = ratios[j] x[j-1], from the end
    for j in range(steps - 1, 0, -1):
        ratios[j] = 1 / (2 + pull - ratios[j + 1])
    left = [1.0]
    for j in range(1, steps + 1):
        left.append(left[-1] * ratios[j])
    return left


class AdaptiveTwin(CurveTwin):
    """The expected share of the volume, as points that are joined by straight lines."""

    def __init__(
        self,
        quantity: int,
        start: int,
        end: int,
        edges: Sequence[int],
        volumes: Sequence[float],
        log_sd: float,
        tolerance: float,
        capacity_rate: float = 0.0,
    ) -> None:
        self.capacity_rate = capacity_rate
        self.edges, self.volumes, self.log_sd, self.tolerance = edges, list(volumes), log_sd, tolerance
        self.lean = 0.0
        super().__init__(quantity, start, end)

    def plan(self, now: int, done: int) -> None:
        self.points = [(max(now, self.start), 0.0)]
        super().plan(now, done)
        self.observed = 0
        if self.plan_time < self.end:
            self.draw(self.plan_time, 0.0)

    def share(self, now: int) -> Fraction:
        if self.plan_time >= self.end:
            return Fraction(1)
        if now <= self.plan_time:
            return Fraction(0)
        return Fraction(self.line(now))

    def line(self, now: int) -> float:
        if now >= self.end:
            return 1.0
        for (low, begin), (high, end) in zip(self.points, self.points[1:], strict=False):
            if low <= now < high:
                return begin + (end - begin) * (now - low) / (high - low)
        return self.points[-1][1]

    def ahead(self, now: int, until: int) -> float:
        return sum(
            volume * max(0, min(high, until) - max(low, now)) / (high - low)
            for low, high, volume in zip(self.edges, self.edges[1:], self.volumes, strict=False)
        )

    def draw(self, now: int, lean: float) -> None:
        present = self.line(now)
        self.points = [point for point in self.points if point[0] < now] + [(now, present)]
        seen, rest = self.observed * 1e-9, self.ahead(now, self.end)
        inside = [edge for edge in self.edges if now < edge < self.end] + [self.end]
        for place, edge in enumerate(inside):
            if rest > 0:
                mean = expected_share(seen, self.ahead(now, edge), rest, self.log_sd)
            else:
                mean = present + (1 - present) * (edge - now) / (self.end - now)
            if place == 0:
                mean += lean * 4 * mean * (1 - mean)
            left = (self.quantity - self.done) / 1e9
            if self.capacity_rate and left:
                mean = max(mean, 1 - self.capacity_rate * self.ahead(edge, self.end) / left)
            share = 1.0 if edge == self.end else min(max(mean, self.points[-1][1]), 1.0)
            self.points.append((edge, share))

    def revise(self, now: int, volumes: Sequence[float], log_sd: float) -> None:
        self.volumes = [
            new if edge > now else old
            for new, old, edge in zip(volumes, self.volumes, self.edges[1:], strict=True)
        ]
        self.log_sd = log_sd
        if not self.frozen and self.plan_time < self.end:
            if now > self.plan_time:
                self.draw(now, self.lean)
            else:
                self.plan(self.plan_time, self.done)

    def sense(self, spread: float, depth: float, volume: float, volatility: float) -> None:
        def bounded(ratio: float) -> float:
            return min(max(math.log(ratio), -1), 1) if ratio > 0 else 0.0

        score = (bounded(depth) + bounded(volume) - bounded(spread)) / 3
        self.lean = score * self.tolerance / (min(max(volatility, 0.5), 4) if volatility > 0 else 1)

    def add_volume(self, time: int, size: int) -> None:
        if self.plan_time < time < self.end:
            self.observed += size


def expected_share(seen: float, until: float, rest: float, log_sd: float) -> float:
    if log_sd == 0:
        return (seen + until) / (seen + rest)
    levels = [math.exp(log_sd * node - log_sd**2 / 2) for node in NODES]
    return sum(
        weight * (seen + until * level) / (seen + rest * level)
        for weight, level in zip(WEIGHTS, levels, strict=True)
    )


class PovTwin(CurveTwin):
    """A share of the prints so far; an earlier time sees those before the start of its slice."""

    def __init__(
        self, quantity: int, start: int, end: int, rate_billionths: int, slice_nanos: int, own_on_tape: bool
    ) -> None:
        self.prints: list[tuple[int, int]] = []
        self.planned = 0
        self.slice = slice_nanos
        rate = Fraction(rate_billionths, 10**9)
        self.ratio = rate if own_on_tape else rate / (1 - rate)
        super().__init__(quantity, start, end)

    def share(self, now: int) -> Fraction:
        return Fraction(int(now >= self.end))

    def plan(self, now: int, done: int) -> None:
        super().plan(now, done)
        self.planned = sum(size for _, size in self.prints)

    def add_volume(self, time: int, size: int) -> None:
        if self.start <= time < self.end:
            self.prints.append((time, size))
            if time <= self.plan_time:
                self.planned = sum(size for _, size in self.prints)

    def target(self, now: int) -> Fraction:
        if self.frozen or now <= self.plan_time or self.plan_time >= self.end:
            return Fraction(self.done)
        last = max((time for time, _ in self.prints), default=self.start)
        until = now if now >= last else self.start + (now - self.start) // self.slice * self.slice - 1
        volume = max(sum(size for time, size in self.prints if time <= until) - self.planned, 0)
        return min(self.done + volume * self.ratio, Fraction(self.quantity))


def iceberg_slice(shown: int, lot: int, variation: float, seed: int, number: int, left: int) -> int:
    state = (seed + number * 0xD1B54A32D192ED03 + 0x9E3779B97F4A7C15) & MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    draw = ((state ^ (state >> 31)) >> 11) / 2**53
    size = int(shown * (1.0 + variation * (2.0 * draw - 1.0)))
    return min(max(size // lot, 1) * lot, left) if left > 0 else 0
