"""`tapeline rollout`: which version of the model answers whom, shown and set."""

from __future__ import annotations

import sys
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.duration_pb2 import Duration
from rich import box
from rich.console import Console
from rich.table import Table
from tapeline.intelligence.v1 import intelligence_service_pb2, rollout_pb2, sentiment_pb2
from tapeline.intelligence.v1.intelligence_service_pb2_grpc import IntelligenceServiceStub

from servers.local.mesh import DEFAULT_FOLDER, Mesh, read_mesh
from servers.local.screen import terminal
from servers.local.tls import operator_certificates
from servers.runtime.channels import Channels
from servers.runtime.metrics import CallCollector
from servers.runtime.security import CertificateFolder
from servers.runtime.tracing import Tracer

INTELLIGENCE = "intelligence"
CALL_SECONDS = 15.0
STAGES = {
    "shadow": rollout_pb2.ROLLOUT_STAGE_SHADOW,
    "1": rollout_pb2.ROLLOUT_STAGE_1_PERCENT,
    "5": rollout_pb2.ROLLOUT_STAGE_5_PERCENT,
    "25": rollout_pb2.ROLLOUT_STAGE_25_PERCENT,
    "50": rollout_pb2.ROLLOUT_STAGE_50_PERCENT,
    "100": rollout_pb2.ROLLOUT_STAGE_100_PERCENT,
}
ACTIONS = {
    "start": rollout_pb2.ROLLOUT_ACTION_START,
    "stage": rollout_pb2.ROLLOUT_ACTION_SET_STAGE,
    "promote": rollout_pb2.ROLLOUT_ACTION_PROMOTE,
    "roll-back": rollout_pb2.ROLLOUT_ACTION_ROLL_BACK,
    "llm-off": rollout_pb2.ROLLOUT_ACTION_SWITCH_LLM_OFF,
    "llm-on": rollout_pb2.ROLLOUT_ACTION_SWITCH_LLM_ON,
}
_EVENTS_SHOWN = 10


def register_rollout(app: typer.Typer, run: Callable[[Coroutine[Any, Any, int]], int]) -> None:
    """Give the `tapeline` command its `rollout`; `run` turns a coroutine into an exit code."""

    @app.command()
    def rollout(
        action: Annotated[str, typer.Argument(help=f"{', '.join(ACTIONS)}; without: show it.")] = "",
        version: Annotated[str, typer.Option("--version", help="With start: the version to try.")] = "",
        stage: Annotated[
            str, typer.Option("--stage", help="shadow, 1, 5, 25, 50 or 100 percent.")
        ] = "shadow",
        reason: Annotated[str, typer.Option("--reason", help="Why; it is journalled.")] = "",
        alpha: Annotated[
            float | None, typer.Option("--alpha", help="Probability of rolling a good version back.")
        ] = None,
        min_agreement: Annotated[
            float | None, typer.Option("--min-agreement", help="Least agreement with the stable version.")
        ] = None,
        min_comparisons: Annotated[
            int | None, typer.Option("--min-comparisons", help="Texts compared in a stage, at least.")
        ] = None,
        stage_minutes: Annotated[
            float | None, typer.Option("--stage-minutes", help="Minutes in a stage, at least.", min=0)
        ] = None,
        manual: Annotated[
            bool, typer.Option("--manual", help="Leave stages and promotion to a person; rollback never is.")
        ] = False,
        mesh: Annotated[
            Path,
            typer.Option("--mesh", help="Run folder of the mesh, or its mesh.json.", envvar="TAPELINE_MESH"),
        ] = DEFAULT_FOLDER,
    ) -> None:
        """Show which version of the LLM answers whom, or change it."""
        if not action:
            sys.exit(run(show_rollout(mesh, terminal())))
        plan = plan_of(alpha, min_agreement, min_comparisons, stage_minutes, not manual)
        sys.exit(run(set_rollout(mesh, action, version, stage, reason, plan, terminal())))


@asynccontextmanager
async def intelligence_of(mesh: Mesh) -> AsyncIterator[Any]:
    """Yield a stub of a mesh's intelligence server. Raises MeshError when it has none."""
    async with intelligence_at(mesh.address(INTELLIGENCE), operator_certificates(mesh)) as stub:
        yield stub


@asynccontextmanager
async def intelligence_at(address: str, certificates: CertificateFolder | None = None) -> AsyncIterator[Any]:
    """Yield a stub of the intelligence server at an address."""
    channels = Channels(
        {INTELLIGENCE: address},
        tracer=Tracer(),
        calls=CallCollector(),
        call_timeout_seconds=CALL_SECONDS,
        certificates=certificates,
    )
    try:
        yield IntelligenceServiceStub(channels.channel(INTELLIGENCE))
    finally:
        await channels.close()


async def show_rollout(mesh: Path, console: Console) -> int:
    """Print who answers, the roll-out with its figures, and its last changes."""
    async with intelligence_of(read_mesh(mesh)) as stub:
        status = await stub.GetStatus(intelligence_service_pb2.GetStatusRequest())
        response = await stub.GetRollout(intelligence_service_pb2.GetRolloutRequest())
        events = await _events(stub)
    console.print(models_table(status))
    console.print(rollout_table(response.rollout))
    if events:
        console.print(events_table(events[-_EVENTS_SHOWN:]))
    return 0


async def set_rollout(
    mesh: Path,
    action: str,
    version: str,
    stage: str,
    reason: str,
    plan: rollout_pb2.RolloutPlan,
    console: Console,
) -> int:
    """Change the roll-out and print how it stands. Raises ValueError for words that mean nothing."""
    if action not in ACTIONS:
        raise ValueError(f"{action!r} is none of {', '.join(ACTIONS)}")
    if stage not in STAGES:
        raise ValueError(f"stage {stage!r} is none of {', '.join(STAGES)}")
    if not reason:
        raise ValueError("say why with --reason; it is journalled")
    if action == "start" and not version:
        raise ValueError("say which version to try with --version")
    request = intelligence_service_pb2.SetRolloutRequest(
        request_id=str(uuid.uuid4()), action=ACTIONS[action], reason=reason
    )
    if action == "start":
        request.candidate_version = version
        request.plan.CopyFrom(plan)
    if action in ("start", "stage"):
        request.stage = STAGES[stage]
    async with intelligence_of(read_mesh(mesh)) as stub:
        response = await stub.SetRollout(request)
    console.print(rollout_table(response.rollout))
    return 0


def plan_of(
    alpha: float | None,
    min_agreement: float | None,
    min_comparisons: int | None,
    stage_minutes: float | None,
    is_automatic: bool,
) -> rollout_pb2.RolloutPlan:
    """Return a plan; what is None takes the server's default."""
    plan = rollout_pb2.RolloutPlan(
        alpha=alpha, min_agreement=min_agreement, min_comparisons=min_comparisons, is_automatic=is_automatic
    )
    if stage_minutes is not None:
        plan.min_stage_time.CopyFrom(Duration(seconds=round(stage_minutes * 60)))
    return plan


async def _events(stub: Any) -> list[rollout_pb2.RolloutEvent]:
    events: list[rollout_pb2.RolloutEvent] = []
    token = ""
    while True:
        page = await stub.ListRolloutEvents(
            intelligence_service_pb2.ListRolloutEventsRequest(page_size=1_000, page_token=token)
        )
        events += page.events
        token = page.next_page_token
        if not token:
            return events


# -- What people see ----------------------------------------------------------------------------------


def models_table(status: intelligence_service_pb2.GetStatusResponse) -> Table:
    """Return one line a classifier, with the load in the title."""
    shed = status.shed_items / status.items if status.items else 0.0
    title = (
        f"{'an LLM' if status.is_llm_answering else 'the word list alone'} answers;"
        f" {status.items} items, {shed:.1%} shed, {status.cached_items} from kept answers;"
        f" {status.queued_texts} wait"
    )
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for heading in ("answerer", "version", "asked", "texts", "failed", "p95 ms", "why not"):
        table.add_column(heading)
    for model in status.models:
        table.add_row(
            _word(sentiment_pb2.Answerer.Name(model.answerer), "ANSWERER_"),
            model.version or "-",
            "yes" if model.is_asked else "[red]no[/]",
            str(model.answered_texts),
            str(model.failed_calls),
            f"{model.p95_latency.ToNanoseconds() / 1e6:.0f}",
            model.reason,
        )
    return table


def rollout_table(rollout: rollout_pb2.Rollout) -> Table:
    """Return the roll-out as two columns."""
    table = Table(box=box.SIMPLE, show_header=False)
    figures = rollout.figures
    rows: list[tuple[str, str]] = [("stable version", rollout.stable_version)]
    if not rollout.is_llm_on:
        rows.append(("LLM", "[red]switched off[/]"))
    if rollout.experiment:
        rows += [
            ("candidate", rollout.candidate_version),
            ("state", _word(rollout_pb2.RolloutState.Name(rollout.state), "ROLLOUT_STATE_")),
            ("stage", _word(rollout_pb2.RolloutStage.Name(rollout.stage), "ROLLOUT_STAGE_")),
        ]
    if rollout.HasField("figures"):
        own, other = figures.candidate_p95_latency, figures.stable_p95_latency
        latency = f"{own.ToNanoseconds() / 1e6:.0f} ms, stable {other.ToNanoseconds() / 1e6:.0f} ms"
        accuracy = f"{figures.candidate_accuracy:.1%}, stable {figures.stable_accuracy:.1%}"
        evidence = f"agreement {figures.agreement_evidence:.2g}, errors {figures.error_evidence:.2g}"
        rows += [
            ("waiting for", rollout.waiting_for or "nothing"),
            ("calls", f"{figures.candidate_calls}, {figures.candidate_failures} failed"),
            ("agreement", f"{figures.agreements} of {figures.comparisons} texts"),
            ("p95", latency),
            ("accuracy", f"{accuracy}, on {figures.labelled_texts} labelled texts"),
            (
                "evidence against it",
                f"{evidence}, latency {figures.latency_evidence:.2g}; bound {5 / rollout.plan.alpha:g}",
            ),
        ]
    for name, value in rows:
        table.add_row(name, value)
    return table


def events_table(events: list[rollout_pb2.RolloutEvent]) -> Table:
    """Return one line a change."""
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("time (UTC)", "what", "candidate", "stage", "by", "why"):
        table.add_column(heading)
    for event in events:
        table.add_row(
            datetime.fromtimestamp(event.create_time.seconds, UTC).strftime("%Y-%m-%d %H:%M:%S"),
            _word(rollout_pb2.RolloutEventKind.Name(event.kind), "ROLLOUT_EVENT_KIND_"),
            event.candidate_version or "-",
            _word(rollout_pb2.RolloutStage.Name(event.stage), "ROLLOUT_STAGE_") if event.stage else "-",
            event.set_by,
            event.reason,
        )
    return table


def _word(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower().replace("_", " ")
