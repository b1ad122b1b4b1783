"""The `tapeline` command."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from servers.local import up as up_command
from servers.local.backtesting import backtest
from servers.local.calibrating import register_calibrate
from servers.local.classifying import register_classify
from servers.local.client import MeshClient
from servers.local.doctor import diagnose
from servers.local.evaluating import evaluate
from servers.local.executing import follow_on_screen, release, session_of, start
from servers.local.experimenting import ExperimentWords, register_compare, run_experiment
from servers.local.log_file import MEGABYTE, LogLimits
from servers.local.mesh import DEFAULT_FOLDER, read_mesh
from servers.local.parent_order import ParentOrder
from servers.local.receiver.__main__ import TRACES_FILE
from servers.local.receiver.store import SpanStore
from servers.local.refusals import REFUSALS, leaves, say
from servers.local.renewing import renew_certificates
from servers.local.report_file import write_report
from servers.local.rollout import register_rollout
from servers.local.screen import report_panel, state_name, terminal
from servers.local.status import show_status
from servers.local.switches import cancel_execution, pause_execution, resume_execution, set_kill_switch
from servers.local.traces import render_trace

EXIT_FAILED, EXIT_INTERRUPTED = 1, 130

app = typer.Typer(
    name="tapeline",
    help="A service mesh for systematic trading: start it, trade on it, look inside.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
MeshOption = Annotated[
    Path, typer.Option("--mesh", help="Run folder of the mesh, or its mesh.json.", envvar="TAPELINE_MESH")
]
AccountOption = Annotated[str, typer.Option("--account", help="Account that trades.")]


@app.command()
def up(
    speed: Annotated[
        float | None,
        typer.Option(
            "--speed",
            help="Market seconds per wall second at most: 1 live, 200 for demo and recorded.",
            min=0.1,
        ),
    ] = None,
    recorded: Annotated[
        Path | None,
        typer.Option(
            "--recorded", help="Trades or bars file whose flow is replayed.", exists=True, dir_okay=False
        ),
    ] = None,
    symbols: Annotated[
        str, typer.Option("--symbols", help="Symbols of the recorded file, A,B; all by default.")
    ] = "",
    date: Annotated[
        str,
        typer.Option(
            "--date", help="Session to begin with, YYYY-MM-DD; by default the file's first, or the next one."
        ),
    ] = "",
    calendar: Annotated[
        str, typer.Option("--calendar", help="Trading calendar of symbols that instruments.toml lacks.")
    ] = "XNYS",
    demo: Annotated[
        bool, typer.Option("--demo", help="Trade a demonstration session in a fresh folder.")
    ] = False,
    exit_after: Annotated[bool, typer.Option("--exit", help="With --demo: stop after the session.")] = False,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="With --demo: write the reports as JSON.", dir_okay=False)
    ] = None,
    data: Annotated[
        Path, typer.Option("--data", help="Run folder: mesh.json, logs, journals, traces.")
    ] = DEFAULT_FOLDER,
    port_base: Annotated[
        int,
        typer.Option(
            "--port-base", help="8000 gives the documented ports; 0 picks free ones.", min=0, max=55000
        ),
    ] = 8000,
    free_run: Annotated[
        bool,
        typer.Option("--free-run", help="Do not hold the clock before the open for the first parent order."),
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the simulated flow.")] = 1,
    trading_only: Annotated[
        bool,
        typer.Option(
            "--trading-only", help="Without posts, LLM, signals and decisions; a recorded day has none."
        ),
    ] = False,
    tls_dir: Annotated[
        Path | None,
        typer.Option("--tls-dir", help="Mutual TLS with this folder's certificates; made when it is empty."),
    ] = None,
    log_megabytes: Annotated[
        float, typer.Option("--log-megabytes", help="Size at which a server's log turns, MB.", min=0.1)
    ] = 20.0,
    log_files: Annotated[
        int, typer.Option("--log-files", help="Files kept of each server's log.", min=1, max=100)
    ] = 3,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show every server's log, prefixed.")
    ] = False,
) -> None:
    """Start the whole mesh on this machine and keep it running; Ctrl-C drains and stops it."""
    options = up_command.UpOptions(
        speed=speed,
        recorded=recorded,
        symbols=symbols,
        date=date,
        calendar=calendar,
        is_demo=demo,
        exit_after=exit_after,
        json_path=json_path,
        data=data,
        port_base=port_base,
        free_run=free_run,
        seed=seed,
        is_verbose=verbose,
        trading_only=trading_only,
        tls_dir=tls_dir,
        logs=LogLimits(round(log_megabytes * MEGABYTE), log_files),
    )
    if (exit_after or json_path) and not demo:
        raise typer.BadParameter("--exit and --json go with --demo")
    if demo and recorded:
        raise typer.BadParameter("--demo trades the simulated market; leave --recorded out")
    sys.exit(_run(up_command.bring_up(options, terminal())))


@app.command()
def execute(
    side: Annotated[str, typer.Argument(help="BUY or SELL.")],
    quantity: Annotated[str, typer.Argument(help="Shares.")],
    symbol: Annotated[str, typer.Argument(help="Instrument.")],
    algo: Annotated[
        str,
        typer.Option(
            "--algo",
            help="twap, static_vwap (vwap), adaptive_vwap, pov or shortfall; several, A,B, with --randomise.",
        ),
    ] = "static_vwap",
    start_at: Annotated[
        str, typer.Option("--start", help="Time of day at the venue, 09:30; now (or the open) by default.")
    ] = "",
    horizon: Annotated[str, typer.Option("--horizon", help="Length: 4h, 90m, 1h30m.")] = "4h",
    max_participation: Annotated[
        float,
        typer.Option("--max-participation", help="Cap on the share of volume, 0 to 1.", min=0.0001, max=1.0),
    ] = 0.1,
    limit: Annotated[str, typer.Option("--limit", help="Limit price.")] = "",
    completion: Annotated[
        str, typer.Option("--completion", help="Of a residual: leave_residual, clean_up or closing_auction.")
    ] = "leave_residual",
    target_participation: Annotated[
        float,
        typer.Option(
            "--target-participation",
            help="pov: own share of the volume, at most the cap; 0.8 of the cap by default.",
            min=0.0,
            max=0.99,
        ),
    ] = 0.0,
    risk_aversion: Annotated[
        float | None,
        typer.Option(
            "--risk-aversion",
            help="shortfall: weight of variance, per currency unit, 0 (as twap) to 1; 0.00001 by default.",
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            "--tolerance",
            help="adaptive_vwap: how far liquidity may move the target, a fraction; 0.02 by default.",
        ),
    ] = None,
    display: Annotated[
        str, typer.Option("--display", help="Iceberg: shares that a resting order shows; all by default.")
    ] = "",
    max_impact: Annotated[
        float,
        typer.Option("--max-impact", help="Largest modelled impact; 0.005 by default.", min=0.0, max=1.0),
    ] = 0.0,
    max_deviation: Annotated[
        float,
        typer.Option(
            "--max-deviation",
            help="Largest distance of the own average from the VWAP; 0.002 by default.",
            min=0.0,
            max=1.0,
        ),
    ] = 0.0,
    account: AccountOption = "demo",
    randomise: Annotated[
        int,
        typer.Option(
            "--randomise",
            help="Start so many parents of each symbol (A,B) one after the other; each draws its algorithm.",
            min=0,
            max=1000,
        ),
    ] = 0,
    experiment: Annotated[
        str, typer.Option("--experiment", help="With --randomise: its name; the algorithms by default.")
    ] = "",
    seed: Annotated[int, typer.Option("--seed", help="With --randomise: seed of the draw.")] = 1,
    planned: Annotated[
        int,
        typer.Option("--planned", help="With --randomise: parents to decide after, 40 or more."),
    ] = 0,
    effect: Annotated[
        float, typer.Option("--effect", help="With --randomise: smallest difference that matters, bps.")
    ] = 0.0,
    detach: Annotated[bool, typer.Option("--detach", help="Start it, print its id and return.")] = False,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write the report as JSON.", dir_okay=False)
    ] = None,
    mesh: MeshOption = DEFAULT_FOLDER,
) -> None:
    """Start a parent order on a running mesh, follow it, and print what it did and what it cost."""
    order = ParentOrder(
        side=side,
        quantity=quantity,
        symbol=symbol,
        algorithm=algo,
        account=account,
        start=start_at,
        horizon=horizon,
        max_participation=max_participation,
        limit_price=limit,
        completion=completion,
        target_participation=target_participation,
        risk_aversion=risk_aversion,
        tolerance=tolerance,
        display=display,
        max_impact=max_impact,
        max_deviation=max_deviation,
    )
    algorithms = tuple(part.strip() for part in algo.split(",") if part.strip())
    if (len(algorithms) > 1) is not bool(randomise):
        raise typer.BadParameter("--randomise goes with two algorithms or more: --algo A,B --randomise N")
    if randomise:
        words = ExperimentWords(algorithms, randomise, experiment, seed, planned, effect)
        first = replace(order, algorithm=algorithms[0])
        sys.exit(_run(run_experiment(first, words, mesh, json_path, is_detached=detach)))
    sys.exit(_run(_execute(order, mesh, json_path, detach)))


async def _execute(order: ParentOrder, mesh: Path, json_path: Path | None, detach: bool) -> int:
    console = terminal()
    async with MeshClient(read_mesh(mesh)) as client:
        execution = await start(client, order)
        if execution.HasField("rejection"):
            rejection = execution.rejection
            console.print(f"refused by risk: {rejection.reason}. {rejection.message}", highlight=False)
            return EXIT_FAILED
        await release(client)
        console.print(f"execution {execution.execution_id} is {state_name(execution)}", highlight=False)
        if detach:
            return 0
        session = await session_of(client, order.symbol.upper())
        (report,) = await follow_on_screen(client, console, [execution.execution_id], session.time_zone)
        console.print(report_panel(report, session.time_zone))
        if json_path:
            write_report(json_path, report)
    return 0


@app.command()
def cancel(
    execution_id: Annotated[str, typer.Argument(help="The parent order.")], mesh: MeshOption = DEFAULT_FOLDER
) -> None:
    """Cancel a parent order: working children are cancelled, then it reports."""
    sys.exit(_run(cancel_execution(mesh, execution_id, terminal())))


@app.command()
def pause(
    execution_id: Annotated[str, typer.Argument(help="The parent order.")], mesh: MeshOption = DEFAULT_FOLDER
) -> None:
    """Pause a parent order: nothing is sent until it is resumed; working children are cancelled."""
    sys.exit(_run(pause_execution(mesh, execution_id, terminal())))


@app.command()
def resume(
    execution_id: Annotated[str, typer.Argument(help="The parent order.")], mesh: MeshOption = DEFAULT_FOLDER
) -> None:
    """Let a paused parent order go on, re-planned under its cap."""
    sys.exit(_run(resume_execution(mesh, execution_id, terminal())))


@app.command()
def status(account: AccountOption = "demo", mesh: MeshOption = DEFAULT_FOLDER) -> None:
    """Show servers, session, parent orders, positions and cash of a running mesh."""

    async def show() -> int:
        async with MeshClient(read_mesh(mesh)) as client:
            await show_status(client, terminal(), account)
        return 0

    sys.exit(_run(show()))


@app.command()
def trace(
    execution_id: Annotated[str, typer.Argument(help="The parent order, or a trace id of 32 hex digits.")],
    full: Annotated[
        bool, typer.Option("--full", help="Show every span; by default many alike are summed up.")
    ] = False,
    data: Annotated[Path, typer.Option("--data", help="Run folder of the mesh.")] = DEFAULT_FOLDER,
) -> None:
    """Print the trace of a parent order across all servers, also after the mesh has stopped."""
    console = terminal()
    path = data / TRACES_FILE
    if not path.exists():
        console.print(f"no traces here: {path} does not exist", highlight=False)
        sys.exit(EXIT_FAILED)
    store = SpanStore(path)
    try:
        traces = store.traces_of_execution(execution_id) or [execution_id.lower()]
        shown = [spans for spans in map(store.of_trace, traces) if spans]
    finally:
        store.close()
    if not shown:
        console.print(f"no spans of {execution_id} in {path}", highlight=False)
        sys.exit(EXIT_FAILED)
    for spans in shown if full else shown[:1]:
        console.print(render_trace(spans, is_full=full))
    if len(shown) > 1 and not full:
        console.print(f"{len(shown) - 1} more traces are linked to it; --full prints them", highlight=False)


@app.command()
def kill_switch(
    state: Annotated[str, typer.Argument(help="on or off.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it is journalled.")],
    account: Annotated[str, typer.Option("--account", help="Account; all by default.")] = "",
    mesh: MeshOption = DEFAULT_FOLDER,
) -> None:
    """Turn the kill switch on (refuse orders, stop parents, cancel what works) or off."""
    if state not in ("on", "off"):
        raise typer.BadParameter("write on or off")
    sys.exit(_run(set_kill_switch(mesh, account, state == "on", reason, terminal())))


@app.command()
def doctor(
    settings: Annotated[
        bool, typer.Option("--settings", help="Print every setting with its origin.")
    ] = False,
    mesh: MeshOption = DEFAULT_FOLDER,
) -> None:
    """Say what is installed, reachable, misconfigured; exit 1 when something is."""

    async def examine() -> int:
        is_well = await diagnose(terminal(), mesh, os.environ, show_settings=settings)
        return 0 if is_well else EXIT_FAILED

    sys.exit(_run(examine()))


app.command()(backtest)
app.command()(renew_certificates)


def _run(work: Coroutine[Any, Any, int]) -> int:
    """Run a command to its exit code. The first Ctrl-C or SIGTERM cancels it; refusals take one line."""

    async def guarded() -> int:
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()
        is_stopping = False

        def stop() -> None:
            nonlocal is_stopping
            if not is_stopping:
                is_stopping = True
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        return await work

    try:
        return asyncio.run(guarded())
    except asyncio.CancelledError:
        return EXIT_INTERRUPTED
    except BaseExceptionGroup as group:
        known, unknown = group.split(REFUSALS)
        if unknown is not None:
            raise unknown from None
        say(*leaves(known))
        return EXIT_FAILED
    except REFUSALS as error:
        say(error)
        return EXIT_FAILED


register_calibrate(app, _run)
register_compare(app, _run)
register_classify(app, _run)
app.command()(evaluate)
register_rollout(app, _run)


def main() -> None:
    """Entry point of the `tapeline` script."""
    app()


if __name__ == "__main__":
    main()
