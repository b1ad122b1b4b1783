from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

_Column: TypeAlias = NDArray[np.int64] | Buffer

def session_vwap_bands(
    prices: _Column, sizes: _Column, times: _Column | None = None, boundaries: _Column | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
def anchored_vwap_bands(
    prices: _Column, sizes: _Column, times: _Column, anchor: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
def rolling_vwap_bands_by_count(
    prices: _Column, sizes: _Column, window: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
def rolling_vwap_bands_by_time(
    prices: _Column, sizes: _Column, times: _Column, window_nanos: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
