"""A whole mesh of real processes, started by the `tapeline` command as a user would."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from servers.local.health import health_of
from servers.local.mesh import Mesh, MeshError, read_mesh

COMMAND = (sys.executable, "-m", "servers.local.command")
SESSION_DATE = "2026-11-23"
"""The same session every day: a test must not meet another market tomorrow."""
_BOUND = """
import runpy, sys
from servers.runtime.process import die_with_parent
die_with_parent(int(sys.argv.pop(1)))
runpy.run_module("servers.local.command", run_name="__main__", alter_sys=True)
"""
BOUND_COMMAND = (sys.executable, "-c", _BOUND, str(os.getpid()))
"""The same command, which ends when the process that started it does: a killed test run leaves no mesh."""
START_SECONDS = 90.0
STOP_SECONDS = 60.0


class RunningMesh:
    """`tapeline up` in a folder of its own, on free ports."""

    def __init__(self, folder: Path, arguments: tuple[str, ...], environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.log_path = folder / "up.log"
        folder.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*BOUND_COMMAND, "up", "--data", folder, "--port-base", "0", *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    @property
    def mesh(self) -> Mesh:
        return read_mesh(self.folder)

    async def wait_ready(self) -> Mesh:
        """Return when every server says SERVING."""

        async def serving() -> bool:
            assert self.process.poll() is None, self.log()
            try:
                places = self.mesh.servers.values()
            except MeshError:
                return False
            return {await health_of(place.address) for place in places} == {"SERVING"}

        await eventually(serving, START_SECONDS, self.log)
        return self.mesh

    def log(self) -> str:
        """Return the end of everything that the mesh printed, for a failure's message."""
        logs = [self.log_path, *sorted((self.folder / "logs").glob("*.log"))]
        return "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}" for path in logs if path.exists()
        )

    def stop(self) -> int:
        """Stop as Ctrl-C does and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"the mesh did not stop\n{self.log()}") from None
        return self.process.returncode

    def children(self) -> list[psutil.Process]:
        """Return the server processes."""
        children: list[psutil.Process] = psutil.Process(self.process.pid).children(recursive=True)
        return children


async def eventually(
    condition: Callable[[], Awaitable[bool]], seconds: float, describe: Callable[[], str] = lambda: ""
) -> None:
    """Return when `condition` holds, or fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, f"not within {seconds} s\n{describe()}"
        await asyncio.sleep(0.05)


StartMesh = Callable[..., RunningMesh]


@pytest.fixture
def start_mesh(tmp_path: Path) -> Iterator[StartMesh]:
    """Start meshes that are stopped at the end of the test, whatever happened in it."""
    running: list[RunningMesh] = []

    def start(
        *arguments: str, folder: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> RunningMesh:
        mesh = RunningMesh(folder or tmp_path / "run", arguments, environment or {})
        running.append(mesh)
        return mesh

    yield start
    for mesh in running:
        with contextlib.suppress(psutil.NoSuchProcess):
            children = mesh.children()
            mesh.process.kill()
            psutil.wait_procs(children, timeout=STOP_SECONDS)
        mesh.process.wait()


@pytest.fixture
def market_folder() -> Path:
    """The folder of recorded market data; tests that need it are skipped without it."""
    folder = Path(__file__).parents[2].parent / "shared" / "data" / "market"
    if not folder.exists():
        pytest.skip("no recorded market data beside the project")
    return folder
