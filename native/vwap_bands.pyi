import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

def session_vwap_bands(
    prices: Buffer, sizes: Buffer, times: Buffer | None = None, boundaries: Buffer | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
def anchored_vwap_bands(
    prices: Buffer, sizes: Buffer, times: Buffer, anchor: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
def rolling_vwap_bands_by_count(
    prices: Buffer, sizes: Buffer, window: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
def rolling_vwap_bands_by_time(
    prices: Buffer, sizes: Buffer, times: Buffer, window_nanos: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
