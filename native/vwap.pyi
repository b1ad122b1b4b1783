from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

_Column: TypeAlias = NDArray[np.int64] | Buffer

def choose_lanes(most: int = 8) -> int: ...
def session_vwap(prices: _Column, sizes: _Column) -> float: ...
def session_vwap_series(
    prices: _Column,
    sizes: _Column,
    times: _Column | None = None,
    boundaries: _Column | None = None,
    *,
    starts: _Column | None = None,
    out: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]: ...
def anchored_vwap_series(
    prices: _Column, sizes: _Column, times: _Column, anchor: int, *, out: NDArray[np.float64] | None = None
) -> NDArray[np.float64]: ...
def rolling_vwap_by_count(
    prices: _Column, sizes: _Column, window: int, *, out: NDArray[np.float64] | None = None
) -> NDArray[np.float64]: ...
def rolling_vwap_by_time(
    prices: _Column,
    sizes: _Column,
    times: _Column,
    window_nanos: int,
    *,
    out: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]: ...
