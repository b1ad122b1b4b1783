"""Transaction cost analysis of finished orders: groups, and what may be said of differences (a library)."""

from servers.tca.comparison import Difference, Measure, Verdict, compare
from servers.tca.groups import Dimension, Group, group, size_bucket
from servers.tca.orders import FinishedOrder

__all__ = [
    "Difference",
    "Dimension",
    "FinishedOrder",
    "Group",
    "Measure",
    "Verdict",
    "compare",
    "group",
    "size_bucket",
]
