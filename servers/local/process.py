"""One supervised server: started, watched, its log passed on, started again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from servers.local.log_file import DEFAULT_LOGS, LogFile, LogLimits
from servers.local.mesh import ServerPlace

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
CALM_SECONDS = 10.0
"""A server that ran this long starts again with the first pause."""
WRONG_SETTINGS_EXIT = 2
CANNOT_START_EXIT = 126
LOG_LINE_LIMIT = 1 << 20


class Listener(Protocol):
    """Who hears of servers."""

    def said(self, server: str, line: str) -> None:
        """Take a line that a server printed."""
        ...

    def notice(self, server: str, line: str) -> None:
        """Take what happened to a server: it died, it starts again."""
        ...


class ServerProcess:
    """A server as a process of its own.

    Args:
        name: server's name, the prefix of its log lines.
        module: what `python -m` runs.
        place: where it listens; its pid is kept up to date.
        environment: the whole environment of the process.
        log_path: file that gets everything it prints.
        listener: receives its log lines and what happens to it.
        changed: called when its pid has changed.
        arguments: what follows the module on its command line.
        logs: how much of what it prints is kept.

    Attributes:
        is_settled: set it once the server has served: wrong settings, a file that was changed since, are then
            worth another try, and no longer the end of it.
        failure: why it is not started again; None while it is.
    """

    def __init__(
        self,
        name: str,
        module: str,
        place: ServerPlace,
        environment: Mapping[str, str],
        log_path: Path,
        listener: Listener,
        changed: Callable[[], None],
        arguments: Sequence[str] = (),
        logs: LogLimits = DEFAULT_LOGS,
    ) -> None:
        self.name = name
        self.place = place
        self.restarts = 0
        self._module = module
        self._arguments = arguments
        self._environment = environment
        self._log_path = log_path
        self._logs = logs
        self._is_log_failing = False
        self._listener = listener
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.failure: str | None = None
        self.is_settled = False
        self._last_line = ""

    def start(self) -> None:
        """Start it and keep it running until `stop`."""
        self._task = asyncio.create_task(self._keep_running(), name=f"keep {self.name} running")

    async def stop(self, timeout_seconds: float) -> None:
        """Ask it to drain with SIGTERM, and end it with SIGKILL after `timeout_seconds`."""
        self._stopping.set()
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(timeout_seconds):
                    await process.wait()
            except TimeoutError:
                self._listener.notice(self.name, f"did not stop within {timeout_seconds:g} s; killed")
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        if self._task is not None:
            await self._task

    async def _keep_running(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                code = await self._run_once()
            except OSError as error:  # no memory, no more processes: that may pass
                code = CANNOT_START_EXIT
                self._listener.notice(self.name, f"cannot be started: {error}")
            if self._stopping.is_set():
                return
            if code == WRONG_SETTINGS_EXIT and not self.is_settled:
                self.failure = f"{self.name} refuses to start: {self._last_line or self._log_path}"
                self._listener.notice(self.name, self.failure)
                return
            if time.monotonic() - started > CALM_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            self.restarts += 1
            self._listener.notice(self.name, f"{_describe(code)}; starts again in {pause:g} s")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _run_once(self) -> int:
        # A session of its own: Ctrl-C in the terminal reaches the supervisor alone, which stops the
        # servers in their order.
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            self._module,
            *self._arguments,
            env=dict(self._environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            limit=LOG_LINE_LIMIT,
        )
        self._is_now(self._process.pid)
        assert self._process.stdout is not None
        await self._pass_on(self._process.stdout)
        code = await self._process.wait()
        self._is_now(0)
        return code

    def _is_now(self, pid: int) -> None:
        """A disk that is full must not keep a server from being started again."""
        self.place.pid = pid
        try:
            self._changed()
        except OSError as error:
            self._listener.notice(self.name, f"its pid cannot be told: {error}")

    async def _pass_on(self, stream: asyncio.StreamReader) -> None:
        with contextlib.ExitStack() as kept:
            log = None
            try:
                log = kept.enter_context(LogFile(self._log_path, self._logs))
            except OSError as error:
                self._listener.notice(self.name, f"its log cannot be opened: {error}")
            while True:
                try:
                    line = await stream.readline()
                except ValueError:  # a line above the limit: its rest comes as the next line
                    continue
                if not line:
                    return
                if log is not None:
                    self._store(log, line)
                self._last_line = line.decode("utf-8", "replace").rstrip()
                self._listener.said(self.name, self._last_line)

    def _store(self, log: LogFile, line: bytes) -> None:
        """A disk that is full costs lines, never the server: it is told of once."""
        try:
            log.write(line)
        except OSError as error:
            if not self._is_log_failing:
                self._is_log_failing = True
                self._listener.notice(self.name, f"its log takes nothing: {error}")
        else:
            self._is_log_failing = False


def _describe(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
