from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

_Column: TypeAlias = NDArray[np.int64] | Buffer

class Average(NamedTuple):
    notional_e18: int
    quantity_nanos: int
    print_count: int
    @property
    def price_nanos(self) -> int | None: ...
    @property
    def price(self) -> float: ...

class Shortfall(NamedTuple):
    delay_e18: int
    spread_e18: int
    impact_e18: int
    timing_e18: int
    opportunity_e18: int
    fees_e18: int
    @property
    def total_e18(self) -> int: ...

def round_half_even(numerator: int, denominator: int) -> int: ...
def slippage_bps(side: int, average_price: float, benchmark_price: float) -> float: ...
def tracking_error_bps(average_price: float, vwap: float) -> float: ...
def average_price(prices: _Column, sizes: _Column) -> Average: ...
def interval_vwap(prices: _Column, sizes: _Column, times: _Column, start: int, end: int) -> Average: ...
def interval_twap(prices: _Column, times: _Column, start: int, end: int) -> float: ...
def participation_weighted_price(
    prices: _Column, sizes: _Column, times: _Column, start: int, quantity: int, participation: float
) -> Average: ...
def shortfall(
    side: int,
    quantity_nanos: int,
    decision_price_nanos: int,
    arrival_price_nanos: int,
    close_price_nanos: int,
    fill_prices: _Column,
    fill_sizes: _Column,
    mids_when_sent: _Column,
    *,
    impact_e18: int = 0,
    fees_e18: int = 0,
) -> Shortfall: ...
