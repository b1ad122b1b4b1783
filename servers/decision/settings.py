"""What the decision server can be told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from servers.decision.domain.cost import CostModel
from servers.decision.domain.decision import Mode
from servers.decision.domain.signal import Trust
from servers.decision.domain.sizing import Caps, Policy
from servers.decision.looking import Timing
from servers.runtime.settings import ServerSettings


class DecisionSettings(ServerSettings):
    """Settings of the decision server, beside those of every server. Times are market time."""

    port: int = Field(8005, ge=0, le=65535, description="gRPC port; 0 takes any free one")
    account: str = Field("autopilot", description="account that is traded; best one of its own")
    mode: Literal["approval", "autopilot"] = Field(
        "approval", description="who lets orders go until SetMode says otherwise"
    )

    risk_budget: float = Field(
        5_000.0, gt=0, description="standard deviation of a full position over a session, currency units"
    )
    full_edge_ratio: float = Field(
        0.5, gt=0, description="edge in standard deviations of the half-life at which a position is full"
    )
    edge_margin: float = Field(
        0.25, ge=0, description="share of the round trip's cost by which the edge has to exceed it"
    )
    least_change_share: float = Field(
        0.1,
        ge=0,
        le=1,
        description="share of a full position by which a target has to differ; a close need not",
    )
    price_only_error_rate: float = Field(
        0.05, gt=0, lt=1, description="chance at which prices alone are believed to know what they do not"
    )
    short_sales: bool = Field(False, description="whether positions below zero are aimed at")

    stale_half_lives: float = Field(1.0, gt=0, description="older signals open nothing")
    expire_half_lives: float = Field(3.0, gt=0, description="older signals support no position")
    least_authors: int = Field(2, ge=2, description="authors behind a signal that rests on posts, at least")
    least_sources: int = Field(2, ge=2, description="sources behind a signal that rests on posts, at least")

    horizon_share: float = Field(
        0.25, gt=0, le=1, description="length of an execution, share of the half-life"
    )
    shortest_horizon_seconds: float = Field(120.0, ge=60, description="shortest execution")
    longest_horizon_seconds: float = Field(3_600.0, ge=60, description="longest execution")
    patient_from_seconds: float = Field(600.0, ge=0, description="executions from here on follow the volume")
    quick_algorithm: str = Field("twap", description="algorithm of shorter executions")
    patient_algorithm: str = Field("static_vwap", description="algorithm of longer executions")
    close_horizon_seconds: float = Field(
        600.0, ge=60, description="length of an execution that closes what no signal supports"
    )

    impact_coefficient: float = Field(0.7, ge=0, description="coefficient of the square-root impact model")
    fee_per_share: float = Field(0.003, ge=0, description="expected fee, currency units a share and way")
    sale_tax_millionths: int = Field(
        28, ge=0, description="expected tax on sales, millionths of the notional"
    )

    order_volume_share: float = Field(
        0.005, gt=0, le=1, description="largest order, share of the 20-day median volume"
    )
    participation_rate: float = Field(
        0.05,
        gt=0,
        le=1,
        description="largest order, share of what the horizon trades on average; execution's cap is 0.1",
    )
    name_notional: float = Field(1_000_000.0, ge=0, description="largest position, currency units")
    gross_notional: float = Field(5_000_000.0, ge=0, description="largest gross exposure, currency units")
    net_notional: float = Field(3_000_000.0, ge=0, description="largest net exposure, currency units")
    daily_turnover: float = Field(20_000_000.0, ge=0, description="most that is ordered in a session")
    least_order_notional: float = Field(1_000.0, ge=0, description="smallest order, currency units")

    cool_down_seconds: float = Field(300.0, ge=0, description="after an order nothing grows in its symbol")
    review_seconds: float = Field(
        60.0, gt=0, description="what is held or signalled is looked at again after so long"
    )
    quiet_seconds: float = Field(
        900.0, ge=0, description="a decision to do nothing is recorded again after so long"
    )
    close_approval_seconds: float = Field(3_600.0, gt=0, description="a close waits so long for a person")
    close_cutoff_seconds: float = Field(900.0, ge=0, description="nothing is opened so close to the close")
    max_quote_age_seconds: float = Field(60.0, gt=0, description="oldest quote that sizes an order")
    retry_seconds: float = Field(
        1.0, gt=0, description="wall time between two attempts at what execution has not answered"
    )

    def policy(self) -> Policy:
        """Return the rules."""
        return Policy(
            risk_budget=self.risk_budget,
            full_edge_ratio=self.full_edge_ratio,
            edge_margin=self.edge_margin,
            least_change_share=self.least_change_share,
            is_short_permitted=self.short_sales,
            horizon_share=self.horizon_share,
            shortest_horizon_seconds=self.shortest_horizon_seconds,
            longest_horizon_seconds=self.longest_horizon_seconds,
            patient_from_seconds=self.patient_from_seconds,
            close_horizon_seconds=self.close_horizon_seconds,
            price_only_error_rate=self.price_only_error_rate,
            quick_algorithm=self.quick_algorithm,
            patient_algorithm=self.patient_algorithm,
            trust=Trust(
                self.stale_half_lives, self.expire_half_lives, self.least_authors, self.least_sources
            ),
            costs=CostModel(self.impact_coefficient, self.fee_per_share, self.sale_tax_millionths),
            caps=Caps(
                self.order_volume_share,
                self.participation_rate,
                self.name_notional,
                self.gross_notional,
                self.net_notional,
                self.daily_turnover,
                self.least_order_notional,
            ),
        )

    def timing(self) -> Timing:
        """Return the engine's times."""
        return Timing(
            self.cool_down_seconds, self.review_seconds, self.quiet_seconds, self.close_approval_seconds
        )

    def first_mode(self) -> Mode:
        """Return the mode until somebody sets another."""
        return Mode.AUTOPILOT if self.mode == "autopilot" else Mode.APPROVAL
