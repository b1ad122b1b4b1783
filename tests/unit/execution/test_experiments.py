"""Experiments: algorithms drawn in blocks that can be drawn again, kept through restarts, and compared."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tapeline.execution.v1 import execution_pb2

from servers.execution import wire
from servers.execution.adapters.comparisons import comparison_to_wire
from servers.execution.adapters.memory import OPEN_NANOS
from servers.execution.comparing import compare_parents, finished_order
from servers.execution.domain.experiments import (
    Assignment,
    Experiment,
    ExperimentBook,
    drawn_algorithm,
    stratum_of,
)
from servers.execution.domain.impact import ImpactModel
from servers.execution.domain.parameters import Algorithm, Parameters
from servers.execution.ports import VolumeCurve
from servers.model.errors import AlreadyExists, InvalidInput, NotFound, Unavailable
from servers.model.nanos import NANO
from servers.model.order import Rejection, Side
from servers.tca import Dimension, Verdict

PAIR = (Algorithm.TWAP, Algorithm.STATIC_VWAP)
TRIAL = Experiment("trial", PAIR, 7).checked()
IMPACT = ImpactModel()
FLAT = VolumeCurve([1 / 78] * 78, 300 * NANO, 60, 1_000_000.0)


def asked(experiment: Experiment = TRIAL, quantity: int = 3_000, start: int = 0, **more: Any) -> Parameters:
    return Parameters(
        "demo",
        "ACME",
        Side.BUY,
        quantity * NANO,
        experiment.algorithms[0],
        start_time_nanos=start,
        experiment=experiment,
        **{"horizon_nanos": 120 * NANO, **more},
    )


@given(
    st.integers(-(2**62), 2**62), st.text("abc", min_size=1), st.sets(st.sampled_from(Algorithm), min_size=2)
)
def test_every_block_holds_every_algorithm_once(seed: int, name: str, algorithms: set[Algorithm]) -> None:
    experiment = Experiment(name, tuple(sorted(algorithms)), seed).checked()
    book = ExperimentBook()
    drawn: dict[str, list[Algorithm]] = {"A BUY": [], "B SELL": []}
    for number in range(12):
        stratum = "A BUY" if number % 3 else "B SELL"
        assignment = book.next(experiment, stratum)
        book.take(experiment, assignment)
        drawn[stratum].append(drawn_algorithm(experiment, assignment))
    size = len(algorithms)
    for algorithms_of in drawn.values():
        for start in range(0, len(algorithms_of) - size + 1, size):
            assert set(algorithms_of[start : start + size]) == algorithms


def test_the_draw_is_the_one_that_the_documentation_states() -> None:
    for block in range(20):
        hashes = {
            algorithm: hashlib.sha256(f"7/trial/ACME BUY/{block}/{algorithm.name}".encode()).digest()
            for algorithm in PAIR
        }
        expected = sorted(PAIR, key=lambda algorithm: hashes[algorithm])
        assert [drawn_algorithm(TRIAL, Assignment("ACME BUY", block, place)) for place in (0, 1)] == expected


def test_over_many_blocks_each_algorithm_is_as_often_first() -> None:
    first = Counter(drawn_algorithm(TRIAL, Assignment("ACME", block, 0)) for block in range(2_000))
    assert abs(first[Algorithm.TWAP] - 1_000) < 150


def test_the_stratum_is_what_is_known_before_the_draw() -> None:
    assert stratum_of("ACME", Side.SELL, 3_000 * NANO, 1e6) == "ACME SELL 0 to 1 % of a day"
    assert stratum_of("ACME", Side.BUY, 3_000 * NANO, 0.0) == "ACME BUY of unknown size"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "no blanks"}, "name"),
        ({"algorithms": (Algorithm.TWAP,)}, "algorithms"),
        ({"algorithms": (Algorithm.TWAP, Algorithm.TWAP)}, "algorithms"),
        ({"planned_parent_count": 39}, "planned_parent_count"),
        ({"smallest_effect_bps": float("nan")}, "smallest_effect_bps"),
    ],
)
def test_an_experiment_that_means_nothing_is_refused(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        replace(TRIAL, **wrong).checked()
    assert refusal.value.metadata["field"] == field


def test_a_request_leaves_the_algorithm_and_what_goes_with_it_to_the_draw() -> None:
    message = wire.parameters_to_wire(asked())
    message.algorithm = execution_pb2.ALGORITHM_UNSPECIFIED
    assert wire.parameters_from_wire(message).experiment == TRIAL
    for field, value in (("algorithm", 1), ("risk_aversion", 0.1), ("target_participation_rate", 0.01)):
        wrong = execution_pb2.ExecutionParameters()
        wrong.CopyFrom(message)
        setattr(wrong, field, value)
        with pytest.raises(InvalidInput) as refusal:
            wire.parameters_from_wire(wrong)
        assert refusal.value.metadata["field"] == field
    message.experiment.algorithms.append(execution_pb2.ALGORITHM_UNSPECIFIED)
    with pytest.raises(InvalidInput, match="of the experiment"):
        wire.parameters_from_wire(message)


async def test_parents_draw_in_order_and_a_restart_goes_on_where_the_draw_was(make_world: Any) -> None:
    world = await make_world(curve=FLAT)
    ids = [await world.start(asked(), f"r{number}") for number in range(3)]
    await world.restart()
    ids.append(await world.start(asked(), "r3"))
    views = [world.book.view(execution_id) for execution_id in ids]
    places = [(view.assignment.block, view.assignment.place) for view in views]
    assert places == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [view.parameters.algorithm for view in views] == [
        drawn_algorithm(TRIAL, view.assignment) for view in views
    ]
    again = await world.engine.start("r3", asked(), "")
    assert again.execution_id == ids[3]
    with pytest.raises(AlreadyExists) as refusal:
        await world.start(asked(replace(TRIAL, seed=8)), "r4")
    assert refusal.value.reason == "EXPERIMENT_CHANGED"


async def test_parents_that_start_at_once_get_places_of_their_own(make_world: Any) -> None:
    world = await make_world(curve=FLAT)
    ids = await asyncio.gather(*(world.start(asked(), f"r{number}") for number in range(6)))
    places = Counter(
        (world.book.view(key).assignment.block, world.book.view(key).assignment.place) for key in ids
    )
    assert places == Counter({(block, place): 1 for block in range(3) for place in range(2)})


async def test_a_start_that_failed_keeps_its_place_for_its_repeat(make_world: Any) -> None:
    world = await make_world(curve=FLAT)
    world.risk.is_away = True
    with pytest.raises(Unavailable):
        await world.start(asked(), "r0")
    world.risk.is_away = False
    second = await world.start(asked(), "r1")
    first = await world.start(asked(), "r0")
    assert world.book.view(first).assignment.place == 0
    assert world.book.view(second).assignment.place == 1


async def test_a_parent_that_filled_nothing_counts_with_all_that_it_left(make_world: Any) -> None:
    world = await make_world(curve=FLAT)
    execution_id = await world.start(asked(limit_price_nanos=20 * NANO))
    await world.run(60 + 60 + 130)
    parent = world.book.parents[execution_id]
    order = finished_order(parent, IMPACT)
    assert order is not None
    assert (order.filled_share, math.isnan(order.tracking_error_bps)) == (0.0, True)
    notional = parent.report.benchmark("decision").price_nanos * parent.quantity_nanos
    report_bps = parent.report.shortfall.total_e18 / notional * 1e4
    # The square root of 3,000 of the median day's million shares, two thirds of it on average on the way.
    clean_up_bps = 0.7 * 0.015 * math.sqrt(0.003) * 2 / 3 * 1e4
    assert order.shortfall_bps == pytest.approx(report_bps + clean_up_bps, rel=1e-5)
    comparison = compare_parents([parent], world.engine.experiments, IMPACT, "trial", "", "")
    assert (comparison.order_count, comparison.left_out_count) == (1, 0)


async def test_finished_parents_are_compared_and_too_few_claim_nothing(make_world: Any) -> None:
    world = await make_world(curve=FLAT)
    ids = [
        await world.start(asked(start=OPEN_NANOS + (60 + 130 * number) * NANO), f"r{number}")
        for number in range(4)
    ]
    world.risk.rejection = Rejection("ORDER_QUANTITY_ABOVE_LIMIT", "too much")
    await world.start(asked(quantity=9_000), "r9")
    await world.run(60 + 60 + 4 * 130)
    parents = list(world.book.parents.values())
    comparison = compare_parents(parents, world.engine.experiments, IMPACT, "trial", "", "")
    assert (comparison.order_count, comparison.session_count, comparison.left_out_count) == (4, 1, 1)
    assert {one.verdict for one in comparison.differences} == {Verdict.TOO_EARLY}
    assert {(one.first, one.second) for one in comparison.differences} == {("static_vwap", "twap")}
    everything = [one for one in comparison.groups if one.dimension is Dimension.ALL]
    assert [(one.algorithm, one.order_count) for one in everything] == [("static_vwap", 2), ("twap", 2)]
    order = finished_order(world.book.parents[ids[0]], IMPACT)
    assert order is not None
    report = world.book.parents[ids[0]].report
    notional = report.benchmark("decision").price_nanos * 3_000 * NANO
    assert order.shortfall_bps == pytest.approx(report.shortfall.total_e18 / notional * 1e4)
    assert order.size_share == pytest.approx(0.003)
    assert order.session_share == pytest.approx(60 / 23_400, abs=1e-3)
    message = comparison_to_wire(comparison)
    assert message.experiment.planned_parent_count == 80
    assert len(message.differences) == len(comparison.differences)
    assert compare_parents(parents, world.engine.experiments, IMPACT, "", "demo", "OTHER").order_count == 0
    with pytest.raises(NotFound) as refusal:
        compare_parents(parents, world.engine.experiments, IMPACT, "other", "", "")
    assert refusal.value.reason == "EXPERIMENT_NOT_FOUND"
