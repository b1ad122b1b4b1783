"""`tapeline backtest`: replay a recorded market with every algorithm, and say what each would have done."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from servers.local.screen import terminal

if TYPE_CHECKING:
    from servers.backtest.options import BacktestOptions

EXIT_FAILED = 1


def backtest(
    bars: Annotated[
        Path | None,
        typer.Option("--bars", help="Bars file: CSV (.gz, .xz) or Parquet.", dir_okay=False, exists=True),
    ] = None,
    trades: Annotated[
        Path | None,
        typer.Option("--trades", help="Trades file, instead of bars.", dir_okay=False, exists=True),
    ] = None,
    calendar: Annotated[str, typer.Option("--calendar", help="Trading calendar: XNYS, XBOM, ...")] = "XNYS",
    algo: Annotated[
        str, typer.Option("--algo", help="twap, static_vwap, adaptive_vwap, pov, shortfall; comma-separated.")
    ] = "twap,static_vwap,adaptive_vwap",
    train_until: Annotated[
        str, typer.Option("--train-until", help="Last session without orders, YYYY-MM-DD.")
    ] = "",
    size: Annotated[
        list[str] | None,
        typer.Option(
            "--size",
            help="Orders as fractions of the trailing 20-day median volume: 0.01,0.05; 0 (default) studies "
            "how closely orders of no size track the VWAP.",
        ),
    ] = None,
    cap: Annotated[float, typer.Option("--cap", help="Participation cap; uncapped orders run beside.")] = 0.1,
    max_impact: Annotated[
        float, typer.Option("--max-impact", help="Bound of modelled impact, a fraction; 0: no controls.")
    ] = 0.005,
    max_deviation: Annotated[
        float, typer.Option("--max-deviation", help="Bound of |own average / VWAP - 1|, a fraction.")
    ] = 0.002,
    no_cap: Annotated[bool, typer.Option("--no-cap", help="Only uncapped orders.")] = False,
    half_spread: Annotated[
        float, typer.Option("--half-spread-bps", help="Half the spread of the cost model, bps.", min=0.0)
    ] = 2.0,
    workers: Annotated[
        int, typer.Option("--workers", help="Processes; 0 takes one a core.", min=0, max=512)
    ] = 0,
    cluster: Annotated[
        str, typer.Option("--cluster", help="Address of a Dask scheduler, instead of processes.")
    ] = "",
    seed: Annotated[int, typer.Option("--seed", help="Of the bootstrap.", min=0)] = 1,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write the result as JSON.", dir_okay=False)
    ] = None,
    html_path: Annotated[
        Path | None, typer.Option("--html", help="Write a report with plots, one file.", dir_okay=False)
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            "--resume", help="Folder that keeps finished jobs; a broken run goes on.", file_okay=False
        ),
    ] = None,
) -> None:
    """Backtest algorithms on recorded data; by default how closely whole-day orders track the VWAP."""
    # numpy, pyarrow and the calendars take a second to import: the other commands do not wait for them.
    from servers.backtest.options import BacktestOptions, CostSettings, parse_algorithms, parse_sizes
    from servers.model.errors import TapelineError

    path = bars or trades
    if path is None or (bars and trades):
        raise typer.BadParameter("name one file: --bars FILE or --trades FILE")
    try:
        options = BacktestOptions(
            path,
            bars is not None,
            calendar,
            parse_algorithms(algo),
            train_until=train_until,
            sizes=parse_sizes(size or ()),
            cap=None if no_cap else cap,
            seed=seed,
            max_impact=max_impact,
            max_deviation=max_deviation,
            costs=CostSettings(half_spread_bps=half_spread),
        )
        _run(options, workers or os.cpu_count() or 1, cluster, resume, json_path, html_path)
    except TapelineError as error:
        typer.echo(f"tapeline: {error.reason}: {error.message}", err=True)
        raise typer.Exit(EXIT_FAILED) from None


def _run(
    options: BacktestOptions,
    workers: int,
    cluster: str,
    resume: Path | None,
    json_path: Path | None,
    html_path: Path | None,
) -> None:
    from servers.backtest.running import run_backtest

    console = terminal()
    with _progress(console) as shown:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(what, total=total)
            shown.update(tasks[what], completed=done, total=total)

        result = run_backtest(options, workers=workers, cluster=cluster, resume=resume, progress=tell)
        content = result.to_json()
        if html_path:
            from servers.backtest.report import write_report

            tell("report", 0, 1)
            write_report(result, content, html_path)
            tell("report", 1, 1)
    if json_path:
        json_path.parent.mkdir(parents=True, exist_ok=True)
        json_path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    if options.is_zero_size:
        console.print(tracking_table(content))
    else:
        for table in sized_tables(content):
            console.print(table)
        console.print(content["costs"]["note"], style="dim", highlight=False)  # type: ignore[index]


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


def sized_tables(result: Mapping[str, Any]) -> list[Table]:
    """Return a table a size: the shortfall at market and passive, and the gains on equal slices at market."""
    tables = []
    labels = ("size", "is_capped", "is_controlled", "cost_scale", "algorithm")
    for size in result["sizes"]:
        table = Table(
            title=f"shortfall of orders of {size:g} x median volume, bps; {result['test_days']} test days",
            title_justify="left",
        )
        for heading in (
            "algorithm",
            "cap",
            "controls",
            "costs",
            "market",
            "passive",
            "filled",
            "scheduling",
            "placement",
        ):
            table.add_column(heading, justify="left" if heading in ("algorithm", "cap") else "right")
        for row in (row for row in result["comparisons"] if row["size"] == size):
            same = [other for other in result["results"] if all(other[name] == row[name] for name in labels)]
            by_placement = {other["placement"]: other for other in same}
            table.add_row(
                row["algorithm"],
                f"{result['cap']:g}" if row["is_capped"] else "none",
                "on" if row["is_controlled"] else "off",
                f"x {row['cost_scale']:g}",
                f"{by_placement['market']['mean_shortfall_bps']:.2f}",
                f"{by_placement['passive']['mean_shortfall_bps']:.2f}" if "passive" in by_placement else "",
                f"{by_placement['market']['mean_filled']:.1%}",
                _gain(row, "scheduling"),
                _gain(row, "placement") if "passive" in by_placement else "",
            )
        tables.append(table)
    return tables


def _difference(pair: Mapping[str, Any] | None) -> str:
    if pair is None or pair["mean_difference_percent"] is None:
        return ""
    return _with_interval(pair["mean_difference_percent"], pair["mean_difference_percent_ci95"])


def _gain(row: Mapping[str, Any], name: str) -> str:
    return _with_interval(row[f"{name}_gain_percent"], row[f"{name}_gain_percent_ci95"])


def _with_interval(value: float, interval: list[float] | None) -> str:
    spread = f" ({interval[0]:+.1f} to {interval[1]:+.1f})" if interval else ""
    return f"{value:+.1f} %{spread}"
