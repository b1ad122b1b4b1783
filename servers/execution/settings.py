"""What the execution server can be told."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from servers.execution.domain.impact import ImpactModel
from servers.execution.domain.placing import Tuning
from servers.execution.following import Timing
from servers.model.clock import NANOS_PER_SECOND
from servers.runtime.settings import ServerSettings


class ExecutionSettings(ServerSettings):
    """Settings of the execution server, beside those of every server."""

    max_children_per_second: int = Field(4, ge=1, le=100, description="children a market second and parent")
    cap_margin: float = Field(
        0.02, ge=0, lt=1, description="share of the participation cap left unused when a child is granted"
    )
    closing_cutoff_seconds: float = Field(
        300,
        gt=0,
        description="market seconds before the close at which a residual joins the auction",
    )
    impact_coefficient: float = Field(0.7, ge=0, description="coefficient of the square-root impact model")
    impact_daily_volatility: float = Field(
        0.015, ge=0, description="daily volatility of the impact model, as a fraction"
    )
    impact_half_life_seconds: float = Field(
        1800, gt=0, description="market seconds in which half of the modelled impact decays"
    )
    shortfall_impact_fraction: float = Field(
        0.0005,
        gt=0,
        le=0.1,
        description="cost of trading at 1 % of the daily volume, as a fraction of the price: plans SHORTFALL",
    )
    schedule_band: float = Field(
        0.05,
        gt=0,
        le=1,
        description="distance of the filled from the scheduled share that is told, fraction of the quantity",
    )
    schedule_band_seconds: float = Field(
        120, ge=0, description="market seconds for which it must last before it is told"
    )
    settle_seconds: float = Field(
        1.0, gt=0, description="longest wall time to wait for crossing children before time is acknowledged"
    )

    recordings: Path | None = Field(
        None, description="folder of the bars and trades files that RunBacktest may replay; none: it refuses"
    )

    def tuning(self) -> Tuning:
        """Return how children are placed."""
        return Tuning(
            max_children_per_second=self.max_children_per_second,
            cap_margin=self.cap_margin,
            closing_cutoff_nanos=round(self.closing_cutoff_seconds * NANOS_PER_SECOND),
            impact=ImpactModel(
                self.impact_coefficient, self.impact_daily_volatility, self.impact_half_life_seconds
            ),
            impact_fraction=self.shortfall_impact_fraction,
            schedule_band=self.schedule_band,
            band_patience_nanos=round(self.schedule_band_seconds * NANOS_PER_SECOND),
        )

    def timing(self) -> Timing:
        """Return the wall-clock times of the loops."""
        return Timing(settle_seconds=self.settle_seconds)
