"""What a command says when a mesh, a server or its own words refuse it: one line each, no traceback."""

from __future__ import annotations

from typing import Any

import grpc
import typer

from servers.local.mesh import MeshError
from servers.model.errors import TapelineError
from servers.runtime.status import error_info

REFUSALS = (MeshError, TapelineError, ValueError, grpc.aio.AioRpcError)
NO_HANDSHAKE = (
    "The mesh did not take the operator's certificate, or the operator's authority not the mesh's: put one of"
    " the mesh's authority into the folder `operator` of what `tapeline up --tls-dir` named."
)


def leaves(group: BaseExceptionGroup[Any] | None) -> list[BaseException]:
    """Return the errors of a group, and of the groups in it."""
    found: list[BaseException] = []
    for error in group.exceptions if group else ():
        found.extend(leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return found


def say(*errors: BaseException) -> None:
    """Print a line for each error on stderr."""
    for error in errors:
        if isinstance(error, grpc.aio.AioRpcError):
            info = error_info(error)
            reason = f" / {info.reason}" if info else ""
            details = error.details() or ""
            hint = f". {NO_HANDSHAKE}" if "handshake" in details.lower() else ""
            typer.echo(f"tapeline: {error.code().name}{reason}: {details}{hint}", err=True)
        else:
            typer.echo(f"tapeline: {error}", err=True)
