"""A server as a process of its own: signals, exit codes, and what it says when it cannot run."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent / "process_server.py"
SECONDS = 30
Start = Callable[..., subprocess.Popen[str]]

pytestmark = pytest.mark.processes


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def start(mode: str, *flags: str, **variables: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), mode, *flags],
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=SECONDS)


def wait_for_event(process: subprocess.Popen[str], event: str) -> dict[str, Any]:
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if line.startswith("{") and json.loads(line)["event"] == event:
            found: dict[str, Any] = json.loads(line)
            return found
    raise AssertionError(f"{event!r} was never logged: {''.join(seen)}")


@pytest.mark.parametrize(("mode", "number"), [("quiet", signal.SIGTERM), ("later", signal.SIGINT)])
def test_a_signal_drains_and_ends_with_zero(start: Start, mode: str, number: int) -> None:
    process = start(mode)
    line = wait_for_event(process, "serving")
    assert (line["server"], line["pid"]) == ("quiet", process.pid)
    process.send_signal(number)
    out, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert out == "component stopped\n"
    assert [json.loads(line)["event"] for line in errors.splitlines()] == ["stopped"]


def test_a_signal_during_the_start_ends_it(start: Start) -> None:
    process = start("slow-start")
    assert process.stdout is not None
    assert process.stdout.readline() == "starting\n"
    process.terminate()
    process.communicate(timeout=SECONDS)
    assert process.returncode == 0


def test_a_fatal_background_error_takes_the_process_with_it(start: Start) -> None:
    process = start("fails")
    out, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 70
    assert "component stopped" not in out
    assert "OSError: sync failed" in errors


@pytest.mark.parametrize(("mode", "lacks"), [("cannot-start", "journal"), ("cannot-build", "library")])
def test_a_start_that_fails_is_said_and_ends_the_process(start: Start, mode: str, lacks: str) -> None:
    process = start(mode)
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 70
    assert f"OSError: no such {lacks}" in errors
    assert "could not start" in errors


def test_a_file_that_a_server_finds_wrong_is_one_line(start: Start) -> None:
    process = start("wrong-file")
    _, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (2, "quiet: limits.toml: line 3: no such limit\n")


def test_a_second_interrupt_does_not_wait(start: Start) -> None:
    process = start("hangs")
    wait_for_event(process, "serving")
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == "component stopped\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=SECONDS)
    assert process.returncode == 130


def test_a_taken_port_names_port_and_owner(start: Start) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        process = start("quiet", "--port", str(port), "--metrics-port", "0")
        _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 3
    assert f"quiet: gRPC address 127.0.0.1:{port} is taken by pid {os.getpid()}" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("flags", "variables", "message"),
    [
        (["--drain-seconds", "soon"], {}, "quiet: drain_seconds (from --drain-seconds)"),
        ([], {"TAPELINE_QUIET_DRAINS": "1"}, "quiet: TAPELINE_QUIET_DRAINS: no such setting of quiet"),
        (["--host", "0.0.0.0"], {}, "quiet: host 0.0.0.0 is reachable from other machines"),
        (["--tls-dir", "/nowhere"], {}, "quiet: tls_dir: cannot read /nowhere/tls.crt"),
    ],
)
def test_wrong_settings_are_one_line_and_exit_code_two(
    start: Start, flags: list[str], variables: dict[str, str], message: str
) -> None:
    process = start("quiet", *flags, **variables)
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 2
    assert errors.startswith(message)
    assert len(errors.splitlines()) == 1


def test_help_shows_defaults_and_units(start: Start) -> None:
    process = start("quiet", "--help")
    out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert "--drain-seconds VALUE" in out
    assert "TAPELINE_QUIET_<FIELD>" in out


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_it_stops_when_its_parent_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = (
        "import os, subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, {str(SCRIPT)!r}, 'quiet', '--parent-pid', str(os.getpid())],"
        f" stderr=open({str(log)!r}, 'w'), stdout=subprocess.DEVNULL)\n"
        "time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program])
    try:
        assert "serving" in eventually_in(log, "serving")
        parent.kill()
        parent.wait(SECONDS)
        assert "stopped" in eventually_in(log, "stopped")
    finally:
        parent.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_it_ends_at_once_when_its_parent_is_gone_already(start: Start) -> None:
    process = start("quiet", "--parent-pid", "1")
    _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert said.splitlines() == ["quiet: process 1, which started this one, is gone"]


def eventually_in(log: Path, event: str) -> list[str]:
    """Return the events in `log` once `event` is among them."""
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends:
        text = log.read_text() if log.exists() else ""
        events = [json.loads(line)["event"] for line in text.splitlines(keepends=True) if line.endswith("\n")]
        if event in events:
            return events
        time.sleep(0.02)
    raise AssertionError(f"{event!r} was never logged")
