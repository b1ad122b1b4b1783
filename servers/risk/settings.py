"""What the risk server can be told."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from servers.runtime.settings import ServerSettings

DEFAULT_LIMITS_FILE = Path(__file__).with_name("limits.toml")


class RiskSettings(ServerSettings):
    """Settings of the risk server; see README.md."""

    port: int = Field(8003, ge=0, le=65535, description="gRPC port; 0 takes any free one")
    limits_file: Path = Field(
        DEFAULT_LIMITS_FILE, description="TOML file of limits; what SetLimits set goes before it"
    )
    follow_execution: bool = Field(
        True, description="follow parent orders; off only where the mesh has no execution server"
    )
    reservation_timeout_seconds: float = Field(
        30.0, gt=0, description="wall time after which what was checked and never appeared is released"
    )
    settle_seconds: float = Field(
        0.5,
        ge=0,
        description="wall time after a restart in which orders that were checked before it may still appear",
    )
    feed_silence_seconds: float = Field(
        5.0, gt=0, description="wall time without market time after which all prices are stale"
    )
    snapshot_seconds: float = Field(5.0, gt=0, description="wall time between snapshots of the books")
