"""One mesh at a time holds a run folder: whoever holds it may change what lies in it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from servers.local.mesh import MeshError


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Hold a run folder, made when missing, until the end of the block or of the process.

    Raises MeshError when another mesh holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock_file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise MeshError(
                f"a mesh is already running in {folder}; stop it, or take another folder with --data"
            ) from None
        yield
    finally:
        os.close(lock_file)
