"""What a session's forecast makes of the curve, the median day and what has traded."""

from __future__ import annotations

import numpy as np
import pytest

from servers.execution.domain.conditions import Conditions, ConditionWatch
from servers.execution.domain.forecast import SessionForecast, volume_between
from servers.model.market import Quote
from servers.model.nanos import NANO

EDGES = [index * 300 * NANO for index in range(11)]
FLAT = [0.1] * 10


def prints(*rows: tuple[int, int], price: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    seconds, shares = np.array(rows, dtype=np.int64).T
    return seconds * NANO, shares * NANO, np.full(len(seconds), price * NANO)


def test_before_the_open_a_session_is_the_median_day_along_the_curve() -> None:
    forecast = SessionForecast(EDGES, FLAT, 5_000.0)
    forecast.begin(0.0, 0)
    assert forecast.expect(0) == pytest.approx([500.0] * 10)
    assert forecast.edges_nanos == EDGES


def test_a_part_of_a_surprise_lasts_and_what_is_over_is_nothing_to_come() -> None:
    forecast = SessionForecast(EDGES, FLAT, 1_000.0)
    forecast.begin(0.0, 0)
    forecast.add(*prints((10, 200), (310, 200), (-5, 9_999), (3_000, 9_999)))
    volumes = forecast.expect(600 * NANO)
    assert list(volumes[:2]) == [0.0, 0.0]
    assert (volumes[2:] > 100.0).all()
    assert (volumes[2:] < 200.0).all()


def test_without_a_median_the_level_is_what_was_seen_and_before_that_the_curve() -> None:
    forecast = SessionForecast(EDGES, FLAT, 0.0)
    assert forecast.expect(0) == pytest.approx(FLAT)
    forecast.begin(300.0, 900 * NANO)
    assert forecast.expect(900 * NANO)[3:] == pytest.approx([100.0] * 7)
    forecast.add(*prints((950, 700)))
    assert forecast.expect(1_200 * NANO)[4:] == pytest.approx([250.0] * 6, rel=0.2)


def test_a_curve_without_weight_is_refused() -> None:
    with pytest.raises(ValueError, match="no weight"):
        SessionForecast(EDGES, [0.0] * 10, 1.0)


def test_volume_between_takes_bins_by_the_time_that_lies_inside() -> None:
    assert volume_between(EDGES, [100.0] * 10, 150 * NANO, 450 * NANO) == pytest.approx(100.0)
    assert volume_between(EDGES, [100.0] * 10, 5_000 * NANO, 6_000 * NANO) == 0.0


def quote(half_ticks: int, shares: int, mid: int = 3_000) -> Quote:
    tick = NANO // 100
    return Quote("ACME", (mid - half_ticks) * tick, shares * NANO, (mid + half_ticks) * tick, shares * NANO)


def test_conditions_are_unknown_at_first_and_then_relative_to_what_is_usual() -> None:
    watch = ConditionWatch()
    assert watch.sample(quote(1, 100), 0.0, 0.0) == Conditions()
    for index in range(20):
        watch.sample(quote(1, 100, 3_000 + index % 2), 10.0, 10.0)
    usual = watch.sample(quote(1, 100), 10.0, 10.0)
    assert usual.spread == pytest.approx(1.0, abs=0.01)
    assert usual.depth == pytest.approx(1.0)
    assert usual.volume == 1.0
    for index in range(4):
        changed = watch.sample(quote(3, 20, 3_000 + 40 * (index % 2)), 40.0, 10.0)
    assert changed.spread > 1.5
    assert changed.depth < 0.6
    assert changed.volume == 4.0
    assert changed.volatility > 1.5
    assert watch.sample(Quote("ACME"), 1.0, 10.0).volume == pytest.approx(0.1)
