"""Run the trace receiver: `python -m servers.local.receiver`."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from pydantic import Field

from servers.local.mesh import RECEIVER, RECEIVER_HTTP_PORT, RECEIVER_PORT
from servers.local.receiver.http import HttpListener
from servers.local.receiver.service import TraceService
from servers.local.receiver.store import SpanStore
from servers.runtime.component import Context, Registration
from servers.runtime.server import run
from servers.runtime.settings import Port, ServerSettings

TRACES_FILE = "traces.db"


class ReceiverSettings(ServerSettings):
    """Settings of the trace receiver."""

    port: Port = Field(RECEIVER_PORT, description="gRPC port; 0 takes any free one")
    http_port: Port = Field(RECEIVER_HTTP_PORT, description="OTLP over HTTP; 0 takes any free port")
    max_spans: int = Field(500_000, gt=0, description="spans kept; the oldest go first")


class Receiver:
    """The component: a SpanStore behind gRPC and HTTP."""

    def __init__(self, settings: ReceiverSettings) -> None:
        self._settings = settings
        self._store = SpanStore(settings.data_dir / TRACES_FILE, settings.max_spans)
        self._http = HttpListener(self._store)
        self.http_port = 0

    def registrations(self) -> Sequence[Registration]:
        return [
            Registration(
                trace_service_pb2_grpc.add_TraceServiceServicer_to_server,
                TraceService(self._store),
                roles={"Export": frozenset({"*"})},
            )
        ]

    async def start(self) -> None:
        """Listen for HTTP as well. Nothing is to restore: the store is a file."""
        self.http_port = await self._http.open(self._settings.host, self._settings.http_port)

    async def stop(self) -> None:
        await self._http.close()
        self._store.close()


def build(settings: ReceiverSettings, context: Context) -> Receiver:
    """Return the receiver."""
    return Receiver(settings)


if __name__ == "__main__":
    run(RECEIVER, ReceiverSettings, build)
