"""Triton Inference Server on this machine: the real binary, in an environment of its own, on free ports.

`Triton` starts it as a child for tests and commands. `python -m servers.local.triton` becomes the server
(it execs it), which is how the supervisor of a mesh runs it. Both ask the kernel to end Triton when the
thread that started it ends, so start it from one that stays.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from servers.local.free_ports import HOST, free_ports
from servers.runtime.process import ParentGone, die_with_parent

ROOT = Path(__file__).resolve().parents[2]
MODEL = "market_llm"
FACTS_NAME = "triton.json"
"""What `triton_models.prepare` writes into its environment: where the binary and its libraries are."""
READY_SECONDS = 120.0
STOP_SECONDS = 10.0
_POLL_SECONDS = 0.05
_LOG_LINES_TOLD = 12


class TritonError(Exception):
    """Triton is not installed, does not start or has ended; the message says what to do about it."""


@dataclass(frozen=True)
class TritonPorts:
    """Where it listens on 127.0.0.1. Triton's own defaults collide with the mesh's servers."""

    grpc: int
    http: int
    metrics: int

    @classmethod
    def free(cls) -> TritonPorts:
        """Return three ports that are this process's; see `free_ports`."""
        return cls(*free_ports(3))

    @property
    def grpc_address(self) -> str:
        """`host:port` for clients."""
        return f"{HOST}:{self.grpc}"


@dataclass(frozen=True)
class TritonPlan:
    """How to run it.

    Args:
        environment: virtual environment that `make setup` fills from `triton_models/requirements.txt`.
        repository: model repository.
        models: loaded at the start; others are loaded through the API (EXPLICIT control).
        threads: of a model's arithmetic; 0 takes every core. The embedded mesh gives it one.
        niceness: added to the process's priority; 10 lets the order path go first.
        cache_bytes: of the response cache; 0 leaves it out, since what it holds cannot be removed.
        trace_url: gets Triton's spans as OTLP over HTTP, such as `http://127.0.0.1:4318/v1/traces`; none when
            empty. A request's `traceparent` (gRPC metadata) makes them children of the caller's span.
        weights: folder of the converted weights; `build/triton` when None.
    """

    environment: Path = ROOT / ".venv-triton"
    repository: Path = ROOT / "triton_models" / "cpu"
    models: tuple[str, ...] = (MODEL,)
    threads: int = 0
    niceness: int = 0
    cache_bytes: int = 0
    trace_url: str = ""
    weights: Path | None = None


def triton_command(plan: TritonPlan, ports: TritonPorts) -> list[str]:
    """Return the server's command line. Raises TritonError when the environment is not set up."""
    triton = _facts(plan)["triton"]
    command = [
        f"{triton}/bin/tritonserver",
        f"--model-repository={plan.repository}",
        "--model-control-mode=explicit",
        *(f"--load-model={model}" for model in plan.models),
        f"--backend-directory={triton}/backends",
        "--disable-auto-complete-config",
        # Shared memory is named by port, so that two servers on one machine never meet in it.
        f"--backend-config=python,shm-region-prefix-name=tapeline_{ports.grpc}_",
        f"--grpc-address={HOST}",
        f"--http-address={HOST}",
        f"--metrics-address={HOST}",
        f"--grpc-port={ports.grpc}",
        f"--http-port={ports.http}",
        f"--metrics-port={ports.metrics}",
        "--http-thread-count=1",
        "--allow-gpu-metrics=false",
        "--pinned-memory-pool-byte-size=0",
        "--reuse-grpc-port=false",
        "--exit-timeout-secs=5",
    ]
    if plan.cache_bytes:
        command += [f"--cache-directory={triton}/caches", f"--cache-config=local,size={plan.cache_bytes}"]
    if plan.trace_url:
        traces = (
            "mode=opentelemetry",
            "level=TIMESTAMPS",
            "rate=1",
            f"opentelemetry,url={plan.trace_url}",
            "opentelemetry,resource=service.name=triton",
        )
        command += [f"--trace-config={setting}" for setting in traces]
    return command


def triton_environment(plan: TritonPlan) -> dict[str, str]:
    """Return the whole environment of the process. Raises TritonError when it is not set up."""
    facts = _facts(plan)
    environment = {
        name: text for name, text in os.environ.items() if not name.startswith(("PYTHON", "TAPELINE_", "COV"))
    }
    libraries = [facts["library_folder"], *filter(None, [environment.get("LD_LIBRARY_PATH")])]
    environment |= {
        "PATH": f"{plan.environment / 'bin'}:{environment.get('PATH', '')}",
        "LD_LIBRARY_PATH": ":".join(libraries),
        "PYTHONPATH": f"{ROOT}:{facts['site_packages']}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "MARKET_LLM_THREADS": str(plan.threads),
    }
    if plan.weights is not None:
        environment["MARKET_LLM_WEIGHTS"] = str(plan.weights)
    return environment


def is_installed(plan: TritonPlan | None = None) -> bool:
    """Tell whether `make setup` has made the environment that the plan names."""
    return ((plan or TritonPlan()).environment / FACTS_NAME).exists()


@dataclass
class Triton:
    """A Triton that lives as long as this object's `with` block, or from `start` to `stop`.

    Args:
        plan: how to run it.
        ports: where it listens; chosen now when None, and kept when it is started again.
        log_path: gets what it prints; a temporary file when None.
    """

    plan: TritonPlan = field(default_factory=TritonPlan)
    ports: TritonPorts = field(default_factory=TritonPorts.free)
    log_path: Path | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def grpc_address(self) -> str:
        """`host:port` for clients."""
        return self.ports.grpc_address

    @property
    def pid(self) -> int:
        """Process id of the server. Raises TritonError when it does not run."""
        if self._process is None or self._process.poll() is not None:
            raise TritonError("Triton does not run")
        return self._process.pid

    def __enter__(self) -> Self:
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and return at once. Raises TritonError when it is not installed or runs already."""
        if self._process is not None and self._process.poll() is None:
            raise TritonError(f"Triton runs already, pid {self._process.pid}")
        triton_command(self.plan, self.ports)  # says now what is missing
        if self.log_path is None:
            handle, name = tempfile.mkstemp(prefix="triton-", suffix=".log")
            os.close(handle)
            self.log_path = Path(name)
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own module, arguments from the plan
                [sys.executable, "-m", __name__, *triton_arguments(self.plan, self.ports)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_ready(self, timeout_seconds: float = READY_SECONDS) -> None:
        """Return when every model of the plan can answer.

        Raises TritonError, with the end of the log, when the process ends before or time runs out.
        """
        deadline = time.monotonic() + timeout_seconds
        while not self.is_ready():
            if self._process is None or self._process.poll() is not None:
                raise TritonError(f"Triton has ended:\n{self._log_end()}")
            if time.monotonic() > deadline:
                raise TritonError(f"Triton is not ready after {timeout_seconds:g} s:\n{self._log_end()}")
            time.sleep(_POLL_SECONDS)

    def is_ready(self) -> bool:
        """Tell whether the server and every model of the plan are ready."""
        base = f"http://{HOST}:{self.ports.http}/v2"
        paths = ["health/ready", *(f"models/{model}/ready" for model in self.plan.models)]
        return all(_answers(f"{base}/{path}") for path in paths)

    def stop(self, timeout_seconds: float = STOP_SECONDS) -> None:
        """Ask it to finish with SIGTERM and end it with SIGKILL after `timeout_seconds`."""
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End it, its model processes too, with SIGKILL, as a crash would; `start` brings it back."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _log_end(self) -> str:
        if self.log_path is None or not self.log_path.exists():
            return ""
        lines = self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_LOG_LINES_TOLD:])


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1.0) as response:  # noqa: S310 - http to this machine
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _facts(plan: TritonPlan) -> dict[str, str]:
    path = plan.environment / FACTS_NAME
    try:
        facts: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TritonError(f"{path} does not exist: Triton's environment is made by `make setup`") from None
    return facts


def triton_arguments(plan: TritonPlan, ports: TritonPorts) -> list[str]:
    """Return the arguments with which `main` becomes the server that plan and ports describe.

    It ends with the process that calls this.
    """
    arguments = {
        "grpc-port": ports.grpc,
        "http-port": ports.http,
        "metrics-port": ports.metrics,
        "environment": plan.environment,
        "repository": plan.repository,
        "models": ",".join(plan.models),
        "threads": plan.threads,
        "niceness": plan.niceness,
        "cache-bytes": plan.cache_bytes,
        "trace-url": plan.trace_url,
        "parent-pid": os.getpid(),
        **({"weights": plan.weights} if plan.weights is not None else {}),
    }
    return [f"--{name}={value}" for name, value in arguments.items()]


def _parse(arguments: Sequence[str]) -> tuple[TritonPlan, TritonPorts, int]:
    usual = TritonPlan()
    parser = argparse.ArgumentParser(prog="python -m servers.local.triton", description=__doc__)
    for name in ("grpc-port", "http-port", "metrics-port"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--environment", type=Path, default=usual.environment)
    parser.add_argument("--repository", type=Path, default=usual.repository)
    parser.add_argument("--models", default=",".join(usual.models))
    parser.add_argument("--threads", type=int, default=usual.threads)
    parser.add_argument("--niceness", type=int, default=usual.niceness)
    parser.add_argument("--cache-bytes", type=int, default=usual.cache_bytes)
    parser.add_argument("--trace-url", default=usual.trace_url)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--parent-pid", type=int, required=True)
    given = parser.parse_args(arguments)
    plan = TritonPlan(
        given.environment.absolute(),
        given.repository.absolute(),
        tuple(filter(None, given.models.split(","))),
        given.threads,
        given.niceness,
        given.cache_bytes,
        given.trace_url,
        given.weights.absolute() if given.weights else None,
    )
    return plan, TritonPorts(given.grpc_port, given.http_port, given.metrics_port), given.parent_pid


def main(arguments: Sequence[str] | None = None) -> None:
    """Become Triton: set what the kernel shall do when the parent ends, lower the priority, exec."""
    plan, ports, parent_pid = _parse(sys.argv[1:] if arguments is None else arguments)
    try:
        command, environment = triton_command(plan, ports), triton_environment(plan)
    except TritonError as error:
        sys.exit(str(error))
    try:
        die_with_parent(parent_pid)
    except ParentGone as error:
        sys.exit(str(error))
    os.nice(plan.niceness)
    # Its Python backend looks for `triton_models` in the working folder alone, whatever PYTHONPATH says.
    os.chdir(ROOT)
    os.execve(command[0], command, environment)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
