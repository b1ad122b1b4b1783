"""A server that speaks Triton's inference protocol, with versions that behave as a test has them behave."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

MODEL = "market_llm"
Row = tuple[float, float, float]
Reader = Callable[[Sequence[str]], Awaitable[list[Row]]]
ROWS: dict[str, Row] = {
    "up": (0.05, 0.05, 0.9),
    "down": (0.9, 0.05, 0.05),
}
NEUTRAL: Row = (0.05, 0.9, 0.05)


def row_of(text: str) -> Row:
    """What a good version says: the word `up` is bullish, `down` is bearish."""
    words = text.lower().split()
    return next((row for word, row in ROWS.items() if word in words), NEUTRAL)


async def reads_well(texts: Sequence[str]) -> list[Row]:
    return [row_of(text) for text in texts]


async def answers_at_random(texts: Sequence[str]) -> list[Row]:
    rows = [ROWS["up"], ROWS["down"], NEUTRAL]
    return [random.Random(text).choice(rows) for text in texts]


async def has_the_wrong_shape(texts: Sequence[str]) -> list[Row]:
    return [(0.5, 0.5)] * len(texts)  # type: ignore[list-item]  # that is what is wrong


async def raises(texts: Sequence[str]) -> list[Row]:
    raise RuntimeError(f"cannot read {texts[0]}")


async def sleeps_two_seconds(texts: Sequence[str]) -> list[Row]:
    await asyncio.sleep(2.0)
    return await reads_well(texts)


@dataclass
class Version:
    """One version: how it reads, and what it was asked."""

    read: Reader = reads_well
    is_ready: bool = True
    calls: list[list[str]] = field(default_factory=list)
    traceparents: list[str] = field(default_factory=list)


class TritonServer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]  # untyped stubs
    """`GRPCInferenceService` for one model; use it with `start` and `stop`."""

    def __init__(self) -> None:
        self.versions = {"1": Version(), "2": Version()}
        self.port = 0
        self.cache_misses = 0
        self._server: grpc.aio.Server | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        self._server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def stop(self) -> None:
        """Go away at once: calls in flight are cut."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    async def ModelReady(self, request: Any, context: Any) -> Any:
        version = self.versions.get(request.version)
        return service_pb2.ModelReadyResponse(ready=version is not None and version.is_ready)

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        version = self.versions.get(request.model_version)
        if request.model_name != MODEL or version is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown model")
            raise AssertionError("abort raises")
        (tensor,) = request.inputs
        assert (tensor.name, tensor.datatype, tensor.shape[1]) == ("TEXT", "BYTES", 1)
        texts = texts_of(request.raw_input_contents[0])
        assert len(texts) == tensor.shape[0] <= 8
        version.calls.append(texts)
        version.traceparents.append(request.parameters["traceparent"].string_param)
        try:
            rows = await version.read(texts)
        except RuntimeError as error:
            await context.abort(grpc.StatusCode.INTERNAL, str(error))
        name = f"market_llm-{request.model_version}-test".encode()
        width = len(rows[0])
        return service_pb2.ModelInferResponse(
            model_name=MODEL,
            model_version=request.model_version,
            outputs=[
                service_pb2.ModelInferResponse.InferOutputTensor(
                    name="SCORES", datatype="FP32", shape=[len(rows), width]
                ),
                service_pb2.ModelInferResponse.InferOutputTensor(
                    name="MODEL_VERSION", datatype="BYTES", shape=[len(rows), 1]
                ),
            ],
            raw_output_contents=[
                struct.pack(f"<{len(rows) * width}f", *(value for row in rows for value in row)),
                (struct.pack("<I", len(name)) + name) * len(rows),
            ],
        )

    async def ModelStatistics(self, request: Any, context: Any) -> Any:
        statistics = service_pb2.ModelStatistics(name=MODEL, version="1")
        statistics.inference_stats.cache_miss.count = self.cache_misses
        return service_pb2.ModelStatisticsResponse(model_stats=[statistics])


def texts_of(raw: bytes) -> list[str]:
    """Return the elements of a BYTES tensor."""
    texts, place = [], 0
    while place < len(raw):
        (length,) = struct.unpack_from("<I", raw, place)
        texts.append(raw[place + 4 : place + 4 + length].decode())
        place += 4 + length
    return texts
