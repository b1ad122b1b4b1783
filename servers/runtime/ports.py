"""The default port of every server. `/metrics` is served on port + 1000."""

from __future__ import annotations

from collections.abc import Mapping

METRICS_PORT_OFFSET = 1000
HIGHEST_PORT = 65535

PORTS: Mapping[str, int] = {
    "market_data": 8001,
    "portfolio": 8002,
    "risk": 8003,
    "signals": 8004,
    "decision": 8005,
    "news": 8006,
    "intelligence": 8007,
    "execution": 8008,
    "orders": 8011,
    "exchange": 8012,
}


def default_address(name: str) -> str:
    """Return `host:port` of server `name` on this machine. Raises KeyError when it has no port."""
    return f"127.0.0.1:{PORTS[name]}"
