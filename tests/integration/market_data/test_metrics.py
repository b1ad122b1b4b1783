"""Every metric that is declared is emitted."""

from __future__ import annotations

from typing import Any

from servers.market_data import metrics


async def test_what_is_declared_is_emitted(venue: Any, market_data: Any) -> None:
    venue.trade("ACME", [50.0] * 3, [1] * 3)
    venue.time(1.0)
    await market_data.has("ACME", 3)
    await market_data.reached(venue.now)
    registry = market_data.server.context.telemetry.registry
    families = {family.name: family for family in registry.collect()}
    declared = {value for name, value in vars(metrics).items() if name.isupper()}
    assert declared <= set(families)
    value = registry.get_sample_value
    assert value(f"{metrics.PRINTS}_total") == 3
    assert value(metrics.TAPE_ROWS, {"symbol": "ACME"}) == 3
    assert value(metrics.IN_STEP) == 1
    assert value(metrics.MARKET_TIME) == venue.now / 1e9
    assert value(metrics.TAPE_FAILING) == 0
