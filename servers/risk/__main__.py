"""The risk server: `python -m servers.risk`."""

from __future__ import annotations

from servers.risk.component import RiskServer
from servers.risk.settings import RiskSettings
from servers.runtime.component import Context
from servers.runtime.server import run


def build(settings: RiskSettings, context: Context) -> RiskServer:
    """Return the server that the runtime starts, with everything it needs."""
    return RiskServer(settings, context)


if __name__ == "__main__":
    run("risk", RiskSettings, build)
