"""The mesh that the orders benchmark measures: real processes, with the settings that it gives them."""

from pathlib import Path

from benchmarks._orders_mesh import SERVERS, market_is_open, running


async def test_every_server_takes_its_settings_and_the_market_opens(tmp_path: Path) -> None:
    async with running(tmp_path) as places:
        assert set(places) == set(SERVERS)
        await market_is_open(places["exchange"].address)
