"""The demonstration as a newcomer runs it, with its trace and its reports."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from servers.local.command import app
from servers.local.receiver.store import Span, SpanStore
from servers.local.traces import SpanNode, span_forest


@pytest.fixture(scope="module")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """Run `tapeline up --demo --exit --json` once; return its folder, its JSON and what it printed."""
    folder = tmp_path_factory.mktemp("demonstration")
    out = folder / "out.json"
    speed = ("--speed", "250")  # a test has less patience than a newcomer
    place = ("--data", str(folder / "run"), "--port-base", "0")
    done = CliRunner().invoke(app, ["up", "--demo", "--exit", "--json", str(out), *place, *speed])
    assert done.exit_code == 0, done.output
    return folder / "run", json.loads(out.read_text()), done.output


@pytest.mark.timeout(450)
def test_both_parents_are_filled_within_the_cap(demonstration: tuple[Path, dict[str, Any], str]) -> None:
    _, reports, _ = demonstration
    buy, sell = reports["executions"]
    assert (buy["side"], buy["algorithm"], buy["symbol"]) == ("BUY", "static_vwap", "ACME")
    assert (sell["side"], sell["algorithm"], sell["symbol"]) == ("SELL", "twap", "BOLT")
    for report in (buy, sell):
        assert report["state"] == "FILLED"
        assert report["filled_quantity_nanos"] == report["quantity_nanos"]
        assert 0 < report["participation_rate"] <= 0.1
        assert report["peak_window_participation_rate"] <= 0.1
        assert abs(report["slippage_vwap_bps"]) < 100
        sign = 1 if report["side"] == "BUY" else -1
        vwap, average = report["interval_vwap"], report["average_price_nanos"] / 1e9
        assert report["slippage_vwap_bps"] == pytest.approx(sign * (average - vwap) / vwap * 1e4, abs=1e-3)


def test_the_report_is_printed_with_its_cost(demonstration: tuple[Path, dict[str, Any], str]) -> None:
    _, reports, printed = demonstration
    for report in reports["executions"]:
        assert report["execution_id"] in printed
    for word in ("interval vwap", "arrival", "decision", "twap", "shortfall", "participation", "portfolio"):
        assert word in printed


def test_one_trace_shows_the_parent_across_all_servers(
    demonstration: tuple[Path, dict[str, Any], str],
) -> None:
    folder, reports, _ = demonstration
    store = SpanStore(folder / "traces.db")
    execution_id = reports["executions"][0]["execution_id"]
    (trace_id, *_) = store.traces_of_execution(execution_id)
    spans = store.of_trace(trace_id)
    store.close()
    assert {"tapeline", "execution", "risk", "orders", "exchange", "portfolio"} <= {
        span.service for span in spans
    }
    roots = [node for node in span_forest(spans) if node.span.parent_span_id == ""]
    assert [root.span.name for root in roots] == ["tapeline execute"]
    paths = _paths_by_service(roots)
    assert any(path[:3] == ("tapeline", "tapeline", "execution") for path in paths["execution"])
    assert any("execution" in path for path in paths["risk"]), "risk's check is not under execution"
    assert any("execution" in path for path in paths["orders"]), "a child is not under its parent order"
    assert any("orders" in path for path in paths["exchange"]), "the venue is not under orders"
    _check_times(spans)


@pytest.mark.timeout(450)
def test_a_decision_that_came_from_posts_is_filled_and_one_trace_leads_there(
    demonstration: tuple[Path, dict[str, Any], str],
) -> None:
    folder, reports, _ = demonstration
    filled = [
        one
        for one in reports["decisions"]
        if one["post_ids"] and one["filled_quantity_nanos"] == one["quantity_nanos"] > 0
    ]
    assert filled, reports["decisions"]
    store = SpanStore(folder / "traces.db")
    services = [
        {
            span.service
            for trace_id in store.traces_of_execution(one["execution_id"])
            for span in store.of_trace(trace_id)
        }
        for one in filled
    ]
    store.close()
    whole = {"news", "signals", "decision", "execution", "risk", "orders", "exchange", "portfolio"}
    assert any(whole <= found for found in services), services


def test_what_the_llm_took_stands_under_who_asked_it(
    demonstration: tuple[Path, dict[str, Any], str],
) -> None:
    """Triton drops spans when it is busy, so not every request has them."""
    folder, _, _ = demonstration
    with closing(sqlite3.connect(folder / "traces.db")) as traces:
        (count,) = traces.execute(
            "SELECT COUNT(*) FROM spans AS its JOIN spans AS above"
            " ON its.trace_id = above.trace_id AND its.parent_span_id = above.span_id"
            " WHERE its.service = 'triton' AND above.service = 'intelligence'"
        ).fetchone()
    assert count


def _paths_by_service(roots: list[SpanNode]) -> dict[str, list[tuple[str, ...]]]:
    paths: dict[str, list[tuple[str, ...]]] = defaultdict(list)

    def walk(node: SpanNode, above: tuple[str, ...]) -> None:
        path = (*above, node.span.service)
        paths[node.span.service].append(path)
        for child in node.children:
            walk(child, path)

    for root in roots:
        walk(root, ())
    return paths


def _check_times(spans: list[Span]) -> None:
    for span in spans:
        assert span.start_nanos <= span.end_nanos
        assert len(span.trace_id) == 32
        assert len(span.span_id) == 16


def test_tapeline_trace_prints_the_tree(demonstration: tuple[Path, dict[str, Any], str]) -> None:
    folder, reports, _ = demonstration
    execution_id = reports["executions"][0]["execution_id"]
    done = CliRunner().invoke(app, ["trace", execution_id, "--data", str(folder)])
    assert done.exit_code == 0, done.output
    for service in ("execution", "risk", "orders", "exchange", "portfolio"):
        assert service in done.output


def test_nothing_is_left_running(demonstration: tuple[Path, dict[str, Any], str]) -> None:
    folder, _, _ = demonstration
    assert not (folder / "mesh.json").exists()
