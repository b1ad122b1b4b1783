"""What a way of deciding made: turnover, cost, profit, and how often it was right."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

_Z95 = 1.959963984540054


def wilson_half_width(hits: int, count: int) -> float:
    """Return half the width of the 95 % score interval of a share (Wilson 1927); 0 without any."""
    if not count:
        return 0.0
    share, z2 = hits / count, _Z95 * _Z95
    return _Z95 * math.sqrt(share * (1 - share) / count + z2 / (4 * count * count)) / (1 + z2 / count)


@dataclass(slots=True)
class Ledger:
    """The trades of one strategy, in exact 1e-18 currency units.

    Attributes:
        cash_attos: what selling brought less what buying and costs took.
        cost_attos: slippage against the decision's mid, and fees; positive is a cost.
    """

    positions: dict[str, int] = field(default_factory=dict)
    cash_attos: int = 0
    cost_attos: int = 0
    turnover_attos: int = 0
    orders: int = 0
    measured: int = 0
    hits: int = 0

    def trade(self, symbol: str, quantity_nanos: int, notional_attos: int, reference_attos: int) -> None:
        """Book a signed quantity; both notionals carry its sign: at its fills, and at the decision's mid."""
        self.positions[symbol] = self.positions.get(symbol, 0) + quantity_nanos
        self.cash_attos -= notional_attos
        self.cost_attos += notional_attos - reference_attos
        self.turnover_attos += abs(notional_attos)

    def pay(self, attos: int) -> None:
        """Book fees, or a modelled cost, paid in cash."""
        self.cash_attos -= attos
        self.cost_attos += attos

    def measure(self, *, is_hit: bool) -> None:
        """Count an order whose half-life has passed."""
        self.measured += 1
        self.hits += is_hit

    def net_profit_attos(self, mids_nanos: Mapping[str, int]) -> int:
        """Return cash and what is open at present mids; a symbol without one counts as worthless."""
        open_attos = sum(quantity * mids_nanos.get(symbol, 0) for symbol, quantity in self.positions.items())
        return self.cash_attos + open_attos

    @property
    def hit_rate(self) -> float:
        return self.hits / self.measured if self.measured else 0.0
