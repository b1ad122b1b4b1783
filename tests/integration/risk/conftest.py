"""Risk as a real server between its peers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from servers.risk.settings import RiskSettings
from servers.runtime.server import make_context, start_server
from servers.runtime.settings import ServerSettings
from tests.integration.risk.peers import LIMITS, Mesh, Peers


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    limits_file = tmp_path / "limits.toml"
    limits_file.write_text(LIMITS)
    peers = Peers()
    peer_settings = ServerSettings(port=0, drain_notice_seconds=0, drain_seconds=0.2, log_level="error")
    peer_server = await start_server(peer_settings, await make_context("peers", peer_settings), peers)
    settings = RiskSettings(
        port=0,
        data_dir=tmp_path,
        limits_file=limits_file,
        peers=dict.fromkeys(("orders", "execution", "portfolio", "market_data"), peer_server.address),
        drain_notice_seconds=0,
        drain_seconds=0.2,
        log_level="error",
        settle_seconds=0.05,
        snapshot_seconds=0.1,
    )
    made = Mesh(peers, peer_server, settings)
    try:
        yield made
    finally:
        await made.close()
