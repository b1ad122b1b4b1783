from typing_extensions import disjoint_base

from native.schedule import Schedule

MOST_STEPS: int

@disjoint_base
class ShortfallSchedule(Schedule):
    kappa_per_second: float
    def __init__(
        self,
        quantity_nanos: int,
        lot_nanos: int,
        start_nanos: int,
        end_nanos: int,
        risk_aversion: float,
        volatility: float,
        temporary_impact: float,
        permanent_impact: float = 0.0,
        *,
        steps: int = 240,
    ) -> None: ...
