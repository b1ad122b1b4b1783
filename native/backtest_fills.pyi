import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

FILL_COLUMNS: tuple[str, ...]

@disjoint_base
class FillLog:
    def columns(self) -> dict[str, NDArray[np.int64]]: ...
