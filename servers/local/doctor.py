"""`tapeline doctor`: what is installed, reachable, misconfigured."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from servers.local.mesh import MeshError, default_ports, read_mesh
from servers.local.status import servers_table
from servers.runtime.ports import PORTS
from servers.runtime.settings import ServerSettings
from servers.runtime.sources import WrongSettings, load_settings

DISTRIBUTIONS = (
    "tapeline",
    "tapeline-stubs",
    "grpcio",
    "protobuf",
    "opentelemetry-sdk",
    "prometheus-client",
    "uvloop",
    "numpy",
    "TA-Lib",
    "exchange_calendars",
)
LEAST_FREE_BYTES = 1 << 30


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    result: str
    is_good: bool


def examine(folder: Path, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what is installed, built, and wrong in the settings."""
    version = platform.python_version()
    yield Finding("python", version, version.startswith("3.11."))
    for name in DISTRIBUTIONS:
        try:
            yield Finding(name, importlib.metadata.version(name), True)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, "not installed; run `make setup`", False)
    yield _native(environment)
    yield _disk(folder)
    for variable in sorted(environment):
        if variable.startswith("TAPELINE_") and not _is_known(variable):
            yield Finding(variable, "no server has such a setting", False)
    for server in PORTS:
        try:
            load_settings(server, settings_type_of(server), (), environment)
            yield Finding(f"settings of {server}", "valid", True)
        except WrongSettings as error:
            yield Finding(f"settings of {server}", str(error), False)


def settings_type_of(server: str) -> type[ServerSettings]:
    """Return the settings class of a server: the one subclass in its settings module."""
    module = importlib.import_module(f"servers.{server}.settings")
    for value in vars(module).values():
        if (
            isinstance(value, type)
            and issubclass(value, ServerSettings)
            and value.__module__ == module.__name__
        ):
            return value
    raise MeshError(f"servers.{server}.settings has no settings class")


def configured_roles(server: str) -> Mapping[str, frozenset[str]]:
    """Return the table of roles that file and variables give a server; none when they are wrong."""
    if server not in PORTS:
        return {}
    try:
        return load_settings(server, settings_type_of(server), (), os.environ).roles
    except WrongSettings:
        return {}  # the server says so itself


async def diagnose(
    console: Console, folder: Path, environment: Mapping[str, str], *, show_settings: bool
) -> bool:
    """Print findings, settings with their origin, and the mesh's health; return whether all is well."""
    findings = list(examine(folder, environment))
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("", "what", "finding"):
        table.add_column(heading)
    for finding in findings:
        table.add_row("[green]ok[/]" if finding.is_good else "[red]!![/]", finding.what, finding.result)
    console.print(table)
    if show_settings:
        for server in PORTS:
            _print_settings(console, server, environment)
    try:
        console.print(await servers_table(read_mesh(folder)))
    except MeshError as error:
        console.print(str(error), highlight=False)
    return all(finding.is_good for finding in findings)


def _print_settings(console: Console, server: str, environment: Mapping[str, str]) -> None:
    try:
        settings = load_settings(server, settings_type_of(server), (), environment)
    except WrongSettings:
        return
    table = Table(box=box.SIMPLE_HEAD, title=server, title_justify="left")
    for heading in ("setting", "value", "origin"):
        table.add_column(heading)
    for field in type(settings).model_fields:
        table.add_row(field, str(getattr(settings, field)), settings.origin(field))
    console.print(table)


def _native(environment: Mapping[str, str]) -> Finding:
    try:
        module = importlib.import_module("native.vwap")
    except ImportError as error:
        return Finding("native core", f"{error}; run `make setup`", False)
    build = environment.get("TAPELINE_NATIVE", "release")
    return Finding("native core", f"{build} build, {Path(module.__file__ or '').name}", True)


def _disk(folder: Path) -> Finding:
    place = folder if folder.exists() else Path.cwd()
    free = shutil.disk_usage(place).free
    return Finding(
        "disk",
        f"{free / 1e9:.1f} GB free at {place.resolve()}",
        free > LEAST_FREE_BYTES and os.access(place, os.W_OK),
    )


def _is_known(variable: str) -> bool:
    if variable in ("TAPELINE_CONFIG", "TAPELINE_NATIVE", "TAPELINE_MESH"):
        return True
    return any(variable.startswith(f"TAPELINE_{server.upper()}_") for server in default_ports())
