"""The signals server: each signal as it changes."""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any

from tapeline.signals.v1 import signal_pb2, signals_service_pb2, signals_service_pb2_grpc

from servers.decision.domain.signal import Restriction, Signal
from servers.decision.ports import Log
from servers.runtime.channels import Channels
from servers.runtime.follow import Follower

_FLAGS = {
    "is_stale": Restriction.STALE,
    "lexicon_only": Restriction.LEXICON_ONLY,
    "pump_suspected": Restriction.PUMP_SUSPECTED,
    "one_source_only": Restriction.ONE_SOURCE,
    "one_author_only": Restriction.ONE_AUTHOR,
    "is_shed": Restriction.SHED,
}


class SignalsFeed:
    """Signals into the engine. One that says no half-life or horizon is dropped, with a word in the log."""

    def __init__(
        self,
        channels: Channels,
        take: Callable[[Signal], Awaitable[None]],
        on_heard: Callable[[], None],
        log: Log,
    ) -> None:
        self._stub = signals_service_pb2_grpc.SignalsServiceStub(channels.channel("signals"))
        self._take_signal = take
        self._on_heard = on_heard
        self._log = log
        self.follower = Follower("signals", self._subscribe, self._take, log)

    async def _subscribe(self) -> AsyncIterable[Any]:
        stream: AsyncIterable[Any] = self._stub.StreamSignals(signals_service_pb2.StreamSignalsRequest())
        return stream

    async def _take(self, message: signals_service_pb2.StreamSignalsResponse) -> None:
        for one in message.signals:
            signal = signal_from_wire(one)
            if signal is None:
                self._log.warning("a signal is malformed", signal_id=one.signal_id, symbol=one.symbol)
            else:
                await self._take_signal(signal)
        self._on_heard()


def signal_from_wire(message: signal_pb2.Signal) -> Signal | None:
    """Return the signal, or None for figures that cannot be."""
    probabilities = (message.probability_up, message.price_only_probability_up)
    if not all(0.0 <= value <= 1.0 for value in probabilities):
        return None
    if not all(map(math.isfinite, (message.expected_return_bps, message.volatility_bps))):
        return None
    if message.half_life_nanos <= 0 or message.horizon_nanos <= 0 or not message.symbol:
        return None
    restrictions = {reason for flag, reason in _FLAGS.items() if getattr(message.flags, flag)}
    if not message.flags.is_calibrated:
        restrictions.add(Restriction.UNCALIBRATED)
    return Signal(
        message.signal_id,
        message.symbol,
        message.event_time_nanos,
        message.half_life_nanos,
        message.horizon_nanos,
        message.probability_up,
        message.price_only_probability_up or None,
        message.expected_return_bps,
        message.volatility_bps,
        tuple(message.post_ids),
        (message.model_version, *message.sentiment_model_versions),
        message.author_count,
        message.source_count,
        frozenset(restrictions),
        message.traceparent,
    )
