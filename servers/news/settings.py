"""What the news server can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from servers.runtime.settings import ServerSettings


class NewsSettings(ServerSettings):
    """Settings of the news server; see README.md."""

    port: int = Field(8006, ge=0, le=65535, description="gRPC port; 0 takes any free one")
    source: Literal["simulated", "file", "none"] = Field(
        "simulated", description="where posts come from: the simulated world, a file, or nowhere"
    )
    social_seed: int = Field(
        1, ge=0, description="seed of the simulated world's events; the practice venue needs the same"
    )
    file: Path | None = Field(
        None, description="file of posts, for source = file: CSV or JSON lines, also .gz"
    )
    file_source: str = Field("file", description="source of the file's posts that name none")
    file_speed: float = Field(
        0.0, ge=0, description="seconds of the file's time in a second; 0 as fast as posts are taken"
    )
    database_url: str = Field(
        "", description="SQLAlchemy URL of the posts; empty: news.db (SQLite) in data_dir"
    )
    author_salt: str = Field(
        "tapeline", min_length=1, description="secret that author ids are hashed with; set one of your own"
    )
    retention_days: float = Field(30.0, gt=0, description="posts are deleted after so long, wall time")
    expiry_check_seconds: float = Field(600.0, gt=0, description="between two looks for posts to delete")
    retry_seconds: float = Field(
        0.5, gt=0, description="wall time between two attempts to have posts read while nobody answers"
    )
