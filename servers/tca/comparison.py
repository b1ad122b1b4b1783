"""What may be said of the difference between two algorithms, compared within strata.

The difference is the mean over strata of (mean of first - mean of second), weighed by n1 n2 / (n1 + n2): what
a regression with an effect for each stratum finds. How sure it is comes from

- a randomisation test (Fisher 1935) where algorithms were drawn in blocks: labels are swapped block by block,
  as the draw might have come out, which needs no assumption on prices, days or tails;
- a bootstrap of whole sessions, and a confidence sequence over sessions (Waudby-Smith, Arbour, Sinha, Kennedy
  and Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences", 2024), which holds
  however often one looks. Below 20 sessions neither is given.

Every look counts: p is multiplied by the number of pairs, measures and buckets compared (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import combinations
from typing import NamedTuple

from servers.tca.groups import Dimension, buckets
from servers.tca.orders import FinishedOrder
from servers.tca.resampling import (
    LEAST_SESSIONS,
    Table,
    bootstrap_by_session,
    confidence_sequence,
    randomisation_test,
)

LEAST_ORDERS = 20
"""Orders of each algorithm below which nothing is said."""

LEVEL = 0.05
POWER_FACTOR = 2.8
"""1.96 + 0.84 standard errors: what is seen at 5 % four times out of five."""

SAMPLE_RATIO_BOUND = 10.83
"""Chi-squared of the numbers of orders at which one draw in a thousand would be."""


class Measure(IntEnum):
    """The numbers are those of tapeline.execution.v1.CostMeasure."""

    SHORTFALL = 1
    TRACKING_ERROR = 2


class Verdict(IntEnum):
    """The numbers are those of tapeline.execution.v1.ComparisonVerdict."""

    TOO_EARLY = 1
    NOT_RANDOMISED = 2
    SAMPLE_RATIO = 3
    NONE_SEEN = 4
    FIRST_LOWER = 5
    SECOND_LOWER = 6


@dataclass(frozen=True, slots=True)
class Difference:
    """Cost of `first` less that of `second`, in basis points; None and NaN where it cannot be said."""

    dimension: Dimension
    bucket: str
    measure: Measure
    first: str
    second: str
    difference_bps: float
    interval_bps: tuple[float, float] | None
    always_bps: tuple[float, float] | None
    p_value: float | None
    detectable_bps: float | None
    first_count: int
    second_count: int
    session_count: int
    verdict: Verdict
    message: str


def compare(
    orders: Sequence[FinishedOrder],
    dimensions: Sequence[Dimension] = tuple(Dimension),
    *,
    planned_count: int = 0,
    smallest_effect_bps: float = 0.0,
    seed: int = 0,
) -> list[Difference]:
    """Return the difference of every pair of algorithms in each measure, dimension and bucket.

    Args:
        orders: finished orders, whatever their order.
        planned_count: orders of all algorithms after which a test is made, fixed before the first: it is then
            made of exactly the first so many, so that looking often finds nothing. 0 tests what there is.
        smallest_effect_bps: smallest difference that matters; 0 where none was stated.
        seed: of the resampling; the same seed gives the same answer.
    """
    in_order = sorted(orders, key=lambda order: order.order_id)
    is_over = len(in_order) >= planned_count
    decided = in_order[:planned_count] if planned_count else in_order
    algorithms = sorted({order.algorithm for order in decided})
    pairs = list(combinations(algorithms, 2))
    found = []
    for dimension in dimensions:
        parts = buckets(decided, dimension)
        looks = len(pairs) * len(Measure) * len(parts)
        for bucket, mine in parts.items():
            for measure in Measure:
                for first, second in pairs:
                    table = Table.of(mine, measure is Measure.SHORTFALL, first, second)
                    if table is None:
                        continue
                    look = _Look(dimension, bucket, measure, first, second)
                    one = _difference(look, table, looks, seed, is_over=is_over)
                    message = _sentence(one, planned_count, len(in_order), smallest_effect_bps)
                    found.append(replace(one, message=message))
    return found


class _Look(NamedTuple):
    dimension: Dimension
    bucket: str
    measure: Measure
    first: str
    second: str


def _difference(look: _Look, table: Table, looks: int, seed: int, *, is_over: bool) -> Difference:
    exact = table.difference()
    interval = always = None
    sure = None
    error = math.nan
    if table.session_count >= LEAST_SESSIONS:
        drawn = bootstrap_by_session(table, seed)
        interval, error = drawn.interval, drawn.standard_error
        always = confidence_sequence(table, LEVEL)
        sure = confidence_sequence(table, LEVEL / looks)
    p_value = None
    enough = min(table.first_count, table.second_count) >= LEAST_ORDERS
    if table.is_randomised:
        test = randomisation_test(table, seed)
        # What chance alone would do, without the difference that is there.
        error = randomisation_test(table.without(exact), seed).standard_error
        if is_over and enough:
            p_value = min(test.p_value * looks, 1.0)
    verdict = Verdict.NONE_SEEN
    is_sure = sure is not None and (sure[0] > 0 or sure[1] < 0)
    if not table.is_randomised:
        verdict = Verdict.NOT_RANDOMISED
    elif table.sample_ratio > SAMPLE_RATIO_BOUND:
        verdict = Verdict.SAMPLE_RATIO
    elif not enough or not (is_over or is_sure):
        verdict = Verdict.TOO_EARLY
    elif is_sure or (p_value is not None and p_value < LEVEL):
        verdict = Verdict.FIRST_LOWER if exact < 0 else Verdict.SECOND_LOWER
    return Difference(
        *look,
        exact,
        interval,
        always,
        p_value,
        POWER_FACTOR * error if error > 0 else None,
        table.first_count,
        table.second_count,
        table.session_count,
        verdict,
        "",
    )


def _sentence(one: Difference, planned: int, finished: int, smallest_effect_bps: float) -> str:
    counts = f"{one.first_count} orders against {one.second_count}, {one.session_count} sessions"
    seen = f"{one.first} less {one.second}: {one.difference_bps:+.2f} bps; {counts}"
    power = f"it would have seen {one.detectable_bps:.2f} bps" if one.detectable_bps else ""
    matters = ""
    if smallest_effect_bps and one.detectable_bps and one.detectable_bps > smallest_effect_bps:
        matters = f", more than the {smallest_effect_bps:g} bps that matter: that much is not excluded"
    test = "" if one.p_value is None else f"p {one.p_value:.3f} by randomisation, all looks counted"
    match one.verdict:
        case Verdict.TOO_EARLY:
            least = f"{LEAST_ORDERS} orders of each" + (
                f" and {planned} in all, of which {finished} are finished" if planned else ""
            )
            said = f"too early to say anything: it takes {least}"
        case Verdict.NOT_RANDOMISED:
            said = "not randomised: what differs may be the orders and not the algorithms"
        case Verdict.SAMPLE_RATIO:
            said = "the numbers of orders do not fit the draw: some are lost, and nothing may be said"
        case Verdict.NONE_SEEN:
            said = "no difference was seen"
        case _:
            said = f"{one.first if one.verdict is Verdict.FIRST_LOWER else one.second} costs less"
    if one.verdict is not Verdict.NONE_SEEN:
        matters = ""
    return "; ".join(part for part in (seen, said, test, power + matters) if part)
