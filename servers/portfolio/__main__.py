"""The portfolio server: `python -m servers.portfolio`."""

from __future__ import annotations

from servers.journal import Journal
from servers.portfolio.component import PortfolioServer
from servers.portfolio.settings import PortfolioSettings
from servers.runtime.component import Context
from servers.runtime.server import run


async def build(settings: PortfolioSettings, context: Context) -> PortfolioServer:
    """Return the server that the runtime starts, with its journal open."""
    path = settings.data_dir / "portfolio.journal"
    path.parent.mkdir(parents=True, exist_ok=True)
    journal = await Journal.open(path, writer="portfolio", clock=context.wall_clock, on_failure=context.fail)
    return PortfolioServer(settings, context, journal)


if __name__ == "__main__":
    run("portfolio", PortfolioSettings, build)
