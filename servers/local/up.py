"""`tapeline up`: plan the mesh, run it, trade the demonstration, keep serving."""

from __future__ import annotations

import asyncio
import shutil
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.text import Text

from servers.local.client import MeshClient
from servers.local.demonstration import (
    DEMONSTRATION_DATE,
    PLANTED_EFFECT_BPS,
    demonstrate,
    where_to_look_next,
)
from servers.local.folder import hold_folder
from servers.local.log_file import DEFAULT_LOGS, LogLimits
from servers.local.mesh import TRITON
from servers.local.replay import demonstration_folder, recorded_folder, simulated_folder
from servers.local.report_file import write_reports
from servers.local.status import servers_table
from servers.local.supervisor import CERTIFIED, READING, TRADING, MeshPlan, Supervisor
from servers.local.tls import MeshTls, open_tls
from servers.local.triton import is_installed

FAST = 200.0
LIVE = 1.0
TEXTS_PER_SECOND = 8.0
"""What the LLM is asked at most: about what one thread of a laptop reads."""
_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red", "white")


@dataclass(frozen=True)
class UpOptions:
    """The options of `tapeline up`, as its --help explains them."""

    speed: float | None
    recorded: Path | None
    symbols: str
    date: str
    calendar: str
    is_demo: bool
    exit_after: bool
    json_path: Path | None
    data: Path
    port_base: int
    free_run: bool
    seed: int
    is_verbose: bool
    trading_only: bool = False
    tls_dir: Path | None = None
    logs: LogLimits = DEFAULT_LOGS


async def make_plan(options: UpOptions) -> MeshPlan:
    """Return what to start."""
    is_fast = options.is_demo or options.recorded is not None
    speed = options.speed if options.speed is not None else FAST if is_fast else LIVE
    exchange = {
        "speed": f"{speed:g}",
        "seed": str(options.seed),
        "hold": str(is_fast and not options.free_run).lower(),
        "date": options.date,
    }
    if options.recorded is not None:
        folder = await recorded_folder(options.data, options.recorded, options.date)
        exchange |= {
            "flow": "recorded",
            "recorded_file": str(options.recorded.resolve()),
            "symbols": options.symbols,
            "calendar": options.calendar,
        }
    elif options.is_demo:
        exchange["date"] = options.date or DEMONSTRATION_DATE
        folder = demonstration_folder(options.data)
    else:
        folder = simulated_folder(options.data)
    settings = {"exchange": exchange}
    servers = TRADING
    # Nobody wrote of a recorded day: its posts are not the simulated world's.
    if options.recorded is None and not options.trading_only:
        servers = (*TRADING, *READING, *((TRITON,) if is_installed() else ()))
        settings["news"] = {"social_seed": str(options.seed)}
        settings["intelligence"] = {"budget_texts_per_second": f"{TEXTS_PER_SECOND:g}"}
        exchange["social_seed"] = str(options.seed)
        if options.is_demo:
            exchange["social_effect_bps"] = f"{PLANTED_EFFECT_BPS:g}"
    return MeshPlan(
        run_folder=options.data,
        state_folder=folder,
        flow=exchange.get("flow", "simulated"),
        servers=servers,
        settings=settings,
        port_base=options.port_base,
        logs=options.logs,
        tls=_tls(options.tls_dir, servers),
    )


def _tls(folder: Path | None, servers: tuple[str, ...]) -> MeshTls | None:
    if folder is None:
        return None
    return open_tls(folder, [name for name in servers if name in CERTIFIED], CERTIFIED, datetime.now(UTC))


async def bring_up(options: UpOptions, console: Console) -> int:
    """Run the mesh until Ctrl-C or SIGTERM, or to the end of the demonstration; return the exit code.

    Who stops it before it is ready, or before the demonstration has ended, gets CancelledError.
    """
    with hold_folder(options.data):
        # Only now: planning empties the folder of a demonstration and opens the journal of a replay.
        return await _run(await make_plan(options), options, console)


async def _run(plan: MeshPlan, options: UpOptions, console: Console) -> int:
    if plan.tls is not None:
        console.print(str(plan.tls), highlight=False)
    console.print(f"Starting the mesh in {plan.run_folder} ...", highlight=False)
    code = 0
    is_cut_short = True
    try:
        async with Supervisor(plan, _Teller(console, options.is_verbose)) as supervisor:
            try:
                await supervisor.wait_ready()
                console.print(await servers_table(supervisor.mesh))
                if options.is_demo:
                    code = await _demonstrate(supervisor, options, console)
                is_cut_short = False
                if not (options.is_demo and options.exit_after):
                    if not options.is_demo:
                        console.print(_invitation(options), highlight=False)
                    await asyncio.Event().wait()
            finally:
                console.print("Stopping the mesh ...", highlight=False)
    except asyncio.CancelledError:
        if is_cut_short:
            console.print("Stopped before it was done.", highlight=False)
            raise
    console.print("Stopped.", highlight=False)
    return code


async def _demonstrate(supervisor: Supervisor, options: UpOptions, console: Console) -> int:
    async with MeshClient(supervisor.mesh) as client:
        demonstration = await demonstrate(client, console)
    if options.json_path is not None:
        write_reports(options.json_path, demonstration.reports, demonstration.decisions)
        console.print(f"Reports written to {options.json_path}", highlight=False)
    if not options.exit_after:
        console.print(where_to_look_next(demonstration, program_name()), highlight=False)
    return 0 if demonstration.is_filled else 1


def _invitation(options: UpOptions) -> str:
    symbol = (options.symbols.split(",")[0] or "SYMBOL") if options.recorded else "ACME"
    held = (
        "" if options.free_run or not options.recorded else " The clock is held until the first parent order."
    )
    return (
        f"The mesh is serving; Ctrl-C stops it.{held} In another terminal:\n"
        f"  {program_name()} execute BUY 20000 {symbol} --algo vwap --horizon 1h\n"
        f"  {program_name()} status"
    )


def program_name() -> str:
    """Return how this command is called from here: `tapeline` where it is on the path."""
    called = sys.argv[0]
    if Path(called).name != "tapeline" or shutil.which("tapeline") == called:
        return "tapeline"
    return called


class _Teller:
    """Prints what happens to servers, and with `is_verbose` what they say."""

    def __init__(self, console: Console, is_verbose: bool) -> None:
        self._console = console
        self._is_verbose = is_verbose
        self._colours: dict[str, str] = {}

    def said(self, server: str, line: str) -> None:
        if self._is_verbose:
            self.notice(server, line)

    def notice(self, server: str, line: str) -> None:
        colour = self._colours.setdefault(server, _COLOURS[len(self._colours) % len(_COLOURS)])
        self._console.print(Text.assemble((f"{server:>12} | ", colour), line), soft_wrap=True)
