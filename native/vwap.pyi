import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

def choose_lanes(most: int = 8) -> int: ...
def session_vwap(prices: Buffer, sizes: Buffer) -> float: ...
def session_vwap_series(
    prices: Buffer,
    sizes: Buffer,
    times: Buffer | None = None,
    boundaries: Buffer | None = None,
    *,
    out: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]: ...
def anchored_vwap_series(
    prices: Buffer, sizes: Buffer, times: Buffer, anchor: int, *, out: NDArray[np.float64] | None = None
) -> NDArray[np.float64]: ...
def rolling_vwap_by_count(
    prices: Buffer, sizes: Buffer, window: int, *, out: NDArray[np.float64] | None = None
) -> NDArray[np.float64]: ...
def rolling_vwap_by_time(
    prices: Buffer,
    sizes: Buffer,
    times: Buffer,
    window_nanos: int,
    *,
    out: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]: ...
