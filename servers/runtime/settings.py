"""The settings that every server has. A server's own settings are a subclass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from servers.runtime.logs import LogFormat
from servers.runtime.ports import HIGHEST_PORT, METRICS_PORT_OFFSET, PORTS, default_address


def _pairs(value: Any) -> Any:
    """Return `a=b,c=d` or a JSON object as a dictionary; other values as they are."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if not text:
        return {}
    if text.startswith("{"):
        return json.loads(text)
    pairs = {}
    for part in text.split(","):
        key, separator, item = part.partition("=")
        if not separator:
            raise ValueError(f"{part!r} is not of the form name=value")
        pairs[key.strip()] = item.strip()
    return pairs


def _role_table(value: Any) -> Any:
    table = _pairs(value)
    if not isinstance(table, dict):
        return table
    return {
        identity: frozenset(roles.replace("+", " ").split()) if isinstance(roles, str) else roles
        for identity, roles in table.items()
    }


Peers = Annotated[dict[str, str], NoDecode, BeforeValidator(_pairs)]
Roles = Annotated[dict[str, frozenset[str]], NoDecode, BeforeValidator(_role_table)]
Port = Annotated[int, Field(ge=0, le=HIGHEST_PORT)]


class ServerSettings(BaseSettings):
    """What every server can be told. `load_settings` reads it from TOML, environment and flags."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    host: str = Field("127.0.0.1", description="address to listen on")
    port: Port = Field(0, description="gRPC port; 0 takes any free one")
    metrics_port: Port | None = Field(None, description="port of /metrics; port + 1000 when unset, 0 any")
    peers: Peers = Field(
        default_factory=dict,
        description="addresses of other servers, name=host:port,...; default ports otherwise",
    )
    data_dir: Path = Field(Path(".tapeline"), description="folder for what the server keeps")

    log_format: LogFormat = Field("auto", description="json, console, or auto (console on a terminal)")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level to log")
    otlp_endpoint: str | None = Field(
        None,
        description="OTLP gRPC receiver of traces: http://host:port, or https:// with tls_dir; unset: none",
    )
    trace_sample_ratio: float = Field(1.0, ge=0, le=1, description="share of new traces that are sampled")

    tls_dir: Path | None = Field(
        None, description="folder with tls.crt, tls.key and ca.crt; turns mutual TLS and roles on"
    )
    roles: Roles = Field(
        default_factory=dict, description="identity=role+role,...; who has which role, with TLS on"
    )
    tls_server_name: str | None = Field(None, description="name to expect in the peers' certificates")
    allow_insecure: bool = Field(False, description="serve other machines without TLS")

    call_timeout_seconds: float = Field(5.0, gt=0, description="longest time a call to a peer gets, seconds")
    deadline_margin_seconds: float = Field(
        0.01, ge=0, description="what is kept of a caller's time for the answer, seconds"
    )
    drain_notice_seconds: float = Field(
        0.05, ge=0, description="time between NOT_SERVING and refusing new calls, seconds"
    )
    drain_seconds: float = Field(
        5.0, ge=0, description="longest time calls in flight may take to finish, seconds"
    )

    max_message_bytes: int = Field(4 << 20, gt=0, le=16 << 20, description="largest request, bytes")
    max_streams: int = Field(1000, gt=0, description="most streams at once")
    concurrency_initial: int = Field(512, gt=0, description="unary calls at once, at first")
    concurrency_least: int = Field(64, gt=0, description="unary calls at once, never limited below")
    concurrency_most: int = Field(4096, gt=0, description="unary calls at once, never above")

    parent_pid: int | None = Field(
        None, gt=0, description="id of the process that starts this one: stop when that one dies (Linux)"
    )

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take constructor arguments alone: a test or the local mesh must not depend on the environment."""
        return (init_settings,)

    def origin(self, field: str) -> str:
        """Return where a field's value comes from: `default`, a file, a variable, a flag or `code`."""
        if field in self._origins:
            return self._origins[field]
        return "code" if field in self.model_fields_set else "default"

    def resolved_metrics_port(self) -> int:
        """Return the port of /metrics; 0 stands for any."""
        if self.metrics_port is not None:
            return self.metrics_port
        return self.port + METRICS_PORT_OFFSET if self.port else 0

    def peer_address(self, name: str) -> str:
        """Return `host:port` of a peer. Raises KeyError for a name without an address."""
        if name in self.peers:
            return self.peers[name]
        if name not in PORTS:
            raise KeyError(f"no address for peer {name!r}: set peers")
        return default_address(name)
