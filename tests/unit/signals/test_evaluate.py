"""The study on files: it finds what is there, nothing else, and sees leaks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from servers.local.command import app
from servers.model.errors import InvalidInput
from servers.signals.evaluation.daily import (
    DailyOptions,
    build_features,
    build_panel,
    cut_nanos,
    moves_after,
    sessions_with_posts,
)
from servers.signals.evaluation.evaluate import EvaluationOptions, evaluate
from servers.signals.evaluation.files import load_outlets, read_posts, read_prices
from servers.signals.evaluation.text_features import TextReading, read_words

Market = Callable[..., tuple[Path, Path]]


def tone(text: str) -> float:
    return 1.0 if "buy" in text else -1.0 if "sell" in text else 0.0


def quiet(step: str) -> None:
    assert step


def test_posts_that_foretell_are_found_and_every_audit_holds(market: Market) -> None:
    tweets, prices = market(sessions=110, edge=0.25)
    finding = evaluate(EvaluationOptions(tweets, prices, null_draws=3), tone, quiet).json
    gain = finding["tables"][0]["gains"]["all"]["relative_accuracy"]
    # Half and 0.25 right is 50 % more than a coin.
    assert 0.3 < gain["value"] < 0.7
    assert gain["low"] > 0.0
    assert finding["target"]["is_significant"]
    audits = {audit["name"]: audit for audit in finding["audits"]}
    assert audits["shuffled labels"]["flagged_by"] == []
    assert audits["the study"]["changed_figures"] == 0
    assert audits["future-shifted features"]["flagged_by"] == ["erasure", "gain"]
    assert "erasure" in audits["same-day posts"]["flagged_by"]
    assert finding["null_control"]["holds"]
    assert len(finding["configurations"]) == 4 * 2 * 3
    assert json.loads(json.dumps(finding, allow_nan=False)) == finding


def test_posts_that_know_nothing_gain_nothing(market: Market) -> None:
    tweets, prices = market(sessions=90, edge=0.0)
    finding = evaluate(EvaluationOptions(tweets, prices, is_quick=True), tone, quiet).json
    gain = finding["tables"][0]["gains"]["all"]["relative_accuracy"]
    assert gain["low"] < 0.0
    assert not finding["target"]["is_significant"]
    assert 0.0 < finding["target"]["power_at_target_low"] <= 1.0
    assert "audits" not in finding


def test_news_only_is_left_out_where_no_outlet_speaks(market: Market) -> None:
    tweets, prices = market(sessions=70, edge=0.0, outlet_share=0.0)
    finding = evaluate(EvaluationOptions(tweets, prices, is_quick=True), tone, quiet).json
    assert not finding["news_only_available"]
    assert "news_only" not in finding["tables"][0]["models"]


def test_too_few_sessions_are_refused(market: Market) -> None:
    tweets, prices = market(sessions=30, edge=0.0)
    with pytest.raises(InvalidInput, match="a study needs 60"):
        evaluate(EvaluationOptions(tweets, prices), tone, quiet)


def test_a_post_after_the_cut_belongs_to_the_next_session(market: Market) -> None:
    tweets, prices_file = market(sessions=70, edge=0.0)
    prices = read_prices(prices_file)
    posts = read_posts(tweets, prices.symbols, load_outlets())
    cuts = cut_nanos(prices, 900)
    first, end = sessions_with_posts(prices, posts, 900)
    assert (first, end) == (0, 69)
    # 15:45 in New York on 2 January is 20:45 UTC.
    assert int(cuts[0]) == 1_388_695_500 * 10**9
    # At 12:10 the cut lies before the last of the day's three posts: they move on.
    assert sessions_with_posts(prices, posts, 4 * 3600 - 600) == (0, 70)


def test_a_move_runs_from_the_next_open_to_its_close_adjusted(market: Market) -> None:
    _, prices_file = market(sessions=70, edge=0.0)
    prices = read_prices(prices_file)
    moves = moves_after(prices, 1)
    assert moves[3, 2] == pytest.approx(np.log(prices.close[4, 2] / prices.open[4, 2]))
    assert moves_after(prices, 3)[3, 2] == pytest.approx(np.log(prices.close[6, 2] / prices.open[4, 2]))
    assert np.isnan(moves[-1]).all()
    line = prices_file.read_text().splitlines()[1].split(",")
    assert prices.open[0, 0] == pytest.approx(float(line[2]) / 2, rel=1e-4)


def test_no_feature_of_a_session_changes_when_the_future_is_erased(market: Market) -> None:
    tweets, prices_file = market(sessions=120, edge=0.1)
    prices = read_prices(prices_file)
    posts = read_posts(tweets, prices.symbols, load_outlets())
    reading = TextReading(np.array([tone(text) for text in posts.texts]), read_words(posts.texts))
    options = DailyOptions()
    whole = build_features(prices, posts, reading, options)
    cuts = cut_nanos(prices, options.margin_seconds)
    for session in (15, 38, 39, 40, 41, 80):
        cut = build_features(prices.until(session), posts.until(int(cuts[session])), reading, options)
        for group, values in whole.values.items():
            np.testing.assert_allclose(values[session], cut.values[group][session], atol=1e-9, err_msg=group)
    panel = build_panel(prices, whole, options, 0)
    assert (panel.decision_nanos < panel.label_start_nanos).all()
    assert (np.diff(panel.decision_nanos) >= 0).all()


def test_the_command_prints_tables_and_writes_json(market: Market, tmp_path: Path) -> None:
    tweets, prices = market(sessions=70, edge=0.1)
    out = tmp_path / "out" / "finding.json"
    arguments = ["evaluate", "--tweets", str(tweets), "--prices", str(prices), "--quick", "--json", str(out)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "social_only" in result.output
    assert "all against" in result.output
    assert json.loads(out.read_text())["target"]["target_low"] == 0.12


def test_the_command_names_row_and_column_of_what_it_cannot_read(market: Market, tmp_path: Path) -> None:
    tweets, prices = market(sessions=70, edge=0.1)
    lines = prices.read_text().splitlines()
    lines[7] = lines[7].rsplit(",", 1)[0] + ",many"
    prices.write_text("\n".join(lines))
    result = CliRunner().invoke(app, ["evaluate", "--tweets", str(tweets), "--prices", str(prices)])
    assert result.exit_code == 1
    assert "row 7, column volume: 'many' is no number" in result.output


def test_the_command_wants_both_files_or_none(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["evaluate", "--tweets", str(tmp_path / "x")])
    assert result.exit_code == 2
