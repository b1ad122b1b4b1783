"""What the orders server can be told."""

from __future__ import annotations

from pydantic import Field

from servers.runtime.settings import ServerSettings


class OrdersSettings(ServerSettings):
    """Settings of the orders server; see README.md."""

    port: int = Field(8011, ge=0, le=65535, description="gRPC port; 0 takes any free one")
    check_whole_journal: bool = Field(
        False,
        description="at start, verify every journal record, beyond the last 1,024, and replay all of them,"
        " without the snapshot",
    )
    risk_timeout_seconds: float = Field(
        2.0, gt=0, description="longest time risk may take for a group, seconds"
    )
    unknown_after_seconds: float = Field(
        5.0,
        gt=0,
        description="time after which an order that the venue does not answer for is UNKNOWN, seconds",
    )
    outbox_drain_seconds: float = Field(
        2.0, ge=0, description="longest time to send what was acknowledged before stopping, seconds"
    )
    stream_tail_events: int = Field(
        65_536, ge=1_024, description="events that a stream may be behind before it is cut off"
    )
    snapshot_events: int = Field(
        20_000, ge=1, description="events after which the next snapshot of the book is worth its while"
    )
