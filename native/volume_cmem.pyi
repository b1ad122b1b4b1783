import numpy as np
from numpy.typing import NDArray

def cmem_filter(
    volumes: NDArray[np.float64],
    bins: int,
    parameters: NDArray[np.float64],
    seasonal: NDArray[np.float64],
    daily: NDArray[np.float64],
    intraday: NDArray[np.float64],
) -> float: ...
