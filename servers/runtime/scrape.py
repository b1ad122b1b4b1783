"""`/metrics`: one small HTTP listener on the server's own event loop.

OpenMetrics with exemplars for a client that accepts it, the Prometheus text format otherwise.
"""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

_READ_SECONDS = 5.0
_MOST_HEADERS = 100


class MetricsListener:
    """Answers `GET /metrics` until it is closed."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._server: asyncio.Server | None = None

    async def open(self, host: str, port: int) -> int:
        """Listen and return the port. Raises OSError when it is taken."""
        self._server = await asyncio.start_server(self._serve, host, port, reuse_address=True)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_READ_SECONDS):
                request, headers = await _read_head(reader)
            method, _, rest = request.partition(" ")
            path = rest.split(" ")[0].split("?")[0]
            if method not in ("GET", "HEAD"):
                head, body = "405 Method Not Allowed", b""
                kind = "text/plain"
            elif path != "/metrics":
                head, body, kind = "404 Not Found", b"only /metrics is here\n", "text/plain"
            else:
                encode, kind = choose_encoder(headers.get("accept", ""))
                head, body = "200 OK", encode(self._registry)
            writer.write(
                f"HTTP/1.1 {head}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                "Connection: close\r\n\r\n".encode()
            )
            if method != "HEAD":
                writer.write(body)
            await writer.drain()
        except (OSError, EOFError, ValueError, TimeoutError):
            pass  # a client that went away or spoke no HTTP
        finally:
            writer.close()


async def _read_head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    request = (await reader.readline()).decode("latin-1").strip()
    headers: dict[str, str] = {}
    for _ in range(_MOST_HEADERS):
        line = (await reader.readline()).decode("latin-1").strip()
        if not line:
            break
        key, _, value = line.partition(":")
        headers[key.strip().lower()] = value.strip()
    return request, headers
