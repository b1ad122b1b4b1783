"""A port that was given is nobody else's, in this process or another, until the process ends."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers.local import free_ports as module
from servers.local.free_ports import free_ports

ROOT = Path(__file__).resolve().parents[3]
TAKE_TWO = """
import sys
from servers.local.free_ports import free_ports
print(*free_ports(2), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def neighbour() -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """Another process that was given two ports, and the ports."""
    with subprocess.Popen(
        [sys.executable, "-c", TAKE_TWO], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        yield process, [int(word) for word in process.stdout.readline().split()]
        process.kill()


def only(monkeypatch: pytest.MonkeyPatch, first: int, last: int) -> None:
    monkeypatch.setattr(module, "FIRST_PORT", first)
    monkeypatch.setattr(module, "LAST_PORT", last)


def test_no_port_is_given_twice() -> None:
    ports = [*free_ports(5), *free_ports(5)]
    assert len(set(ports)) == 10
    assert all(module.FIRST_PORT <= port <= module.LAST_PORT for port in ports)


def test_a_port_is_another_processs_until_that_is_killed(
    monkeypatch: pytest.MonkeyPatch, neighbour: tuple[subprocess.Popen[str], list[int]]
) -> None:
    process, (port, _) = neighbour
    only(monkeypatch, port, port)
    with pytest.raises(OSError, match=f"no free port is left between {port} and {port}"):
        free_ports(1)
    process.kill()
    process.wait(10)
    assert free_ports(1) == [port]


def test_a_port_that_somebody_listens_on_is_left_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    module._given.discard(port)
    only(monkeypatch, port, port)
    with socket.socket() as listener:
        listener.bind((module.HOST, port))
        listener.listen()
        with pytest.raises(OSError, match="no free port"):
            free_ports(1)
    assert free_ports(1) == [port]
