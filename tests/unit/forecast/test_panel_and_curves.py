import numpy as np
import pytest

from servers.forecast import Panel
from servers.forecast.curves import POOLED_SESSIONS, cut_to, pooled_curves
from servers.model.calendar import Session
from servers.recordings import RecordedBars

MINUTE = 60 * 10**9
DAY = 1_440 * MINUTE
BIN = 5 * MINUTE


def session(day: int, minutes: int) -> Session:
    return Session(
        "TEST", f"2024-01-{day + 1:02d}", "UTC", day * DAY, day * DAY + minutes * MINUTE, minutes < 20
    )


def recorded(starts: list[int], volumes: list[float], vwaps: list[float]) -> RecordedBars:
    whole = np.array([11 * 10**9] * len(starts))
    return RecordedBars(
        "A",
        np.array(starts),
        whole,
        whole + 10**9,
        whole - 10**9,
        whole + 3 * 10**9,
        np.array([round(vwap * 1e9) for vwap in vwaps]),
        np.array(volumes),
    )


def panel_of(volumes: np.ndarray, half_days: tuple[int, ...] = ()) -> Panel:
    symbols, days, bins = volumes.shape
    counts = np.array([bins // 2 if day in half_days else bins for day in range(days)])
    names = tuple(f"S{symbol}" for symbol in range(symbols))
    sessions = tuple(session(day, 5 * int(counts[day])) for day in range(days))
    return Panel(names, sessions, counts, volumes, np.where(volumes > 0, 10.0, np.nan))


def test_bars_fall_into_the_bin_of_their_start_and_weigh_their_own_price() -> None:
    starts = [-MINUTE, 0, 4 * MINUTE, 5 * MINUTE, 20 * MINUTE, DAY + 9 * MINUTE, DAY + 10 * MINUTE]
    bars = recorded(starts, [9, 100, 300, 50, 9, 7, 9], [1, 10, 14, 0, 1, 12, 1])
    panel = Panel.from_bars({"A": bars}, [session(0, 20), session(1, 10)], BIN)
    assert panel.bin_counts.tolist() == [4, 2]
    assert panel.volumes[0].tolist() == [[400, 50, 0, 0], [0, 7, 0, 0]]
    # (high + low + close) / 3 where the file has no VWAP.
    assert panel.prices[0, 0, :2] == pytest.approx([13.0, 12.0])
    assert np.isnan(panel.prices[0, 0, 2:]).all()
    assert panel.is_whole.tolist() == [True, False]
    assert panel.day_volumes.tolist() == [[450.0, 7.0]]


def test_what_is_before_a_day_holds_nothing_of_it() -> None:
    panel = panel_of(np.arange(24.0).reshape(2, 3, 4))
    assert panel.before(2).volumes.tolist() == panel.volumes[:, :2].tolist()
    assert panel.only(np.array([2])).sessions == panel.sessions[2:]


def test_a_name_with_much_history_keeps_its_own_curve_and_one_with_none_gets_that_of_all() -> None:
    volumes = np.zeros((3, 45, 2))
    volumes[0, :] = [300.0, 100.0]
    volumes[1, :] = [100.0, 300.0]
    curves = pooled_curves(panel_of(volumes))
    weight = 45 / (45 + POOLED_SESSIONS)
    assert curves[0] == pytest.approx(
        [weight * 0.75 + (1 - weight) * 0.5, weight * 0.25 + (1 - weight) * 0.5]
    )
    assert curves[2] == pytest.approx([0.5, 0.5])
    assert curves.sum(axis=1) == pytest.approx(1.0)


def test_the_day_of_an_event_counts_less_in_the_curve() -> None:
    volumes = np.full((1, 11, 2), 100.0)
    volumes[0, 5] = [10_000.0, 0.0]
    first = pooled_curves(panel_of(volumes))[0, 0]
    assert 0.5 < first < 0.51


def test_half_days_are_left_out_of_curves_and_get_them_cut() -> None:
    volumes = np.full((1, 6, 4), 100.0)
    volumes[0, 3] = [900.0, 100.0, 0.0, 0.0]
    curves = pooled_curves(panel_of(volumes, half_days=(3,)))
    assert curves[0] == pytest.approx([0.25] * 4)
    assert cut_to(curves, 2)[0] == pytest.approx([0.5, 0.5])


def test_without_any_history_curves_are_flat() -> None:
    assert pooled_curves(panel_of(np.zeros((2, 0, 4)))).tolist() == [[0.25] * 4] * 2
