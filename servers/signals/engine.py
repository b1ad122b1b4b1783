"""What the signals server does: keep the present signal of every symbol, and say what changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from servers.model.clock import Clock, MarketClock
from servers.model.errors import NotFound, TapelineError
from servers.model.nanos import NANO
from servers.signals.domain.explanation import Explanation, explain
from servers.signals.domain.live import MINUTE_NANOS, Bars
from servers.signals.domain.signal import (
    Inputs,
    Reading,
    RegimeReading,
    Sentiment,
    Signal,
    Trust,
    as_stale,
    make_signal,
)
from servers.signals.domain.trained import TrainedModel
from servers.signals.ports import MarketHistory, RegimeSource, SessionTimes

REGIME_BARS = 60
LEAST_REGIME_BARS = 40


@dataclass(frozen=True, slots=True)
class Pace:
    """When a signal is made anew and when it is told.

    Attributes:
        refresh_nanos: market time between two looks at a symbol without news of it.
        regime_nanos: market time between two classifications of its regime.
        telling_nanos: market time after which a signal is told though it has hardly changed.
        least_change: change of the probability that is told at once.
        least_wall_seconds: wall time between two looks at one symbol, however fast market time runs.
    """

    refresh_nanos: int = MINUTE_NANOS
    regime_nanos: int = 5 * MINUTE_NANOS
    telling_nanos: int = 5 * MINUTE_NANOS
    least_change: float = 0.005
    least_wall_seconds: float = 0.5


@dataclass(slots=True)
class _Watch:
    """What is known of one symbol."""

    session: SessionTimes = field(default_factory=SessionTimes)
    bars: Bars = field(default_factory=Bars.none)
    has_fresh_posts: bool = False
    regime: RegimeReading | None = None
    regime_asked_nanos: int = 0
    looked_nanos: int = 0
    looked_wall: float = 0.0
    signal: Signal | None = None
    told: Signal | None = None


class SignalsEngine:
    """Signals of all symbols. Everything here comes back by itself after a start.

    Args:
        model: answers.
        market, regimes: what is asked for bars and regimes.
        wall_clock, monotonic: for create_time; for the least wall time between two looks.
        trust, pace: see there.
        on_signal: hears a signal that posts have changed, and returns it with the trace it belongs to.
        on_failure: hears what could not be had of a peer.
    """

    def __init__(
        self,
        model: TrainedModel,
        market: MarketHistory,
        regimes: RegimeSource,
        wall_clock: Clock,
        monotonic: Callable[[], float],
        *,
        trust: Trust | None = None,
        pace: Pace | None = None,
        on_signal: Callable[[Signal], Signal] = lambda signal: signal,
        on_failure: Callable[[str, TapelineError], None] = lambda symbol, error: None,
    ) -> None:
        self.model = model
        self.clock = MarketClock()
        self.is_market_heard = False
        self.is_news_heard = False
        self.made_signals = 0
        self.told_signals = 0
        self.failed_looks = 0
        self._market = market
        self._regimes = regimes
        self._wall_clock = wall_clock
        self._trust = trust or Trust()
        self._pace = pace or Pace()
        self._on_signal = on_signal
        self._on_failure = on_failure
        self._monotonic = monotonic
        self._watches: dict[str, _Watch] = {}
        # Of every entity, for news may be heard before the instruments are.
        self._said: dict[str, Sentiment] = {}
        self._listeners: list[Callable[[str], None]] = []
        self._due = asyncio.Event()

    # -- What is heard ----------------------------------------------------------------------------

    def watch(self, symbols: Sequence[str]) -> None:
        """Watch these symbols from now on."""
        for symbol in symbols:
            self._watches.setdefault(symbol, _Watch(has_fresh_posts=symbol in self._said))
        self._due.set()

    def take_time(self, event_time_nanos: int) -> None:
        """Take in the venue's clock."""
        self.is_market_heard = True
        self.clock.advance(event_time_nanos)
        self._due.set()

    def take_sentiment(self, sentiments: Sequence[Sentiment], is_snapshot: bool) -> None:
        """Take in what posts say; a snapshot replaces everything that was said before."""
        self.is_news_heard = True
        if is_snapshot:
            self._said.clear()
        for sentiment in sentiments:
            before = self._said.get(sentiment.symbol)
            self._said[sentiment.symbol] = sentiment
            watch = self._watches.get(sentiment.symbol)
            if watch is not None:
                watch.has_fresh_posts |= says_other(before, sentiment)
        self._due.set()

    def lose_news(self) -> None:
        """Forget what posts say: news is not heard, and its last word may be wrong by now."""
        self.is_news_heard = False
        self._said.clear()

    def lose_market(self) -> None:
        """Note that market time stands: signals are stale from now on."""
        self.is_market_heard = False

    # -- Making signals ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Look at every symbol when it is due, for as long as the server runs."""
        while True:
            await self._due.wait()
            self._due.clear()
            await self.look_at_due()
            await asyncio.sleep(0.02)  # what comes meanwhile is looked at together

    async def look_at_due(self) -> None:
        """Look at the symbols that are due: posts first."""
        due = [symbol for symbol, watch in self._watches.items() if self._is_due(watch)]
        due.sort(key=lambda symbol: not self._watches[symbol].has_fresh_posts)
        for symbol in due:
            try:
                await self._look(symbol, self._watches[symbol])
            except TapelineError as error:
                self.failed_looks += 1
                self._on_failure(symbol, error)

    def _is_due(self, watch: _Watch) -> bool:
        now = self.clock.now_nanos()
        if now == 0 or self._monotonic() - watch.looked_wall < self._pace.least_wall_seconds:
            return False
        return watch.has_fresh_posts or now - watch.looked_nanos >= self._pace.refresh_nanos

    async def _look(self, symbol: str, watch: _Watch) -> None:
        now = self.clock.now_nanos()
        watch.looked_nanos, watch.looked_wall = now, self._monotonic()
        if now > watch.session.close_nanos:
            watch.session = await self._market.session(symbol)
            watch.bars = Bars.none()
        if not watch.session.open_nanos <= now <= watch.session.close_nanos:
            return
        start = int(watch.bars.end_nanos[-1]) if len(watch.bars) else watch.session.open_nanos
        watch.bars = joined(watch.bars, await self._market.minutes(symbol, start, now))
        if not len(watch.bars):
            return
        await self._classify(symbol, watch, now)
        fresh, watch.has_fresh_posts = watch.has_fresh_posts, False
        sentiment = self._said.get(symbol)
        if sentiment is None and self.is_news_heard:
            sentiment = silence(symbol, now)
        signal = make_signal(
            self.model,
            Inputs(symbol, now, watch.bars, sentiment, watch.regime),
            self._trust,
            self._wall_clock.now_nanos(),
        )
        if signal is None:
            return
        self.made_signals += 1
        self._keep(watch, signal, fresh)

    async def _classify(self, symbol: str, watch: _Watch, now: int) -> None:
        if now - watch.regime_asked_nanos < self._pace.regime_nanos or len(watch.bars) < LEAST_REGIME_BARS:
            return
        watch.regime_asked_nanos = now
        closes = np.rint(watch.bars.close[-REGIME_BARS:] * NANO).astype(np.int64).tolist()
        watch.regime = await self._regimes.regime(symbol, closes, self._said.get(symbol), now)

    def _keep(self, watch: _Watch, signal: Signal, has_fresh_posts: bool) -> None:
        if watch.signal is not None and not has_fresh_posts and signal.post_ids == watch.signal.post_ids:
            signal = replace(signal, traceparent=watch.signal.traceparent)
        elif signal.post_ids:
            signal = self._on_signal(signal)
        watch.signal = signal
        told = watch.told
        if (
            told is None
            or has_fresh_posts
            or abs(signal.probability_up - told.probability_up) >= self._pace.least_change
            or (signal.flags, signal.regime) != (told.flags, told.regime)
            or signal.event_time_nanos - told.event_time_nanos >= self._pace.telling_nanos
        ):
            watch.told = signal
            self.told_signals += 1
            for listener in list(self._listeners):
                listener(signal.symbol)

    # -- Answers ----------------------------------------------------------------------------------

    def signal(self, symbol: str) -> Signal:
        """Return the present signal. Raises NotFound SYMBOL_UNKNOWN or NO_MARKET_DATA."""
        watch = self._watches.get(symbol)
        if watch is None:
            raise NotFound("SYMBOL_UNKNOWN", f"no instrument {symbol}", symbol=symbol)
        if watch.signal is None:
            raise NotFound(
                "NO_MARKET_DATA", f"no signal of {symbol} yet: its session is too young", symbol=symbol
            )
        return self._aged(watch.signal)

    def told(self, symbol: str) -> Signal | None:
        """Return the signal as it was last told; None before the first."""
        watch = self._watches.get(symbol)
        return None if watch is None or watch.told is None else self._aged(watch.told)

    def symbols(self) -> list[str]:
        """Return the symbols that have a signal, in order."""
        return sorted(symbol for symbol, watch in self._watches.items() if watch.signal is not None)

    def explain(self, symbol: str, signal_id: str) -> Explanation:
        """Explain the present signal. Raises NotFound SIGNAL_NOT_FOUND for another id."""
        signal = self.signal(symbol)
        watch = self._watches[symbol]
        if signal_id and watch.told is not None and signal_id == watch.told.signal_id:
            signal = self._aged(watch.told)
        if signal_id not in ("", signal.signal_id):
            raise NotFound(
                "SIGNAL_NOT_FOUND", f"{signal_id} is not the present signal of {symbol}", symbol=symbol
            )
        return explain(signal, self.model)

    def listen(self, listener: Callable[[str], None]) -> Callable[[], None]:
        """Call `listener` with the symbol of each signal that is told; return how to stop that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _aged(self, signal: Signal) -> Signal:
        age = self.clock.now_nanos() - signal.event_time_nanos
        if self.is_market_heard and age <= self._trust.stale_nanos + self._pace.telling_nanos:
            return signal
        return as_stale(signal)


def silence(symbol: str, now_nanos: int) -> Sentiment:
    """Return that nobody says anything, which is not the same as not knowing."""
    return Sentiment(symbol, now_nanos, Reading(), Reading())


def says_other(before: Sentiment | None, after: Sentiment) -> bool:
    """Return whether posts came or went, and not only faded."""
    if before is None:
        return after.post_count > 0
    return (
        set(after.post_ids) != set(before.post_ids)
        or after.post_count > before.post_count
        or after.is_pump_suspected != before.is_pump_suspected
    )


def joined(bars: Bars, more: Bars) -> Bars:
    """Return bars with those that ended later."""
    if len(bars) and len(more):
        later = more.end_nanos > bars.end_nanos[-1]
        more = Bars(more.end_nanos[later], more.close[later], more.vwap[later], more.volume[later])
    if not len(bars):
        return more
    return Bars(
        np.concatenate([bars.end_nanos, more.end_nanos]),
        np.concatenate([bars.close, more.close]),
        np.concatenate([bars.vwap, more.vwap]),
        np.concatenate([bars.volume, more.volume]),
    )
