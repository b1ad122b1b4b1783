"""What makes the simulated flow realistic: how each property is measured, and the band that it must keep.

The tests hold the bands; `python -m benchmarks realism` measures the same and draws it. A day is the tape
of one simulated session (`market_day`); prices are in ticks, sizes in lots.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from native import book as b
from tests.native.market_day import OPEN, SECOND, Tape, cash_of, opened

Floats = npt.NDArray[np.float64]
SEEDS = range(40)
# The participant of the impact and round-trip measurements begins fifteen minutes after the open.
BEGIN = OPEN + 900 * SECOND


class Band(NamedTuple):
    """The values that are realistic enough, both ends included."""

    low: float = -math.inf
    high: float = math.inf

    def holds(self, values: float | Iterable[float]) -> bool:
        """Tell whether every value lies in the band."""
        return all(self.low <= value <= self.high for value in np.atleast_1d(np.asarray(values, float)))


SMALLEST_SPREAD = Band(low=1)
MEAN_SPREAD = Band(1.0, 4.0)
TWO_SIDED_SHARE = Band(low=0.99)
BOUNCE = Band(-0.55, -0.2)
# By lag in orders: a power law with exponent near 0.5 falls to a tenth of its first value at lag 100.
SIGN_MEMORY = {1: Band(0.1, 0.5), 10: Band(low=0.03), 50: Band(low=0.007)}
RETURN_LAGS = (1, 2, 5)
RETURN_MEMORY = Band(-0.06, 0.06)
ABSOLUTE_RETURN_LAGS = (1, 2, 3, 5)
ABSOLUTE_RETURN_MEMORY = Band(low=0.05)
KURTOSIS = Band(low=4.0)
IMPACT_LOTS = (25_000, 50_000, 100_000, 200_000)
IMPACT_EXPONENT = Band(0.4, 0.7)
DECAY_SECONDS = 2_400
IMPACT_LEFT = Band(0.0, 0.8)
# Mean and two standard errors above it, in ticks a lot traded.
ROUND_TRIP_RESULT = Band(high=0.0)
WASH_TRADE_RESULT = Band(high=0.0)


# -- what a tape shows


def autocorrelation(values: Floats, lag: int) -> float:
    """Return the autocorrelation of a series at a lag, about its own mean."""
    centred = values - values.mean()
    return float((centred[lag:] * centred[:-lag]).mean() / centred.var())


def kurtosis(values: Floats) -> float:
    """Return the fourth moment over the squared variance: 3 for a normal distribution."""
    return float(((values - values.mean()) ** 4).mean() / values.var() ** 2)


def two_sided_share(day: Tape) -> float:
    """Return the share of quotes that have both a bid and an ask."""
    return float(((day.bids > 0) & (day.asks > 0)).mean())


def spreads(day: Tape) -> npt.NDArray[np.int64]:
    """Return ask minus bid, in ticks, of the quotes that have both."""
    return (day.asks - day.bids)[(day.bids > 0) & (day.asks > 0)]


def order_starts(day: Tape) -> npt.NDArray[np.int64]:
    """Return the place of the first print of each aggressive order: prints of one moment belong together."""
    continuous = np.flatnonzero((day.flags & b.AUCTION_FLAG) == 0)
    starts: npt.NDArray[np.int64] = continuous[np.append(True, np.diff(day.times[continuous]) > 0)]
    return starts


def price_moves(day: Tape) -> Floats:
    """Return the price changes, in ticks, from one aggressive order to the next."""
    return np.diff(day.prices[order_starts(day)]).astype(np.float64)


def order_signs(day: Tape) -> Floats:
    """Return +1 for an aggressive buyer and -1 for a seller, one an order."""
    return np.where(day.flags[order_starts(day)] & b.BUYER_FLAG, 1.0, -1.0)


def bounce(day: Tape, lag: int = 1) -> float:
    """Return the autocorrelation of price changes, which the bid-ask bounce makes negative at lag 1."""
    return autocorrelation(price_moves(day), lag)


def sign_memory(days: Sequence[Tape], lag: int) -> float:
    """Return the autocorrelation of order signs at a lag in orders, averaged over days."""
    return float(np.mean([autocorrelation(order_signs(day), lag) for day in days]))


def log_returns(days: Sequence[Tape], minutes: int = 1) -> Floats:
    """Return the log returns of the mid over so many minutes, the days one after another."""
    step = minutes * 60 * SECOND
    return np.concatenate(
        [
            np.diff(np.log(day.mid_at(np.arange(day.quote_times[0], day.quote_times[-1], step))))
            for day in days
        ]
    )


def absolute_return_memory(returns: Floats, lags: Sequence[int] = ABSOLUTE_RETURN_LAGS) -> float:
    """Return the autocorrelation of absolute returns, averaged over lags."""
    return float(np.mean([autocorrelation(np.abs(returns), lag) for lag in lags]))


# -- what a participant meets


def pushed(seed: int, lots: int, waits: Sequence[int] = (0,)) -> list[float]:
    """Return the mid in ticks after buying `lots` in five minutes, at each of `waits` seconds later."""
    book, flow = opened(seed)
    time = BEGIN
    flow.advance(time)
    for _ in range(20):
        if lots:
            book.submit(b.BUY, b.MARKET, b.IMMEDIATE, 0, lots // 20, owner=1, reference=1)
        time += 15 * SECOND
        flow.advance(time)
    mids = []
    for wait in waits:
        flow.advance(time + wait * SECOND)
        bid, _, ask, _ = book.best()
        mids.append((bid + ask) / 2)
    return mids


def impacts(sizes: Sequence[int] = IMPACT_LOTS, waits: Sequence[int] = (0, DECAY_SECONDS)) -> Floats:
    """Return the mean impact in ticks, a row a size and a column a wait, against the same seeds unpushed."""
    base = np.array([pushed(seed, 0, waits) for seed in SEEDS])
    return np.array(
        [(np.array([pushed(seed, size, waits) for seed in SEEDS]) - base).mean(axis=0) for size in sizes]
    )


def impact_exponent(sizes: Sequence[int], peaks: Floats) -> float:
    """Return the slope of log impact in log size."""
    return float(np.polyfit(np.log(sizes), np.log(peaks), 1)[0])


Plan = list[tuple[int, int, int]]
BUY_SLOWLY: Plan = [(15, b.BUY, 5_000)] * 20
SELL_SLOWLY: Plan = [(15, b.SELL, 5_000)] * 20
# Steps of (seconds to wait, side, lots).
ROUND_TRIPS: dict[str, Plan] = {
    "a fast round trip": [(1, b.BUY, 20_000), (1, b.SELL, 20_000)],
    "buy slowly, sell fast": [*BUY_SLOWLY, (15, b.SELL, 50_000), (15, b.SELL, 50_000)],
    "buy fast, sell slowly": [(15, b.BUY, 50_000), (15, b.BUY, 50_000), *SELL_SLOWLY],
    "a momentum trigger upwards": [*BUY_SLOWLY, *SELL_SLOWLY],
    "a momentum trigger downwards": [*SELL_SLOWLY, *BUY_SLOWLY],
    "buy, wait, sell": [*BUY_SLOWLY, (600, b.SELL, 5_000), *SELL_SLOWLY[1:]],
}


def round_trip_result(plan: Plan) -> tuple[float, float]:
    """Return the mean result of a plan over the seeds and its standard error, in ticks a lot traded."""
    results = [round_trip_cash(plan, seed) / sum(lots for _, _, lots in plan) for seed in SEEDS]
    return float(np.mean(results)), float(np.std(results) / np.sqrt(len(results)))


def round_trip_cash(plan: Plan, seed: int) -> int:
    """Return the cash in tick-lots that a plan leaves once its position is closed."""
    book, flow = opened(seed)
    time = BEGIN
    flow.advance(time)
    sides: dict[int, int] = {}
    cash = position = 0
    todo = list(plan)
    while todo or position:
        # What a plan could not trade for want of a counterparty is closed at the end.
        side = b.SELL if position > 0 else b.BUY
        wait, side, lots = todo.pop(0) if todo else (15, side, min(abs(position), 5_000))
        time += wait * SECOND
        flow.advance(time)
        sides[len(sides) + 1] = 1 if side == b.BUY else -1
        book.submit(side, b.MARKET, b.IMMEDIATE, 0, lots, owner=1, reference=len(sides))
        more_cash, more = cash_of(book.take_events(), sides)
        cash, position = cash + more_cash, position + more
    return cash


def wash_trade_cash(seed: int = 11) -> int:
    """Return what two accounts that trade with each other hold, in tick-lots, valued at the bid before."""
    book, flow = opened(seed)
    flow.advance(OPEN + 60 * SECOND)
    bid, _, ask, _ = book.best()
    book.submit(b.SELL, b.LIMIT, b.RESTING, ask, 5_000, owner=1, reference=1)
    book.submit(b.BUY, b.LIMIT, b.RESTING, ask, 5_000 + 10_000, owner=2, reference=2)
    cash, position = cash_of(book.take_events(), {1: -1, 2: 1})
    return cash + position * bid
