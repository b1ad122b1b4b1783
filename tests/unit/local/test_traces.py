"""Spans are kept, found by execution, trimmed, and shown as a tree."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

from rich.console import Console

from servers.local.receiver.store import Span, SpanStore
from servers.local.traces import render_trace, span_forest

TRACE = "0af7651916cd43dd8448eb211c80319c"


def span(span_id: str, parent: str = "", name: str = "work", start: int = 0) -> Span:
    return Span(TRACE, span_id, parent, "orders", name, start, start + 1_000_000)


def tagged(plain: Span, **attributes: str) -> Span:
    return dataclasses.replace(plain, attributes=attributes)


def shown(spans: list[Span], *, is_full: bool = False) -> str:
    console = Console(file=io.StringIO(), width=200, color_system=None)
    console.print(render_trace(spans, is_full=is_full))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_children_stand_under_their_parent_by_start() -> None:
    (root,) = span_forest([span("b", "a", start=5), span("a"), span("c", "a", start=3)])
    assert [child.span.span_id for child in root.children] == ["c", "b"]


def test_a_span_whose_parent_is_missing_is_a_root_and_not_lost() -> None:
    roots = span_forest([span("a"), span("b", "gone", start=1)])
    assert [root.span.span_id for root in roots] == ["a", "b"]


def test_many_alike_are_summed_up_unless_everything_is_asked_for() -> None:
    spans = [span("a"), *(span(f"c{n}", "a", "child", n) for n in range(10))]
    assert "7 more of orders child" in shown(spans)
    assert shown(spans, is_full=True).count("orders child") == 10


def test_attributes_of_ours_and_services_are_shown() -> None:
    text = shown([tagged(span("a"), **{"execution_id": "E1", "rpc.method": "x"})])
    assert "execution_id=E1" in text
    assert "rpc.method" not in text
    assert "1 spans of orders" in text


def test_the_store_finds_the_trace_of_an_execution(tmp_path: Path) -> None:
    store = SpanStore(tmp_path / "run" / "traces.db")
    store.add([span("a"), tagged(span("b", "a", start=2), execution_id="E1")])
    store.add([tagged(span("b", "a", start=2), execution_id="E1")])
    assert store.traces_of_execution("E1") == [TRACE]
    assert [found.span_id for found in store.of_trace(TRACE)] == ["a", "b"]
    assert store.traces_of_execution("E2") == []
    store.close()


def test_the_store_drops_the_oldest_above_its_bound(tmp_path: Path) -> None:
    store = SpanStore(tmp_path / "traces.db", max_spans=100)
    for n in range(30):
        store.add([span(f"{n:03d}-{m}", start=n * 10 + m) for m in range(10)])
    kept = store.of_trace(TRACE)
    assert 90 <= len(kept) <= 111
    assert kept[-1].span_id == "029-9"
    store.close()
