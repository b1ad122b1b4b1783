"""The running signals server: follows market_data and news, asks intelligence, keeps nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from dataclasses import replace

from servers.model.errors import TapelineError
from servers.model.nanos import NANO
from servers.runtime.component import Context, Registration
from servers.runtime.tracing import CONSUMER, AttributeValue
from servers.signals.adapters.peers import Intelligence, MarketData, MarketFeed, NewsFeed
from servers.signals.domain.signal import Signal, Trust
from servers.signals.domain.trained import TrainedModel
from servers.signals.engine import Pace, SignalsEngine
from servers.signals.metrics import SignalsCollector
from servers.signals.service import SignalsService, registration
from servers.signals.settings import SignalsSettings


class SignalsServer:
    """Signals without its transport. SERVING at once: it has no state, and signals come with the market."""

    def __init__(self, settings: SignalsSettings, context: Context, model: TrainedModel) -> None:
        self._context = context
        log, channels = context.telemetry.log, context.channels
        self.engine = SignalsEngine(
            model,
            MarketData(channels),
            Intelligence(channels, log),
            context.wall_clock,
            time.monotonic,
            trust=Trust(round(settings.stale_seconds * NANO), settings.least_calibrated_share),
            pace=Pace(
                round(settings.refresh_seconds * NANO),
                round(settings.regime_seconds * NANO),
                round(settings.telling_seconds * NANO),
                settings.least_change,
                settings.least_wall_seconds,
            ),
            on_signal=self._traced,
            on_failure=self._failed,
        )
        self._service = SignalsService(self.engine, settings.stream_pause_seconds)
        symbols = tuple(symbol.strip() for symbol in settings.symbols.split(",") if symbol.strip())
        self._market = MarketFeed(channels, self.engine, symbols, log)
        self._news = NewsFeed(channels, self.engine, log)
        self._tasks: list[asyncio.Task[None]] = []
        self._is_failing = False

    def registrations(self) -> Sequence[Registration]:
        return [registration(self._service)]

    async def start(self) -> None:
        """Begin to follow; say which model answers."""
        self._context.telemetry.registry.register(SignalsCollector(self.engine))
        model = self.engine.model
        self._context.telemetry.log.info("model", version=model.version, description=model.description)
        self._run(self._market.follower.run())
        self._run(self._news.follower.run())
        self._run(self.engine.run())

    async def stop(self) -> None:
        """Stop following."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _run(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(coroutine)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._context.fail(error)

    def _traced(self, signal: Signal) -> Signal:
        """Continue the trace that begins with the post: what follows from the signal hangs below it."""
        tracer = self._context.telemetry.tracer
        self._is_failing = False
        if not tracer.is_on:
            return signal
        span = tracer.start_span("signals make signal", signal.traceparent, kind=CONSUMER)
        attributes: dict[str, AttributeValue] = {
            "tapeline.symbol": signal.symbol,
            "tapeline.signal_id": signal.signal_id,
            "tapeline.probability_up": signal.probability_up,
            "tapeline.model_version": signal.model_version,
            "tapeline.post_count": len(signal.post_ids),
        }
        span.set(**attributes)
        span.end()
        return replace(signal, traceparent=span.traceparent)

    def _failed(self, symbol: str, error: TapelineError) -> None:
        if not self._is_failing:
            self._context.telemetry.log.warning(
                "no signal", symbol=symbol, reason=error.reason, message=error.message[:200]
            )
        self._is_failing = True
