"""A finished order as a row: what was known of it before, and what it cost."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FinishedOrder:
    """One finished order.

    Attributes:
        order_id: ascending in the order in which the orders were begun.
        algorithm: name of what was asked for.
        symbol: instrument.
        session: key of its session, such as a date: orders of one session are not independent.
        stratum: orders of one stratum are compared with each other: symbol, side and size.
        shortfall_bps: shortfall of the whole quantity against the decision price, positive is a cost.
        tracking_error_bps: |slippage against the interval VWAP|; NaN where it is not known.
        filled_share: 0 to 1.
        size_share: quantity over the median daily volume; None where that is not known.
        volatility: of the interval, as a fraction, by the root of an hour; NaN where it is not known.
        session_share: share of the session that had passed on arrival, 0 to 1; None where it is not known.
        block: block of the stratum in which its algorithm was drawn; None where nothing was drawn.
    """

    order_id: str
    algorithm: str
    symbol: str
    session: str
    stratum: str
    shortfall_bps: float
    tracking_error_bps: float
    filled_share: float = 1.0
    size_share: float | None = None
    volatility: float = math.nan
    session_share: float | None = None
    block: int | None = None
