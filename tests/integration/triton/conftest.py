"""A real Triton with the real model, started once, its spans sent to a listener here."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient import grpc as triton_grpc

from servers.local.triton import MODEL, Triton, TritonPlan


@dataclass
class SpanListener:
    """Takes OTLP over HTTP and keeps the bodies."""

    bodies: list[str] = field(default_factory=list)
    url: str = ""


@pytest.fixture(scope="session")
def spans() -> Iterator[SpanListener]:
    listener = SpanListener()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            listener.bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the base class
            """Stay silent."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        listener.url = f"http://127.0.0.1:{server.server_port}/v1/traces"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield listener
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def triton(spans: SpanListener, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Triton]:
    log_path: Path = tmp_path_factory.mktemp("triton") / "triton.log"
    with Triton(TritonPlan(cache_bytes=16 << 20, trace_url=spans.url), log_path=log_path) as running:
        yield running


@dataclass
class Answers:
    """What the model said of some texts."""

    scores: np.ndarray
    labels: list[str]
    confidences: np.ndarray
    versions: list[str]


class Asker:
    """Asks the model as any client would."""

    def __init__(self, address: str) -> None:
        self.client = triton_grpc.InferenceServerClient(address)

    def ask(self, *texts: str | bytes, headers: dict[str, str] | None = None, version: str = "1") -> Answers:
        tensor = triton_grpc.InferInput("TEXT", [len(texts), 1], "BYTES")
        raw = [[text.encode() if isinstance(text, str) else text] for text in texts]
        tensor.set_data_from_numpy(np.array(raw, dtype=object))
        found = self.client.infer(
            MODEL, [tensor], model_version=version, headers=headers, client_timeout=30.0
        )
        return Answers(
            found.as_numpy("SCORES"),
            [label.decode() for label in found.as_numpy("LABEL").reshape(-1)],
            found.as_numpy("CONFIDENCE"),
            [version.decode() for version in found.as_numpy("MODEL_VERSION").reshape(-1)],
        )

    def cache_hits(self) -> int:
        statistics = self.client.get_inference_statistics(MODEL, "1")
        return int(statistics.model_stats[0].inference_stats.cache_hit.count)


@pytest.fixture
def asker(triton: Triton) -> Iterator[Asker]:
    triton.wait_ready()
    asker = Asker(triton.grpc_address)
    yield asker
    asker.client.close()
