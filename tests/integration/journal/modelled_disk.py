"""A disk that forgets what was not synced: real SQLite over a recording VFS.

SIGKILL does not test durability, because the page cache survives it. Here every write, truncate, sync
and delete that SQLite sends to the operating system is recorded; a crash image is then built for any
point of that recording, from what was synced before it and from an arbitrary part of what was not:
none of it, all of it, or any set of 512-byte sectors in any order. What follows is a set of files
that a power loss could have left, which is opened with the unchanged journal.

The VFS copies the system's own and replaces five of its calls (https://www.sqlite.org/vfs.html). The
WAL index (`-shm`) is not recorded: it is rebuilt from the log after a crash.
"""

from __future__ import annotations

import ctypes
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

SECTOR_BYTES = 512
SQLITE_OK = 0
SQLITE_FULL = 13
SQLITE_IOERR_FSYNC = 10 | (4 << 8)

_pointer = ctypes.c_void_p
_XOPEN = ctypes.CFUNCTYPE(ctypes.c_int, _pointer, _pointer, _pointer, ctypes.c_int, _pointer)
_XDELETE = ctypes.CFUNCTYPE(ctypes.c_int, _pointer, ctypes.c_char_p, ctypes.c_int)
_XCLOSE = ctypes.CFUNCTYPE(ctypes.c_int, _pointer)
_XWRITE = ctypes.CFUNCTYPE(ctypes.c_int, _pointer, _pointer, ctypes.c_int, ctypes.c_int64)
_XTRUNCATE = ctypes.CFUNCTYPE(ctypes.c_int, _pointer, ctypes.c_int64)
_XSYNC = ctypes.CFUNCTYPE(ctypes.c_int, _pointer, ctypes.c_int)


class _Vfs(ctypes.Structure):
    _fields_ = [
        ("iVersion", ctypes.c_int),
        ("szOsFile", ctypes.c_int),
        ("mxPathname", ctypes.c_int),
        ("pNext", _pointer),
        ("zName", ctypes.c_char_p),
        ("pAppData", _pointer),
        ("xOpen", _pointer),
        ("xDelete", _pointer),
        ("rest", _pointer * 14),
    ]


class _Methods(ctypes.Structure):
    _fields_ = [
        ("iVersion", ctypes.c_int),
        ("xClose", _pointer),
        ("xRead", _pointer),
        ("xWrite", _pointer),
        ("xTruncate", _pointer),
        ("xSync", _pointer),
        ("rest", _pointer * 13),
    ]


@dataclass(frozen=True, slots=True)
class Operation:
    """One call to the disk, or a `mark` that the test puts between them."""

    kind: Literal["create", "write", "truncate", "sync", "delete", "mark"]
    file: str = ""
    offset: int = 0
    data: bytes = b""
    mark: Any = None


def _library() -> ctypes.CDLL | None:
    """Return the SQLite library that Python's own module uses, if it is a shared one."""
    import _sqlite3  # noqa: F401  (its library has to be loaded before it is looked for)

    for line in Path("/proc/self/maps").read_text().splitlines():
        if match := re.search(r"(/\S*libsqlite3\.so\S*)$", line):
            return ctypes.CDLL(match.group(1))
    return None


@dataclass
class ModelledDisk:
    """A recording VFS, registered under `name` until `close`.

    `fail` may be set to a function (operation, file) -> SQLite result code, 0 to go on.
    """

    name: str
    operations: list[Operation] = field(default_factory=list)
    fail: Callable[[str, str], int] | None = None

    def __post_init__(self) -> None:
        library = _library()
        if library is None:
            raise RuntimeError("SQLite is not a shared library here")
        self._library = library
        library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
        self._system = library.sqlite3_vfs_find(None).contents
        self._files: dict[int, str] = {}
        self._methods: dict[int, _Methods] = {}
        self._system_open = _XOPEN(self._system.xOpen)
        self._system_delete = _XDELETE(self._system.xDelete)
        self._callbacks: list[Any] = []
        self._vfs = _Vfs()
        ctypes.memmove(ctypes.byref(self._vfs), ctypes.byref(self._system), ctypes.sizeof(_Vfs))
        self._vfs.zName = self.name.encode()
        self._vfs.xOpen = self._keep(_XOPEN(self._open))
        self._vfs.xDelete = self._keep(_XDELETE(self._delete))
        library.sqlite3_vfs_register(ctypes.byref(self._vfs), 0)

    def close(self) -> None:
        """Unregister the VFS; every connection over it must be closed."""
        self._library.sqlite3_vfs_unregister(ctypes.byref(self._vfs))

    def mark(self, value: Any) -> None:
        """Note a moment, for example an acknowledgement."""
        self.operations.append(Operation("mark", mark=value))

    def _keep(self, callback: Any) -> Any:
        self._callbacks.append(callback)
        return ctypes.cast(callback, _pointer).value

    def _open(self, vfs: int, name: int, file: int, flags: int, out_flags: int) -> int:
        path = Path(ctypes.string_at(name).decode()) if name else None
        existed = path is not None and path.exists()
        result = self._system_open(vfs, name, file, flags, out_flags)
        if result == SQLITE_OK and path is not None:
            self._files[file] = path.name
            if not existed:
                self.operations.append(Operation("create", self._files[file]))
            slot = ctypes.cast(file, ctypes.POINTER(_pointer))
            slot[0] = self._recording_methods(int(slot[0] or 0))
        return int(result)

    def _recording_methods(self, address: int) -> int:
        if address not in self._methods:
            methods = _Methods()
            ctypes.memmove(ctypes.byref(methods), address, ctypes.sizeof(_Methods))
            write, truncate = _XWRITE(methods.xWrite), _XTRUNCATE(methods.xTruncate)
            sync, close = _XSYNC(methods.xSync), _XCLOSE(methods.xClose)

            def on_write(file: int, buffer: int, count: int, offset: int) -> int:
                if code := self._failure("write", file):
                    return code
                data = ctypes.string_at(buffer, count)
                self.operations.append(Operation("write", self._files[file], offset, data))
                return int(write(file, buffer, count, offset))

            def on_truncate(file: int, size: int) -> int:
                self.operations.append(Operation("truncate", self._files[file], size))
                return int(truncate(file, size))

            def on_sync(file: int, flags: int) -> int:
                if code := self._failure("sync", file):
                    return code
                self.operations.append(Operation("sync", self._files[file]))
                return int(sync(file, flags))

            methods.xWrite = self._keep(_XWRITE(on_write))
            methods.xTruncate = self._keep(_XTRUNCATE(on_truncate))
            methods.xSync = self._keep(_XSYNC(on_sync))
            # The system's xClose looks nothing up in the methods; the copy stays valid as we keep it.
            methods.xClose = self._keep(_XCLOSE(lambda file: int(close(file))))
            self._methods[address] = methods
        return ctypes.addressof(self._methods[address])

    def _failure(self, operation: str, file: int) -> int:
        return self.fail(operation, self._files[file]) if self.fail is not None else SQLITE_OK

    def _delete(self, vfs: int, name: bytes, sync_folder: int) -> int:
        self.operations.append(Operation("delete", Path(name.decode()).name, offset=sync_folder))
        return int(self._system_delete(vfs, name, sync_folder))


@dataclass
class _File:
    """A file: what of it is durable, and the operations on it since it was last synced."""

    durable: bytearray = field(default_factory=bytearray)
    unsynced: list[Operation] = field(default_factory=list)
    was_synced: bool = False


def crash_image(
    operations: list[Operation], survivors: Literal["none", "all", "some"], seed: int
) -> dict[str, bytes]:
    """Return the files that a power loss after `operations` could leave.

    Args:
        survivors: which unsynced operations reached the disk. "some": each sector of each write, each
            new name and each deletion on its own by a throw of `seed`, so that writes are torn, lost
            and reordered.
    """
    throw = random.Random(seed)
    files: dict[str, _File] = {}
    durable_names: dict[str, _File] = {}
    for operation in operations:
        if operation.kind == "mark":
            continue
        if operation.kind == "create":
            files[operation.file] = _File()
        elif operation.kind == "delete":
            del files[operation.file]
            if operation.offset:
                durable_names = dict(files)
        elif operation.kind == "sync":
            file = files[operation.file]
            for earlier in file.unsynced:
                _apply(file.durable, earlier, None)
            file.unsynced.clear()
            if not file.was_synced:
                # SQLite syncs the folder with the first sync of a log (UNIXFILE_DIRSYNC), the journal
                # itself with that of the database: names and deletions up to here are durable.
                durable_names = dict(files)
            file.was_synced = True
        else:
            files[operation.file].unsynced.append(operation)
    left: dict[str, bytes] = {}
    for name in sorted(files.keys() | durable_names.keys()):
        before, after = durable_names.get(name), files.get(name)
        is_renewed = survivors == "all" or (survivors == "some" and throw.random() < 0.5)
        file_left = after if before is after or is_renewed else before
        if file_left is None:
            continue
        for operation in file_left.unsynced:
            if survivors != "none":
                _apply(file_left.durable, operation, throw if survivors == "some" else None)
        left[name] = bytes(file_left.durable)
    return left


def _apply(image: bytearray, operation: Operation, throw: random.Random | None) -> None:
    if operation.kind == "truncate":
        if throw is None or throw.random() < 0.5:
            del image[operation.offset :]
    elif operation.kind == "write":
        step = SECTOR_BYTES if throw is not None else max(len(operation.data), 1)
        for start in range(0, len(operation.data), step):
            if throw is not None and throw.random() < 0.5:
                continue
            piece, at = operation.data[start : start + step], operation.offset + start
            if len(image) < at:
                image.extend(bytes(at - len(image)))
            image[at : at + len(piece)] = piece


def write_image(files: dict[str, bytes], folder: Path) -> None:
    """Write `files` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
