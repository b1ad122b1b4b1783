"""Compare algorithms on a running mesh: randomised parents, one after the other, and what came of them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from tapeline.exchange.v1 import exchange_service_pb2
from tapeline.execution.v1 import comparison_pb2, execution_pb2, execution_service_pb2

from servers.local.client import MeshClient
from servers.local.cost_screen import comparison_panel, write_comparison
from servers.local.executing import follow_on_screen, release, session_of
from servers.local.mesh import DEFAULT_FOLDER, read_mesh
from servers.local.parent_order import ParentOrder, algorithm_from_text, duration_nanos
from servers.local.screen import terminal
from servers.model.nanos import NANO

EXIT_FAILED = 1
START_SECONDS = 5.0
"""Wall time for starting all parents before the first begins: a market that runs does not wait for them."""


@dataclass(frozen=True)
class ExperimentWords:
    """An experiment in the words of the command line.

    Attributes:
        parents: parents of each symbol that are started now.
        name: of the experiment; empty takes the algorithms' names.
        planned: parents of all symbols and days after which it is decided; 0 takes the server's default.
    """

    algorithms: tuple[str, ...]
    parents: int
    name: str = ""
    seed: int = 1
    planned: int = 0
    smallest_effect_bps: float = 0.0

    def to_wire(self) -> execution_pb2.Experiment:
        """Return the experiment. Raises ValueError for a name that is no algorithm."""
        return execution_pb2.Experiment(
            name=self.name or "-or-".join(self.algorithms),
            algorithms=[algorithm_from_text(name) for name in self.algorithms],
            seed=self.seed,
            planned_parent_count=self.planned,
            smallest_effect_bps=self.smallest_effect_bps,
        )


def staggered(
    first: execution_pb2.ExecutionParameters,
    experiment: execution_pb2.Experiment,
    symbols: list[str],
    count: int,
    begins_nanos: int,
    closes_nanos: int,
) -> list[execution_pb2.ExecutionParameters]:
    """Return `count` parents of each symbol, each beginning when the one before it ends.

    Parents of one symbol that work at the same time would compare what they do to each other. Raises
    ValueError when they do not fit into the session.
    """
    fitting = max((closes_nanos - begins_nanos) // first.horizon_nanos, 0)
    if count > fitting:
        raise ValueError(
            f"{count} parents one after the other do not fit into the session: {fitting} of this horizon do"
        )
    parents = []
    for number in range(count):
        for symbol in symbols:
            parent = execution_pb2.ExecutionParameters()
            parent.CopyFrom(first)
            parent.symbol = symbol
            parent.algorithm = execution_pb2.ALGORITHM_UNSPECIFIED
            parent.start_time_nanos = begins_nanos + number * first.horizon_nanos
            parent.experiment.CopyFrom(experiment)
            parents.append(parent)
    return parents


async def run_experiment(
    order: ParentOrder, words: ExperimentWords, mesh: Path, json_path: Path | None, *, is_detached: bool
) -> int:
    """Start randomised parents, follow them, and print what they cost by algorithm."""
    console = terminal()
    symbols = [part.strip().upper() for part in order.symbol.split(",") if part.strip()]
    experiment = words.to_wire()
    async with MeshClient(read_mesh(mesh)) as client:
        session = await session_of(client, symbols[0])
        venue = await client.exchange.GetSession(exchange_service_pb2.GetSessionRequest())
        first = order.to_parameters(session.date, session.time_zone)
        now = venue.time.event_time_nanos
        lead = 0 if venue.time.held else round(START_SECONDS * max(venue.time.speed, 1.0) * NANO)
        begins = first.start_time_nanos or max(now + lead, session.open_time_nanos)
        parents = staggered(first, experiment, symbols, words.parents, begins, session.close_time_nanos)
        executions = []
        for parameters in parents:
            request = execution_service_pb2.StartExecutionRequest(
                request_id=str(uuid.uuid4()), parameters=parameters
            )
            execution = (await client.execution.StartExecution(request)).execution
            if execution.HasField("rejection"):
                rejection = execution.rejection
                console.print(f"refused by risk: {rejection.reason}. {rejection.message}", highlight=False)
            else:
                executions.append(execution.execution_id)
        await release(client)
        console.print(
            f"experiment {experiment.name}: {len(executions)} parents of"
            f" {duration_nanos(order.horizon) / NANO:g} s of market time each",
            highlight=False,
        )
        if not executions:
            return EXIT_FAILED
        if is_detached:
            return 0
        await follow_on_screen(client, console, executions, session.time_zone)
        await _show(client, console, experiment.name, "", "", json_path)
    return 0


async def _show(
    client: MeshClient, console: Console, experiment: str, account: str, symbol: str, json_path: Path | None
) -> None:
    request = execution_service_pb2.GetComparisonRequest(
        experiment=experiment, account=account, symbol=symbol
    )
    response = await client.execution.GetComparison(request)
    comparison: comparison_pb2.Comparison = response.comparison
    console.print(comparison_panel(comparison))
    if json_path:
        write_comparison(json_path, comparison)


def register_compare(app: typer.Typer, run: Callable[[Coroutine[Any, Any, int]], int]) -> None:
    """Add `tapeline compare`."""

    @app.command()
    def compare(
        experiment: Annotated[
            str, typer.Option("--experiment", help="Parents of this experiment; all by default.")
        ] = "",
        account: Annotated[str, typer.Option("--account", help="Account; all by default.")] = "",
        symbol: Annotated[str, typer.Option("--symbol", help="Symbol; all by default.")] = "",
        json_path: Annotated[
            Path | None, typer.Option("--json", help="Write the comparison as JSON.", dir_okay=False)
        ] = None,
        mesh: Annotated[
            Path,
            typer.Option("--mesh", help="Run folder of the mesh, or its mesh.json.", envvar="TAPELINE_MESH"),
        ] = DEFAULT_FOLDER,
    ) -> None:
        """Print what finished parents cost by algorithm, symbol, size, volatility and time of day."""

        async def show() -> int:
            async with MeshClient(read_mesh(mesh)) as client:
                await _show(client, terminal(), experiment, account, symbol.upper(), json_path)
            return 0

        raise typer.Exit(run(show()))
