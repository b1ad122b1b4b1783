"""The decision server: `python -m servers.decision`."""

from __future__ import annotations

from servers.decision.component import DecisionServer
from servers.decision.settings import DecisionSettings
from servers.journal import Journal
from servers.runtime.component import Context
from servers.runtime.server import run


async def build(settings: DecisionSettings, context: Context) -> DecisionServer:
    """Return the server that the runtime starts, with its journal open."""
    path = settings.data_dir / "decision.journal"
    path.parent.mkdir(parents=True, exist_ok=True)
    journal = await Journal.open(path, writer="decision", clock=context.wall_clock, on_failure=context.fail)
    return DecisionServer(settings, context, journal)


if __name__ == "__main__":
    run("decision", DecisionSettings, build)
