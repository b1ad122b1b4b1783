"""`tapeline status`: servers, parent orders and the portfolio of a running mesh."""

from __future__ import annotations

import asyncio

from rich import box
from rich.console import Console
from rich.table import Table
from tapeline.exchange.v1 import exchange_service_pb2
from tapeline.execution.v1 import execution_service_pb2
from tapeline.marketdata.v1 import market_data_service_pb2
from tapeline.portfolio.v1 import portfolio_service_pb2

from servers.local.client import MeshClient
from servers.local.health import health_in
from servers.local.mesh import Mesh
from servers.local.screen import clock, portfolio_table, progress_table
from servers.local.tls import operator_certificates


async def servers_table(mesh: Mesh) -> Table:
    """Return one line a server: address, metrics, pid, health."""
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("server", "address", "metrics", "pid", "health"):
        table.add_column(heading)
    servers = sorted(mesh.servers.items())
    certificates = operator_certificates(mesh)
    states = await asyncio.gather(*(health_in(mesh, name, certificates) for name, _ in servers))
    for (name, place), state in zip(servers, states, strict=True):
        colour = "green" if state == "SERVING" else "red"
        table.add_row(
            name,
            place.address,
            f"http://{place.metrics}/metrics",
            str(place.pid or "-"),
            f"[{colour}]{state}[/]",
        )
    return table


async def show_status(client: MeshClient, console: Console, account: str) -> None:
    """Print servers, the session, the account's parent orders, its positions and cash."""
    console.print(await servers_table(client.mesh))
    venue = await client.exchange.GetSession(exchange_service_pb2.GetSessionRequest())
    calendar = await client.market_data.GetSession(
        market_data_service_pb2.GetSessionRequest(calendar=venue.calendar, date=venue.session_date)
    )
    held = ", held until the first parent order" if venue.time.held else ""
    console.print(
        f"{venue.flow} flow, session {venue.session_date} ({venue.calendar}), market time"
        f" {clock(venue.time.event_time_nanos, calendar.time_zone)}, speed {venue.time.speed:g}x{held}",
        highlight=False,
    )
    parents = await client.execution.ListExecutions(
        execution_service_pb2.ListExecutionsRequest(account=account, page_size=20)
    )
    console.print(progress_table(parents.executions, calendar.time_zone))
    console.print(
        portfolio_table(
            await client.portfolio.GetPortfolio(portfolio_service_pb2.GetPortfolioRequest(account=account))
        )
    )
