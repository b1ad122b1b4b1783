"""Where settings come from: defaults < TOML < `TAPELINE_<SERVER>_<FIELD>` < flag."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource, SettingsError

from servers.runtime.ports import HIGHEST_PORT, METRICS_PORT_OFFSET, PORTS
from servers.runtime.settings import ServerSettings

CONFIG_VARIABLE = "TAPELINE_CONFIG"
COMMON_TABLE = "common"
"""The TOML table whose keys hold for every server that does not say otherwise in its own table."""
OTHER_TABLES = ("telemetry",)
"""Tables of servers without a port of their own in PORTS: the trace receiver."""

SettingsT = TypeVar("SettingsT", bound=ServerSettings)


class WrongSettings(Exception):
    """A setting is unknown or has a wrong value. The message names it and where it came from."""


def load_settings(
    name: str,
    settings_type: type[SettingsT],
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> SettingsT:
    """Return the settings of server `name`.

    Args:
        name: `orders`; gives the TOML table, the prefix of the variables and the default port.
        arguments: flags, without the program's name. `--help` prints and exits.
        environment: variables; none by default.

    Raises:
        WrongSettings: with one line for every mistake.
    """
    environment = environment or {}
    prefix = f"TAPELINE_{name.upper()}_"
    flags = vars(make_parser(name, settings_type).parse_args(arguments))
    config = flags.pop("config") or environment.get(CONFIG_VARIABLE)
    fields = settings_type.model_fields

    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    mistakes: list[str] = []

    def take(found: Mapping[str, Any], origin: Mapping[str, str]) -> None:
        values.update(found)
        origins.update(origin)

    if name in PORTS and not fields["port"].default:
        take({"port": PORTS[name]}, {"port": "default"})
    if config:
        tables = _read_toml(Path(config))
        mistakes += _misnamed(tables, config, name)
        for table, known in ((COMMON_TABLE, ServerSettings.model_fields), (name, fields)):
            found = _table(tables, table)
            mistakes += [f"{config}: [{table}] {key}: no such setting" for key in found if key not in known]
            take(found, dict.fromkeys(found, f"{config} [{table}]"))
    variables = {
        key.removeprefix(prefix).lower(): value
        for key, value in environment.items()
        if key.startswith(prefix)
    }
    mistakes += [
        f"{prefix}{field.upper()}: no such setting of {name}" for field in variables if field not in fields
    ]
    if mistakes:
        raise WrongSettings("\n".join(mistakes))
    take(_decode(settings_type, variables), {field: prefix + field.upper() for field in variables})
    given = {field: text for field, text in flags.items() if text is not None}
    take(_decode(settings_type, given), {field: flag(field) for field in given})
    try:
        settings = settings_type(**values)
    except ValidationError as error:
        raise WrongSettings(_explain(error, origins)) from error
    settings._origins.update(origins)
    mistakes += _unreachable(settings)
    if mistakes:
        raise WrongSettings("\n".join(mistakes))
    return settings


def flag(field: str) -> str:
    """Return the flag of a field: `--drain-seconds`."""
    return "--" + field.replace("_", "-")


def make_parser(name: str, settings_type: type[ServerSettings]) -> argparse.ArgumentParser:
    """Return the parser whose `--help` shows every setting with its default and unit."""
    parser = argparse.ArgumentParser(
        prog=f"python -m servers.{name}",
        description=f"The {name} server.",
        epilog=f"Order: defaults < TOML ([{COMMON_TABLE}], then [{name}])"
        f" < TAPELINE_{name.upper()}_<FIELD> < flag.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE", help=f"TOML file; {CONFIG_VARIABLE} names it too")
    for field, info in settings_type.model_fields.items():
        text = f"{info.description or field.replace('_', ' ')} ({_default_text(name, field, info)})"
        if info.annotation is bool:
            parser.add_argument(
                flag(field), action=argparse.BooleanOptionalAction, help=text.replace("%", "%%")
            )
        else:
            parser.add_argument(flag(field), metavar="VALUE", help=text.replace("%", "%%"))
    return parser


def _default_text(name: str, field: str, info: FieldInfo) -> str:
    default = info.get_default(call_default_factory=True)
    if field == "port" and name in PORTS:
        default = default or PORTS[name]
    return f"default: {'unset' if default is None or default == {} else default}"


def _read_toml(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WrongSettings(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WrongSettings(f"{path}: {error}") from error


def _table(tables: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = tables.get(name, {})
    return table if isinstance(table, dict) else {}


def _misnamed(tables: Mapping[str, Any], path: str, name: str) -> list[str]:
    """Say what at the top of a file is no server's table: one file serves all, so `[rsik]` is a mistake."""
    known = {COMMON_TABLE, name, *PORTS, *OTHER_TABLES}
    mistakes = []
    for key, value in tables.items():
        if not isinstance(value, dict):
            mistakes.append(f"{path}: {key}: a setting stands in a table, [{COMMON_TABLE}] or a server's own")
        elif key not in known:
            mistakes.append(f"{path}: [{key}]: no such server; there are {', '.join(sorted(known))}")
    return mistakes


def _unreachable(settings: ServerSettings) -> list[str]:
    """Say which addresses cannot be meant."""
    mistakes = []
    for peer, address in settings.peers.items():
        host, _, port = address.rpartition(":")
        if peer not in PORTS:
            mistakes.append(
                f"peers (from {settings.origin('peers')}): {peer!r} is no server; there are"
                f" {', '.join(sorted(PORTS))}"
            )
        elif not host or not port.isdecimal() or not 0 < int(port) <= HIGHEST_PORT:
            mistakes.append(f"peers (from {settings.origin('peers')}): {peer}={address!r} is not host:port")
    if settings.resolved_metrics_port() > HIGHEST_PORT:
        mistakes.append(
            f"port (from {settings.origin('port')}): {settings.port} leaves no port + {METRICS_PORT_OFFSET}"
            " for /metrics; set metrics_port"
        )
    return mistakes


class _Texts(EnvSettingsSource):
    # Decodes texts by the fields' types, as pydantic-settings does for variables.
    def __init__(self, settings_type: type[ServerSettings], texts: Mapping[str, Any]) -> None:
        self._texts = texts
        super().__init__(settings_type, case_sensitive=False, env_prefix="")

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return self._texts


def _decode(settings_type: type[ServerSettings], texts: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return _Texts(settings_type, texts)() if texts else {}
    except SettingsError as error:
        raise WrongSettings(f"{error}: {error.__cause__}") from error


def _explain(error: ValidationError, origins: Mapping[str, str]) -> str:
    lines = []
    for mistake in error.errors():
        field = ".".join(str(part) for part in mistake["loc"]) or "settings"
        origin = origins.get(str(mistake["loc"][0]) if mistake["loc"] else "", "default")
        lines.append(f"{field} (from {origin}): {mistake['msg']}; got {mistake['input']!r}")
    return "\n".join(lines)
