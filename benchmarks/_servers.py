"""Starts and stops the servers of a mesh that a benchmark measures: each a process of its own."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from servers.local.health import health_of
from servers.local.mesh import RECEIVER, TRITON, ServerPlace
from servers.runtime.ports import PORTS

READY_SECONDS = 60.0
STOP_SECONDS = 10.0

ServerProcess = subprocess.Popen[bytes]


def start_server(
    name: str, places: Mapping[str, ServerPlace], folder: Path, settings: Mapping[str, str]
) -> ServerProcess:
    """Start a server as `tapeline up` does; its log and its data lie in the folder.

    Args:
        places: of every server; it is told those of its peers, of telemetry and of Triton.
        settings: beside addresses and folders.
    """
    told = {
        "port": places[name].address.rpartition(":")[2],
        "metrics_port": places[name].metrics.rpartition(":")[2],
        "peers": ",".join(f"{peer}={place.address}" for peer, place in places.items() if peer in PORTS),
        "data_dir": str(folder / name),
        "parent_pid": str(os.getpid()),
        "log_level": "warning",
        **settings,
    }
    if name != RECEIVER:
        told["otlp_endpoint"] = f"http://{places[RECEIVER].address}"
    if name == "intelligence":
        told["triton"] = places[TRITON].address
    prefix = f"TAPELINE_{name.upper()}_"
    module = "servers.local.receiver" if name == RECEIVER else f"servers.{name}"
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", module],
            env={**os.environ, **{prefix + field.upper(): text for field, text in told.items()}},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


async def until_serving(name: str, address: str, folder: Path) -> None:
    """Wait for a server. Raises RuntimeError with the end of its log when it does not come."""
    ends = time.monotonic() + READY_SECONDS
    while await health_of(address) != "SERVING":
        if time.monotonic() > ends:
            log = await asyncio.to_thread((folder / f"{name}.log").read_text, errors="replace")
            raise RuntimeError(f"{name} is not ready; its log ends with:\n{log[-2_000:]}")
        await asyncio.sleep(0.05)


async def stop_servers(processes: Sequence[ServerProcess]) -> None:
    """Stop servers, the last that was started first; kill those that take too long."""
    for process in reversed(processes):
        process.terminate()
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(process.wait, STOP_SECONDS)
        process.kill()
        await asyncio.to_thread(process.wait)
