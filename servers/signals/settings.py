"""What the signals server can be told."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from servers.runtime.settings import ServerSettings

SIMULATED_MODEL = Path(__file__).with_name("models") / "simulated.json"


class SignalsSettings(ServerSettings):
    """Settings of the signals server; see README.md."""

    port: int = Field(8004, ge=0, le=65535, description="gRPC port; 0 takes any free one")
    model_file: Path = Field(
        SIMULATED_MODEL, description="trained model, JSON; by default the one of the simulated market"
    )
    symbols: str = Field("", description="instruments to watch, A,B; empty: all that market_data knows")
    refresh_seconds: float = Field(60.0, gt=0, description="market time between two looks at a symbol")
    regime_seconds: float = Field(
        300.0, gt=0, description="market time between two classifications of regime"
    )
    telling_seconds: float = Field(
        300.0, gt=0, description="market time after which a signal is told though it hardly changed"
    )
    least_change: float = Field(
        0.005, ge=0, le=1, description="change of the probability that is told at once"
    )
    least_wall_seconds: float = Field(0.5, ge=0, description="wall time between two looks at one symbol")
    stale_seconds: float = Field(180.0, gt=0, description="market age of the newest minute that makes stale")
    least_calibrated_share: float = Field(
        0.5, ge=0, le=1, description="share of the posts' weight whose reading has to be calibrated"
    )
    stream_pause_seconds: float = Field(
        0.05, ge=0, description="least wall time between two messages of one StreamSignals"
    )
