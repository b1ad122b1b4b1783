"""Minute bars of sessions before the present one: what a volume curve is learnt from."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from native.flow import volume_shape
from servers.exchange.simulated import CLOSING_SHARE, OPENING_SHARE
from servers.model.calendar import Session

MINUTE_NANOS = 60_000_000_000


class MinuteBar(NamedTuple):
    """One minute: start in UTC nanoseconds, prices in nanos, volume in shares."""

    start_nanos: int
    open_nanos: int
    high_nanos: int
    low_nanos: int
    close_nanos: int
    volume: float


@dataclass(frozen=True, slots=True)
class HistoryModel:
    """What drawn history of one symbol looks like."""

    symbol: str
    seed: int
    last_price_nanos: int
    tick_nanos: int
    daily_volume: float
    daily_volatility: float


def draw_history(model: HistoryModel, sessions: Sequence[Session]) -> list[MinuteBar]:
    """Return the same minute bars for the same model and sessions: U-shaped, with days of their own size.

    Prices walk back from `last_price_nanos`; minutes' volumes are log-normal around the flow's own shape, and
    the auctions trade in the first and the last minute.
    """
    bars: list[MinuteBar] = []
    close = float(model.last_price_nanos)
    for session in reversed(sessions):
        chance = np.random.default_rng(zlib.crc32(f"{model.seed}/{model.symbol}/{session.date}".encode()))
        minutes = max(session.length_nanos // MINUTE_NANOS, 1)
        shape = np.array([volume_shape((minute + 0.5) / minutes) for minute in range(minutes)])
        heat = np.exp(0.3 * chance.standard_normal(minutes) - 0.045)
        volumes = shape / shape.sum() * heat
        volumes[0] += OPENING_SHARE
        volumes[-1] += CLOSING_SHARE
        volumes *= model.daily_volume * np.exp(0.25 * chance.standard_normal() - 0.03)
        steps = model.daily_volatility / np.sqrt(minutes) * np.sqrt(shape) * chance.standard_normal(minutes)
        closes = close * np.exp(np.cumsum(steps) - steps.sum())
        opens = np.concatenate([[closes[0] * np.exp(-steps[0])], closes[:-1]])
        reach = 0.4 * model.daily_volatility / np.sqrt(minutes) * np.abs(chance.standard_normal((2, minutes)))
        highs = np.maximum(opens, closes) * (1 + reach[0])
        lows = np.minimum(opens, closes) * (1 - reach[1])
        open_, high, low, close_ = (
            _on_grid(column, model.tick_nanos) for column in (opens, highs, lows, closes)
        )
        day = [
            MinuteBar(
                session.open_time_nanos + minute * MINUTE_NANOS,
                int(open_[minute]),
                int(high[minute]),
                int(low[minute]),
                int(close_[minute]),
                float(np.floor(volumes[minute])),
            )
            for minute in range(minutes)
        ]
        bars = [bar for bar in day if bar.volume > 0] + bars
        close = float(opens[0])
    return bars


def _on_grid(prices: npt.NDArray[np.float64], tick_nanos: int) -> npt.NDArray[np.int64]:
    return np.maximum((prices / tick_nanos).round().astype(np.int64), 1) * tick_nanos
