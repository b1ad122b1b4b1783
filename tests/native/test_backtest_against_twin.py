"""The backtest engine against its plain-Python twin, and what must hold of every replay."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native.adaptive_schedule import AdaptiveVwapSchedule
from native.backtest import Parent, finish, replay
from native.backtest_cap import TrailingCap
from native.backtest_controls import Controls
from native.backtest_costs import CostModel
from native.participation import ParticipationTracker
from native.pov_schedule import PovSchedule
from native.schedule import Schedule, StaticVwapSchedule, TwapSchedule
from tests.native.backtest_twin import Costs, TwinControls, TwinParent, column

ONE = 10**9
START, END = 1_000 * ONE, 1_600 * ONE
EDGES = [START + i * 60 * ONE for i in range(11)]

# (nanos since the print before, price in cents, shares, whether it could be had)
prints = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 700_000_000, 3 * ONE, 20 * ONE]),
        st.integers(9_990, 10_010),
        st.integers(0, 400),
        st.booleans(),
    ),
    min_size=1,
    max_size=120,
)
shapes = st.fixed_dictionaries(
    {
        "side": st.sampled_from([1, -1]),
        "step_nanos": st.sampled_from([ONE, 30 * ONE, 61 * ONE]),
        "latency_nanos": st.sampled_from([0, 1, 900_000_000]),
        "passive_steps": st.sampled_from([0, 1, 3]),
        "rate_steps": st.sampled_from([1, 2, 15]),
        "queue_nanos": st.sampled_from([0, 150 * ONE]),
        "print_share": st.sampled_from([1.0, 0.3]),
        "limit_price_nanos": st.sampled_from([0, 100 * ONE]),
    }
)
caps = st.sampled_from([None, 0.0, 0.1, 0.4])


def columns(steps: Any, start: int = START - 30 * ONE) -> tuple[Any, Any, Any, Any]:
    times = start + np.cumsum([gap for gap, *_ in steps], dtype=np.int64)
    prices = np.array([price for _, price, *_ in steps], np.int64) * 10**7
    sizes = np.array([size for *_, size, _ in steps], np.int64) * ONE
    takeable = np.where([had for *_, had in steps], sizes, 0).astype(np.int64)
    return times, prices, sizes, takeable


def schedule_of(kind: str, shares: int, lot: int) -> Schedule:
    if kind == "twap":
        return TwapSchedule(shares * ONE, lot, START, END)
    if kind == "static":
        return StaticVwapSchedule(shares * ONE, lot, START, END, EDGES, [3, 1, 1, 0, 2, 1, 1, 2, 3, 4])
    if kind == "pov":
        return PovSchedule(shares * ONE, lot, START, END, 0.2, own_on_tape=False)
    return AdaptiveVwapSchedule(shares * ONE, lot, START, END, EDGES, [30.0] * 10)


def engine(
    schedule: Schedule,
    shape: dict[str, Any],
    cap: float | None,
    costs: dict[str, float],
    controls: Controls | None = None,
    fallback: Schedule | None = None,
) -> Parent:
    rest = {name: value for name, value in shape.items() if name != "side"}
    return Parent(
        schedule,
        shape["side"],
        CostModel(**costs),
        cap=None if cap is None else TrailingCap(cap, 50 * ONE, assumed_pace=0.25),
        controls=controls,
        fallback=fallback,
        **rest,
    )


cost_models = st.fixed_dictionaries(
    {
        "half_spread_bps": st.sampled_from([0.0, 2.0]),
        "daily_volatility": st.just(0.02),
        "daily_volume": st.just(5_000.0),
        "permanent_share": st.sampled_from([1.0, 0.4]),
        "half_life_seconds": st.just(60.0),
        "root": st.sampled_from([0.0, 0.8]),
    }
)


@given(
    prints,
    shapes,
    caps,
    cost_models,
    st.sampled_from(["twap", "static", "pov", "adaptive"]),
    st.integers(1, 2_000),
    st.sampled_from([ONE, 100 * ONE]),
    # Bounds apart from any figure that rounding could put on either side of them.
    st.sampled_from(
        [None, (0.0012345, 0.0003217, None), (0.0031234, 0.00012347, 0), (0.0003, 1.0, 30 * ONE)]
    ),
)
@settings(max_examples=400)
def test_the_engine_does_what_its_twin_does(
    steps: Any, shape: Any, cap: Any, costs: Any, kind: Any, shares: Any, lot: Any, bounds: Any
) -> None:
    controls, fallback = None, schedule_of("static", shares, lot) if kind == "adaptive" else None
    if bounds:
        controls = Controls(bounds[0], bounds[1], answer_nanos=bounds[2])
    parent = engine(schedule_of(kind, shares, lot), shape, cap, costs, controls, fallback)
    twin_controls = TwinControls(*bounds) if bounds else None
    rest = {name: value for name, value in shape.items() if name != "side"}
    twin = TwinParent(
        schedule_of(kind, shares, lot),
        shape["side"],
        Costs(**costs),
        cap=cap,
        window_nanos=50 * ONE,
        assumed_pace=0.25,
        controls=twin_controls,
        fallback=fallback,
        **rest,
    )
    tape = columns(steps)
    replay([parent], *tape)
    finish([parent], END)
    for now, price, size, takeable in zip(*(part.tolist() for part in tape), strict=True):
        twin.take(now, price, size, takeable)
    twin.move_to(END)
    found = parent.fill_columns()
    assert found["time_nanos"].tolist() == [fill.time for fill in twin.fills]
    assert found["size_nanos"].tolist() == [fill.size for fill in twin.fills]
    assert found["is_passive"].tolist() == [fill.is_passive for fill in twin.fills]
    # The twin sums what fades print by print, in another order of rounding: a nano or two of a price of 100.
    assert found["price_nanos"] == pytest.approx([fill.price for fill in twin.fills], rel=0, abs=1_000)
    assert parent.child_count == twin.children
    assert parent.done_nanos == twin.done
    if controls and twin_controls:
        assert controls.impact_actions + controls.deviation_actions == twin_controls.actions
        assert controls.fills_without_action == 0


@given(prints, shapes, caps, cost_models, st.integers(1, 2_000))
def test_fills_never_exceed_what_could_be_had_of_their_print_nor_the_quantity(
    steps: Any, shape: Any, cap: Any, costs: Any, shares: Any
) -> None:
    parent = engine(schedule_of("adaptive", shares, ONE), shape, cap, costs)
    times, prices, sizes, takeable = columns([(gap + 1, *rest) for gap, *rest in steps])
    replay([parent], times, prices, sizes, takeable)
    finish([parent], END)
    found = parent.fill_columns()
    for time in np.unique(found["time_nanos"]):
        own = int(found["size_nanos"][found["time_nanos"] == time].sum())
        assert own <= int(takeable[times == time].sum() * shape["print_share"]) + 1
    assert int(found["size_nanos"].sum()) == parent.done_nanos <= parent.quantity_nanos
    assert parent.residual_nanos == parent.quantity_nanos - parent.done_nanos
    assert parent.notional_e18 == sum(
        price * size
        for price, size in zip(found["price_nanos"].tolist(), found["size_nanos"].tolist(), strict=True)
    )


@given(prints, shapes, cost_models, st.sampled_from([0.05, 0.1, 0.4]))
def test_participation_never_passes_the_cap_in_the_trailing_window(
    steps: Any, shape: Any, costs: Any, cap: Any
) -> None:
    parent = engine(schedule_of("twap", 2_000, ONE), shape, cap, costs)
    times, prices, sizes, takeable = columns(steps)
    replay([parent], times, prices, sizes, takeable)
    found = parent.fill_columns()
    inside = (times >= START) & (times < END)
    for now in found["time_nanos"].tolist():
        for window in (50 * ONE, END):
            own = int(
                found["size_nanos"][(found["time_nanos"] > now - window) & (found["time_nanos"] <= now)].sum()
            )
            market = int(sizes[inside & (times > now - window) & (times <= now)].sum())
            assert own * ONE <= int(cap * ONE + 0.5) * (own + market)


@given(prints, shapes, caps, cost_models, st.lists(st.integers(0, 120), max_size=6))
def test_how_a_tape_is_cut_into_chunks_changes_nothing(
    steps: Any, shape: Any, cap: Any, costs: Any, cuts: Any
) -> None:
    tape = columns(steps)
    whole = engine(schedule_of("adaptive", 900, ONE), shape, cap, costs)
    parts = engine(schedule_of("adaptive", 900, ONE), shape, cap, costs)
    replay([whole], *tape)
    edges = sorted({0, len(steps), *(cut for cut in cuts if cut < len(steps))})
    for low, high in pairwise(edges):
        replay([parts], *(part[low:high] for part in tape))
    assert {name: values.tolist() for name, values in whole.fill_columns().items()} == {
        name: values.tolist() for name, values in parts.fill_columns().items()
    }
    assert whole.market_notional_e18 == parts.market_notional_e18
    assert whole.event_count == parts.event_count == len(steps)


@given(prints, shapes, caps, st.integers(1, 2_000), st.sampled_from(["twap", "pov", "adaptive"]))
def test_no_fill_is_made_that_the_figures_before_it_forbid(
    steps: Any, shape: Any, cap: Any, shares: Any, kind: Any
) -> None:
    # Recounted from fills and prints alone; without temporary impact the estimate is the displacement.
    bounds = (0.0004, 0.00025)
    model = {"half_spread_bps": 1.0, "daily_volatility": 0.02, "daily_volume": 5_000.0, "temporary": 0.0}
    steps = [(gap + 1, *rest) for gap, *rest in steps]
    parent = engine(schedule_of(kind, shares, ONE), shape, cap, model, Controls(*bounds, answer_nanos=None))
    times, prices, sizes, takeable = columns(steps)
    replay([parent], times, prices, sizes, takeable)
    finish([parent], END)
    found = parent.fill_columns()
    inside = (times >= START) & (times < END)
    done, paid = 0, 0
    for now, price, size, is_passive in zip(
        *(found[name].tolist() for name in ("time_nanos", "price_nanos", "size_nanos", "is_passive")),
        strict=True,
    ):
        seen = inside & (times <= now)
        vwap = float(prices[seen].astype(float) @ sizes[seen].astype(float)) / float(sizes[seen].sum())
        if done and 10 * done >= shares * ONE:
            deviation = abs(paid / done / vwap - 1)
            assert deviation <= 2 * bounds[1] + 1e-12
            assert is_passive or deviation <= bounds[1] + 1e-12
        assert 0.02 * 0.314 * done / ONE / 5_000 <= 1.5 * bounds[0] + 1e-12
        done += size
        paid += price * size


@given(
    st.lists(
        st.tuples(st.integers(0, 25), st.integers(0, 10**15), st.sampled_from([0.0, 0.3, 1.0])),
        min_size=1,
        max_size=150,
    ),
    st.sampled_from([0.0, 0.05, 0.1, 0.9]),
    st.sampled_from([0.0, 0.25, 1.0]),
    st.sampled_from([50, 120, 119]),
    st.integers(0, 10**12),
)
def test_the_trailing_cap_allows_what_the_tracker_allows(
    steps: Any, cap: Any, pace: Any, window: Any, now: Any
) -> None:
    quick = TrailingCap(cap, window, assumed_pace=pace)
    tracker = ParticipationTracker(window, assumed_pace=pace)
    for gap, volume, part in steps:
        now += gap
        quick.add_volume(now, volume)
        tracker.add_volume(column(now), column(volume))
        allowed = quick.allowed_nanos(now)
        assert allowed == tracker.allowed_nanos(now, cap)
        if allowed and part:
            quick.add_own_fill(now, int(allowed * part))
            tracker.add_own_fill(now, int(allowed * part))


def test_revised_forecasts_move_the_schedule_from_their_time_on_and_not_before() -> None:
    times = START + np.arange(0, 600, 2, dtype=np.int64) * ONE
    prices = np.full(len(times), 100 * ONE, np.int64)
    sizes = np.full(len(times), 1_000 * ONE, np.int64)

    def done_by(revisions: Any, moment: int) -> int:
        parent = Parent(
            AdaptiveVwapSchedule(1_000 * ONE, ONE, START, END, EDGES, [100.0] * 10),
            1,
            CostModel(half_spread_bps=0.0, daily_volatility=0.0, daily_volume=1e6),
            step_nanos=10 * ONE,
            revisions=revisions,
        )
        replay([parent], times[times < moment], prices[times < moment], sizes[times < moment])
        return parent.done_nanos

    later = np.array([[100.0] * 5 + [10.0] * 5])
    at = np.array([EDGES[5]], np.int64)
    told = (at, later, np.zeros(1))
    assert done_by(told, EDGES[5]) == done_by(None, EDGES[5])
    assert done_by(told, EDGES[7]) != done_by(None, EDGES[7])


def test_a_square_root_law_and_clean_up_cost_what_they_say() -> None:
    costs = CostModel(
        half_spread_bps=2.0,
        daily_volatility=0.02,
        daily_volume=1_000.0,
        temporary=0.1,
        permanent=0.0,
        root=0.5,
    )
    assert costs.clean_up_bps(0, 0.0, 100.0) == 0.0
    assert costs.clean_up_bps(0, 100.0, 100.0) == pytest.approx(2.0 + 1e4 * 0.1 * 0.02 * 0.5**0.6)
    parent = Parent(TwapSchedule(250 * ONE, ONE, START, END), 1, costs, step_nanos=600 * ONE)
    replay([parent], column(START), column(100 * ONE), column(1_000 * ONE))
    assert parent.impact_bps == pytest.approx(1e4 * 0.5 * 0.02 * (250 / 1_000) ** 0.5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"side": 0},
        {"latency_nanos": 60 * ONE},
        {"print_share": 0.0},
        {"print_share": 1.1},
        {"queue_nanos": -1},
        {"limit_price_nanos": -1},
        {"passive_steps": 65},
        {"rate_steps": 0},
        {"revisions": (np.zeros(0, np.int64), np.zeros((0, 10)), np.zeros(0))},
    ],
)
def test_a_parent_refuses_values_outside_their_ranges(wrong: dict[str, Any]) -> None:
    side = wrong.pop("side", 1)
    costs = CostModel(half_spread_bps=1.0, daily_volatility=0.02, daily_volume=1e6)
    with pytest.raises(ValueError):
        Parent(TwapSchedule(ONE, ONE, START, END), side, costs, **wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        (np.array([EDGES[1]]), np.ones((1, 9)), np.zeros(1)),
        (np.array([EDGES[1], EDGES[1]]), np.ones((2, 10)), np.zeros(2)),
        (np.array([EDGES[1]]), np.ones((1, 10)), np.zeros(2)),
    ],
)
def test_revisions_of_another_shape_or_order_are_refused(wrong: Any) -> None:
    costs = CostModel(half_spread_bps=1.0, daily_volatility=0.02, daily_volume=1e6)
    with pytest.raises(ValueError, match="revisions"):
        Parent(schedule_of("adaptive", 10, ONE), 1, costs, revisions=wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"half_spread_bps": -1.0},
        {"daily_volatility": float("nan")},
        {"daily_volume": 0.0},
        {"permanent_share": 1.5},
        {"half_life_seconds": 0.0},
        {"root": float("inf")},
    ],
)
def test_a_cost_model_refuses_values_outside_their_ranges(wrong: dict[str, float]) -> None:
    good = {"half_spread_bps": 1.0, "daily_volatility": 0.02, "daily_volume": 1e6}
    with pytest.raises(ValueError):
        CostModel(**{**good, **wrong})


def test_a_replay_refuses_malformed_columns_and_takes_nothing() -> None:
    costs = CostModel(half_spread_bps=1.0, daily_volatility=0.02, daily_volume=1e6)
    parent = Parent(TwapSchedule(ONE, ONE, START, END), 1, costs)
    one, two = column(START), np.array([START, START - 1], np.int64)
    for bad in (
        (one, two, one),
        (one, one, two),
        (two, two, two),
        (one, one, column(-1)),
        (one, one, one, column(START + 1)),
        (one, one, one, two),
    ):
        with pytest.raises(ValueError):
            replay([parent], *bad)
    assert parent.event_count == 0
    replay([parent], one, one, one)
    with pytest.raises(ValueError, match="backwards"):
        replay([parent], column(START - 1), one, one)
    replay([parent], one[:0], one[:0], one[:0])
    assert parent.event_count == 1


def test_a_trailing_cap_refuses_what_makes_no_sense() -> None:
    for wrong in ((1.0, 50), (-0.1, 50), (0.1, 0)):
        with pytest.raises(ValueError):
            TrailingCap(*wrong)
    with pytest.raises(ValueError, match="assumed_pace"):
        TrailingCap(0.1, assumed_pace=1.1)
    cap = TrailingCap(0.1)
    cap.add_volume(10, 5)
    with pytest.raises(ValueError, match="negative"):
        cap.add_volume(10, -5)
    with pytest.raises(ValueError, match="backwards"):
        cap.add_own_fill(9, 5)
