"""What the portfolio server can be told."""

from __future__ import annotations

from pydantic import Field

from servers.runtime.settings import ServerSettings


class PortfolioSettings(ServerSettings):
    """Settings of the portfolio server; see README.md."""

    port: int = Field(8002, ge=0, le=65535, description="gRPC port; 0 takes any free one")
    stream_pause_seconds: float = Field(
        0.1, ge=0, description="least wall time between two messages of one StreamPortfolio"
    )
    position_save_seconds: float = Field(
        5.0, gt=0, description="wall time between saves of the sequence reached while nothing is filled"
    )
    snapshot_events: int = Field(
        20_000, ge=1, description="records after which the next snapshot of the ledger is worth its while"
    )
