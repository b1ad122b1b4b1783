"""The whole mesh: every server as its own process, started together, stopped in order."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from servers.local.doctor import configured_roles
from servers.local.health import health_in
from servers.local.log_file import DEFAULT_LOGS, LogLimits
from servers.local.mesh import (
    RECEIVER,
    RECEIVER_HTTP,
    TRACES_PATH,
    TRITON,
    TRITON_HTTP,
    Mesh,
    MeshError,
    ServerPlace,
    pick_places,
)
from servers.local.process import Listener, ServerProcess
from servers.local.tls import MeshTls, operator_certificates
from servers.local.triton import TritonPlan, TritonPorts, triton_arguments
from servers.runtime.ports import PORTS
from servers.runtime.security import CertificateFolder

TRADING = ("execution", "orders", "risk", "portfolio", "market_data", "exchange", RECEIVER)
"""Execution first (its parents stay journalled), then orders (it drains its outbox), then who feeds them."""
READING = ("decision", "signals", "news", "intelligence")
"""What reads posts and decides: from who asks to who is asked."""
STOP_ORDER = (*READING, *TRADING, TRITON)
CERTIFIED = tuple(name for name in STOP_ORDER if name != TRITON)
"""Servers of ours: those that have a certificate where a mesh speaks TLS."""
OVER_HTTP = {TRITON: TRITON_HTTP, RECEIVER: RECEIVER_HTTP}
"""Servers that listen for HTTP too, and what that address is called."""
TRITON_NICENESS = 10
MODULES = {RECEIVER: "servers.local.receiver", TRITON: "servers.local.triton"}
STOP_SECONDS = 15.0
READY_SECONDS = 60.0
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class MeshPlan:
    """What to start.

    Args:
        run_folder: gets `mesh.json`, logs and traces.
        state_folder: gets the servers' journals and tapes.
        flow: "simulated" or "recorded", for people.
        servers: which servers, of STOP_ORDER.
        settings: server -> field -> text, on top of addresses and folders.
        port_base: see `pick_places`.
        logs: how much of each server's log is kept.
        tls: the certificates of a mesh with mutual TLS; None for one in the clear.
    """

    run_folder: Path
    state_folder: Path
    flow: str = "simulated"
    servers: tuple[str, ...] = TRADING
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    port_base: int = 8000
    logs: LogLimits = DEFAULT_LOGS
    tls: MeshTls | None = None


class Supervisor:
    """Runs a mesh in a run folder that the caller holds; use it with `async with`.

    Args:
        plan: what to start.
        listener: hears what servers print and what happens to them.
    """

    def __init__(self, plan: MeshPlan, listener: Listener) -> None:
        self.plan = plan
        self._listener = listener
        self._processes: dict[str, ServerProcess] = {}
        self._is_stopped = False
        self._over_http: dict[str, ServerPlace] = {}
        self.mesh = Mesh(str(plan.run_folder.resolve()), os.getpid(), plan.flow)
        if plan.tls is not None:
            self.mesh.tls_dir = str(plan.tls.folder)

    @property
    def mesh_path(self) -> Path:
        """Where `mesh.json` is."""
        return self.plan.run_folder / "mesh.json"

    async def __aenter__(self) -> Self:
        try:
            names = [name for name in STOP_ORDER if name in self.plan.servers]
            extra = [OVER_HTTP[name] for name in names if name in OVER_HTTP]
            self.mesh.servers = pick_places((*names, *extra), self.plan.port_base)
            self._over_http = {name: self.mesh.servers.pop(name) for name in extra}
            for folder in (self.plan.run_folder / "logs", self.plan.state_folder):
                folder.mkdir(parents=True, exist_ok=True)
            self.mesh.write(self.mesh_path)
            for name, place in self.mesh.servers.items():
                process = ServerProcess(
                    name,
                    MODULES.get(name, f"servers.{name}"),
                    place,
                    self._environment(name),
                    self.plan.run_folder / "logs" / f"{name}.log",
                    self._listener,
                    self._write_mesh,
                    self._triton_arguments(place) if name == TRITON else (),
                    self.plan.logs,
                )
                self._processes[name] = process
                process.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Stop every server in its order, then forget the mesh."""
        for name in STOP_ORDER:
            process = self._processes.get(name)
            if process is not None:
                try:
                    await process.stop(STOP_SECONDS)
                except OSError as error:  # the others are stopped too
                    self._listener.notice(name, f"could not be stopped: {error!r}")
        self._processes.clear()
        self._is_stopped = True
        self.mesh_path.unlink(missing_ok=True)

    async def wait_ready(self, timeout_seconds: float = READY_SECONDS) -> None:
        """Return when every server says SERVING.

        Raises MeshError that names those that do not, and where to look.
        """
        deadline = time.monotonic() + timeout_seconds
        waiting = set(self.mesh.servers)
        certificates = operator_certificates(self.mesh)
        async with asyncio.TaskGroup() as group:
            for name in list(waiting):
                group.create_task(self._wait_serving(name, waiting, deadline, certificates))
        failures = self._failures()
        if failures:
            raise MeshError("; ".join(failures))
        if waiting:
            reason = f"logs are in {self.plan.run_folder / 'logs'}"
            raise MeshError(f"not ready within {timeout_seconds:g} s: {', '.join(sorted(waiting))}. {reason}")
        for process in self._processes.values():
            process.is_settled = True

    def restarts(self) -> Mapping[str, int]:
        """Return how often each server was started again."""
        return {name: process.restarts for name, process in self._processes.items()}

    def _failures(self) -> list[str]:
        return [process.failure for process in self._processes.values() if process.failure]

    async def _wait_serving(
        self, name: str, waiting: set[str], deadline: float, certificates: CertificateFolder | None
    ) -> None:
        while time.monotonic() < deadline and not self._failures():
            if await health_in(self.mesh, name, certificates) == "SERVING":
                waiting.discard(name)
                return
            await asyncio.sleep(POLL_SECONDS)

    def _triton_arguments(self, place: ServerPlace) -> list[str]:
        """One thread and a lower priority: the order path goes first."""
        addresses = (place.address, self._over_http[TRITON_HTTP].address, place.metrics)
        ports = TritonPorts(*map(port_of, addresses))
        receiver = self._over_http.get(RECEIVER_HTTP)
        trace_url = f"http://{receiver.address}{TRACES_PATH}" if receiver is not None else ""
        plan = TritonPlan(threads=1, niceness=TRITON_NICENESS, trace_url=trace_url)
        return triton_arguments(plan, ports)

    def _environment(self, name: str) -> dict[str, str]:
        if name == TRITON:
            return dict(os.environ)
        place = self.mesh.servers[name]
        settings: dict[str, str] = {
            "port": str(port_of(place.address)),
            "metrics_port": str(port_of(place.metrics)),
            "peers": ",".join(
                f"{peer}={other.address}" for peer, other in self.mesh.servers.items() if peer in PORTS
            ),
            "data_dir": str(self.plan.run_folder if name == RECEIVER else self.plan.state_folder / name),
            "parent_pid": str(os.getpid()),
        }
        if name == RECEIVER:
            settings["http_port"] = str(port_of(self._over_http[RECEIVER_HTTP].address))
        elif RECEIVER in self.mesh.servers:
            settings["otlp_endpoint"] = self.mesh.otlp_endpoint()
        if name == "intelligence" and TRITON in self.mesh.servers:
            settings["triton"] = self.mesh.address(TRITON)
        if self.plan.tls is not None:
            settings["tls_dir"] = str(self.plan.tls.folder / name)
            settings["roles"] = self.plan.tls.roles(configured_roles(name))
        settings.update(self.plan.settings.get(name, {}))
        prefix = f"TAPELINE_{name.upper()}_"
        return {**os.environ, **{prefix + field.upper(): text for field, text in settings.items()}}

    def _write_mesh(self) -> None:
        if not self._is_stopped:
            self.mesh.write(self.mesh_path)


def port_of(address: str) -> int:
    """Return the port of `host:port`."""
    return int(address.rpartition(":")[2])
