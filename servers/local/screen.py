"""What people see in the terminal: progress of parent orders and their reports."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime
from zoneinfo import ZoneInfo

from rich import box
from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from tapeline.execution.v1 import execution_pb2
from tapeline.portfolio.v1 import portfolio_service_pb2
from tapeline.trading.v1 import side_pb2

from servers.local.parent_order import algorithm_to_text
from servers.model.nanos import NANO, nanos_to_text

PLAIN_WIDTH = 150


def terminal() -> Console:
    """Return where commands print: as wide as the terminal, or wide enough for a table in a file."""
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)


FINAL_STATES = frozenset(
    {
        execution_pb2.EXECUTION_STATE_FILLED,
        execution_pb2.EXECUTION_STATE_DONE,
        execution_pb2.EXECUTION_STATE_CANCELLED,
        execution_pb2.EXECUTION_STATE_REJECTED,
    }
)


def state_name(execution: execution_pb2.Execution) -> str:
    """Return RUNNING, FILLED, ... without the enum's prefix."""
    return execution_pb2.ExecutionState.Name(execution.state).removeprefix("EXECUTION_STATE_")


def side_name(side: int) -> str:
    """Return BUY or SELL."""
    return side_pb2.Side.Name(side_pb2.Side.ValueType(side)).removeprefix("SIDE_")


def shares(nanos: int) -> str:
    """Return a quantity with thousands separators."""
    return nanos_to_text(nanos)


def price(nanos: int) -> str:
    """Return a price with four places, or a dash for none."""
    return nanos_to_text(nanos, 4) if nanos else "-"


def clock(nanos: int, time_zone: str) -> str:
    """Return a market time as hh:mm:ss in the venue's time zone, or a dash for none."""
    if not nanos:
        return "-"
    return f"{datetime.fromtimestamp(nanos // NANO, ZoneInfo(time_zone)):%H:%M:%S}"


def progress_table(executions: Iterable[execution_pb2.Execution], time_zone: str) -> Table:
    """Return one line a parent order: how far it is, what it pays, and the market beside it."""
    table = Table(box=box.SIMPLE_HEAD, expand=False)
    for heading in (
        "market time",
        "parent",
        "state",
        "done",
        "filled",
        "scheduled",
        "average",
        "VWAP",
        "bps",
        "share",
    ):
        table.add_column(
            heading, justify="left" if heading in ("parent", "state", "done") else "right", no_wrap=True
        )
    for execution in executions:
        asked = execution.parameters
        filled, total = execution.filled_quantity_nanos, asked.quantity_nanos
        table.add_row(
            clock(execution.event_time_nanos, time_zone),
            f"{side_name(asked.side)} {shares(total)} {asked.symbol} {algorithm_to_text(asked.algorithm)}",
            _state_text(execution),
            ProgressBar(total=1.0, completed=filled / total if total else 0.0, width=16),
            f"{filled / total:.1%}" if total else "-",
            f"{execution.scheduled_quantity_nanos / total:.1%}" if total else "-",
            price(execution.average_price_nanos),
            price(execution.interval_vwap_nanos),
            f"{execution.slippage_vwap_bps:+.2f}" if filled else "-",
            f"{execution.participation_rate:.2%}",
        )
    return table


def progress_line(execution: execution_pb2.Execution, time_zone: str) -> str:
    """Return the same in one plain line, for output that is no terminal."""
    asked = execution.parameters
    return (
        f"{clock(execution.event_time_nanos, time_zone)}  {side_name(asked.side)} {asked.symbol}"
        f" {algorithm_to_text(asked.algorithm)}  {state_name(execution)}"
        f"  {shares(execution.filled_quantity_nanos)} of {shares(asked.quantity_nanos)}"
        f"  average {price(execution.average_price_nanos)}  VWAP {price(execution.interval_vwap_nanos)}"
        f"  share {execution.participation_rate:.2%}"
        + (f"  ALERT {' '.join(execution.alerts)}" if execution.alerts else "")
    )


def report_panel(report: execution_pb2.ExecutionReport, time_zone: str) -> RenderableType:
    """Return an execution report: what was done, against which benchmarks, and what it cost."""
    execution = report.execution
    asked = execution.parameters
    title = Text(
        f"{side_name(asked.side)} {shares(asked.quantity_nanos)} {asked.symbol}"
        f" {algorithm_to_text(asked.algorithm)}: {state_name(execution)}",
        style="bold",
    )
    parts: list[RenderableType] = [title, _facts(report, time_zone), _benchmarks(report), _shortfall(report)]
    if any(markout.fill_count for markout in report.markouts):
        parts.append(_markouts(report))
    return Group(*parts)


def portfolio_table(portfolio: portfolio_service_pb2.GetPortfolioResponse) -> Table:
    """Return positions and cash of an account."""
    table = Table(box=box.SIMPLE_HEAD, title="portfolio", title_justify="left")
    for heading in ("symbol", "position", "average", "mark", "realised", "unrealised", "fees"):
        table.add_column(heading, justify="left" if heading == "symbol" else "right")
    for position in portfolio.positions:
        table.add_row(
            position.symbol,
            shares(position.quantity_nanos),
            price(position.average_price_nanos),
            price(position.mark_price_nanos),
            money(position.realised_profit),
            money(position.unrealised_profit),
            money(position.fees),
        )
    cash = ", ".join(f"{money(balance.amount)} {balance.amount.currency_code}" for balance in portfolio.cash)
    table.caption = f"cash {cash or 'none'}"
    table.caption_justify = "left"
    return table


def money(amount: object) -> str:
    """Return a google.type.Money with two places."""
    units, nanos = getattr(amount, "units", 0), getattr(amount, "nanos", 0)
    return nanos_to_text(units * NANO + nanos, 2)


def _state_text(execution: execution_pb2.Execution) -> Text:
    name = state_name(execution)
    colours = {
        "RUNNING": "cyan",
        "FILLED": "green",
        "PAUSED": "yellow",
        "REJECTED": "red",
        "CANCELLED": "red",
    }
    if execution.alerts:
        return Text(f"{name} {' '.join(execution.alerts)}", style="yellow")
    return Text(f"{name} {execution.reason}".rstrip(), style=colours.get(name, ""))


def _facts(report: execution_pb2.ExecutionReport, time_zone: str) -> Table:
    execution = report.execution
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column()

    def row(name: str, value: str) -> None:
        if value:
            table.add_row(name, value)

    row("execution", execution.execution_id)
    row("filled", f"{shares(execution.filled_quantity_nanos)} at {price(execution.average_price_nanos)}")
    row(
        "liquidity",
        f"maker {shares(report.maker_quantity_nanos)}, taker {shares(report.taker_quantity_nanos)},"
        f" auction {shares(report.auction_quantity_nanos)}",
    )
    row("fills", f"{report.fill_count:,}, of {report.child_count:,} children")
    row("duration", f"{report.duration_nanos / NANO / 60:.1f} minutes of market time")
    row(
        "participation",
        f"{execution.participation_rate:.2%} of the interval, at most"
        f" {report.peak_window_participation_rate:.2%} in a window (cap"
        f" {execution.parameters.max_participation_rate:.2%})",
    )
    row(
        "interval",
        f"{clock(report.interval_start_time_nanos, time_zone)} to"
        f" {clock(report.interval_end_time_nanos, time_zone)},"
        f" {report.interval_trade_count:,} prints, {report.interval_volume:,.0f} shares",
    )
    row("counted", report.eligibility_rule)
    if report.residual_quantity_nanos:
        row(
            "residual",
            f"{shares(report.residual_quantity_nanos)}: {report.residual_reason}. {report.residual_message}",
        )
    row("fallback", report.fallback)
    row("volume forecast", report.volume_forecast)
    if report.HasField("quality"):
        row("quality", _quality(report.quality))
    row("impact model", report.impact_model)
    row("fees", f"{money(report.fees)} {report.fees.currency_code}")
    return table


def _quality(quality: execution_pb2.QualityScore) -> str:
    score = f"{quality.score:.0f} of 100" if quality.HasField("score") else "unknown"
    tracking = f"{quality.tracking:.2f}" if quality.HasField("tracking") else "unknown"
    shortfall = f"{quality.shortfall:.2f}" if quality.HasField("shortfall") else "unknown"
    return (
        f"{score}: better than controls in tracking {tracking}, in shortfall {shortfall}; completion"
        f" {quality.completion:.2f}, conformance {quality.conformance:.2f}; {quality.note}"
    )


def _markouts(report: execution_pb2.ExecutionReport) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("markout after", "all bps", "making", "taking", "fills"):
        table.add_column(heading, justify="right")
    for markout in report.markouts:
        costs = (markout.cost_bps, markout.maker_bps, markout.taker_bps)
        table.add_row(
            f"{markout.horizon_nanos / NANO:g} s",
            *("-" if math.isnan(cost) else f"{cost:+.2f}" for cost in costs),
            f"{markout.fill_count:,}",
        )
    return table


def _benchmarks(report: execution_pb2.ExecutionReport) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("benchmark", "price", "slippage bps", "slippage", "note"):
        table.add_column(heading, justify="left" if heading in ("benchmark", "note") else "right")
    for benchmark in report.benchmarks:
        is_known = not math.isnan(benchmark.slippage_bps)
        table.add_row(
            benchmark.name.replace("_", " "),
            price(benchmark.price_nanos),
            f"{benchmark.slippage_bps:+.2f}" if is_known else "-",
            f"{money(benchmark.slippage)} {benchmark.slippage.currency_code}" if is_known else "-",
            benchmark.note,
        )
    return table


def _shortfall(report: execution_pb2.ExecutionReport) -> Text:
    parts = report.shortfall
    names = ("delay", "spread", "impact", "timing", "opportunity", "fees", "total")
    text = "  ".join(f"{name} {float(getattr(parts, name).value or 0):,.2f}" for name in names)
    return Text(f"shortfall against the decision price, {parts.currency_code}: {text}\n", style="dim")
