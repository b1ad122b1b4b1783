import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer, disjoint_base

from native.schedule import Schedule

@disjoint_base
class Plan:
    def __init__(
        self,
        schedule: Schedule,
        revisions: tuple[NDArray[np.int64] | Buffer, NDArray[np.float64], NDArray[np.float64]] | None = None,
        fallback: Schedule | None = None,
    ) -> None: ...
