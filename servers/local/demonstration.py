"""The demonstration session: a VWAP buy, and a TWAP sell of a position that it seeds itself."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from google.type.money_pb2 import Money
from rich.console import Console
from tapeline.execution.v1 import execution_pb2
from tapeline.portfolio.v1 import portfolio_service_pb2, position_pb2

from servers.local.client import MeshClient
from servers.local.executing import follow_on_screen, release, session_of, start
from servers.local.parent_order import ParentOrder
from servers.local.screen import portfolio_table, report_panel
from servers.model.nanos import NANO, nanos_to_text

ACCOUNT = "demo"
DEMONSTRATION_DATE = "2026-11-23"
"""One session for everybody: the same seed and date make the same market."""
OPENING_CASH = 10_000_000
OPENING_SHARES = 20_000
OPENING_PRICE = 118
ORDERS = (
    ParentOrder("BUY", "50000", "ACME", "static_vwap", ACCOUNT, "09:30", "4h"),
    ParentOrder("SELL", str(OPENING_SHARES), "BOLT", "twap", ACCOUNT, "09:30", "4h"),
)


async def demonstrate(client: MeshClient, console: Console) -> Sequence[execution_pb2.ExecutionReport]:
    """Seed the account, trade the session's two parent orders, print their reports, and return them."""
    await _seed(client)
    session = await session_of(client, ORDERS[0].symbol)
    console.print(
        f"A simulated session of {session.date} ({session.calendar}, {session.time_zone}). Account"
        f" {ACCOUNT!r} opens with {OPENING_CASH:,} USD and {OPENING_SHARES:,} BOLT.",
        highlight=False,
    )
    executions = [await start(client, order) for order in ORDERS]
    await release(client)
    reports = await follow_on_screen(
        client, console, [execution.execution_id for execution in executions], session.time_zone
    )
    for report in reports:
        console.print(report_panel(report, session.time_zone))
    portfolio = await client.portfolio.GetPortfolio(
        portfolio_service_pb2.GetPortfolioRequest(account=ACCOUNT)
    )
    console.print(portfolio_table(portfolio))
    return reports


async def _seed(client: MeshClient) -> None:
    """Record the opening cash and position."""
    for adjustment in (
        position_pb2.Adjustment(
            kind=position_pb2.ADJUSTMENT_KIND_OPENING,
            account=ACCOUNT,
            cash=Money(currency_code="USD", units=OPENING_CASH),
        ),
        position_pb2.Adjustment(
            kind=position_pb2.ADJUSTMENT_KIND_OPENING,
            account=ACCOUNT,
            symbol=ORDERS[1].symbol,
            quantity_nanos=OPENING_SHARES * NANO,
            price_nanos=OPENING_PRICE * NANO,
        ),
    ):
        await client.portfolio.RecordAdjustment(
            portfolio_service_pb2.RecordAdjustmentRequest(request_id=str(uuid.uuid4()), adjustment=adjustment)
        )


def where_to_look_next(reports: Sequence[execution_pb2.ExecutionReport], program: str) -> str:
    """Return what a newcomer may type next; `program` is how the command was called."""
    first = reports[0].execution.execution_id
    filled = nanos_to_text(sum(report.execution.filled_quantity_nanos for report in reports))
    hints = (
        (f"trace {first}", "the whole path of the first order, across all servers"),
        ("execute BUY 20000 CRUX --algo vwap --horizon 1h", "another parent order"),
        ("status", "servers, parents, portfolio"),
        ("doctor", "what is installed, reachable, set"),
    )
    width = max(len(words) for words, _ in hints)
    lines = [f"  {program} {words:<{width}}  {meaning}" for words, meaning in hints]
    return "\n".join(
        [f"{filled} shares traded. The mesh keeps serving; Ctrl-C stops it. In another terminal:", *lines]
    )
