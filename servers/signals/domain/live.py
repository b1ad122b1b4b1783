"""Features of one symbol at one moment of a session, the same in training and in service.

Only minutes that are over count. Returns are in units of the volatility of a minute, so that one model serves
quiet and wild names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from servers.signals.domain.panel import Doubles, Group, Int64s

MINUTE_NANOS = 60 * 1_000_000_000
VOLATILITY_BARS = 60
LEAST_BARS = 6
FRESH_HALF_LIFE_NANOS = 20 * MINUTE_NANOS
"""The pull of posts halves so long after the newest."""
BURST_BOUND = 6.0

PRICE_NAMES = (
    "return_1m", "return_5m", "return_30m", "volatility_change", "vwap_distance", "volume_surprise", "rsi_14",
    "macd_histogram",
)  # fmt: skip
POST_NAMES = ("score", "authors", "burst", "pull")
REGIME_NAMES = ("efficiency_ratio", "variance_ratio", "volatility_ratio")
WORDS: Mapping[str, str] = {
    "return_1m": "the last minute's return, in standard deviations",
    "return_5m": "the last five minutes' return, in standard deviations",
    "return_30m": "the last half hour's return, in standard deviations",
    "volatility_change": "log of ten minutes' volatility over an hour's",
    "vwap_distance": "distance from the session's VWAP, in half-hour standard deviations",
    "volume_surprise": "log of five minutes' volume over half an hour's",
    "rsi_14": "RSI(14), from -1 to 1",
    "macd_histogram": "MACD histogram, in standard deviations of a minute",
    "news_score": "what news says, from -1 to 1",
    "news_authors": "log of one and the outlets that count",
    "news_burst": "outlets above what is usual, in standard deviations",
    "news_pull": "what news says, less with age",
    "social_score": "what posts say, from -1 to 1",
    "social_authors": "log of one and the authors that count",
    "social_burst": "authors above what is usual, in standard deviations",
    "social_pull": "what posts say, less with age",
    "efficiency_ratio": "net move over path, 0 to 1",
    "variance_ratio": "whether moves go on (above 1) or come back",
    "volatility_ratio": "recent volatility over earlier",
}
NAMES: Mapping[Group, tuple[str, ...]] = {
    Group.PRICE: PRICE_NAMES,
    Group.NEWS: tuple(f"news_{name}" for name in POST_NAMES),
    Group.SOCIAL: tuple(f"social_{name}" for name in POST_NAMES),
    Group.REGIME: REGIME_NAMES,
}
GROUP_OF: Mapping[str, Group] = {name: group for group, names in NAMES.items() for name in names}


@dataclass(frozen=True, slots=True)
class Bars:
    """One session's minutes that are over, oldest first; minutes without a print are absent.

    `vwap` is each bar's; where the source has none, its close.
    """

    end_nanos: Int64s
    close: Doubles
    vwap: Doubles
    volume: Doubles

    def __len__(self) -> int:
        return len(self.end_nanos)

    @classmethod
    def none(cls) -> Bars:
        """Return a session without a minute yet."""
        return cls(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0), np.zeros(0))


@dataclass(frozen=True, slots=True)
class PostAggregate:
    """What posts of one kind say, as news aggregates it: score -1 to 1, authors, burst, newest post."""

    score: float = 0.0
    effective_authors: float = 0.0
    zscore: float = 0.0
    newest_nanos: int = 0

    def features(self, now_nanos: int) -> tuple[float, ...]:
        """Return the figures of `POST_NAMES`; all 0 without posts."""
        age = max(now_nanos - self.newest_nanos, 0)
        fresh = math.exp2(-age / FRESH_HALF_LIFE_NANOS) if self.newest_nanos else 0.0
        return (
            self.score,
            math.log1p(max(self.effective_authors, 0.0)),
            min(max(self.zscore, -BURST_BOUND), BURST_BOUND),
            self.score * fresh,
        )


def minute_volatility(bars: Bars) -> float:
    """Return the standard deviation of a minute's log return over the last hour; NaN without enough bars."""
    logs = np.log(bars.close[-VOLATILITY_BARS - 1 :])
    if len(logs) < LEAST_BARS:
        return math.nan
    return max(float(np.diff(logs).std()), 1e-6)


def price_features(bars: Bars) -> tuple[float, ...]:
    """Return the figures of `PRICE_NAMES`; NaN where the session is too young."""
    logs, volatility = np.log(bars.close), minute_volatility(bars)
    changes = np.diff(logs)

    def back(minutes: int) -> float:
        if len(logs) <= minutes:
            return math.nan
        return float(logs[-1] - logs[-1 - minutes]) / volatility / math.sqrt(minutes)

    total = float(bars.volume.sum())
    vwap = float(bars.vwap @ bars.volume) / total if total > 0 else math.nan
    recent, earlier = float(bars.volume[-5:].mean()), float(bars.volume[-30:].mean())
    rsi, macd = _indicators(bars.close)
    return (
        back(1),
        back(5),
        back(30),
        math.log(max(float(changes[-10:].std()), 1e-7) / volatility) if len(changes) >= 20 else math.nan,
        math.log(float(bars.close[-1]) / vwap) / volatility / math.sqrt(30.0),
        math.log(recent / earlier) if len(bars) >= 10 and recent > 0 and earlier > 0 else math.nan,
        rsi / 50.0 - 1.0,
        macd / (float(bars.close[-1]) * volatility),
    )


def _indicators(close: Doubles) -> tuple[float, float]:
    """Return TA-Lib's RSI(14) and MACD histogram at the last bar; NaN in their warm-up."""
    import talib

    series = np.ascontiguousarray(close[-120:])
    rsi = float(talib.RSI(series, timeperiod=14)[-1]) if len(series) > 14 else math.nan
    macd = float(talib.MACD(series)[2][-1]) if len(series) > 34 else math.nan
    return rsi, macd


def regime_features(bars: Bars) -> tuple[float, ...]:
    """Return the figures of `REGIME_NAMES` over the last hour, by the formulas that intelligence states.

    For training, which asks no server. Sources: Kaufman (1995); Lo and MacKinlay (1988).
    """
    logs = np.log(bars.close[-VOLATILITY_BARS:])
    if len(logs) < 40:
        return (math.nan,) * 3
    changes = np.diff(logs)
    path, variance = float(np.abs(changes).sum()), float(changes.var())
    steps = logs[5:] - logs[:-5]
    mean = float(logs[-1] - logs[0]) / len(changes)
    cut = len(changes) - len(changes) // 4
    earlier, recent = float(changes[:cut].var()), float(changes[cut:].var())
    return (
        abs(float(logs[-1] - logs[0])) / path if path else 0.0,
        float(((steps - 5 * mean) ** 2).mean()) / (5 * variance) if variance else 1.0,
        min(100.0, math.sqrt(recent / earlier)) if earlier else 1.0,
    )
