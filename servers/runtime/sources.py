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

from servers.runtime.ports import PORTS
from servers.runtime.settings import ServerSettings

CONFIG_VARIABLE = "TAPELINE_CONFIG"
COMMON_TABLE = "common"
"""The TOML table whose keys hold for every server that does not say otherwise in its own table."""

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

    def take(found: Mapping[str, Any], origin: Mapping[str, str]) -> None:
        values.update(found)
        origins.update(origin)

    if name in PORTS and not fields["port"].default:
        take({"port": PORTS[name]}, {"port": "default"})
    if config:
        take(*_from_toml(Path(config), name, fields))
    variables = {
        key.removeprefix(prefix).lower(): value
        for key, value in environment.items()
        if key.startswith(prefix)
    }
    for field in variables:
        if field not in fields:
            raise WrongSettings(f"{prefix}{field.upper()}: no such setting of {name}")
    take(_decode(settings_type, variables), {field: prefix + field.upper() for field in variables})
    given = {field: text for field, text in flags.items() if text is not None}
    take(_decode(settings_type, given), {field: flag(field) for field in given})
    try:
        settings = settings_type(**values)
    except ValidationError as error:
        raise WrongSettings(_explain(error, origins)) from error
    settings._origins.update(origins)
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


def _from_toml(
    path: Path, name: str, fields: Mapping[str, FieldInfo]
) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        tables = tomllib.loads(path.read_text())
    except OSError as error:
        raise WrongSettings(f"{path}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise WrongSettings(f"{path}: {error}") from error
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for table, known in ((COMMON_TABLE, ServerSettings.model_fields), (name, fields)):
        for key, value in tables.get(table, {}).items():
            if key not in known:
                raise WrongSettings(f"{path}: [{table}] {key}: no such setting")
            values[key] = value
            origins[key] = f"{path} [{table}]"
    return values, origins


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
