"""Triton as a process: killed, it comes back; without a parent it goes; what is missing is said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from servers.local.triton import ROOT, Triton, TritonError, TritonPlan, TritonPorts, triton_command
from tests.integration.triton.conftest import Asker

pytestmark = pytest.mark.processes


def eventually(holds: Callable[[], bool], timeout_seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_killed_triton_is_gone_at_once_and_answers_again_at_the_same_address(triton: Triton) -> None:
    triton.wait_ready()
    address, models = triton.grpc_address, psutil.Process(triton.pid).children(recursive=True)
    assert models
    triton.kill()
    assert not triton.is_ready()
    assert eventually(lambda: not any(model.is_running() for model in models))
    with pytest.raises(TritonError, match="does not run"):
        _ = triton.pid
    triton.start()
    triton.wait_ready()
    assert triton.grpc_address == address
    assert Asker(address).ask("Acme falls").labels


def test_triton_ends_when_who_started_it_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from servers.local.triton import *\n"
        f"triton = Triton(TritonPlan(models=()), log_path=Path({str(tmp_path / 'triton.log')!r}))\n"
        "triton.start(); triton.wait_ready(); print(triton.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        server = psutil.Process(int(starter.stdout.readline()))
        assert "tritonserver" in server.name()
        starter.send_signal(signal.SIGKILL)
        assert eventually(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE)


def test_a_plan_sets_priority_and_threads(tmp_path: Path) -> None:
    plan = TritonPlan(models=(), niceness=7, threads=1)
    with Triton(plan, log_path=tmp_path / "triton.log") as running:
        server = psutil.Process(running.pid)
        assert server.nice() == os.nice(0) + 7
        assert server.environ()["MARKET_LLM_THREADS"] == "1"
        with pytest.raises(TritonError, match="runs already"):
            running.start()


def test_it_reads_from_whatever_folder_it_is_started_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Triton(TritonPlan(threads=1), log_path=tmp_path / "triton.log") as running:
        assert Asker(running.grpc_address).ask("Acme falls").labels


def test_a_triton_that_cannot_start_says_why(tmp_path: Path) -> None:
    plan = TritonPlan(repository=tmp_path / "nowhere")
    triton = Triton(plan, log_path=tmp_path / "triton.log")
    triton.start()
    with pytest.raises(TritonError, match="nowhere"):
        triton.wait_ready()
    triton.stop()


def test_an_environment_that_is_not_set_up_is_named(tmp_path: Path) -> None:
    with pytest.raises(TritonError, match="make setup"):
        triton_command(TritonPlan(environment=tmp_path), TritonPorts.free())
