"""Values of market data: prints in columns, bars, what queries answer. Times are UTC epoch nanoseconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from servers.model.market import MarketTime, Quote, TradingStatus

COLUMN_WIDTH = 8  # bytes of one little-endian int64
MAX_BATCH_PRINTS = 1_000
MAX_SYMBOLS = 500
NANOS_PER_SECOND = 1_000_000_000
NANOS_PER_MINUTE = 60 * NANOS_PER_SECOND
NANOS_PER_DAY = 86_400 * NANOS_PER_SECOND


@dataclass(slots=True)
class Prints:
    """A run of prints of one symbol in the venue's order, in columns of little-endian int64.

    The sequences are `first_sequence` and up, without a gap. `cancelled_sequence` is empty when no row
    is a cancel. `encoded` is scratch of the wire edge: what it made of this value for the first reader,
    kept for the next.
    """

    symbol: str
    count: int
    first_sequence: int
    event_time_nanos: bytes
    price_nanos: bytes
    size_nanos: bytes
    flags: bytes
    cancelled_sequence: bytes = b""
    receive_time_nanos: int = 0
    encoded: Any = field(default=None, compare=False, repr=False)

    def validate(self) -> None:
        """Raise ValueError when the columns are not `count` values long, or the count is not 1 to 1,000."""
        length = self.count * COLUMN_WIDTH
        columns = (self.event_time_nanos, self.price_nanos, self.size_nanos, self.flags)
        if not 1 <= self.count <= MAX_BATCH_PRINTS or any(len(column) != length for column in columns):
            raise ValueError(f"{self.symbol}: columns are not {self.count} values long")
        if self.cancelled_sequence and len(self.cancelled_sequence) != length:
            raise ValueError(f"{self.symbol}: cancelled_sequence is not {self.count} values long")

    @property
    def last_sequence(self) -> int:
        """Return the sequence of the last print."""
        return self.first_sequence + self.count - 1


@dataclass(frozen=True, slots=True)
class BestQuote:
    """The last of a run of best quotes of one symbol; `update_count` is the length of the run."""

    symbol: str
    bid_price_nanos: int
    bid_size_nanos: int
    ask_price_nanos: int
    ask_size_nanos: int
    event_time_nanos: int
    update_count: int = 1


@dataclass(frozen=True, slots=True)
class VenueSession:
    """The venue's clock and phases when it was asked.

    `own_fills_on_tape` says whether participants' fills print there: on simulated flow, not on recorded.
    `eligibility_rule` says for people which prints are eligible.
    """

    time: MarketTime
    statuses: tuple[TradingStatus, ...]
    session_date: str
    calendar: str
    own_fills_on_tape: bool | None = None
    eligibility_rule: str = ""


VenueEvent = Prints | BestQuote | TradingStatus | MarketTime


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What the venue is told: time worked through, and whether anybody needs it to wait."""

    time_nanos: int
    is_idle: bool


@dataclass(frozen=True, slots=True)
class MarketRequest:
    """What a reader of the whole market says: at first what it wants, later what it has worked through."""

    symbols: tuple[str, ...]
    resume_after: Mapping[str, int]
    is_pacing: bool
    acknowledged_nanos: int
    subscriber: str
    is_idle: bool


@dataclass(frozen=True, slots=True)
class QuoteUpdate:
    """Quotes that changed, how many were not seen so far, and the clock."""

    quotes: tuple[Quote, ...]
    conflated_count: int
    time: MarketTime


@dataclass(frozen=True, slots=True)
class Bar:
    """What traded in [start, start + length): prices in nanos, volume in shares; vwap 0 when unknown."""

    start_time_nanos: int
    length_nanos: int
    open_price_nanos: int
    high_price_nanos: int
    low_price_nanos: int
    close_price_nanos: int
    volume: float
    vwap_nanos: int = 0
    trade_count: int = 0


@dataclass(frozen=True, slots=True)
class Vwap:
    """Volume-weighted average of eligible prints: exact in attos (1e-18) over nanos."""

    notional_attos: int
    quantity_nanos: int
    trade_count: int


@dataclass(frozen=True, slots=True)
class VolumeProfile:
    """Volume in shares by price row (lower edges, ascending), with the value area around the peak."""

    price_nanos: tuple[int, ...]
    volume: tuple[float, ...]
    point_of_control_nanos: int
    value_area_low_nanos: int
    value_area_high_nanos: int


@dataclass(frozen=True, slots=True)
class VolumeCurve:
    """Mean share of a session's volume by bin from the open; empty without history."""

    shares: tuple[float, ...]
    bin_nanos: int
    sessions: int
    median_daily_volume: float


@dataclass(frozen=True, slots=True)
class IndicatorSpec:
    """One indicator by TA-Lib's names."""

    name: str
    parameters: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class IndicatorSeries:
    """One output of one indicator, a value for each bar; NaN in the warm-up."""

    name: str
    output: str
    values: tuple[float, ...]
