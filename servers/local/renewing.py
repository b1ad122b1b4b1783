"""`tapeline renew-certificates`: new keys and certificates for a mesh that made its own."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from servers.local.mesh import MeshError
from servers.local.screen import terminal
from servers.local.supervisor import CERTIFIED
from servers.local.tls import renew


def renew_certificates(
    folder: Annotated[Path, typer.Argument(help="What `tapeline up --tls-dir` named.", file_okay=False)],
) -> None:
    """Give every server and the operator a new key and certificate; a running mesh takes them up."""
    try:
        count, expires = renew(folder, CERTIFIED, datetime.now(UTC))
    except (MeshError, OSError) as error:
        typer.echo(f"tapeline: {error}", err=True)
        sys.exit(1)
    terminal().print(
        f"{count} certificates in {folder} are new, valid until {expires:%Y-%m-%d}. A running mesh uses them"
        " from the next connection on; those that stand stay up.",
        highlight=False,
    )
