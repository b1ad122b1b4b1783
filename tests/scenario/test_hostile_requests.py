"""Ten thousand hostile requests over every RPC: each gets a status, each refusal of ours a reason."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import grpc
import pytest

from servers.journal import Journal
from servers.local.mesh import Mesh
from servers.model.clock import WallClock
from servers.model.errors import REASONS
from servers.runtime.status import error_info
from tests.scenario.conftest import StartMesh
from tests.scenario.hostile import HostileRequest, hostile_requests

REQUESTS = 10_000
AT_ONCE = 16
STREAM_SECONDS = 0.3
OURS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.PERMISSION_DENIED,
}


class Attack:
    """Sends hostile requests and keeps what came back."""

    def __init__(self, mesh: Mesh) -> None:
        self._channels = {
            name: grpc.aio.insecure_channel(place.address, options=[("grpc.max_send_message_length", -1)])
            for name, place in mesh.servers.items()
        }
        self.statuses: Counter[str] = Counter()
        self.faults: list[str] = []

    async def send(self, request: HostileRequest) -> None:
        """Send one request and judge the answer."""
        channel = self._channels[request.server]
        try:
            if request.method.client_streaming:
                both = channel.stream_stream(request.path, None, None)
                talk = both(iter([request.payload]), timeout=STREAM_SECONDS)
                await talk.read()
                talk.cancel()
            elif request.method.server_streaming:
                stream = channel.unary_stream(request.path, None, None)(
                    request.payload, timeout=STREAM_SECONDS
                )
                await stream.read()
                stream.cancel()
            else:
                await channel.unary_unary(request.path, None, None)(request.payload, timeout=20.0)
            self.statuses["OK"] += 1
        except grpc.aio.AioRpcError as error:
            self._judge(request, error)

    def _judge(self, request: HostileRequest, error: grpc.aio.AioRpcError) -> None:
        code = error.code()
        self.statuses[code.name] += 1
        is_quiet_stream = request.method.server_streaming and code is grpc.StatusCode.DEADLINE_EXCEEDED
        # The server refuses while the client still writes; grpc then tells its own write error now and then.
        is_cut_off = request.method.client_streaming and request.wrong == "5 MB"
        if is_quiet_stream or (is_cut_off and "Internal error from Core" in (error.details() or "")):
            return
        info = error_info(error)
        if code not in OURS:
            self.faults.append(f"{request.path} with {request.wrong}: {code.name} {error.details()}")
        elif info is None or info.reason not in REASONS:
            self.faults.append(f"{request.path} with {request.wrong}: {code.name} without a reason")

    async def close(self) -> None:
        """Close all channels."""
        for channel in self._channels.values():
            await channel.close(None)


@pytest.mark.timeout(600)
async def test_every_hostile_request_is_refused_with_a_reason(start_mesh: StartMesh) -> None:
    mesh = start_mesh("--speed", "1")
    running = await mesh.wait_ready()
    pids = {name: place.pid for name, place in running.servers.items()}
    attack = Attack(running)
    requests = hostile_requests(REQUESTS, seed=7)

    async def worker() -> None:
        for request in requests:
            await attack.send(request)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(worker())
    await attack.close()
    assert not attack.faults, f"{len(attack.faults)} faults:\n" + "\n".join(sorted(attack.faults)[:40])
    assert sum(attack.statuses.values()) == REQUESTS
    assert attack.statuses["INVALID_ARGUMENT"] > REQUESTS // 4, attack.statuses
    for status in ("NOT_FOUND", "ALREADY_EXISTS", "OUT_OF_RANGE", "RESOURCE_EXHAUSTED"):
        assert attack.statuses[status], f"no request was answered with {status}"
    assert {name: place.pid for name, place in mesh.mesh.servers.items()} == pids, "a server was restarted"
    assert mesh.stop() == 0
    await _check_journals(mesh.folder)


async def _check_journals(folder: Path) -> None:
    """Every journal still holds: checksums, chain and head."""
    journals = [
        path for path in folder.rglob("*") if path.suffix in (".journal", ".db", ".sqlite") and path.is_file()
    ]
    checked = 0
    for path in journals:
        if path.name in ("traces.db", "news.db"):
            continue  # no journals
        journal = await Journal.open(path, writer="test", clock=WallClock(), on_failure=_fail, check="full")
        checked += 1
        await journal.close()
    assert checked >= 6


def _fail(error: BaseException) -> None:
    raise AssertionError("the journal failed") from error
