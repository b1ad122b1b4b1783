"""The intelligence server: `python -m servers.intelligence`."""

from __future__ import annotations

from servers.intelligence.component import IntelligenceServer
from servers.intelligence.settings import IntelligenceSettings
from servers.journal import Journal
from servers.runtime.component import Context
from servers.runtime.server import run


async def build(settings: IntelligenceSettings, context: Context) -> IntelligenceServer:
    """Return the server that the runtime starts, with its journal open."""
    path = settings.data_dir / "intelligence.journal"
    path.parent.mkdir(parents=True, exist_ok=True)
    journal = await Journal.open(
        path, writer="intelligence", clock=context.wall_clock, on_failure=context.fail
    )
    return IntelligenceServer(settings, context, journal)


if __name__ == "__main__":
    run("intelligence", IntelligenceSettings, build)
