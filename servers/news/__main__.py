"""The news server: `python -m servers.news`."""

from __future__ import annotations

from servers.news.component import NewsServer
from servers.news.settings import NewsSettings
from servers.runtime.component import Context
from servers.runtime.server import run


async def build(settings: NewsSettings, context: Context) -> NewsServer:
    """Return the server that the runtime starts."""
    return NewsServer(settings, context)


if __name__ == "__main__":
    run("news", NewsSettings, build)
