"""Plain-Python twins of the kernels: the specification, in exact fractions, as slow as it needs to be."""

import math
from collections.abc import Sequence
from fractions import Fraction

Trades = Sequence[tuple[int, int]]


def vwap(trades: Trades) -> float:
    """Return the VWAP of (price, size) pairs in price units."""
    quantity = sum(size for _, size in trades)
    if quantity == 0:
        return math.nan
    return float(Fraction(sum(price * size for price, size in trades), quantity * 10**9))


def deviation(trades: Trades) -> float:
    """Return the volume-weighted standard deviation around the VWAP in price units."""
    quantity = sum(size for _, size in trades)
    if quantity == 0:
        return math.nan
    mean = Fraction(sum(price * size for price, size in trades), quantity)
    return math.sqrt(sum(size * (price - mean) ** 2 for price, size in trades) / quantity) * 1e-9


def session_windows(times: Sequence[int], boundaries: Sequence[int]) -> list[tuple[int, int]]:
    """Return for every trade the first and the last index of what its session has seen."""
    windows = []
    for i, time in enumerate(times):
        start = max((boundary for boundary in boundaries if boundary <= time), default=-math.inf)
        windows.append((next(k for k, other in enumerate(times) if other >= start), i))
    return windows


def count_windows(length: int, window: int) -> list[tuple[int, int]]:
    return [(max(0, i - window + 1), i) for i in range(length)]


def time_windows(times: Sequence[int], window: int) -> list[tuple[int, int]]:
    return [
        (next(k for k, other in enumerate(times) if other > time - window), i) for i, time in enumerate(times)
    ]


def series(trades: Trades, windows: list[tuple[int, int]]) -> list[float]:
    return [vwap(trades[first : last + 1]) for first, last in windows]


def deviations(trades: Trades, windows: list[tuple[int, int]]) -> list[float]:
    return [deviation(trades[first : last + 1]) for first, last in windows]


def largest_remainder(quantity: int, lot: int, weights: Sequence[float]) -> list[int]:
    exact = [Fraction(weight) for weight in weights]
    lots = quantity // lot
    quotas = [lots * weight / sum(exact) for weight in exact]
    shares = [math.floor(quota) for quota in quotas]
    order = sorted(range(len(quotas)), key=lambda i: (shares[i] - quotas[i], i))
    for i in order[: lots - sum(shares)]:
        shares[i] += 1
    result = [share * lot for share in shares]
    result[max(i for i, weight in enumerate(exact) if weight)] += quantity % lot
    return result


def curve_share(edges: Sequence[int], weights: Sequence[float], start: int, end: int, now: int) -> Fraction:
    """Return the exact share of the curve between start and end that lies before `now`."""

    def area(until: int) -> Fraction:
        return sum(
            (
                Fraction(weight) * Fraction(max(0, min(high, until) - max(low, start)), high - low)
                for low, high, weight in zip(edges, edges[1:], weights, strict=False)
            ),
            Fraction(0),
        )

    return area(min(max(now, start), end)) / area(end)


def allowed(
    tape: Trades,
    own: Trades,
    now: int,
    cap_billionths: int,
    window: int,
    own_on_tape: bool,
    pace_billionths: int = 0,
) -> int:
    """Return the largest quantity that keeps the cap over every window held; events are (time, size)."""
    length = -(-window // 60)
    oldest = max(now - window + 1, 0) // length
    market = sorted(tape if own_on_tape else [*tape, *own])

    def volume(begin: int) -> int:
        return sum(size for time, size in market if begin <= time <= now)

    step = volume(oldest * length) * pace_billionths // ((now // length - oldest + 1) * 10**9)

    def room(begin: int) -> int:
        steps = max(begin // length - oldest - 1, 0)
        done = sum(size for time, size in own if time >= begin)
        return cap_billionths * (volume(begin) + step * steps) - 10**9 * done

    begins = {now, *range((oldest + 1) * length - 1, now, length)}
    begins |= {time for time, _ in own if oldest * length <= time <= now}
    return max(0, min(map(room, begins)) // (10**9 - cap_billionths))


def price_levels(trades: Trades, tick: int) -> dict[int, int]:
    levels: dict[int, int] = {}
    for price, size in trades:
        levels[price // tick * tick] = levels.get(price // tick * tick, 0) + size
    return {price: size for price, size in sorted(levels.items()) if size}


def value_area(levels: dict[int, int], tick: int, share: Fraction) -> tuple[int, int]:
    low = high = max(levels, key=lambda price: (levels[price], -price))
    held, wanted = levels[low], share * sum(levels.values())
    while held < wanted:
        above = levels.get(high + tick, 0) if high < max(levels) else -1
        below = levels.get(low - tick, 0) if low > min(levels) else -1
        if above >= below:
            high, held = high + tick, held + above
        else:
            low, held = low - tick, held + below
    return low, high
