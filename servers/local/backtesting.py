"""`tapeline backtest`: replay a recorded market with every algorithm, and say what each would have done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from servers.local.screen import terminal

EXIT_FAILED = 1


def backtest(
    bars: Annotated[
        Path | None, typer.Option("--bars", help="Bars file: CSV (.gz, .xz) or Parquet.", dir_okay=False)
    ] = None,
    trades: Annotated[
        Path | None, typer.Option("--trades", help="Trades file, instead of bars.", dir_okay=False)
    ] = None,
    calendar: Annotated[str, typer.Option("--calendar", help="Trading calendar: XNYS, XBOM, ...")] = "XNYS",
    algo: Annotated[
        str, typer.Option("--algo", help="twap, static_vwap, adaptive_vwap, pov, shortfall; comma-separated.")
    ] = "twap,static_vwap,adaptive_vwap",
    train_until: Annotated[
        str, typer.Option("--train-until", help="Last session without orders, YYYY-MM-DD.")
    ] = "",
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write the result as JSON.", dir_okay=False)
    ] = None,
) -> None:
    """Backtest algorithms on recorded data; by default how closely whole-day orders track the VWAP."""
    # numpy, pyarrow and the calendars take a second to import: the other commands do not wait for them.
    from servers.backtest.options import BacktestOptions, parse_algorithms
    from servers.backtest.running import run_backtest
    from servers.model.errors import TapelineError

    console = terminal()
    path = bars or trades
    if path is None or (bars and trades):
        raise typer.BadParameter("name one file: --bars FILE or --trades FILE")
    try:
        options = BacktestOptions(
            path, bars is not None, calendar, parse_algorithms(algo), train_until=train_until
        )
        with _progress(console) as shown:
            task = shown.add_task("backtest", total=None)
            result = run_backtest(
                options, lambda done, total: shown.update(task, completed=done, total=total)
            )
    except TapelineError as error:
        typer.echo(f"tapeline: {error.reason}: {error.message}", err=True)
        raise typer.Exit(EXIT_FAILED) from None
    if json_path:
        json_path.parent.mkdir(parents=True, exist_ok=True)
        json_path.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n")
    console.print(tracking_table(result))


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def tracking_table(result: Mapping[str, Any]) -> Table:
    """Return the table of a tracking study: one row an algorithm, against static VWAP where it took part."""
    table = Table(
        title=f"tracking error against the day's VWAP, bps; {result['test_days']} test days",
        title_justify="left",
    )
    for heading in ("algorithm", "mean", "median", "95 %", "rms", "symbol-days", "mean against static"):
        table.add_column(heading, justify="left" if heading == "algorithm" else "right")
    against = {pair["a"]: pair for pair in result["pairs"] if pair["b"] == "static_vwap"}
    for name, row in result["algorithms"].items():
        table.add_row(
            name,
            *(f"{row[f'{figure}_tracking_error_bps']:.2f}" for figure in ("mean", "median", "p95", "rms")),
            str(row["symbol_days"]),
            _difference(against.get(name)),
        )
    return table


def _difference(pair: Mapping[str, Any] | None) -> str:
    if pair is None or pair["mean_difference_percent"] is None:
        return ""
    interval = pair["mean_difference_percent_ci95"]
    spread = f" ({interval[0]:+.1f} to {interval[1]:+.1f})" if interval else ""
    return f"{pair['mean_difference_percent']:+.1f} %{spread}"
