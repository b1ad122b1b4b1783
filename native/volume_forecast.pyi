from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

def expectation_maximisation(
    log_volumes: NDArray[np.float64],
    bins: int,
    dynamics: NDArray[np.float64],
    seasonal: NDArray[np.float64],
    outlier_sd: float = ...,
    iterations: int = 200,
    tolerance: float = 1e-6,
) -> tuple[NDArray[np.float64], NDArray[np.float64], float, int]: ...

@disjoint_base
class VolumeForecast:
    def __init__(
        self,
        seasonal: Iterable[float],
        dynamics: Iterable[float],
        outlier_sd: float = ...,
        traded: Iterable[float] | None = None,
    ) -> None: ...
    @property
    def next_bin(self) -> int: ...
    @property
    def level(self) -> float: ...
    def begin_day(self) -> None: ...
    def update(self, bin_index: int, volume: float) -> None: ...
    def take_day(self, volumes: NDArray[np.float64]) -> None: ...
    def next_volume(self, is_mean: bool = True) -> float: ...
    def remaining_volumes(self, is_mean: bool = True) -> NDArray[np.float64]: ...
    def next_log_sd(self) -> float: ...
