"""When a symbol is looked at, what is told, and what is forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from servers.model.errors import NotFound, Unavailable
from servers.model.nanos import NANO
from servers.signals.adapters.model_file import load_model
from servers.signals.domain.live import MINUTE_NANOS, Bars, PostAggregate
from servers.signals.domain.signal import Reading, Regime, RegimeReading, Sentiment, Signal
from servers.signals.engine import Pace, SignalsEngine, joined, says_other
from servers.signals.ports import SessionTimes
from servers.signals.settings import SIMULATED_MODEL

OPEN = 1_767_623_400 * NANO
CLOSE = OPEN + 390 * MINUTE_NANOS
MODEL = load_model(SIMULATED_MODEL)


class Market:
    """A market whose minutes are known in advance."""

    def __init__(self) -> None:
        chance = np.random.default_rng(1)
        self.close = 50.0 * np.exp(np.cumsum(5e-4 * chance.standard_normal(390)))
        self.ends = OPEN + MINUTE_NANOS * np.arange(1, 391, dtype=np.int64)
        self.asked: list[int] = []
        self.is_away = False
        self.regimes = 0

    async def session(self, symbol: str) -> SessionTimes:
        if self.is_away:
            raise Unavailable("PEER_UNAVAILABLE")
        return SessionTimes(OPEN, CLOSE)

    async def minutes(self, symbol: str, start_nanos: int, now_nanos: int) -> Bars:
        if self.is_away:
            raise Unavailable("PEER_UNAVAILABLE")
        self.asked.append(start_nanos)
        chosen = (self.ends > start_nanos - MINUTE_NANOS) & (self.ends <= now_nanos)
        close = self.close[chosen]
        return Bars(self.ends[chosen], close, close, np.full(len(close), 100.0))

    async def regime(
        self, symbol: str, closes_nanos: Sequence[int], sentiment: Sentiment | None, now_nanos: int
    ) -> RegimeReading | None:
        self.regimes += 1
        assert len(closes_nanos) >= 40
        return RegimeReading(Regime.RANGE, 0.2, 0.9, 1.0, now_nanos)


class Wall:
    def __init__(self) -> None:
        self.seconds = 100.0

    def now_nanos(self) -> int:
        return round(self.seconds * NANO)

    def __call__(self) -> float:
        return self.seconds


def said(score: float, post: str = "p1", symbol: str = "ACME") -> Sentiment:
    reading = Reading(PostAggregate(score, 3.0, 2.0, OPEN + 9 * MINUTE_NANOS), 3, 1.0, 1.0)
    return Sentiment(
        symbol, OPEN, Reading(), reading, post_ids=(post,), traceparent="t", author_count=3, source_count=2
    )


class Desk:
    def __init__(self, pace: Pace | None = None) -> None:
        self.market, self.wall = Market(), Wall()
        self.failures: list[str] = []
        self.told: list[str] = []
        self.traced = 0

        def trace(signal: Signal) -> Signal:
            self.traced += 1
            return replace(signal, traceparent=f"span {self.traced}")

        self.engine = SignalsEngine(
            MODEL,
            self.market,
            self.market,
            self.wall,
            self.wall,
            pace=pace or Pace(least_change=1.0),
            on_signal=trace,
            on_failure=lambda symbol, error: self.failures.append(error.reason),
        )
        self.engine.watch(["ACME"])
        self.stop = self.engine.listen(self.told.append)

    async def at(self, minutes: float) -> None:
        self.wall.seconds += 1.0
        self.engine.take_time(OPEN + round(minutes * MINUTE_NANOS))
        await self.engine.look_at_due()


async def test_a_signal_comes_with_the_sixth_minute_and_is_told_once() -> None:
    desk = Desk()
    await desk.at(5.5)
    with pytest.raises(NotFound, match="too young"):
        desk.engine.signal("ACME")
    await desk.at(6.6)
    assert desk.engine.signal("ACME").flags.price_only
    await desk.at(8)
    assert desk.told == ["ACME"]
    await desk.at(12)
    assert desk.told == ["ACME", "ACME"]  # five minutes on
    assert desk.engine.symbols() == ["ACME"]
    assert desk.market.asked[-1] > desk.market.asked[0]


async def test_posts_are_looked_at_at_once_and_continue_their_trace() -> None:
    desk = Desk()
    await desk.at(20)
    desk.engine.take_sentiment([said(0.8), said(0.8, symbol="ELSE")], is_snapshot=True)
    await desk.at(20.1)
    signal = desk.engine.signal("ACME")
    assert signal.post_ids == ("p1",)
    assert signal.traceparent == "span 1"
    desk.engine.take_sentiment([said(0.79)], is_snapshot=False)  # faded, nothing new
    await desk.at(20.2)
    assert desk.engine.signal("ACME") == signal
    await desk.at(21.5)
    assert desk.engine.signal("ACME").traceparent == "span 1"
    assert desk.traced == 1


async def test_what_was_said_is_forgotten_with_news_and_missing_is_not_silent() -> None:
    desk = Desk()
    desk.engine.take_sentiment([said(0.8)], is_snapshot=True)
    await desk.at(20)
    assert not desk.engine.signal("ACME").flags.price_only
    desk.engine.lose_news()
    await desk.at(22)
    lost = desk.engine.signal("ACME")
    assert lost.flags.price_only
    assert any(feature.is_missing for feature in lost.features if feature.name == "social_score")
    desk.engine.take_sentiment([], is_snapshot=True)
    await desk.at(24)
    silent = desk.engine.signal("ACME")
    assert not any(feature.is_missing for feature in silent.features if feature.name == "social_score")


async def test_posts_that_are_heard_before_the_instruments_count() -> None:
    desk = Desk()
    desk.engine.take_sentiment([said(0.8, symbol="LATE")], is_snapshot=True)
    desk.engine.watch(["LATE"])
    await desk.at(20)
    assert desk.engine.signal("LATE").post_ids == ("p1",)


async def test_deleted_posts_leave_the_next_signal() -> None:
    desk = Desk()
    desk.engine.take_sentiment([said(0.8)], is_snapshot=True)
    await desk.at(20)
    gone = replace(said(0.0), social=Reading(), post_ids=(), author_count=0, source_count=0)
    desk.engine.take_sentiment([gone], is_snapshot=False)
    await desk.at(20.2)
    assert desk.engine.signal("ACME").post_ids == ()


async def test_a_silent_market_makes_signals_stale() -> None:
    desk = Desk()
    await desk.at(20)
    assert not desk.engine.signal("ACME").flags.is_stale
    desk.engine.lose_market()
    assert desk.engine.signal("ACME").flags.is_stale
    desk.market.is_away = True
    await desk.at(21.5)
    assert desk.failures == ["PEER_UNAVAILABLE"]
    await desk.at(40)
    assert desk.engine.signal("ACME").flags.is_stale
    told = desk.engine.told("ACME")
    assert told is not None
    assert told.flags.is_stale


async def test_the_regime_is_asked_for_now_and_then() -> None:
    desk = Desk()
    for minute in range(30, 60):
        await desk.at(minute + 0.5)
    assert 3 <= desk.market.regimes <= 5
    assert desk.engine.signal("ACME").regime is Regime.RANGE


async def test_nothing_is_made_outside_the_session_or_too_often() -> None:
    desk = Desk()
    await desk.at(-5)
    assert desk.engine.symbols() == []
    await desk.at(20)
    made = desk.engine.made_signals
    desk.engine.take_time(OPEN + 25 * MINUTE_NANOS)
    await desk.engine.look_at_due()  # no wall time has passed
    assert desk.engine.made_signals == made


async def test_a_signal_that_is_no_longer_present_is_not_explained() -> None:
    desk = Desk()
    await desk.at(20)
    present = desk.engine.signal("ACME")
    assert desk.engine.explain("ACME", present.signal_id).signal == present
    assert desk.engine.explain("ACME", "").signal == present
    with pytest.raises(NotFound) as caught:
        desk.engine.explain("ACME", "ACME-1-old")
    assert caught.value.reason == "SIGNAL_NOT_FOUND"
    with pytest.raises(NotFound) as unknown:
        desk.engine.signal("NONE")
    assert unknown.value.reason == "SYMBOL_UNKNOWN"
    assert desk.engine.told("NONE") is None
    desk.stop()


def test_fading_says_nothing_other() -> None:
    assert says_other(None, said(0.5))
    assert not says_other(said(0.5), said(0.4))
    assert says_other(said(0.5), said(0.5, "p2"))
    assert says_other(said(0.5), replace(said(0.5), is_pump_suspected=True))
    assert not says_other(None, replace(said(0.5), social=Reading()))


def test_bars_are_joined_without_a_minute_twice() -> None:
    one = Bars(np.array([1, 2]), np.array([1.0, 2.0]), np.array([1.0, 2.0]), np.array([5.0, 5.0]))
    two = Bars(np.array([2, 3]), np.array([9.0, 3.0]), np.array([9.0, 3.0]), np.array([5.0, 5.0]))
    assert joined(one, two).close.tolist() == [1.0, 2.0, 3.0]
    assert joined(Bars.none(), two) is two
    assert len(joined(one, Bars.none())) == 2
