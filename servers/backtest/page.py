"""Parts of a report: tables, paragraphs and pictures that stand in the page itself."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = {
    "twap": "#7f8c8d",
    "static_vwap": "#2471a3",
    "adaptive_vwap": "#c0392b",
    "pov": "#b7950b",
    "shortfall": "#7d3c98",
    "foresight": "#1e8449",
}


def figure_of(rows: int) -> tuple[Figure, list[Axes]]:
    """Return a figure of so many axes below each other."""
    figure = Figure(figsize=(9, 3.6 * rows), layout="constrained")
    made = figure.subplots(rows, 1, squeeze=False)
    axes: list[Axes] = list(made[:, 0])
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def image(figure: Figure, caption: str) -> str:
    """Return a figure as a picture with its heading."""
    # The same picture for the same numbers: no date, no random ids.
    with mpl.rc_context({"svg.hashsalt": "tapeline", "svg.fonttype": "path"}):
        written = io.BytesIO()
        figure.savefig(written, format="svg", metadata={"Date": None})
    encoded = base64.b64encode(written.getvalue()).decode()
    return f'<h3>{caption}</h3><img alt="{caption}" src="data:image/svg+xml;base64,{encoded}">'


def paragraph(text: str) -> str:
    """Return a note."""
    return f'<p class="note">{html.escape(text)}</p>'


def table_of(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of texts."""
    head = "".join(f"<th>{html.escape(heading)}</th>" for heading in headings)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def percent(row: Mapping[str, Any], name: str) -> str:
    """Return a figure in per cent with its interval, where there is one."""
    value, interval = row[name], row[f"{name}_ci95"]
    if value is None:
        return ""
    return f"{value:+.1f} %" + (f" ({interval[0]:+.1f} to {interval[1]:+.1f})" if interval else "")
