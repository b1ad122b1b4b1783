from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer, disjoint_base

from native.backtest_cap import TrailingCap
from native.backtest_controls import Controls
from native.backtest_costs import CostModel
from native.schedule import Schedule

_Column: TypeAlias = NDArray[np.int64] | Buffer

MOST_STEPS: int

@disjoint_base
class Parent:
    done_nanos: int
    arrival_price_nanos: int
    last_price_nanos: int
    first_print_nanos: int
    child_count: int
    fill_count: int
    event_count: int
    controls: Controls | None
    def __init__(
        self,
        schedule: Schedule,
        side: int,
        costs: CostModel,
        *,
        step_nanos: int = ...,
        latency_nanos: int = 0,
        passive_steps: int = 0,
        rate_steps: int = 15,
        queue_nanos: int = 0,
        print_share: float = 1.0,
        cap: TrailingCap | None = None,
        limit_price_nanos: int = 0,
        revisions: tuple[_Column, NDArray[np.float64], NDArray[np.float64]] | None = None,
        controls: Controls | None = None,
        fallback: Schedule | None = None,
        keep_fills: bool = True,
    ) -> None: ...
    @property
    def quantity_nanos(self) -> int: ...
    @property
    def residual_nanos(self) -> int: ...
    @property
    def notional_e18(self) -> int: ...
    @property
    def spread_cost_e18(self) -> int: ...
    @property
    def impact_cost_e18(self) -> int: ...
    @property
    def passive_nanos(self) -> int: ...
    @property
    def market_volume_nanos(self) -> int: ...
    @property
    def market_notional_e18(self) -> int: ...
    @property
    def impact_bps(self) -> float: ...
    def fill_columns(self) -> dict[str, NDArray[np.int64]]: ...

def replay(
    parents: Iterable[Parent],
    times: _Column,
    prices: _Column,
    sizes: _Column,
    takeable: _Column | None = None,
) -> None: ...
def finish(parents: Iterable[Parent], now: int) -> None: ...
