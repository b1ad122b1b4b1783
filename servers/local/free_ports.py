"""Ports for servers that are started in a moment, by this process or by its children.

A port that was merely free when somebody looked is lost again before the server binds it: to another mesh
that looked at the same time, or to an outgoing connection. So ports come from below the range that the
kernel gives to connections, and each one is this process's alone until it ends: a lock on one byte of a file
that all processes of a user share. The kernel drops the locks with the process, also when that is killed.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import itertools
import os
import random
import socket
import tempfile
from pathlib import Path

HOST = "127.0.0.1"
FIRST_PORT, LAST_PORT = 20_000, 32_767
"""Above the documented ports, below the kernel's usual range for connections (32768 to 60999)."""

_given: set[int] = set()
"""A process never conflicts with its own locks, so it keeps count itself."""


def free_ports(count: int) -> list[int]:
    """Return `count` different ports that nobody listens on and no other process was given.

    Raises OSError when there are not so many left, or the file of the locks cannot be opened.
    """
    span = LAST_PORT - FIRST_PORT + 1
    start = random.randrange(span)
    candidates = (FIRST_PORT + (start + step) % span for step in range(span))
    ports = list(itertools.islice(filter(_take, candidates), count))
    if len(ports) < count:
        raise OSError(errno.EADDRNOTAVAIL, f"no free port is left between {FIRST_PORT} and {LAST_PORT}")
    return ports


def is_free(port: int) -> bool:
    """Return whether a server could listen on `port` now."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((HOST, port))
        except OSError:
            return False
    return True


def _take(port: int) -> bool:
    if port in _given:
        return False
    try:
        fcntl.lockf(_locks(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except (BlockingIOError, PermissionError):  # POSIX leaves open which: another process holds it
        return False
    if not is_free(port):
        fcntl.lockf(_locks(), fcntl.LOCK_UN, 1, port)
        return False
    _given.add(port)
    return True


@functools.cache
def _locks() -> int:
    """Open for good: closing any descriptor of the file would drop every lock of the process."""
    path = Path(tempfile.gettempdir()) / f"tapeline-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
