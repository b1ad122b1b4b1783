"""Impact and deviation control, the impact model, the typical curve, and what is measured."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.execution.adapters.memory import OPEN_NANOS, practice_instrument
from servers.execution.domain.controls import Deviation, DeviationControl, ImpactControl, Rate
from servers.execution.domain.curve import typical_curve
from servers.execution.domain.impact import ImpactModel, RecentQuantity
from servers.execution.domain.parameters import Algorithm, Parameters, SessionTimes
from servers.execution.domain.placement import REACHES_E4, crossing_price, passive_price
from servers.execution.metrics import FILLED, PARENTS, ExecutionCollector
from servers.model.market import Quote
from servers.model.nanos import NANO
from servers.model.order import Side

TICK = NANO // 100
QUOTE = Quote("ACME", 3_000 * TICK, NANO, 3_002 * TICK, NANO)


def test_the_impact_control_halves_then_stops_and_lets_go_well_below_its_bound() -> None:
    control = ImpactControl(0.005)
    rates = []
    for impact in (0.004, 0.0051, 0.0049, 0.0080, 0.0060, 0.0040, 0.0037):
        control.update(impact)
        rates.append(control.rate)
    assert rates == [Rate.FULL, Rate.HALF, Rate.HALF, Rate.NONE, Rate.NONE, Rate.NONE, Rate.FULL]


def test_the_deviation_control_waits_for_a_tenth_and_asks_once() -> None:
    control = DeviationControl(0.002)

    def mode_at(own_average: float, filled_share: float = 0.2) -> Deviation:
        control.update(own_average, 100.0, filled_share)
        return control.mode

    assert mode_at(100.9, 0.05) is Deviation.NORMAL
    assert mode_at(100.3) is Deviation.PASSIVE_ONLY
    assert mode_at(100.19) is Deviation.PASSIVE_ONLY
    change = control.update(100.5, 100.0, 0.2)
    assert change is not None
    assert "deviation 0.005000" in change.message
    assert mode_at(100.0) is Deviation.PAUSE
    control.answer()
    assert mode_at(100.5) is Deviation.PASSIVE_ONLY
    assert mode_at(100.0) is Deviation.NORMAL
    assert mode_at(100.5) is Deviation.PAUSE


def test_the_impact_estimate_is_a_square_root_and_decays() -> None:
    model = ImpactModel(1.0, 0.02, 100.0)
    assert model.fraction(100 * NANO, 10_000) == pytest.approx(0.002)
    assert model.fraction(400 * NANO, 10_000) == pytest.approx(0.004)
    assert model.fraction(100 * NANO, 0) == 0
    recent = RecentQuantity(100.0)
    recent.add(OPEN_NANOS, 80 * NANO)
    assert recent.at(OPEN_NANOS + 100 * NANO) == pytest.approx(40 * NANO)
    recent.add(OPEN_NANOS + 100 * NANO, -100 * NANO)
    assert recent.at(OPEN_NANOS + 100 * NANO) == 0


@given(st.integers(60, 30_000))
def test_a_typical_curve_is_whole_and_highest_at_its_ends(seconds: int) -> None:
    shares = typical_curve(SessionTimes(OPEN_NANOS, OPEN_NANOS + seconds * NANO))
    assert sum(shares) == pytest.approx(1)
    assert min(shares) > 0
    assert shares[0] == pytest.approx(max(shares)) == pytest.approx(shares[-1])


@given(st.sampled_from(Side), st.integers(0, len(REACHES_E4) - 1), st.integers(2_900, 3_100))
def test_a_crossing_child_reaches_the_far_touch_and_never_passes_its_limit(
    side: Side, level: int, limit_ticks: int
) -> None:
    instrument, limit = practice_instrument(), limit_ticks * TICK
    far = QUOTE.ask_price_nanos if side is Side.BUY else QUOTE.bid_price_nanos
    price = crossing_price(side, QUOTE, instrument, level, limit)
    if (limit - far) * side.sign < 0:
        assert price == 0
    else:
        assert instrument.is_on_tick(price)
        assert (price - far) * side.sign >= 0
        assert (limit - price) * side.sign >= 0
    near = passive_price(side, QUOTE, instrument, limit)
    assert (limit - near) * side.sign >= 0


def test_without_a_quote_the_last_price_stands_in_and_without_both_nothing_crosses() -> None:
    instrument = practice_instrument()
    last = Quote("ACME", last_price_nanos=30 * NANO)
    for side in Side:
        assert crossing_price(side, last, instrument, 0, 0) == 30 * NANO
        assert crossing_price(side, Quote("ACME"), instrument, 0, 0) == 0
        assert passive_price(side, last, instrument, 0) == 0


async def test_a_scrape_shows_parents_by_state_and_the_progress_of_each(make_world: Any) -> None:
    world = await make_world()
    asked = Parameters("demo", "ACME", Side.BUY, 5_000 * NANO, Algorithm.TWAP, horizon_nanos=600 * NANO)
    execution_id = await world.start(asked)
    await world.run(60 + 300)
    families = {family.name: family for family in ExecutionCollector(world.book).collect()}
    running = [sample for sample in families[PARENTS].samples if sample.labels["state"] == "RUNNING"]
    assert [sample.value for sample in running] == [1]
    (filled,) = families[FILLED].samples
    assert filled.labels == {"execution_id": execution_id}
    assert 0.3 < filled.value < 0.7
