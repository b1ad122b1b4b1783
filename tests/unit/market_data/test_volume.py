"""The volume profile and the intraday curve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.market_data.history import concatenate
from servers.market_data.tape import Columns
from servers.market_data.volume import volume_curve, volume_profile
from servers.model.calendar import Session
from servers.model.errors import InvalidInput

NANO = 1_000_000_000
MINUTE = 60 * NANO


def columns(prices: list[int], sizes: list[int]) -> Columns:
    zeros = np.zeros(len(prices), np.int64)
    return Columns(zeros, np.array(prices, np.int64), np.array(sizes, np.int64), zeros)


@given(
    st.lists(st.tuples(st.integers(1, 200), st.integers(1, 9)), min_size=1, max_size=50),
    st.integers(1, 40),
    st.floats(0.01, 1.0),
)
def test_a_profile_holds_all_volume_and_its_area_the_share(
    rows: list[tuple[int, int]], step: int, share: float
) -> None:
    profile = volume_profile(columns([row[0] for row in rows], [row[1] * NANO for row in rows]), step, share)
    plain: dict[int, int] = {}
    for price, size in rows:
        plain[price // step * step] = plain.get(price // step * step, 0) + size
    assert dict(zip(profile.price_nanos, profile.volume, strict=True)) == plain
    assert list(profile.price_nanos) == sorted(plain)
    assert plain[profile.point_of_control_nanos] == max(plain.values())
    low, high = profile.value_area_low_nanos, profile.value_area_high_nanos
    inside = sum(volume for price, volume in plain.items() if low <= price < high)
    assert inside >= share * sum(plain.values()) - 1e-6
    assert low <= profile.point_of_control_nanos <= high - step


def test_no_prints_give_an_empty_profile() -> None:
    profile = volume_profile(columns([], []), 10, 0.7)
    assert (profile.price_nanos, profile.point_of_control_nanos) == ((), 0)


@pytest.mark.parametrize("prices", [list(range(0, 30_000, 2)), [1, 2**60]])
def test_too_many_rows_are_refused(prices: list[int]) -> None:
    with pytest.raises(InvalidInput) as refusal:
        volume_profile(columns(prices, [NANO] * len(prices)), 1, 0.7)
    assert refusal.value.reason == "VALUE_OUT_OF_RANGE"


def days(session_of: Callable[[str], Session], *dates: str) -> list[Session]:
    return [session_of(date) for date in dates]


def test_the_curve_is_the_mean_share_a_bin_whatever_the_days_volume(
    session_of: Callable[[str], Session], make_bars: Any
) -> None:
    earlier = days(session_of, "2024-03-07", "2024-03-08")
    quiet, busy = (session.open_time_nanos for session in earlier)
    bars = make_bars(
        [(quiet, 10.0), (quiet + 6 * MINUTE, 30.0), (busy, 3_000.0), (busy + 389 * MINUTE, 1_000.0)]
    )
    curve = volume_curve(bars, earlier, 390 * MINUTE, 5 * MINUTE, 60)
    assert curve.sessions == 2
    assert len(curve.shares) == 78
    assert curve.shares[0] == pytest.approx((0.25 + 0.75) / 2)
    assert curve.shares[1] == pytest.approx(0.75 / 2)
    assert curve.shares[77] == pytest.approx(0.25 / 2)
    assert sum(curve.shares) == pytest.approx(1.0)
    assert curve.median_daily_volume == pytest.approx((40 + 4_000) / 2)


def test_only_the_trailing_sessions_count_and_the_median_takes_twenty(
    session_of: Callable[[str], Session], calendars: Any, make_bars: Any
) -> None:
    earlier = calendars.sessions_before("XNYS", session_of("2024-03-11").open_time_nanos, 30)
    bars = make_bars(
        [(session.open_time_nanos + index * MINUTE, 100.0 + index) for index, session in enumerate(earlier)]
    )
    curve = volume_curve(bars, earlier, 390 * MINUTE, MINUTE, 2)
    assert [index for index, share in enumerate(curve.shares) if share] == [28, 29]
    assert curve.median_daily_volume == np.median([100.0 + index for index in range(10, 30)])


def test_half_days_are_left_out_and_a_half_day_is_served_a_curve_cut_to_its_length(
    session_of: Callable[[str], Session], make_bars: Any
) -> None:
    whole, half = days(session_of, "2024-07-02", "2024-07-03")
    bars = concatenate(
        [
            make_bars([(whole.open_time_nanos + minute * MINUTE, 1.0) for minute in range(390)]),
            make_bars([(half.open_time_nanos, 1_000_000.0)]),
        ],
        MINUTE,
    )
    curve = volume_curve(bars, [whole, half], 390 * MINUTE, 30 * MINUTE, 60)
    assert (curve.sessions, curve.median_daily_volume) == (1, 390.0)
    assert curve.shares == pytest.approx([1 / 13] * 13)
    cut = volume_curve(bars, [whole], half.length_nanos, 30 * MINUTE, 60)
    assert cut.shares == pytest.approx([1 / 7] * 7)
    only_half = volume_curve(bars, [half], half.length_nanos, 30 * MINUTE, 60)
    assert (only_half.sessions, len(only_half.shares)) == (1, 7)


def test_volume_outside_the_session_is_not_in_the_curve(
    session_of: Callable[[str], Session], make_bars: Any
) -> None:
    (session,) = days(session_of, "2024-03-08")
    bars = make_bars(
        [
            (session.open_time_nanos - MINUTE, 500.0),
            (session.open_time_nanos, 1.0),
            (session.close_time_nanos, 500.0),
        ]
    )
    curve = volume_curve(bars, [session], session.length_nanos, MINUTE, 60)
    assert curve.shares[0] == 1.0
    assert curve.median_daily_volume == 1.0


def test_without_history_the_curve_is_empty(session_of: Callable[[str], Session], make_bars: Any) -> None:
    (session,) = days(session_of, "2024-03-08")
    for bars in (make_bars([]), make_bars([(session.open_time_nanos, 0.0)])):
        curve = volume_curve(bars, [session], session.length_nanos, MINUTE, 60)
        assert (curve.shares, curve.sessions, curve.median_daily_volume) == ((), 0, 0.0)
