"""A parent order from command to report, over the practice market."""

from __future__ import annotations

from servers.execution.domain.events import ExecutionState
from servers.execution.domain.parameters import Algorithm, Parameters
from servers.model.nanos import NANO
from servers.model.order import Side


def buy(quantity: int, **asked: object) -> Parameters:
    given = {"algorithm": Algorithm.TWAP, "horizon_nanos": 600 * NANO, **asked}
    return Parameters("demo", "ACME", Side.BUY, quantity * NANO, **given)


async def test_a_twap_that_starts_before_the_open_is_filled_and_reported_at_the_end_of_its_horizon(
    make_world,
):
    world = await make_world()
    execution_id = await world.start(buy(20_000))
    assert world.state(execution_id) is ExecutionState.PENDING
    await world.run(60 + 605)
    parent = world.book.parents[execution_id]
    assert parent.state is ExecutionState.FILLED
    assert parent.filled_quantity_nanos == 20_000 * NANO
    report = parent.report
    assert report.residual_quantity_nanos == 0
    assert report.interval_end_time_nanos - report.interval_start_time_nanos == 600 * NANO
    assert report.peak_window_participation_rate <= 0.1
