import json
import math
from pathlib import Path

import numpy as np
import pytest

from servers.backtest.tracking import run_study
from servers.backtest.tracking_statistics import StudyResult
from servers.model.errors import InvalidInput
from servers.recordings import RecordedBars, load_bars


def made_result(days: int, better_by: float = 0.8, seed: int = 4) -> StudyResult:
    draw = np.random.default_rng(seed)
    errors = np.abs(draw.normal(0, 5, (days * 6, 1))) * np.exp(draw.normal(0, 0.1, (days * 6, 2)))
    errors[:, 1] *= better_by
    return StudyResult(
        algorithms=("static_vwap", "adaptive_vwap"),
        errors_bps=errors,
        days=np.repeat(np.arange(10, 10 + days), 6),
        symbols=np.tile(np.arange(6), days),
        is_kept=draw.random(days * 6) < 0.9,
        dates=tuple(f"d{day}" for day in range(10 + days)),
        symbol_names=tuple("ABCDEF"),
        train_days=10,
    )


def test_figures_are_those_of_the_errors() -> None:
    result = made_result(30)
    found = result.to_json()
    column = result.errors_bps[:, 1]
    assert found["algorithms"]["adaptive_vwap"] == {
        "mean_tracking_error_bps": pytest.approx(column.mean()),
        "median_tracking_error_bps": pytest.approx(np.median(column)),
        "p95_tracking_error_bps": pytest.approx(np.percentile(column, 95)),
        "rms_tracking_error_bps": pytest.approx(math.sqrt((column**2).mean())),
        "rms_blind_tracking_error_bps": pytest.approx(math.sqrt((column[result.is_kept] ** 2).mean())),
        "symbol_days": 180,
        "symbol_days_blind": int(result.is_kept.sum()),
    }
    assert (found["test_days"], found["train_days"]) == (30, 10)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_every_ordered_pair_has_a_difference_and_an_interval_around_it() -> None:
    pairs = made_result(30).to_json()["pairs"]
    assert [(pair["a"], pair["b"]) for pair in pairs] == [
        ("static_vwap", "adaptive_vwap"),
        ("adaptive_vwap", "static_vwap"),
    ]
    for pair in pairs:
        for figure in ("mean", "p95", "rms", "rms_blind"):
            low, high = pair[f"{figure}_difference_percent_ci95"]
            assert low <= pair[f"{figure}_difference_percent"] <= high
    assert pairs[1]["mean_difference_percent"] == pytest.approx(-20, abs=3)
    assert pairs[1]["mean_difference_percent_ci95"][1] < 0


def test_below_twenty_days_no_interval_is_given() -> None:
    for pair in made_result(19).to_json()["pairs"]:
        assert pair["mean_difference_percent"] is not None
        assert pair["rms_blind_difference_percent_ci95"] is None


def test_the_same_errors_give_the_same_intervals() -> None:
    assert made_result(25).to_json() == made_result(25).to_json()


@pytest.mark.parametrize("days", [19, 25])
def test_nothing_kept_by_the_blind_rule_is_no_number(days: int) -> None:
    result = made_result(days)
    found = StudyResult(
        result.algorithms,
        result.errors_bps,
        result.days,
        result.symbols,
        np.zeros(len(result.days), np.bool_),
        result.dates,
        result.symbol_names,
        result.train_days,
    ).to_json()
    assert found["algorithms"]["static_vwap"]["rms_blind_tracking_error_bps"] is None
    assert found["pairs"][0]["rms_blind_difference_percent"] is None
    assert found["pairs"][0]["rms_blind_difference_percent_ci95"] is None
    assert "NaN" not in json.dumps(found)


def recorded(days: int) -> dict[str, RecordedBars]:
    """Ten-minute bars of two names, and an index without volume, from Monday 2024-01-08 09:30 New York on."""
    draw, bars = np.random.default_rng(9), {}
    opens = 1_704_724_200 * 10**9 + np.array([day + 2 * (day // 5) for day in range(days)]) * 86_400 * 10**9
    starts = (opens[:, None] + np.arange(39) * 600 * 10**9).ravel()
    for symbol in ("A", "B", "INDEX"):
        price = np.rint(50e9 * np.exp(np.cumsum(draw.normal(0, 0.001, len(starts))))).astype(np.int64)
        volume = np.exp(draw.normal(6, 0.5, len(starts))) * (symbol != "INDEX")
        bars[symbol] = RecordedBars(symbol, starts, price, price, price, price, price, volume)
    return bars


def test_a_study_of_recorded_bars_evaluates_what_comes_after_the_date() -> None:
    told: list[tuple[int, int]] = []
    found = run_study(
        recorded(5), "XNYS", ["twap", "vwap", "static_vwap"], "2024-01-10", lambda *done: told.append(done)
    )
    assert found.algorithms == ("twap", "static_vwap")
    assert found.symbol_names == ("A", "B")
    assert (found.train_days, found.test_days) == (3, 2)
    assert told[-1] == (5, 5)
    assert found.errors_bps.shape == (4, 2)


def test_without_a_date_the_first_half_of_a_short_file_is_training() -> None:
    assert run_study(recorded(4), "XNYS", ["twap"]).train_days == 2


@pytest.mark.parametrize(
    ("algorithms", "train_until", "message"),
    [(["guess"], None, "no algorithm 'guess'"), (["twap"], "2024-01-12", "no session after")],
)
def test_a_study_of_nothing_is_refused(algorithms: list[str], train_until: str | None, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        run_study(recorded(5), "XNYS", algorithms, train_until)


def test_bars_without_volume_are_refused() -> None:
    with pytest.raises(InvalidInput, match="no bar with volume"):
        run_study({"INDEX": recorded(2)["INDEX"]}, "XNYS")


@pytest.mark.data
def test_adaptive_vwap_ends_nearer_to_the_vwap_than_static_on_recorded_days(recorded_data: Path) -> None:
    bars = load_bars(recorded_data / "market" / "nse_1min_2016.csv.xz")
    found = run_study(bars, "XBOM", ["twap", "static_vwap", "adaptive_vwap"], "2016-08-23").to_json()
    by_pair = {(pair["a"], pair["b"]): pair for pair in found["pairs"]}
    assert by_pair["adaptive_vwap", "static_vwap"]["mean_difference_percent"] <= -15
    assert by_pair["adaptive_vwap", "twap"]["mean_difference_percent"] <= -28
    assert by_pair["adaptive_vwap", "static_vwap"]["rms_blind_difference_percent"] <= -10
    assert by_pair["adaptive_vwap", "static_vwap"]["mean_difference_percent_ci95"] is None
