"""What a server process does beside serving: signals, its parent's death, the owner of a taken port."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1


class PortTaken(Exception):
    """Another process listens on the port."""

    def __init__(self, host: str, port: int, purpose: str) -> None:
        super().__init__(f"{purpose} {host}:{port} is taken by {port_owner(port)}")
        self.port = port


class ParentGone(Exception):
    """The process that started this one has ended before this one could be tied to it."""


def port_owner(port: int) -> str:
    """Return pid and command of who listens on TCP `port`, as far as this user may see."""
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                if connection.pid is None:
                    return "a process of another user"
                command = " ".join(psutil.Process(connection.pid).cmdline())
                return f"pid {connection.pid} ({command[:120]})"
    except psutil.Error:
        return "a process that cannot be seen"
    return "nobody that can be seen: the address cannot be bound"


def die_with_parent(pid: int) -> None:
    """Ask the kernel for SIGTERM when the thread that started this process ends. Linux only.

    Args:
        pid: of the process that started this one. It says so itself: whether it is gone already cannot be
            told from `getppid`, which is 1 for an orphan and for a child of a container's first process.

    Raises ParentGone when it has ended already.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != pid:
        raise ParentGone(f"process {pid}, which started this one, is gone")


def on_stop_signals(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Set `stop` on SIGTERM or SIGINT. A second SIGINT ends the process at once."""

    def interrupted() -> None:
        if stop.is_set():
            os._exit(130)
        stop.set()

    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, interrupted)


def exit_within(seconds: float, code: int) -> threading.Timer:
    """End the process with `code` after `seconds`, unless it ends before or the timer is cancelled."""
    timer = threading.Timer(seconds, os._exit, (code,))
    timer.daemon = True
    timer.start()
    return timer
