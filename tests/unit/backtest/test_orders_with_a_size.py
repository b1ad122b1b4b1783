"""Orders with a size: nothing is seen before its time, costs add up, runs repeat and resume."""

import importlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from servers.backtest import jobs
from servers.backtest.breakdown import Compared, breakdown
from servers.backtest.inputs import DayForecast, DayInputs, day_inputs, revisions
from servers.backtest.jobs import run_jobs, split
from servers.backtest.options import BacktestOptions
from servers.backtest.orders import DayOrders, Variant, variants
from servers.backtest.panel import read_panel
from servers.backtest.report import write_report
from servers.backtest.running import BacktestResult, run_backtest
from servers.backtest.shortfall_study import SizedResult, comparisons, find
from servers.backtest.simulation import OUTCOME_FIELDS, DayResult, Job, run_job, run_orders
from servers.calendars import Calendars
from servers.model.errors import InvalidInput
from servers.recordings.table import Doubles

Inputs = dict[str, list[DayInputs]]
ALGORITHMS = ("twap", "static_vwap", "adaptive_vwap", "pov", "shortfall")


@pytest.fixture(scope="module")
def options(bars_file: Path, train_until: str) -> BacktestOptions:
    return BacktestOptions(
        bars_file,
        True,
        "XNYS",
        ALGORITHMS,
        train_until=train_until,
        sizes=(0.05, 0.15),
        step_seconds=300.0,
        rate_seconds=900.0,
        patience_seconds=600.0,
    )


@pytest.fixture(scope="module")
def inputs(options: BacktestOptions, calendars: Calendars) -> Inputs:
    panel = read_panel(options.path, True, "XNYS", calendars)
    return day_inputs(panel, options.train_until)


@pytest.fixture(scope="module")
def result(options: BacktestOptions) -> BacktestResult:
    return run_backtest(options)


def first_row_that_sees_later_bins(
    make: Callable[[Doubles], DayForecast], volumes: Doubles, prices: Doubles
) -> int | None:
    """Return the first count of bins after which a forecast changes with what comes later, None for none."""
    before = revisions(make(volumes), volumes, prices)
    for over in range(len(volumes)):
        changed = volumes.copy()
        changed[over:] *= 7.0
        after = revisions(make(changed), changed, prices)
        if not np.array_equal(before[: over + 1], after[: over + 1]):
            return over
    return None


class Leaky:
    """A forecast that knows its day."""

    def __init__(self, volumes: Doubles) -> None:
        self._volumes = volumes
        self._next = 0

    def remaining_volumes(self) -> Doubles:
        return self._volumes[self._next :]

    def update(self, bin_index: int, volume: float, price: float) -> None:
        self._next = bin_index + 1


def test_no_forecast_sees_a_bin_before_its_time_and_one_that_does_is_caught(inputs: Inputs) -> None:
    day = inputs["AAA"][0]
    assert first_row_that_sees_later_bins(lambda _: day.forecast(), day.volumes, day.prices) is None
    assert first_row_that_sees_later_bins(Leaky, day.volumes, day.prices) == 0


def test_what_is_known_before_a_session_does_not_change_with_the_session(
    bars_lines: list[str], options: BacktestOptions, inputs: Inputs, calendars: Calendars, tmp_path: Path
) -> None:
    opens = inputs["AAA"][0].session.open_time_nanos // 10**6
    changed = []
    for line in bars_lines[1:]:
        cells = line.split(",")
        if int(cells[1]) >= opens:
            cells[-1] = str(3 * int(cells[-1]))
        changed.append(",".join(cells))
    path = tmp_path / "other.csv"
    path.write_text("\n".join([bars_lines[0], *changed]) + "\n")
    other = day_inputs(read_panel(path, True, "XNYS", calendars), options.train_until)["AAA"][0]
    mine = inputs["AAA"][0]
    assert other.median_volume == mine.median_volume
    assert other.volatility == mine.volatility
    assert other.day_volume == mine.day_volume
    assert np.array_equal(other.static_weights, mine.static_weights)
    assert np.array_equal(other.curve, mine.curve)
    assert np.array_equal(other.coefficients, mine.coefficients)
    assert not np.array_equal(other.volumes, mine.volumes)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_fills_before_noon_do_not_depend_on_the_afternoon(
    algorithm: str,
    bars_lines: list[str],
    options: BacktestOptions,
    inputs: Inputs,
    calendars: Calendars,
    tmp_path: Path,
) -> None:
    session = inputs["AAA"][0].session
    noon = session.open_time_nanos + 150 * 60 * 10**9
    kept = [line for line in bars_lines[1:] if int(line.split(",")[1]) * 10**6 < noon]
    path = tmp_path / "morning.csv"
    path.write_text("\n".join([bars_lines[0], *kept]) + "\n")
    morning = day_inputs(read_panel(path, True, "XNYS", calendars), options.train_until)["AAA"][0]

    def fills(chosen: BacktestOptions, day: DayInputs) -> list[list[int]]:
        order = DayOrders(day, chosen).order(
            Variant(algorithm, 0.05, "market", True, False, 1.0, 1), keeps_fills=True
        )
        run_orders([order], day, chosen)
        columns = order.parent.fill_columns()
        early = columns["time_nanos"] < noon
        return [values[early].tolist() for values in columns.values()]

    whole = fills(options, inputs["AAA"][0])
    assert whole == fills(replace(options, path=path), morning)
    assert len(whole[0]) > 5


def test_a_shortfall_is_the_sum_of_its_parts_and_fills_keep_the_rules(result: BacktestResult) -> None:
    study = result.sized
    assert study is not None
    all_variants = variants(result.options)
    for day in study.results:
        for variant, outcome in zip(all_variants, day.outcomes, strict=True):
            parts = outcome.spread_bps + outcome.impact_bps + outcome.timing_bps + outcome.opportunity_bps
            assert outcome.shortfall_bps == pytest.approx(parts)
            assert 0.0 <= outcome.passive <= outcome.filled <= 1.0
            if variant.is_capped:
                assert outcome.participation <= 0.1 + 1e-12
            if variant.placement == "market":
                assert outcome.passive == 0.0
                # At market and completed, both sides pay the same model: no outcome is a gain on average.
                assert outcome.spread_bps >= 0.0
                assert outcome.impact_bps >= 0.0


def test_algorithms_are_compared_by_symbol_size_volatility_and_time_of_day(result: BacktestResult) -> None:
    content = result.to_json()
    found = content["breakdown"]
    assert isinstance(found, dict)
    assert {row["group"] for row in found["symbol"]} == {"AAA", "BBB"}
    assert {row["group"] for row in found["volatility"]} == {"calm", "middling", "volatile"}
    assert {row["group"] for row in found["time_of_day"]} == {"first_hour", "middle", "last_hour"}
    rows, labels = content["results"], {"is_capped": True, "is_controlled": True, "cost_scale": 1.0}
    assert isinstance(rows, list)
    for size in (0.05, 0.15):
        for name in (*ALGORITHMS, "foresight"):
            mine = {"size": size, "algorithm": name}
            whole = find(rows, **mine, **labels, placement="market")
            for kind in ("symbol", "volatility"):
                groups = [row for row in found[kind] if (row["size"], row["algorithm"]) == (size, name)]
                orders = sum(row["orders"] for row in groups)
                assert orders == whole["orders"]
                mean = (
                    sum(row["mean_shortfall_bps"] * row["orders"] for row in groups if row["orders"]) / orders
                )
                assert mean == pytest.approx(whole["mean_shortfall_bps"])
                assert all(row["gain_percent_ci95"] is None for row in groups)
                assert name != "twap" or all(row["gain_percent"] == 0.0 for row in groups if row["orders"])
            parts = [row for row in found["time_of_day"] if (row["size"], row["algorithm"]) == (size, name)]
            assert sum(row["share_done"] for row in parts) == pytest.approx(whole["mean_filled"])
            # At market with the spread alone paid, every part costs at least something.
            assert all(row["mean_cost_bps"] > 0 for row in parts)


def test_an_interval_by_group_needs_twenty_days() -> None:
    options = BacktestOptions(Path("none"), True, "XNYS", ("static_vwap",), sizes=(0.05,))
    outcomes = np.zeros((25, 2, len(OUTCOME_FIELDS)))
    outcomes[:, :, 0] = np.random.default_rng(3).normal(8.0, 1.0, (25, 2))
    baseline = outcomes.copy()
    baseline[:, :, 0] *= 1.25
    results = [DayResult("AAA", f"2024-01-{day + 1:02}", 0.01 + day / 1e4, ()) for day in range(25)]
    found = breakdown(options, results, [Compared(0.05, "static_vwap", outcomes, baseline)])
    (by_symbol,) = found["symbol"]
    assert by_symbol["gain_percent"] == pytest.approx(20.0)
    assert by_symbol["gain_percent_ci95"] == pytest.approx([20.0, 20.0])
    interval = by_symbol["mean_shortfall_bps_ci95"]
    assert isinstance(interval, list)
    assert interval[0] < outcomes[:, :, 0].mean() < interval[1]
    assert [row["orders"] for row in found["volatility"]] == [16, 16, 18]
    assert all(row["gain_percent_ci95"] is None for row in found["volatility"])
    assert all(row["mean_cost_bps"] is None for row in found["time_of_day"])


def test_no_control_is_passed_without_its_action_and_the_report_says_so(
    result: BacktestResult, options: BacktestOptions, tmp_path: Path
) -> None:
    audit = result.to_json()["controls"]
    assert isinstance(audit, dict)
    assert (audit["max_market_impact"], audit["max_vwap_deviation"]) == (0.005, 0.002)
    assert set(audit["algorithms"]) == {*ALGORITHMS, "foresight"}
    tight = run_backtest(replace(options, sizes=(0.05,), max_deviation=1e-4, max_impact=5e-4))
    content = tight.to_json()
    assert isinstance(content["controls"], dict)
    for counted in (*audit["algorithms"].values(), *content["controls"]["algorithms"].values()):
        assert counted["fills_without_action"] == 0
        assert counted["deviation_actions"] >= counted["deviation_breaches"]
        assert counted["impact_actions"] >= counted["impact_breaches"]
    for counted in content["controls"]["algorithms"].values():
        assert counted["deviation_breaches"] > 0
        assert counted["impact_breaches"] > 0
    rows = content["results"]
    assert isinstance(rows, list)
    for row in rows:
        assert (row["mean_controlled"] > 0) == row["is_controlled"]
        assert row["is_controlled"] or row["deviation_actions"] == 0
    write_report(tight, content, tmp_path / "tight.html")
    assert "fills without action" in (tmp_path / "tight.html").read_text()


def test_fifteen_per_cent_under_a_cap_of_ten_leaves_a_residual_and_without_it_none(
    result: BacktestResult,
) -> None:
    study = result.sized
    assert study is not None
    places = {
        capped: [
            place
            for place, variant in enumerate(variants(result.options))
            if (variant.algorithm, variant.size, variant.placement, variant.is_capped)
            == ("twap", 0.15, "market", capped)
        ]
        for capped in (True, False)
    }
    for day in study.results:
        if day.outcomes[places[True][0]].participation < 0.0999:
            continue  # a day with far more than the median volume
        assert all(day.outcomes[place].filled < 1.0 for place in places[True])
        assert all(day.outcomes[place].filled == 1.0 for place in places[False])


def test_costs_scale_with_the_model_and_the_table_says_it_is_not_calibrated(result: BacktestResult) -> None:
    content = result.to_json()
    rows = content["results"]
    assert isinstance(rows, list)
    labels = {"size": 0.05, "is_capped": True, "placement": "market", "algorithm": "twap"}
    base, half, double = (find(rows, **labels, cost_scale=scale) for scale in (1.0, 0.5, 2.0))
    assert half["mean_impact_bps"] == pytest.approx(0.5 * base["mean_impact_bps"], rel=1e-4)
    assert double["mean_impact_bps"] == pytest.approx(2.0 * base["mean_impact_bps"], rel=1e-4)
    costs = content["costs"]
    assert isinstance(costs, dict)
    assert costs["is_calibrated"] is False
    assert "not calibrated" in costs["note"]
    assert content["test_days"] == 2
    gains = content["comparisons"]
    assert isinstance(gains, list)
    assert all(row["total_gain_percent_ci95"] is None for row in gains)
    for row in gains:
        assert row["total_gain_percent"] == pytest.approx(
            row["scheduling_gain_percent"] + row["placement_gain_percent"]
        )
        if row["algorithm"] == "twap":
            assert row["scheduling_gain_percent"] == 0.0


def test_with_twenty_days_a_gain_has_an_interval_around_it_that_the_seed_repeats() -> None:
    generator = np.random.default_rng(5)
    days = np.repeat(np.arange(25), 4)
    base = generator.normal(10.0, 1.0, (100, 10))
    means = {
        (0.05, True, True, 1.0, placement, name): base * factor
        for name, placement, factor in (
            ("twap", "market", 1.0),
            ("twap", "passive", 1.0),
            ("adaptive_vwap", "market", 0.8),
            ("adaptive_vwap", "passive", 0.7),
        )
    }
    row = find(comparisons(means, days, 1), algorithm="adaptive_vwap")
    assert row["scheduling_gain_percent"] == pytest.approx(20.0)
    assert row["placement_gain_percent"] == pytest.approx(10.0)
    assert row["total_gain_percent_ci95"] == pytest.approx([30.0, 30.0])
    assert comparisons(means, days, 1) == comparisons(means, days, 1)


def test_jobs_give_the_same_in_processes_and_in_a_folder_that_is_resumed(
    options: BacktestOptions, inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(options, algorithms=("twap", "adaptive_vwap"), sizes=(0.05,))
    monkeypatch.setattr(jobs, "SYMBOLS_PER_JOB", 1)
    made = split(inputs, small)
    told: list[tuple[int, int]] = []
    alone = run_jobs(made, progress=lambda done, total: told.append((done, total)))
    assert told == [(2, 4), (4, 4)]
    assert [(day.symbol, day.date) for day in alone] == sorted((day.symbol, day.date) for day in alone)
    assert run_jobs(made, workers=2, resume=tmp_path / "kept") == alone
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [
        "backtest.json",
        "job-00000.json",
        "job-00001.json",
    ]

    def refuse(job: Job) -> list[object]:
        assert job.number == 0, "a job that was kept ran again"
        return list(run_job(job))

    monkeypatch.setattr(jobs, "run_job", refuse)
    assert run_jobs(made, resume=tmp_path / "kept") == alone
    (tmp_path / "kept" / "job-00000.json").unlink()
    assert run_jobs(made, resume=tmp_path / "kept") == alone


def test_a_folder_of_another_backtest_is_refused(
    options: BacktestOptions, inputs: Inputs, tmp_path: Path
) -> None:
    run_jobs([], resume=tmp_path / "empty")
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "backtest.json").write_text(json.dumps({"fingerprint": "other", "jobs": 1}))
    with pytest.raises(InvalidInput, match="another backtest"):
        run_jobs(split(inputs, options), resume=kept)
    (kept / "backtest.json").write_text("{")
    with pytest.raises(InvalidInput, match="another backtest"):
        run_jobs(split(inputs, options), resume=kept)


def test_a_cluster_without_dask_is_refused_with_what_to_install(
    options: BacktestOptions, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(InvalidInput, match=r"tapeline\[cluster\]"):
        run_jobs(split(inputs, options), cluster="tcp://127.0.0.1:1")


def test_a_study_without_history_says_that_nothing_is_left(
    bars_lines: list[str], options: BacktestOptions, tmp_path: Path
) -> None:
    path = tmp_path / "short.csv"
    path.write_text("\n".join(bars_lines[:300]) + "\n")
    with pytest.raises(InvalidInput) as caught:
        run_backtest(replace(options, path=path, train_until=""))
    assert caught.value.reason == "VALUE_OUT_OF_RANGE"


def test_reports_are_one_file_with_their_plots_inside(
    result: BacktestResult, options: BacktestOptions, tmp_path: Path
) -> None:
    write_report(result, result.to_json(), tmp_path / "sized.html")
    tracking = run_backtest(replace(options, algorithms=("twap", "static_vwap"), sizes=(0.0,)))
    write_report(tracking, tracking.to_json(), tmp_path / "tracking.html")
    for name, images in (("sized", 4), ("tracking", 2)):
        page = (tmp_path / f"{name}.html").read_text()
        assert page.count("data:image/svg+xml;base64,") == images
        assert 'src="http' not in page
        assert "static_vwap" in page
        assert "<script" not in page
    assert "not calibrated" in (tmp_path / "sized.html").read_text()
    assert not list(tmp_path.glob("*.part"))


def test_the_result_of_a_study_knows_its_days(result: BacktestResult) -> None:
    study = result.sized
    assert isinstance(study, SizedResult)
    assert study.table().shape == (4, len(variants(result.options)), len(OUTCOME_FIELDS))
    assert study.train_days == 22
