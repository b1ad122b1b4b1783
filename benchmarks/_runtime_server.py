"""The server processes of `benchmarks/runtime.py`: `python benchmarks/_runtime_server.py KIND OTLP_ENDPOINT`.

Prints its port when it serves, and stops when its standard input ends. The kinds `official...` run in the
peers' environment, so nothing of the project is imported at the top.
"""

import asyncio
import gc
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import wrappers_pb2

ECHO_SERVICE, TICK_SERVICE = "tapeline.benchmark.Echo", "tapeline.benchmark.Ticks"
ENCODE = wrappers_pb2.BytesValue.SerializeToString
DECODE = wrappers_pb2.BytesValue.FromString
ROOT = Path(__file__).resolve().parent.parent
FIRST_PRICE_NANOS = 100_000_000_000
EXPORT_DELAY_MILLIS = 500

_kept: list[Any] = []  # what must not be collected while it serves


class EchoServicer:
    """Answers what it is asked."""

    async def Echo(self, request: Any, context: Any) -> Any:  # noqa: N802  # gRPC's name
        return request


def add_echo(servicer: Any, server: Any) -> None:
    """Register the servicer as a generated `add_..._to_server` does."""
    handlers = {"Echo": grpc.unary_unary_rpc_method_handler(servicer.Echo, DECODE, ENCODE)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(ECHO_SERVICE, handlers),))
    server.add_registered_method_handlers(ECHO_SERVICE, handlers)


class TickServicer:
    """Streams prints in columns. The request holds prints a message and prints in all, as text."""

    async def Stream(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802  # gRPC's name
        import numpy as np
        from tapeline.trading.v1 import market_pb2

        size, total = map(int, request.value.split())
        rows = np.arange(total, dtype="<i8")
        times, prices, sizes = rows * 1_000, rows + FIRST_PRICE_NANOS, rows % 7 + 1
        flags = np.ones(total, dtype="<i8")
        for first in range(0, total, size):
            batch = slice(first, min(first + size, total))
            yield market_pb2.TradeBatch(
                symbol="ACME",
                count=batch.stop - first,
                first_sequence=first + 1,
                event_time_nanos=times[batch].tobytes(),
                price_nanos=prices[batch].tobytes(),
                size_nanos=sizes[batch].tobytes(),
                flags=flags[batch].tobytes(),
                receive_time_nanos=time.time_ns(),
            )


def add_ticks(servicer: Any, server: Any) -> None:
    """Register the servicer as a generated `add_..._to_server` does."""
    from tapeline.trading.v1 import market_pb2

    encode = market_pb2.TradeBatch.SerializeToString
    handlers = {"Stream": grpc.unary_stream_rpc_method_handler(servicer.Stream, DECODE, encode)}
    server.add_registered_method_handlers(TICK_SERVICE, handlers)


async def serve_bare(_: str) -> int:
    """Serve with grpc.aio alone."""
    return await _serve_plainly(())


async def serve_official(endpoint: str, ratio: float = 0.0) -> int:
    """Serve with OpenTelemetry's own interceptor, exporting in batches."""
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.grpc import (  # type: ignore[import-not-found]  # the peers' own
        aio_server_interceptor,
    )
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

    provider = TracerProvider(sampler=TraceIdRatioBased(ratio))
    exporter = OTLPSpanExporter(endpoint=endpoint)
    provider.add_span_processor(
        BatchSpanProcessor(exporter, max_queue_size=20_000, schedule_delay_millis=EXPORT_DELAY_MILLIS)
    )
    return await _serve_plainly((aio_server_interceptor(tracer_provider=provider),))


async def serve_official_traced(endpoint: str) -> int:
    """Serve with OpenTelemetry's own interceptor and every call sampled."""
    return await serve_official(endpoint, 1.0)


async def serve_tapeline(endpoint: str, ratio: float = 0.0) -> int:
    """Serve as every Tapeline server does."""
    sys.path[:0] = [str(ROOT), str(ROOT / "protos")]
    from servers.runtime.component import Registration
    from servers.runtime.server import make_context, start_server
    from servers.runtime.settings import ServerSettings

    class Benchmarked:
        def registrations(self) -> list[Registration]:
            return [Registration(add_echo, EchoServicer()), Registration(add_ticks, TickServicer())]

        async def start(self) -> None:
            pass

        async def stop(self) -> None:
            pass

    settings = ServerSettings(otlp_endpoint=endpoint, trace_sample_ratio=ratio, log_level="error")
    context = await make_context("benchmark", settings)
    server = await start_server(settings, context, Benchmarked())
    _kept.append(server)
    return server.port


async def serve_tapeline_traced(endpoint: str) -> int:
    """Serve as every Tapeline server does, every call sampled and exported."""
    return await serve_tapeline(endpoint, 1.0)


async def _serve_plainly(interceptors: tuple[Any, ...]) -> int:
    server = grpc.aio.server(interceptors=interceptors)
    _kept.append(server)
    add_echo(EchoServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return port


KINDS: dict[str, Callable[[str], Awaitable[int]]] = {
    "bare": serve_bare,
    "tapeline": serve_tapeline,
    "tapeline_traced": serve_tapeline_traced,
    "official": serve_official,
    "official_traced": serve_official_traced,
}


async def main(kind: str, endpoint: str) -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    port = await KINDS[kind](endpoint)
    # As `servers.runtime.server.run` does, and for every kind alike.
    gc.collect()
    gc.freeze()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    await ended.wait()
    for server in _kept:
        await (server.stop(None) if isinstance(server, grpc.aio.Server) else server.stop())


if __name__ == "__main__":
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(*sys.argv[1:]))
