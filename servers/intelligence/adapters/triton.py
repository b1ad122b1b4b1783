"""The LLM behind Triton: model `market_llm` over the inference protocol (KServe v2, gRPC).

Contract: TEXT in (BYTES [n, 1]); SCORES out (FP32 [n, 3]: bearish, neutral, bullish) and MODEL_VERSION (BYTES
[n] or [n, 1]), n at most 8. Anything else is a failure of the version.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import struct
from collections.abc import Coroutine, Sequence
from typing import Any

import grpc
from structlog.typing import FilteringBoundLogger
from tritonclient.grpc import service_pb2, service_pb2_grpc

from servers.intelligence.domain.sentiment import RawAnswer, WrongShape, scores_from
from servers.intelligence.ports import (
    MOST_TEXTS,
    ModelError,
    ModelFailed,
    ModelTimeout,
    ModelUnreachable,
)
from servers.runtime.tracing import CLIENT, Tracer

TEXT, SCORES, MODEL_VERSION = "TEXT", "SCORES", "MODEL_VERSION"
PROBE_SECONDS = 0.25
PROBE_TIMEOUT_SECONDS = 1.0
PROBE_TEXT, PROBE_ANSWER_SECONDS = "Shares were unchanged.", 4.0
TIMEOUTS_TO_OPEN = 3
PATIENCE_SECONDS = 1.0
_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
)
_REFUSED_BY_QUEUE = re.compile("timeout|queue size", re.IGNORECASE)
_NOT_LOADED = re.compile("is not available|unknown model|is not ready|not found", re.IGNORECASE)
_AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


class TritonModels:
    """Every version of a model behind one Triton.

    Args:
        address: `host:port` of Triton's gRPC endpoint.
        name: the model's name.
        tracer: gives each batch a span under the first of its texts' traces.
        log: hears of versions that go away and come back.
        patience_seconds: a call that was given less time tells nothing of the model when it is not answered.
    """

    def __init__(
        self,
        address: str,
        name: str,
        tracer: Tracer,
        log: FilteringBoundLogger,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self.patience_seconds = patience_seconds
        self.address = address
        self.name = name
        self.tracer = tracer
        self.log = log
        self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self.stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._models: dict[str, TritonModel] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._keeps_answers = False

    def model(self, version: str) -> TritonModel:
        made = self._models.get(version)
        if made is None:
            made = self._models[version] = TritonModel(self, version)
        return made

    async def keeps_answers(self) -> bool:
        """Return whether Triton runs with a response cache, as far as its statistics show.

        Triton 2.51 keeps what it cached also when the model is unloaded, and has no call to drop it.
        """
        try:
            response = await self.stub.ModelStatistics(
                service_pb2.ModelStatisticsRequest(name=self.name), timeout=PROBE_TIMEOUT_SECONDS
            )
        except grpc.aio.AioRpcError:
            return self._keeps_answers  # away or not loaded: what was last known
        counts = [
            model.inference_stats.cache_hit.count + model.inference_stats.cache_miss.count
            for model in response.model_stats
        ]
        if any(counts) and not self._keeps_answers:
            self._keeps_answers = True
            self.log.warning("Triton runs with a response cache: deletions do not reach it")
        return self._keeps_answers

    async def close(self) -> None:
        """Close the channel and stop probing."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._channel.close(None)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine until it ends or the channel is closed."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class TritonModel:
    """One version. After it went away it is left alone and probed until it is back."""

    def __init__(self, models: TritonModels, version: str) -> None:
        self._models = models
        self._version = version
        self._reason = ""
        self._timeouts = 0

    @property
    def version(self) -> str:
        return self._version

    @property
    def unavailable_reason(self) -> str:
        return self._reason

    async def classify(
        self, texts: Sequence[str], timeout_seconds: float, traceparents: Sequence[str]
    ) -> list[RawAnswer]:
        parent = traceparents[0] if traceparents else ""
        span = self._models.tracer.start_span("ask market_llm", parent, kind=CLIENT, links=traceparents[1:])
        with span:
            span.set(model=self._models.name, version=self._version, texts=len(texts))
            try:
                answers = await self._infer(texts, timeout_seconds, span.traceparent)
            except ModelError as error:
                self._note(error, timeout_seconds)
                raise
            self._timeouts = 0
            return answers

    async def is_ready(self) -> bool:
        request = service_pb2.ModelReadyRequest(name=self._models.name, version=self._version)
        try:
            response = await self._models.stub.ModelReady(request, timeout=PROBE_TIMEOUT_SECONDS)
        except grpc.aio.AioRpcError:
            return False
        return bool(response.ready)

    async def _infer(self, texts: Sequence[str], timeout_seconds: float, traceparent: str) -> list[RawAnswer]:
        request = request_of(self._models.name, self._version, texts)
        # Triton drops what has waited this long in its queue: nobody would hear the answer.
        request.parameters["timeout"].int64_param = round(timeout_seconds * 1e6)
        if traceparent:
            request.parameters["traceparent"].string_param = traceparent
        try:
            response = await self._models.stub.ModelInfer(
                request,
                timeout=timeout_seconds,
                metadata=(("traceparent", traceparent),) if traceparent else (),
            )
        except grpc.aio.AioRpcError as error:
            # Triton's own words may quote the text: the code alone is told.
            code = error.code()
            if code is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise ModelTimeout(f"no answer within {timeout_seconds:.3g} s") from None
            if code is grpc.StatusCode.UNAVAILABLE and _REFUSED_BY_QUEUE.search(error.details() or ""):
                raise ModelTimeout("Triton's queue refused it") from None
            if code is not grpc.StatusCode.UNAVAILABLE and _NOT_LOADED.search(error.details() or ""):
                raise ModelUnreachable(f"version {self._version} is not loaded") from None
            if code in _AWAY:
                raise ModelUnreachable(f"{self._models.address} does not answer: {code.name}") from None
            raise ModelFailed(f"Triton answered {code.name}") from None
        try:
            return answers_of(response, len(texts))
        except WrongShape as error:
            raise ModelFailed(str(error)) from None

    def _note(self, error: ModelError, timeout_seconds: float) -> None:
        if isinstance(error, ModelTimeout):
            self._timeouts += timeout_seconds >= self._models.patience_seconds
            if self._timeouts >= TIMEOUTS_TO_OPEN:
                self._leave_alone(f"{self._timeouts} calls in a row were not answered in time")
        elif isinstance(error, ModelUnreachable):
            self._leave_alone(str(error))
        else:
            self._timeouts = 0

    def _leave_alone(self, reason: str) -> None:
        if not self._reason:
            self._reason = reason
            self._models.log.warning("a model is left alone", version=self._version, reason=reason)
            self._models.spawn(self._probe())

    async def _probe(self) -> None:
        """Ask until it answers, then let callers ask again."""
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            if not await self.is_ready():
                continue
            with contextlib.suppress(ModelError):
                await self._infer([PROBE_TEXT], PROBE_ANSWER_SECONDS, "")
                break
        self._timeouts = 0
        self._reason = ""
        self._models.log.info("a model answers again", version=self._version)


def request_of(name: str, version: str, texts: Sequence[str]) -> service_pb2.ModelInferRequest:
    """Return the request for 1 to 8 texts. Raises ValueError for more."""
    if not 1 <= len(texts) <= MOST_TEXTS:
        raise ValueError(f"{len(texts)} texts, outside 1 to {MOST_TEXTS}")
    encoded = [text.encode("utf-8", "replace") for text in texts]
    # BYTES tensors: each element with its length before it, little-endian.
    raw = b"".join(struct.pack("<I", len(one)) + one for one in encoded)
    return service_pb2.ModelInferRequest(
        model_name=name,
        model_version=version,
        inputs=[
            service_pb2.ModelInferRequest.InferInputTensor(name=TEXT, datatype="BYTES", shape=[len(texts), 1])
        ],
        outputs=[
            service_pb2.ModelInferRequest.InferRequestedOutputTensor(name=output)
            for output in (SCORES, MODEL_VERSION)
        ],
        raw_input_contents=[raw],
    )


def answers_of(response: service_pb2.ModelInferResponse, count: int) -> list[RawAnswer]:
    """Return the answers to `count` texts. Raises WrongShape for outputs that break the contract."""
    raw = dict(zip((output.name for output in response.outputs), response.raw_output_contents, strict=False))
    outputs = {output.name: output for output in response.outputs}
    for name, datatype in ((SCORES, "FP32"), (MODEL_VERSION, "BYTES")):
        if name not in outputs or name not in raw:
            raise WrongShape(f"{name} is missing")
        if outputs[name].datatype != datatype:
            raise WrongShape(f"{name} is {outputs[name].datatype}, not {datatype}")
    shape = list(outputs[SCORES].shape)
    if shape != [count, 3] or len(raw[SCORES]) != 12 * count:
        raise WrongShape(f"SCORES has shape {shape}, not [{count}, 3]")
    values = struct.unpack(f"<{3 * count}f", raw[SCORES])
    versions = _texts(raw[MODEL_VERSION])
    if len(versions) != count:
        raise WrongShape(f"MODEL_VERSION has {len(versions)} values, not {count}")
    return [
        RawAnswer(scores_from(values[3 * place : 3 * place + 3]), versions[place]) for place in range(count)
    ]


def _texts(raw: bytes) -> list[str]:
    texts: list[str] = []
    place = 0
    while place < len(raw):
        if place + 4 > len(raw):
            raise WrongShape("MODEL_VERSION is cut off")
        (length,) = struct.unpack_from("<I", raw, place)
        place += 4
        if place + length > len(raw):
            raise WrongShape("MODEL_VERSION is cut off")
        texts.append(raw[place : place + length].decode("utf-8", "replace")[:200])
        place += length
    return texts
