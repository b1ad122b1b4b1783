"""What a round trip costs: spread, modelled impact, fees and taxes, in basis points of the mid.

Impact is the square-root law that execution uses too, averaged over its path (two thirds): Almgren, Thum,
Hauptmann and Li, "Direct Estimation of Equity Market Impact", 2005. Its coefficient is a setting, not fitted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from servers.model.nanos import NANO

_MEAN_OVER_PATH = 2 / 3


@dataclass(frozen=True, slots=True)
class Costs:
    """A cost estimate in basis points."""

    spread_bps: float = 0.0
    impact_bps: float = 0.0
    fees_bps: float = 0.0

    @property
    def total_bps(self) -> float:
        return self.spread_bps + self.impact_bps + self.fees_bps


@dataclass(frozen=True, slots=True)
class Market:
    """What sizing needs to know of one symbol.

    Attributes:
        mid_price_nanos: mid in 1e-9 currency units, above 0.
        spread_bps: bid-ask spread in basis points of the mid.
        daily_volatility: standard deviation of a session's log return, as a fraction, above 0.
        median_daily_volume: of the trailing 20 sessions, in shares, above 0.
        session_nanos: length of the regular session.
        lot_nanos: lot in 1e-9 shares.
        is_short_sale_permitted: whether the instrument may be sold short at all.
    """

    mid_price_nanos: int
    spread_bps: float
    daily_volatility: float
    median_daily_volume: float
    session_nanos: int
    lot_nanos: int = NANO
    is_short_sale_permitted: bool = True

    def floor_to_lot(self, quantity_nanos: int) -> int:
        """Return the largest multiple of the lot whose size is not above that of the quantity."""
        size = abs(quantity_nanos) // self.lot_nanos * self.lot_nanos
        return size if quantity_nanos >= 0 else -size


@dataclass(frozen=True, slots=True)
class CostModel:
    """What trading costs by rule.

    Args:
        impact_coefficient: of the square-root law, of order one.
        fee_per_share: fee in currency units a share, each way.
        sale_tax_millionths: tax on the notional of the way that sells.
    """

    impact_coefficient: float = 0.7
    fee_per_share: float = 0.003
    sale_tax_millionths: int = 28

    def round_trip(self, market: Market, quantity_nanos: int) -> Costs:
        """Return what buying and selling a quantity (1e-9 shares, sign ignored) costs."""
        share = abs(quantity_nanos) / NANO / market.median_daily_volume
        impact = self.impact_coefficient * market.daily_volatility * math.sqrt(share) * _MEAN_OVER_PATH
        return Costs(market.spread_bps, 2.0 * 1e4 * impact, self._fees_bps(market))

    def quantity_for_impact(self, market: Market, impact_bps: float) -> int:
        """Return the quantity in 1e-9 shares whose impact both ways is `impact_bps`."""
        if impact_bps <= 0:
            return 0
        if self.impact_coefficient == 0:
            return 2**63 - 1
        one_way = impact_bps / 2e4 / _MEAN_OVER_PATH
        share = (one_way / (self.impact_coefficient * market.daily_volatility)) ** 2
        return min(int(share * market.median_daily_volume * NANO), 2**63 - 1)

    def _fees_bps(self, market: Market) -> float:
        price = market.mid_price_nanos / NANO
        return 2e4 * self.fee_per_share / price + self.sale_tax_millionths / 100.0
