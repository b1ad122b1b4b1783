from typing_extensions import disjoint_base

@disjoint_base
class Controls:
    max_impact: float
    max_deviation: float
    impact_breaches: int
    impact_actions: int
    deviation_breaches: int
    deviation_actions: int
    fills_without_action: int
    largest_impact: float
    largest_deviation: float
    controlled_nanos: int
    def __init__(
        self,
        max_impact: float = 0.005,
        max_deviation: float = 0.002,
        *,
        answer_nanos: int | None = ...,
        is_enforced: bool = True,
    ) -> None: ...
