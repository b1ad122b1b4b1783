"""Where a mesh on this machine lives: `mesh.json` in its run folder.

The supervisor picks every address before it starts anything and writes them down; every command finds
the mesh there, or by `--mesh`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from servers.local.free_ports import HOST, free_ports, is_free
from servers.runtime.ports import METRICS_PORT_OFFSET, PORTS
from servers.runtime.process import port_owner

RECEIVER, RECEIVER_HTTP = "telemetry", "telemetry_http"
RECEIVER_PORT, RECEIVER_HTTP_PORT = 8013, 8014
TRACES_PATH = "/v1/traces"
"""Where OTLP over HTTP takes spans."""
TRITON, TRITON_HTTP = "triton", "triton_http"
TRITON_PORTS = {TRITON: 8041, TRITON_HTTP: 8042}
"""Triton's own defaults, 8000 to 8002, are those of the servers. Its metrics are on its gRPC port + 1000."""
DEFAULT_FOLDER = Path(".tapeline")


class MeshError(Exception):
    """The mesh cannot be started or found; the message says what to do about it."""


@dataclass
class ServerPlace:
    """Where one server listens. `pid` is 0 while it is not running."""

    address: str
    metrics: str
    pid: int = 0


@dataclass
class Mesh:
    """A mesh on this machine: who listens where, on what flow, with which TLS (none: an empty `tls_dir`)."""

    folder: str
    supervisor_pid: int
    flow: str
    servers: dict[str, ServerPlace] = field(default_factory=dict)
    tls_dir: str = ""

    def address(self, name: str) -> str:
        """Return `host:port` of a server. Raises MeshError when the mesh has no such server."""
        place = self.servers.get(name)
        if place is None:
            raise MeshError(f"this mesh has no server {name!r}; it has {', '.join(sorted(self.servers))}")
        return place.address

    def otlp_endpoint(self) -> str:
        """Return where spans go. Raises MeshError when the mesh has no receiver."""
        return f"{'https' if self.tls_dir else 'http'}://{self.address(RECEIVER)}"

    def write(self, path: Path) -> None:
        """Write `mesh.json` in one step, so that no reader sees half of it."""
        scratch = path.with_suffix(".tmp")
        scratch.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        scratch.replace(path)


def read_mesh(path: Path) -> Mesh:
    """Return the mesh that `path` (a mesh.json or a run folder) describes.

    Raises MeshError when there is none, or when its supervisor is gone.
    """
    file = path / "mesh.json" if path.is_dir() else path
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        places = {name: ServerPlace(**place) for name, place in content.pop("servers").items()}
        mesh = Mesh(**content, servers=places)
    except FileNotFoundError:
        raise MeshError(
            f"no mesh is running here: {file} does not exist. Start one with `tapeline up`."
        ) from None
    except (ValueError, TypeError, KeyError) as error:
        raise MeshError(f"{file} is not a mesh.json: {error}") from error
    if not psutil.pid_exists(mesh.supervisor_pid):
        raise MeshError(f"the mesh of {file} is no longer running. Start it again with `tapeline up`.")
    return mesh


def pick_places(names: Iterable[str], port_base: int) -> dict[str, ServerPlace]:
    """Return a free address for every server.

    Args:
        names: the servers.
        port_base: 8000 gives the documented ports, another multiple moves all of them, and 0 takes
            whatever is free.

    Raises MeshError that names the port and who holds it.
    """
    if port_base == 0:
        chosen = list(names)
        address = [f"{HOST}:{port}" for port in free_ports(2 * len(chosen))]
        pairs = zip(address[::2], address[1::2], strict=True)
        return {name: ServerPlace(*pair) for name, pair in zip(chosen, pairs, strict=True)}
    places = {}
    for name in names:
        port = port_base + default_ports()[name] - 8000
        for taken in (port, port + METRICS_PORT_OFFSET):
            if not is_free(taken):
                raise MeshError(
                    f"port {taken} for {name} is taken by {port_owner(taken)}; stop it, or move the whole"
                    " mesh with `--port-base` (0 picks free ports)"
                )
        places[name] = ServerPlace(f"{HOST}:{port}", f"{HOST}:{port + METRICS_PORT_OFFSET}")
    return places


def default_ports() -> Mapping[str, int]:
    """Return the documented port of every server of a local mesh."""
    return {**PORTS, RECEIVER: RECEIVER_PORT, RECEIVER_HTTP: RECEIVER_HTTP_PORT, **TRITON_PORTS}
