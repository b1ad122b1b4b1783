from typing_extensions import disjoint_base

@disjoint_base
class IcebergSlices:
    def __init__(
        self, shown_nanos: int, lot_nanos: int, variation: float = 0.2, seed: int = 0
    ) -> None: ...
    def size_nanos(self, number: int, left_nanos: int) -> int: ...
