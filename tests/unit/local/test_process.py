"""A supervised server is started, listened to, started again when it dies, and stopped."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

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


def process_of(folder: Path, script: str, ear: Ear) -> ServerProcess:
    (folder / f"{script}_server.py").write_text(SCRIPTS[script])
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    place = ServerPlace("127.0.0.1:1", "127.0.0.1:2")
    return ServerProcess(
        script, f"{script}_server", place, environment, folder / "server.log", ear, lambda: None
    )


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
