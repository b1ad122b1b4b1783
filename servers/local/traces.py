"""A trace as a tree, as `tapeline trace` prints it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.text import Text
from rich.tree import Tree

from servers.local.receiver.store import Span

COLLAPSE_ABOVE = 4
"""Siblings of the same service and name beyond this many are summed up in one line."""


@dataclass
class SpanNode:
    """A span with the spans under it, by start."""

    span: Span
    children: list[SpanNode] = field(default_factory=list)


def span_forest(spans: Sequence[Span]) -> list[SpanNode]:
    """Return the roots of a trace. A span whose parent was not received stands as a root of its own."""
    nodes = {span.span_id: SpanNode(span) for span in sorted(spans, key=lambda item: item.start_nanos)}
    roots: list[SpanNode] = []
    for node in nodes.values():
        parent = nodes.get(node.span.parent_span_id)
        (parent.children if parent and parent is not node else roots).append(node)
    return roots


def render_trace(spans: Sequence[Span], *, is_full: bool = False) -> Tree:
    """Return a tree for the terminal: service, name, start after the first span, and duration.

    Args:
        spans: the spans of one trace.
        is_full: show every span; otherwise siblings of the same kind are summed up after the first few.
    """
    origin = min((span.start_nanos for span in spans), default=0)
    services = sorted({span.service for span in spans})
    trace_id = spans[0].trace_id if spans else "-"
    tree = Tree(Text(f"trace {trace_id}: {len(spans)} spans of {', '.join(services)}", style="bold"))
    _grow(tree, span_forest(spans), origin, is_full)
    return tree


def _grow(branch: Tree, nodes: Sequence[SpanNode], origin: int, is_full: bool) -> None:
    groups: dict[tuple[str, str], list[SpanNode]] = defaultdict(list)
    for node in nodes:
        groups[node.span.service, node.span.name].append(node)
    for (service, name), group in groups.items():
        shown = group if is_full or len(group) <= COLLAPSE_ABOVE else group[: COLLAPSE_ABOVE - 1]
        for node in shown:
            _grow(branch.add(_line(node.span, origin)), node.children, origin, is_full)
        hidden = group[len(shown) :]
        if hidden:
            total = sum(_milliseconds(node.span) for node in hidden)
            branch.add(
                Text(
                    f"... {len(hidden)} more of {service} {name}, {total / len(hidden):.2f} ms on average",
                    "dim",
                )
            )


def _line(span: Span, origin: int) -> Text:
    line = Text()
    line.append(f"{span.service} ", "cyan")
    line.append(span.name, "red bold" if span.is_error else "")
    line.append(f"  +{(span.start_nanos - origin) / 1e6:,.1f} ms", "dim")
    line.append(f"  {_milliseconds(span):.2f} ms", "green")
    # Our own attributes have plain names; those of semantic conventions have dots.
    details = [f"{key}={value}" for key, value in span.attributes.items() if "." not in key]
    if details:
        line.append("  " + " ".join(details), "dim")
    return line


def _milliseconds(span: Span) -> float:
    return (span.end_nanos - span.start_nanos) / 1e6
