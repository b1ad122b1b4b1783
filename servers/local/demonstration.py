"""The demonstration session: a VWAP buy, a TWAP sell of a seeded position, and what posts lead to."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from google.type.money_pb2 import Money
from rich.console import Console
from tapeline.decision.v1 import decision_pb2, decision_service_pb2
from tapeline.decision.v1.decision_service_pb2_grpc import DecisionServiceStub
from tapeline.execution.v1 import execution_pb2
from tapeline.portfolio.v1 import portfolio_service_pb2, position_pb2

from servers.local.client import MeshClient
from servers.local.executing import follow_on_screen, release, session_of, start
from servers.local.parent_order import ParentOrder
from servers.local.pipeline_feeds import Pipeline
from servers.local.pipeline_screen import decisions_table, show_pipeline
from servers.local.screen import portfolio_table, report_panel, state_name
from servers.model.nanos import NANO, nanos_to_text

ACCOUNT = "demo"
AUTOPILOT = "autopilot"
"""The account that decision trades."""
PLANTED_EFFECT_BPS = 60.0
"""Planted: the fair price of the demonstration moves so far after a social event of strength 1."""
DEMONSTRATION_DATE = "2026-11-23"
"""One session for everybody: the same seed and date make the same market."""
OPENING_CASH = 10_000_000
OPENING_SHARES = 20_000
OPENING_PRICE = 118
ORDERS = (
    ParentOrder("BUY", "50000", "ACME", "static_vwap", ACCOUNT, "09:30", "4h"),
    ParentOrder("SELL", str(OPENING_SHARES), "BOLT", "twap", ACCOUNT, "09:30", "4h"),
)


LONGEST_WAIT_SECONDS = 120.0
"""Wall time that is waited, after the parent orders have reported, for a decision to be filled."""


@dataclass(frozen=True)
class Demonstration:
    """What came of it.

    Attributes:
        reports: of the session's two parent orders.
        decisions: orders that came from posts, oldest first; empty in a mesh that only trades.
    """

    reports: Sequence[execution_pb2.ExecutionReport]
    decisions: Sequence[decision_pb2.Decision]

    @property
    def is_filled(self) -> bool:
        """Whether both parent orders were filled."""
        return all(state_name(report.execution) == "FILLED" for report in self.reports)


async def demonstrate(client: MeshClient, console: Console) -> Demonstration:
    """Seed the accounts, trade the session's two parent orders, let posts lead to others, and report."""
    is_reading = "decision" in client.mesh.servers
    await _seed(client)
    session = await session_of(client, ORDERS[0].symbol)
    console.print(
        f"A simulated session of {session.date} ({session.calendar}, {session.time_zone}). Account"
        f" {ACCOUNT!r} opens with {OPENING_CASH:,} USD and {OPENING_SHARES:,} BOLT.",
        highlight=False,
    )
    if is_reading:
        await _let_decide(client)
        console.print(
            f"Posts are read, and account {AUTOPILOT!r} trades by itself. Planted: after an event that posts"
            f" speak of, the fair price moves by {PLANTED_EFFECT_BPS:g} bp, times its strength.",
            highlight=False,
        )
    executions = [await start(client, order) for order in ORDERS]
    await release(client)
    ended = asyncio.Event()
    watching = asyncio.create_task(_watch(client, console, session.time_zone, ended)) if is_reading else None
    reports = await follow_on_screen(
        client, console, [execution.execution_id for execution in executions], session.time_zone
    )
    ended.set()
    pipeline = Pipeline() if watching is None else await watching
    for report in reports:
        console.print(report_panel(report, session.time_zone))
    accounts = [ACCOUNT]
    if is_reading:
        console.print(decisions_table(pipeline.orders.values(), session.time_zone))
        accounts.append(AUTOPILOT)
    for account in accounts:
        portfolio = await client.portfolio.GetPortfolio(
            portfolio_service_pb2.GetPortfolioRequest(account=account)
        )
        console.print(portfolio_table(portfolio))
    return Demonstration(reports, [one for one in pipeline.orders.values() if one.inputs.post_ids])


async def _watch(client: MeshClient, console: Console, time_zone: str, ended: asyncio.Event) -> Pipeline:
    """Show the way from posts to fills until the session's orders have reported and a decision was filled."""
    patience = 0.0

    def is_done(pipeline: Pipeline) -> bool:
        nonlocal patience
        if not ended.is_set():
            return False
        patience = patience or time.monotonic() + LONGEST_WAIT_SECONDS
        return any(map(_is_filled, pipeline.filled)) or time.monotonic() > patience

    return await show_pipeline(client.channel, console, time_zone, is_done)


def _is_filled(decision: decision_pb2.Decision) -> bool:
    return 0 < decision.quantity_nanos <= decision.filled_quantity_nanos


async def _let_decide(client: MeshClient) -> None:
    """Give the decision server an account with cash, and let its orders go by themselves."""
    await client.portfolio.RecordAdjustment(
        portfolio_service_pb2.RecordAdjustmentRequest(
            request_id=str(uuid.uuid4()),
            adjustment=position_pb2.Adjustment(
                kind=position_pb2.ADJUSTMENT_KIND_OPENING,
                account=AUTOPILOT,
                cash=Money(currency_code="USD", units=OPENING_CASH),
            ),
        )
    )
    await DecisionServiceStub(client.channel("decision")).SetMode(
        decision_service_pb2.SetModeRequest(
            request_id=str(uuid.uuid4()), mode=decision_pb2.MODE_AUTOPILOT, reason="the demonstration"
        )
    )


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


def where_to_look_next(demonstration: Demonstration, program: str) -> str:
    """Return what a newcomer may type next; `program` is how the command was called."""
    reports = demonstration.reports
    first = reports[0].execution.execution_id
    filled = nanos_to_text(sum(report.execution.filled_quantity_nanos for report in reports))
    from_posts = [one for one in demonstration.decisions if _is_filled(one)]
    hints = [
        (f"trace {first}", "the whole path of the first order, across all servers"),
        *((f"trace {one.execution_id}", "from a post to the fill") for one in from_posts[:1]),
        ("execute BUY 20000 CRUX --algo vwap --horizon 1h", "another parent order"),
        ("status", "servers, parents, portfolio"),
        ("doctor", "what is installed, reachable, set"),
    ]
    width = max(len(words) for words, _ in hints)
    lines = [f"  {program} {words:<{width}}  {meaning}" for words, meaning in hints]
    return "\n".join(
        [f"{filled} shares traded. The mesh keeps serving; Ctrl-C stops it. In another terminal:", *lines]
    )
