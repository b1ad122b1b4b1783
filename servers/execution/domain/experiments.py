"""Experiments on live parents: which algorithm each one gets, drawn in blocks that anybody can draw again.

Permuted blocks within strata (Matts and Lachin, "Properties of permuted-block randomization in clinical
trials", 1988): parents of one symbol, side and size bucket form blocks as long as the list of algorithms, and
each block holds every algorithm once. Time, which changes what trading costs, is so balanced between the
algorithms to within a block.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from servers.execution.domain.parameters import Algorithm
from servers.model.errors import AlreadyExists, InvalidInput
from servers.model.order import Side, check_range
from servers.tca import size_bucket

LEAST_PARENTS = 40
"""Fewer parents decide nothing: with 20 a side a difference of one standard deviation is just about seen."""

MOST_PARENTS = 100_000
MOST_ALGORITHMS = 5
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class Experiment:
    """See tapeline.execution.v1.Experiment for each field."""

    name: str
    algorithms: tuple[Algorithm, ...]
    seed: int = 0
    planned_parent_count: int = 0
    smallest_effect_bps: float = 0.0

    def checked(self) -> Experiment:
        """Return it with its default filled in. Raises InvalidInput that names the field."""
        if not _NAME.fullmatch(self.name):
            raise InvalidInput(
                "FIELD_INVALID", "the experiment's name is 1 to 64 of A-Z a-z 0-9 . - _", field="name"
            )
        if not 2 <= len(set(self.algorithms)) == len(self.algorithms) <= MOST_ALGORITHMS:
            raise InvalidInput(
                "FIELD_INVALID",
                f"an experiment compares 2 to {MOST_ALGORITHMS} different algorithms",
                field="algorithms",
            )
        if not 0.0 <= self.smallest_effect_bps <= 1e4:
            raise InvalidInput(
                "VALUE_OUT_OF_RANGE",
                f"smallest_effect_bps is {self.smallest_effect_bps}, outside 0 to 10000",
                field="smallest_effect_bps",
            )
        planned = self.planned_parent_count or LEAST_PARENTS * len(self.algorithms)
        check_range("planned_parent_count", planned, LEAST_PARENTS, MOST_PARENTS)
        return replace(self, planned_parent_count=planned)


@dataclass(frozen=True, slots=True)
class Assignment:
    """What was drawn for a parent: its stratum, the block in it and the place in that, both from 0."""

    stratum: str
    block: int
    place: int


class ExperimentBook:
    """The experiments of this server and how many parents each stratum has; a fold of what was started."""

    def __init__(self) -> None:
        self._experiments: dict[str, Experiment] = {}
        self._counts: Counter[tuple[str, str]] = Counter()

    @property
    def experiments(self) -> Mapping[str, Experiment]:
        """Experiments by name."""
        return self._experiments

    def check(self, experiment: Experiment) -> None:
        """Raise AlreadyExists EXPERIMENT_CHANGED where the name stands for another experiment."""
        known = self._experiments.get(experiment.name)
        if known is not None and known != experiment:
            raise AlreadyExists(
                "EXPERIMENT_CHANGED",
                f"experiment {experiment.name} was begun with other algorithms, seed, number of parents or"
                " effect: those stand",
                experiment=experiment.name,
            )

    def next(self, experiment: Experiment, stratum: str) -> Assignment:
        """Return the next place of a stratum. It is taken when `take` is told of it."""
        self.check(experiment)
        block, place = divmod(self._counts[experiment.name, stratum], len(experiment.algorithms))
        return Assignment(stratum, block, place)

    def take(self, experiment: Experiment, assignment: Assignment) -> None:
        """Take in that a parent has this place."""
        self._experiments.setdefault(experiment.name, experiment)
        reached = assignment.block * len(experiment.algorithms) + assignment.place + 1
        key = (experiment.name, assignment.stratum)
        self._counts[key] = max(self._counts[key], reached)


def drawn_algorithm(experiment: Experiment, assignment: Assignment) -> Algorithm:
    """Return the algorithm of a place: the block's algorithms in the order of their hashes.

    The hash is SHA-256 of "seed/name/stratum/block/ALGORITHM", which is what anybody draws again with.
    """
    salt = f"{experiment.seed}/{experiment.name}/{assignment.stratum}/{assignment.block}"
    order = sorted(
        experiment.algorithms,
        key=lambda algorithm: hashlib.sha256(f"{salt}/{algorithm.name}".encode()).digest(),
    )
    return order[assignment.place]


def stratum_of(symbol: str, side: Side, quantity_nanos: int, median_daily_volume: float) -> str:
    """Return the stratum of a parent: what is known of it before anything is drawn."""
    share = quantity_nanos / 1e9 / median_daily_volume if median_daily_volume > 0 else None
    return f"{symbol} {side.name} {size_bucket(share)}"
