"""What market_data can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from servers.reference import DEFAULT_INSTRUMENTS_FILE
from servers.runtime.settings import ServerSettings


def _paths(value: Any) -> Any:
    """Return `a.csv,b.csv` as a tuple; other values as they are."""
    return (
        tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
    )


Paths = Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_paths)]


class MarketDataSettings(ServerSettings):
    """Settings of market_data; those of every server come first."""

    instruments: Path = Field(DEFAULT_INSTRUMENTS_FILE, description="reference data, TOML")
    calendar: str = Field("XNYS", description="calendar of symbols that the instruments file lacks")
    history: Paths = Field(
        default_factory=tuple,
        description="files of bars or trades of earlier sessions, A,B: CSV (.gz, .xz) or Parquet",
    )
    history_sessions: int = Field(60, ge=1, le=60, description="earlier sessions to ask the venue for")
    tape_sessions: int = Field(5, ge=1, description="sessions whose tape is kept on disk")
    tape_sync_seconds: float = Field(
        1.0, gt=0, description="longest time a print waits for the disk, seconds"
    )
    reader_limit_prints: int = Field(
        200_000, ge=1_000, description="prints that a live reader may be behind before it is cut off"
    )
    batch_seconds: float = Field(
        0.02, ge=0, le=0.05, description="longest time StreamTrades and StreamQuotes gather, seconds"
    )
    pacer_silence_seconds: float = Field(
        2.0, gt=0, description="wall time after which a silent pacer no longer holds the venue, seconds"
    )
    resume_wait_seconds: float = Field(
        5.0, ge=0, description="longest wait for the tape when a reader resumes ahead of it, seconds"
    )
