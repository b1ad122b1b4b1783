"""Quotes, phases and flags as values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag


class MarketPhase(IntEnum):
    """The numbers are those of tapeline.trading.v1.MarketPhase."""

    UNSPECIFIED = 0
    PRE_OPEN = 1
    OPENING_AUCTION = 2
    CONTINUOUS = 3
    HALTED = 4
    REOPENING_AUCTION = 5
    CLOSING_AUCTION = 6
    CLOSED = 7


class TradeFlag(IntFlag):
    """Bits of TradeBatch.flags; the numbers are those of tapeline.trading.v1.TradeFlag."""

    NONE = 0
    ELIGIBLE = 1
    OFF_EXCHANGE = 2
    AUCTION = 4
    BUYER_AGGRESSOR = 8
    SELLER_AGGRESSOR = 16
    CANCEL = 32
    EXTENDED_HOURS = 64


@dataclass(frozen=True, slots=True)
class Quote:
    """The best quote of one symbol; a price of 0 says that there is none on that side."""

    symbol: str
    bid_price_nanos: int = 0
    bid_size_nanos: int = 0
    ask_price_nanos: int = 0
    ask_size_nanos: int = 0
    last_price_nanos: int = 0
    event_time_nanos: int = 0
    phase: MarketPhase = MarketPhase.UNSPECIFIED

    @property
    def mid_price_nanos(self) -> int:
        """Mid of bid and ask, rounded down to 1e-9; 0 when a side is missing."""
        if not self.bid_price_nanos or not self.ask_price_nanos:
            return 0
        return (self.bid_price_nanos + self.ask_price_nanos) // 2

    @property
    def reference_price_nanos(self) -> int:
        """The mid, or the last eligible price where a side is missing; 0 when there is neither."""
        return self.mid_price_nanos or self.last_price_nanos


@dataclass(frozen=True, slots=True)
class TradingStatus:
    """A phase of one symbol from a moment on; session times are 0 when closed for good."""

    symbol: str
    phase: MarketPhase
    event_time_nanos: int
    reason: str = ""
    session_open_time_nanos: int = 0
    session_close_time_nanos: int = 0
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class MarketTime:
    """The venue's clock: everything up to it has been sent."""

    event_time_nanos: int
    speed: float = 1.0
    is_held: bool = False
