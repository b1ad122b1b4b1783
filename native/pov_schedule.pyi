from typing_extensions import disjoint_base

from native.schedule import Schedule

@disjoint_base
class PovSchedule(Schedule):
    def __init__(
        self,
        quantity_nanos: int,
        lot_nanos: int,
        start_nanos: int,
        end_nanos: int,
        rate: float,
        slice_nanos: int = ...,
        *,
        own_on_tape: bool = True,
    ) -> None: ...
    @property
    def rate(self) -> float: ...
    @property
    def observed_shares(self) -> float: ...
