"""What a benchmark returns: rows that compare a measured value with its target.

A benchmark is a module `benchmarks/<name>.py` whose docstring says in its first line what is measured, with
`def run(options: Options) -> list[Row]` (or `async def`). It prints nothing but progress through
`options.progress`; the table and the JSON file are made here.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

Bound = Literal["max", "min"]


@dataclass(frozen=True, slots=True)
class Options:
    """How to run: with the peers or without, and where to say how far the run has come."""

    compare_peers: bool
    progress: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Row:
    """One measured value.

    `bound` says whether the target is the largest value that is good enough (`max`) or the smallest (`min`).
    A value of None was not measured (`note` says why) and holds no target. A target of None promises nothing:
    the row stands beside the others for comparison.
    """

    name: str
    value: float | None
    unit: str
    target: float | None
    bound: Bound
    note: str = ""

    @property
    def holds(self) -> bool:
        """Tell whether the value meets its target."""
        if self.target is None:
            return True
        if self.value is None or math.isnan(self.value):
            return False
        return self.value <= self.target if self.bound == "max" else self.value >= self.target

    def to_json(self) -> dict[str, object]:
        """Return the row in the form that `--json` writes: exactly these keys."""
        measured = None if self.value is None or not math.isfinite(self.value) else self.value
        return {
            "name": self.name,
            "value": measured,
            "unit": self.unit,
            "target": self.target,
            "bound": self.bound,
            "holds": self.holds,
            "note": self.note,
        }


def not_compared(name: str, unit: str, target: float | None, bound: Bound, reason: str) -> Row:
    """Return the row of a comparison that could not be made, with the reason in its note."""
    return Row(name, None, unit, target, bound, f"not compared: {reason}")


def write_json(rows: Sequence[Row], path: Path) -> None:
    """Write the rows as a JSON list, one object a row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([row.to_json() for row in rows], indent=2, allow_nan=False) + "\n")


def print_table(title: str, rows: Sequence[Row], console: Console) -> None:
    """Print the rows as a table, their notes below it; a missed target is red."""
    table = Table(title=title, title_justify="left")
    # Where the screen is narrow, names are folded and figures stay whole.
    table.add_column("name", overflow="fold")
    for heading in ("value", "target", "unit", "holds"):
        right = heading in ("value", "target")
        table.add_column(heading, justify="right" if right else "left", no_wrap=True)
    for row in rows:
        table.add_row(row.name, _figure(row.value), _target(row), row.unit, _verdict(row))
    console.print(table)
    for row in rows:
        if row.note:
            console.print(f"{row.name}: {row.note}", style="dim", highlight=False, markup=False)


def _target(row: Row) -> str:
    if row.target is None:
        return ""
    return f"{'≤' if row.bound == 'max' else '≥'} {_figure(row.target)}"


def _verdict(row: Row) -> str:
    if row.target is None:
        return ""
    if row.value is None:
        return "[yellow]not measured[/yellow]"
    return "[green]yes[/green]" if row.holds else "[red]no[/red]"


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 0.01 else f"{value:.2f}"
