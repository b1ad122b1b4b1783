"""What the exchange can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from servers.reference import DEFAULT_INSTRUMENTS_FILE
from servers.runtime.settings import ServerSettings


class ExchangeSettings(ServerSettings):
    """Settings of the exchange; those of every server come first."""

    instruments: Path = Field(DEFAULT_INSTRUMENTS_FILE, description="reference data, TOML")
    flow: Literal["simulated", "recorded"] = Field("simulated", description="what drives the market")
    seed: int = Field(1, ge=0, description="seed of the simulated flow")
    social_effect_bps: float = Field(
        0.0,
        ge=0,
        le=1_000,
        description="planted: the simulated fair price moves so far after a social event of strength 1",
    )
    social_seed: int = Field(
        1, ge=0, description="seed of the social events; the simulated post source needs the same"
    )
    speed: float = Field(1.0, ge=0.1, le=100_000, description="market seconds per wall second at most")
    hold: bool = Field(False, description="hold the clock before the open until it is released")
    calendar: str = Field("XNYS", description="calendar of the sessions")
    date: str = Field("", description="first session, YYYY-MM-DD; default: the next one, or the file's first")

    recorded_file: Path | None = Field(None, description="trades or bars file that drives the market")
    symbols: str = Field("", description="symbols to trade, A,B,C; default: all")
    feed_profile: str = Field(
        "", description="rule of which prints count, by name or TOML file; default: fitting"
    )
    print_share: float = Field(
        1.0, gt=0, le=1, description="share of a recorded print that participants may take"
    )

    pre_open_seconds: float = Field(300.0, ge=1, description="orders are collected so long before the open")
    closing_seconds: float = Field(30.0, ge=1, description="the simulated closing auction collects so long")
    recorded_closing_seconds: float = Field(
        600.0, ge=1, description="closing prints of a recorded file are waited for so long after the close"
    )
    reopening_seconds: float = Field(60.0, ge=1, description="the auction after a halt collects so long")
    price_band: float = Field(
        0.2, ge=0, lt=1, description="limits lie within this share of the last price; 0: any"
    )
    lead_seconds: float = Field(5.0, gt=0, description="market seconds ahead of the slowest pacer at most")
    pacer_silence_seconds: float = Field(
        2.0, gt=0, description="wall time after which a silent pacer is dropped"
    )
    reader_limit_messages: int = Field(
        50_000, ge=100, description="messages that a reader of market data may be behind before it is cut off"
    )

    maker_fee_per_share: float = Field(0.0, description="fee of a passive fill, currency units a share")
    taker_fee_per_share: float = Field(0.003, description="fee of an aggressive fill, currency units a share")
    auction_fee_per_share: float = Field(0.001, description="fee of an auction fill, currency units a share")
    sale_tax_millionths: int = Field(28, ge=0, description="tax on sales, millionths of the notional")
