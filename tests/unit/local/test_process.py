"""A supervised server is started, listened to, started again when it dies, and stopped."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from servers.local.log_file import DEFAULT_LOGS, LogLimits
from servers.local.mesh import ServerPlace
from servers.local.process import ServerProcess

SCRIPTS = {
    "steady": "import time\nprint('up', flush=True)\ntime.sleep(60)",
    "short": "print('bye', flush=True)\nraise SystemExit(70)",
    "choosy": "print('wrong settings', flush=True)\nraise SystemExit(2)",
    "stubborn": (
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('up', flush=True)\ntime.sleep(60)"
    ),
    "chatty": "for n in range(3000):\n    print(f'line {n:04d}', flush=True)\nimport time\ntime.sleep(60)",
    "wordy": "print('x' * 3_000_000, flush=True)\nprint('after', flush=True)\nimport time\ntime.sleep(60)",
}


class Ear:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.notices: list[str] = []

    def said(self, server: str, line: str) -> None:
        self.lines.append(line)

    def notice(self, server: str, line: str) -> None:
        self.notices.append(line)


def process_of(
    folder: Path,
    script: str,
    ear: Ear,
    log: str = "server.log",
    logs: LogLimits = DEFAULT_LOGS,
    changed: Callable[[], None] = lambda: None,
) -> ServerProcess:
    (folder / f"{script}_server.py").write_text(SCRIPTS[script])
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    place = ServerPlace("127.0.0.1:1", "127.0.0.1:2")
    return ServerProcess(script, f"{script}_server", place, environment, folder / log, ear, changed, (), logs)


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_what_it_prints_is_passed_on_and_kept(tmp_path: Path) -> None:
    ear = Ear()
    process = process_of(tmp_path, "steady", ear)
    process.start()
    await until(lambda: ear.lines == ["up"])
    assert process.place.pid > 0
    await process.stop(10)
    assert process.place.pid == 0
    assert (tmp_path / "server.log").read_text() == "up\n"
    assert process.restarts == 0


async def test_one_that_ends_is_started_again_after_a_growing_pause(tmp_path: Path) -> None:
    ear = Ear()
    process = process_of(tmp_path, "short", ear)
    process.start()
    await until(lambda: process.restarts >= 3)
    await process.stop(10)
    assert ear.notices[:3] == [
        f"ended with exit code 70; starts again in {pause} s" for pause in ("0.1", "0.2", "0.4")
    ]


async def test_one_that_refuses_its_settings_is_not_started_again(tmp_path: Path) -> None:
    ear = Ear()
    process = process_of(tmp_path, "choosy", ear)
    process.start()
    await until(lambda: process.failure is not None)
    assert process.failure is not None
    assert process.failure == "choosy refuses to start: wrong settings"
    assert process.restarts == 0
    await process.stop(10)


async def test_one_that_has_served_is_tried_again_until_its_settings_are_mended(tmp_path: Path) -> None:
    ear = Ear()
    process = process_of(tmp_path, "choosy", ear)
    process.is_settled = True
    process.start()
    await until(lambda: process.restarts >= 2)
    assert process.failure is None
    (tmp_path / "choosy_server.py").write_text(SCRIPTS["steady"])
    await until(lambda: "up" in ear.lines)
    await process.stop(10)
    assert ear.notices[0] == "ended with exit code 2; starts again in 0.1 s"


async def test_one_that_cannot_be_started_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ear = Ear()
    process = process_of(tmp_path, "steady", ear)
    python = sys.executable
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere"))
    process.start()
    await until(lambda: process.restarts >= 1)
    monkeypatch.setattr(sys, "executable", python)
    await until(lambda: ear.lines == ["up"])
    await process.stop(10)
    assert ear.notices[0].startswith("cannot be started: [Errno 2] No such file or directory")


async def test_one_that_does_not_stop_is_killed_and_told_of(tmp_path: Path) -> None:
    ear = Ear()
    process = process_of(tmp_path, "stubborn", ear)
    process.start()
    await until(lambda: ear.lines == ["up"])
    await process.stop(0.2)
    assert process.place.pid == 0
    assert ear.notices == ["did not stop within 0.2 s; killed"]


async def test_an_endless_line_is_dropped_and_the_next_one_comes(tmp_path: Path) -> None:
    ear = Ear()
    process = process_of(tmp_path, "wordy", ear)
    process.start()
    await until(lambda: "after" in ear.lines)
    await process.stop(10)


async def test_its_log_turns_by_size_and_loses_nothing(tmp_path: Path) -> None:
    ear = Ear()
    process = process_of(tmp_path, "chatty", ear, logs=LogLimits(file_bytes=2_000, files=100))
    process.start()
    await until(lambda: len(ear.lines) == 3000)
    await process.stop(10)
    paths = sorted(tmp_path.glob("server.log.*"), key=lambda path: -int(path.suffix[1:]))
    assert len(paths) == 14
    kept = [line for path in (*paths, tmp_path / "server.log") for line in path.read_text().splitlines()]
    assert kept == ear.lines == [f"line {number:04d}" for number in range(3000)]


async def test_a_log_on_a_full_disk_costs_lines_and_not_the_server(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    (tmp_path / "full.log").symlink_to("/dev/full")
    ear = Ear()
    process = process_of(tmp_path, "chatty", ear, "full.log")
    process.start()
    await until(lambda: len(ear.lines) == 3000)
    await process.stop(10)
    (notice,) = ear.notices
    assert notice.startswith("its log takes nothing: ")
    assert process.restarts == 0


async def test_a_full_disk_keeps_no_server_from_being_started_again(tmp_path: Path) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    ear = Ear()
    process = process_of(tmp_path, "short", ear, "no such folder/server.log", changed=full)
    process.start()
    await until(lambda: process.restarts >= 2)
    await process.stop(10)
    assert ear.lines
    assert any(notice.startswith("its pid cannot be told: ") for notice in ear.notices)
    assert any(notice.startswith("its log cannot be opened: ") for notice in ear.notices)
