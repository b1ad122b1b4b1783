"""Daily features of prices, each from its own session and earlier ones alone."""

from __future__ import annotations

import numpy as np

from servers.signals.domain.panel import Doubles
from servers.signals.evaluation.files import Prices

NAMES = (
    "return_1d", "return_5d", "return_20d", "gap", "intraday_return", "volatility_20d", "range_ratio",
    "volume_surprise", "vwap_distance", "rsi_14", "macd_histogram", "market_return_1d", "market_return_5d",
    "relative_return_1d",
)  # fmt: skip


def price_features(prices: Prices) -> tuple[tuple[str, ...], Doubles]:
    """Return names and values, sessions by symbols by names; returns are in units of volatility."""
    close, volume = prices.close, np.where(prices.volume > 0.0, prices.volume, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        one = _back(np.log(close), 1)
        volatility = _rolling_std(one, 20)
        market = _mean(one)
        typical = (prices.high + prices.low + close) / 3.0
        vwap = _rolling_sum(typical * volume, 20) / _rolling_sum(volume, 20)
        logs = np.log(volume)
        spread = np.log(prices.high / prices.low)
        rsi, macd = _indicators(close)
        columns = (
            one / volatility,
            _back(np.log(close), 5) / volatility / np.sqrt(5.0),
            _back(np.log(close), 20) / volatility / np.sqrt(20.0),
            np.log(prices.open / _shifted(close, 1)) / volatility,
            np.log(close / prices.open) / volatility,
            np.log(volatility),
            np.log(_rolling_mean(spread, 3) / _rolling_mean(spread, 20)),
            logs - _shifted(_rolling_mean(logs, 20), 1),
            np.log(close / vwap) / volatility,
            rsi / 50.0 - 1.0,
            macd / (close * volatility),
            np.broadcast_to(market[:, None], close.shape) / volatility,
            np.broadcast_to(_rolling_sum(market[:, None], 5), close.shape) / volatility,
            (one - market[:, None]) / volatility,
        )
    values = np.stack(columns, axis=-1)
    return NAMES, np.where(np.isfinite(values), values, np.nan)


def _indicators(close: Doubles) -> tuple[Doubles, Doubles]:
    """Return RSI(14) and the MACD histogram by TA-Lib, over each symbol's own sessions."""
    import talib

    rsi, macd = np.full_like(close, np.nan), np.full_like(close, np.nan)
    for at in range(close.shape[1]):
        known = np.isfinite(close[:, at])
        series = np.ascontiguousarray(close[known, at])
        # Whatever the length: how many sessions follow must not decide what is known of this one.
        if len(series) > 1:
            rsi[known, at] = talib.RSI(series, timeperiod=14)
            macd[known, at] = talib.MACD(series)[2]
    return rsi, macd


def _shifted(values: Doubles, sessions: int) -> Doubles:
    moved = np.full_like(values, np.nan)
    moved[sessions:] = values[:-sessions]
    return moved


def _back(logs: Doubles, sessions: int) -> Doubles:
    change: Doubles = logs - _shifted(logs, sessions)
    return change


def _windows(values: Doubles, length: int) -> Doubles:
    padded = np.concatenate([np.full((length - 1, *values.shape[1:]), np.nan), values])
    return np.lib.stride_tricks.sliding_window_view(padded, length, axis=0)


def _rolling_sum(values: Doubles, length: int) -> Doubles:
    total: Doubles = _windows(values, length).sum(axis=-1)
    return total


def _rolling_mean(values: Doubles, length: int) -> Doubles:
    return _rolling_sum(values, length) / length


def _rolling_std(values: Doubles, length: int) -> Doubles:
    spread: Doubles = _windows(values, length).std(axis=-1)
    return np.where(spread > 1e-9, spread, np.nan)


def _mean(values: Doubles) -> Doubles:
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=1)
    count = known.sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
