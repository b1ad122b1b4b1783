"""SignalsService at the gRPC edge."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from tapeline.signals.v1 import signals_service_pb2, signals_service_pb2_grpc

from servers.model.errors import InvalidInput
from servers.runtime.component import Registration
from servers.signals import wire
from servers.signals.engine import SignalsEngine
from servers.signals.paging import symbol_from_token, token_from_symbol

HEARTBEAT_SECONDS = 1.0
DEFAULT_PAGE, MOST_PAGE, MOST_SYMBOLS = 100, 1_000, 1_000
ROLES = {
    "GetSignal": frozenset({"*"}),
    "ListSignals": frozenset({"*"}),
    "ExplainSignal": frozenset({"*"}),
    "StreamSignals": frozenset({"*"}),
}


def registration(service: SignalsService) -> Registration:
    """Return how the runtime serves it."""
    return Registration(signals_service_pb2_grpc.add_SignalsServiceServicer_to_server, service, roles=ROLES)


class SignalsService(signals_service_pb2_grpc.SignalsServiceServicer):
    """Present signals, why they are what they are, and what changes."""

    def __init__(self, engine: SignalsEngine, pause_seconds: float) -> None:
        self._engine = engine
        self._pause_seconds = pause_seconds

    def GetSignal(
        self, request: signals_service_pb2.GetSignalRequest, context: Any
    ) -> signals_service_pb2.GetSignalResponse:
        signal = self._engine.signal(_symbol(request.symbol))
        return signals_service_pb2.GetSignalResponse(
            signal=wire.signal_to_wire(signal), event_time_nanos=self._engine.clock.now_nanos()
        )

    def ListSignals(
        self, request: signals_service_pb2.ListSignalsRequest, context: Any
    ) -> signals_service_pb2.ListSignalsResponse:
        if not 0 <= request.page_size <= MOST_PAGE:
            raise InvalidInput("PAGE_SIZE_INVALID", field="page_size", value=request.page_size)
        size, after = request.page_size or DEFAULT_PAGE, symbol_from_token(request.page_token)
        wanted = _symbols(request.symbols)
        found = [
            symbol for symbol in self._engine.symbols() if symbol > after and (not wanted or symbol in wanted)
        ]
        page = found[:size]
        return signals_service_pb2.ListSignalsResponse(
            signals=[wire.signal_to_wire(self._engine.signal(symbol)) for symbol in page],
            next_page_token=token_from_symbol(page[-1]) if len(found) > size else "",
        )

    def ExplainSignal(
        self, request: signals_service_pb2.ExplainSignalRequest, context: Any
    ) -> signals_service_pb2.ExplainSignalResponse:
        return wire.explanation_to_wire(self._engine.explain(_symbol(request.symbol), request.signal_id))

    async def StreamSignals(
        self, request: signals_service_pb2.StreamSignalsRequest, context: Any
    ) -> AsyncIterator[signals_service_pb2.StreamSignalsResponse]:
        engine, wanted = self._engine, _symbols(request.symbols)
        changes: set[str] = set()
        changed = asyncio.Event()
        conflated = 0

        def note(symbol: str) -> None:
            nonlocal conflated
            if not wanted or symbol in wanted:
                conflated += symbol in changes
                changes.add(symbol)
                changed.set()

        stop = engine.listen(note)
        try:
            present = [symbol for symbol in engine.symbols() if not wanted or symbol in wanted]
            yield self._message(present, 0, is_snapshot=True)
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(HEARTBEAT_SECONDS):
                        await changed.wait()
                changed.clear()
                taken = sorted(changes)
                changes.clear()
                yield self._message(taken, conflated)
                await asyncio.sleep(self._pause_seconds)
        finally:
            stop()

    def _message(
        self, symbols: list[str], conflated: int, *, is_snapshot: bool = False
    ) -> signals_service_pb2.StreamSignalsResponse:
        told = (self._engine.told(symbol) for symbol in symbols)
        return signals_service_pb2.StreamSignalsResponse(
            is_snapshot=is_snapshot,
            signals=[wire.signal_to_wire(signal) for signal in told if signal is not None],
            conflated_count=conflated,
            event_time_nanos=self._engine.clock.now_nanos(),
        )


def _symbol(symbol: str) -> str:
    if not symbol:
        raise InvalidInput("FIELD_MISSING", "name an instrument", field="symbol")
    return symbol


def _symbols(symbols: Any) -> frozenset[str]:
    if len(symbols) > MOST_SYMBOLS:
        raise InvalidInput("VALUE_OUT_OF_RANGE", field="symbols", value=len(symbols), bound=MOST_SYMBOLS)
    return frozenset(symbols)
