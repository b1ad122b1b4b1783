"""The signals server: `python -m servers.signals`."""

from __future__ import annotations

from servers.runtime.component import Context
from servers.runtime.server import run
from servers.signals.adapters.model_file import load_model
from servers.signals.component import SignalsServer
from servers.signals.settings import SignalsSettings


async def build(settings: SignalsSettings, context: Context) -> SignalsServer:
    """Return the server that the runtime starts. Raises InvalidInput MODEL_INVALID."""
    return SignalsServer(settings, context, load_model(settings.model_file))


if __name__ == "__main__":
    run("signals", SignalsSettings, build)
