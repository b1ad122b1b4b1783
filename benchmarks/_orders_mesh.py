"""The part of the mesh that `benchmarks/orders.py` measures: each server a process of its own."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
from tapeline.exchange.v1 import exchange_service_pb2, exchange_service_pb2_grpc
from tapeline.trading.v1 import market_pb2

from servers.local.health import health_of
from servers.local.mesh import RECEIVER, ServerPlace, pick_places

SERVERS = (RECEIVER, "exchange", "market_data", "portfolio", "risk", "orders")
READY_SECONDS = 60.0
SETTINGS = {
    # A session that is open from its first seconds, at live speed, so that prices are never stale.
    "exchange": {"pre_open_seconds": "1", "symbols": "ACME,BOLT"},
    "risk": {"follow_execution": "false"},
}


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[dict[str, ServerPlace]]:
    """Run the servers as `tapeline up` does, telemetry included; yield their addresses."""
    places = pick_places(SERVERS, 0)
    processes: list[subprocess.Popen[bytes]] = []
    try:
        processes.extend(_start(name, places, folder) for name in SERVERS)
        await _ready(places, folder)
        yield places
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(process.wait, 10)
            process.kill()
            await asyncio.to_thread(process.wait)


async def market_is_open(exchange: str) -> None:
    """Wait until every symbol trades continuously."""
    ends = time.monotonic() + READY_SECONDS
    async with grpc.aio.insecure_channel(exchange) as channel:
        stub = exchange_service_pb2_grpc.ExchangeServiceStub(channel)
        while time.monotonic() < ends:
            session = await stub.GetSession(exchange_service_pb2.GetSessionRequest())
            phases = {status.phase for status in session.statuses}
            if phases == {market_pb2.MARKET_PHASE_CONTINUOUS}:
                return
            await asyncio.sleep(0.2)
    raise RuntimeError("the practice market did not open")


def _start(name: str, places: dict[str, ServerPlace], folder: Path) -> subprocess.Popen[bytes]:
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", _module(name)],
            env=_environment(name, places, folder),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _module(name: str) -> str:
    return "servers.local.receiver" if name == RECEIVER else f"servers.{name}"


def _environment(name: str, places: dict[str, ServerPlace], folder: Path) -> dict[str, str]:
    settings = {
        "port": places[name].address.rpartition(":")[2],
        "metrics_port": places[name].metrics.rpartition(":")[2],
        "peers": ",".join(f"{peer}={place.address}" for peer, place in places.items()),
        "data_dir": str(folder / name),
        "parent_pid": str(os.getpid()),
        "log_level": "warning",
        **SETTINGS.get(name, {}),
    }
    if name != RECEIVER:
        settings["otlp_endpoint"] = f"http://{places[RECEIVER].address}"
    prefix = f"TAPELINE_{name.upper()}_"
    return {**os.environ, **{prefix + field.upper(): text for field, text in settings.items()}}


async def _ready(places: dict[str, ServerPlace], folder: Path) -> None:
    ends = time.monotonic() + READY_SECONDS
    for name, place in places.items():
        while await health_of(place.address) != "SERVING":
            if time.monotonic() > ends:
                log = (folder / f"{name}.log").read_text(errors="replace")[-2_000:]
                raise RuntimeError(f"{name} is not ready; its log ends with:\n{log}")
            await asyncio.sleep(0.1)
