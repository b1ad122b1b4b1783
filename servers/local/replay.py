"""Where a mesh keeps its state, and when a replay starts over.

The simulated market goes on from its folder, and a demonstration takes an empty one. A replay of a
recorded file goes on only while a parent order is unfinished in it; otherwise it starts over.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tapeline.execution.v1 import execution_pb2

from servers.journal import Journal
from servers.model.clock import WallClock

_LAST_KINDS = frozenset(
    {execution_pb2.EXECUTION_EVENT_KIND_FINISHED, execution_pb2.EXECUTION_EVENT_KIND_REJECTED}
)
"""A filled parent is not over before its report, which comes at the end of its horizon."""


def simulated_folder(run_folder: Path) -> Path:
    """Return the folder of the simulated market's state."""
    return run_folder / "simulated"


def demonstration_folder(run_folder: Path) -> Path:
    """Return an empty folder for a demonstration; what the last one left is removed."""
    folder = run_folder / "demonstration"
    shutil.rmtree(folder, ignore_errors=True)
    return folder


async def recorded_folder(run_folder: Path, recorded: Path, date: str) -> Path:
    """Return the folder of a replay: as it was left while a parent order is unfinished, else empty."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", f"{recorded.name.split('.')[0]}-{date}").strip("-")
    folder = run_folder / f"recorded-{name}"
    if folder.exists() and not await unfinished_parents(folder / "execution"):
        shutil.rmtree(folder)
    return folder


async def unfinished_parents(execution_folder: Path) -> list[str]:
    """Return the ids of the parent orders that an execution server left unfinished in its journal."""
    path = execution_folder / "journal.db"
    if not path.exists():
        return []
    is_over: dict[str, bool] = {}
    journal = await Journal.open(path, writer="execution", clock=WallClock(), on_failure=_no_writes)
    try:
        async for record in journal.read(after_sequence=0):
            event = execution_pb2.ExecutionEvent.FromString(record.payload)
            is_over[event.execution.execution_id] = event.kind in _LAST_KINDS
    finally:
        await journal.close()
    return [execution_id for execution_id, is_last in is_over.items() if not is_last]


def _no_writes(error: BaseException) -> None:
    """A journal that is only read has no commit that could fail."""
