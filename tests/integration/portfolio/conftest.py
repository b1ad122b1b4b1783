"""Portfolio as a real server between orders and market_data that say what a test has them say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tapeline.portfolio.v1 import portfolio_service_pb2_grpc

from servers.portfolio.__main__ import build
from servers.portfolio.component import PortfolioServer
from servers.portfolio.settings import PortfolioSettings
from servers.runtime.channels import Channels
from servers.runtime.running import RunningServer
from servers.runtime.server import make_context, start_server
from servers.runtime.settings import ServerSettings
from tests.integration.risk.peers import Peers


@dataclass
class Desk:
    """Portfolio and its peers."""

    peers: Peers
    peer_server: RunningServer
    settings: PortfolioSettings
    running: RunningServer | None = None
    component: PortfolioServer | None = None
    channels: list[Channels] = field(default_factory=list)

    async def start(self) -> Any:
        """Start portfolio and return a stub of it."""
        context = await make_context("portfolio", self.settings)
        self.component = await build(self.settings, context)
        self.running = await start_server(self.settings, context, self.component)
        own = self.peer_server.context
        channels = Channels(
            {"portfolio": self.running.address}, tracer=own.telemetry.tracer, calls=own.telemetry.calls
        )
        self.channels.append(channels)
        return portfolio_service_pb2_grpc.PortfolioServiceStub(channels.channel("portfolio"))

    async def stop(self) -> None:
        for channels in self.channels:
            await channels.close()
        self.channels.clear()
        if self.running is not None:
            await self.running.stop()
        self.running = None


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    peers = Peers()
    quick: dict[str, Any] = {"drain_notice_seconds": 0, "drain_seconds": 0.2, "log_level": "error"}
    peer_settings = ServerSettings(port=0, **quick)
    peer_server = await start_server(peer_settings, await make_context("peers", peer_settings), peers)
    settings = PortfolioSettings(
        port=0,
        data_dir=tmp_path,
        peers=dict.fromkeys(("orders", "market_data"), peer_server.address),
        stream_pause_seconds=0.0,
        position_save_seconds=0.1,
        **quick,
    )
    made = Desk(peers, peer_server, settings)
    try:
        yield made
    finally:
        await made.stop()
        await peer_server.stop()
