"""What a cap on participation leaves to do."""

from __future__ import annotations

ASSUMED_PACE = 0.25
"""Share of its present pace that volume is taken to keep after an own fill; decision 6 says why."""

CAPACITY_USED = 0.9
"""Of what a cap lets through of the forecast volume; chosen in backtests, on the training days."""


def capacity_rate(cap: float | None) -> float:
    """Return what a plan may count on doing for each share that others trade; 0 where nothing is capped.

    Args:
        cap: own share of all volume, 0 to 1; own fills are on top of what others trade.
    """
    return CAPACITY_USED * cap / (1.0 - cap) if cap is not None and 0.0 < cap < 1.0 else 0.0
