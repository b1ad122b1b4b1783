from typing_extensions import disjoint_base

@disjoint_base
class CostModel:
    def __init__(
        self,
        half_spread_bps: float,
        daily_volatility: float,
        daily_volume: float,
        *,
        temporary: float = 0.142,
        temporary_power: float = 0.6,
        permanent: float = 0.314,
        permanent_share: float = 1.0,
        half_life_seconds: float = 1800.0,
        root: float = 0.0,
    ) -> None: ...
    def clean_up_bps(self, now: int, shares: float, volume: float) -> float: ...
