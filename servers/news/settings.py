"""What the news server can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from servers.runtime.settings import ServerSettings


class NewsSettings(ServerSettings):
    """Settings of the news server; see README.md."""

    port: int = Field(8006, ge=0, le=65535, description="gRPC port; 0 takes any free one")
    source: Literal["simulated", "file", "platforms", "none"] = Field(
        "simulated",
        description="where posts come from: the simulated world, a file, the platforms set below, or nowhere",
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
    database_url: SecretStr = Field(
        SecretStr(""), description="SQLAlchemy URL of the posts; empty: news.db (SQLite) in data_dir"
    )
    author_salt: SecretStr = Field(
        SecretStr("tapeline"),
        min_length=1,
        description="secret that author ids are hashed with; set one of your own",
    )
    retention_days: float = Field(30.0, gt=0, description="posts are deleted after so long, wall time")
    expiry_check_seconds: float = Field(600.0, gt=0, description="between two looks for posts to delete")
    patience_posts: int = Field(
        500, ge=0, description="unread posts that wait for their turn; above, all go to intelligence at once"
    )
    retry_seconds: float = Field(
        0.5, gt=0, description="wall time between two attempts to have posts read while nobody answers"
    )

    # Real platforms; each is used when its credentials (feeds: its addresses) are set.
    review_seconds: float = Field(
        60.0, gt=0, description="between two looks for edits and deletions, up to a hundred posts each"
    )
    lookback_seconds: float = Field(3_600.0, ge=0, description="of posts that are asked for at the start")
    x_bearer_token: SecretStr = Field(SecretStr(""), description="X: the app's bearer token")
    x_query: str = Field("", description="X: what to stream and search for, in X's own language")
    x_mode: Literal["stream", "search"] = Field(
        "stream", description="X: the filtered stream with search behind it, or search alone"
    )
    x_poll_seconds: float = Field(15.0, gt=0, description="X: between two searches, with x_mode = search")
    x_requests_a_quarter_hour: int = Field(300, ge=1, description="X: at most so many in any 15 minutes")
    reddit_client_id: str = Field("", description="Reddit: the application's id")
    reddit_client_secret: SecretStr = Field(SecretStr(""), description="Reddit: the application's secret")
    reddit_user_agent: str = Field("", description="Reddit: who asks, as its rules prescribe")
    reddit_subreddits: str = Field("", description="Reddit: names, separated by commas")
    reddit_poll_seconds: float = Field(5.0, gt=0, description="Reddit: between two looks for what is new")
    reddit_requests_a_minute: int = Field(60, ge=1, description="Reddit: at most so many in any minute")
    telegram_api_id: int = Field(0, ge=0, description="Telegram: the application's id")
    telegram_api_hash: SecretStr = Field(SecretStr(""), description="Telegram: the application's hash")
    telegram_session: Path | None = Field(
        None, description="Telegram: telethon's session file of an account that has signed in"
    )
    telegram_channels: str = Field("", description="Telegram: names of channels, separated by commas")
    telegram_poll_seconds: float = Field(5.0, gt=0, description="Telegram: between two looks for what is new")
    telegram_requests_a_minute: int = Field(30, ge=1, description="Telegram: at most so many in any minute")
    rss_feeds: str = Field("", description="feeds: name=address, separated by commas")
    rss_poll_seconds: float = Field(60.0, gt=0, description="feeds: between two looks at one")
    rss_requests_an_hour: int = Field(60, ge=1, description="feeds: at most so many of one in any hour")
