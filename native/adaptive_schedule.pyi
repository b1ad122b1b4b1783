from collections.abc import Iterable

from typing_extensions import disjoint_base

from native.schedule import Schedule

@disjoint_base
class AdaptiveVwapSchedule(Schedule):
    def __init__(
        self,
        quantity_nanos: int,
        lot_nanos: int,
        start_nanos: int,
        end_nanos: int,
        bin_edges_nanos: Iterable[int],
        volumes: Iterable[float],
        log_sd: float = 0.0,
        tolerance: float = 0.0,
        *,
        capacity_rate: float = 0.0,
    ) -> None: ...
    @property
    def observed_shares(self) -> float: ...
    @property
    def liquidity_score(self) -> float: ...
    def revise(self, now: int, volumes: Iterable[float], log_sd: float = 0.0) -> None: ...
    def sense(
        self, spread: float = 1.0, depth: float = 1.0, volume: float = 1.0, volatility: float = 1.0
    ) -> None: ...
