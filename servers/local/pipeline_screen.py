"""From posts to fills on one screen: posts, sentiment and signals, decisions, executions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text
from tapeline.decision.v1 import decision_pb2
from tapeline.news.v1 import post_pb2, sentiment_pb2
from tapeline.signals.v1 import signal_pb2

from servers.local.pipeline_feeds import ChannelOf, Pipeline, following
from servers.local.screen import FINAL_STATES, clock, progress_line, progress_table, shares, side_name
from servers.model.nanos import NANO

REFRESHES_PER_SECOND = 6
POSTS, ORDERS, PARENTS = 5, 5, 3
TEXT_WIDTH = 68
_FLAGS = {
    "is_stale": "stale",
    "lexicon_only": "lexicon only",
    "pump_suspected": "PUMP",
    "one_source_only": "one source",
    "one_author_only": "one author",
    "is_shed": "shed",
    "price_only": "prices alone",
}


async def show_pipeline(
    channel_of: ChannelOf, console: Console, time_zone: str, is_done: Callable[[Pipeline], bool]
) -> Pipeline:
    """Show what happens until `is_done`, and return what was seen.

    On a terminal that is one live screen; elsewhere a line for each order, each end of one, each alert.
    """
    changed = asyncio.Event()
    async with following(channel_of, changed.set) as pipeline:
        if console.is_terminal:
            with Live(console=console, auto_refresh=False) as live:
                while not is_done(pipeline):
                    await changed.wait()
                    changed.clear()
                    live.update(pipeline_view(pipeline, time_zone), refresh=True)
                    await asyncio.sleep(1 / REFRESHES_PER_SECOND)
            return pipeline
        told: set[str] = set()
        while not is_done(pipeline):
            await changed.wait()
            changed.clear()
            for key, line in pipeline_lines(pipeline, time_zone):
                if key not in told:
                    told.add(key)
                    console.print(line, highlight=False, soft_wrap=True)
        return pipeline


def pipeline_view(pipeline: Pipeline, time_zone: str) -> RenderableType:
    """Return the whole way on one screen."""
    newest = sorted(pipeline.posts.values(), key=lambda post: post.event_time_nanos)[-POSTS:]
    orders = sorted(pipeline.orders.values(), key=lambda one: one.decision_id)[-ORDERS:]
    parents = [one.execution_id for one in orders if one.execution_id in pipeline.executions][-PARENTS:]
    parts: list[RenderableType] = [
        _heading(pipeline, time_zone),
        posts_table(newest, time_zone),
        signals_table(pipeline),
        decisions_table(orders, time_zone),
    ]
    if pipeline.declined:
        parts.append(Text(f"last declined: {pipeline.declined[-1].reason}", style="dim", overflow="ellipsis"))
    if parents:
        parts.append(progress_table((pipeline.executions[key] for key in parents), time_zone))
    return Group(*parts)


def pipeline_lines(pipeline: Pipeline, time_zone: str) -> Iterable[tuple[str, str]]:
    """Yield a key and a plain line for each thing worth one: alerts, orders, parent orders that are over."""
    for trend in pipeline.trends:
        yield f"trend {trend.sequence}", f"{clock(trend.event_time_nanos, time_zone)}  {trend.message}"
    for one in list(pipeline.orders.values()):
        if one.state not in _IN_PASSING:
            # One that is over before it is first seen was started too; how it ended is its parent's line.
            is_over = one.state == decision_pb2.DECISION_STATE_DONE
            state = "STARTED" if is_over else state_text(one)
            line = f"{clock(one.event_time_nanos, time_zone)}  {state}: {one.reason}"
            yield f"{one.decision_id} {state}", line
    for execution in list(pipeline.executions.values()):
        if execution.state in FINAL_STATES:
            yield f"end {execution.execution_id}", progress_line(execution, time_zone)


_IN_PASSING = frozenset({decision_pb2.DECISION_STATE_RECORDED, decision_pb2.DECISION_STATE_APPROVED})


def posts_table(posts: Iterable[post_pb2.Post], time_zone: str) -> Table:
    """Return one line a post: who says what of whom, and how it was read."""
    table = Table(box=box.SIMPLE_HEAD, title="posts", title_justify="left")
    for heading in ("market time", "source", "of", "read as", "by", "post"):
        table.add_column(heading, no_wrap=True)
    for post in posts:
        link = max(post.links, key=lambda one: abs(one.score), default=None)
        table.add_row(
            clock(post.event_time_nanos, time_zone),
            post.source,
            Text(link.entity if link else "-"),
            _score_text(link.score, link.reading_confidence) if link and link.model_version else Text("-"),
            Text(_reader(link) if link else "-"),
            Text(_clipped(post.text), style="dim" if post.is_duplicate or post.spam_score >= 0.5 else ""),
        )
    return table


def signals_table(pipeline: Pipeline) -> Table:
    """Return one line a symbol: what posts say, and what the signal makes of it."""
    table = Table(box=box.SIMPLE_HEAD, title="sentiment and signals", title_justify="left")
    for heading in ("symbol", "news", "social", "P(up)", "expects", "half-life", "of posts", "but"):
        table.add_column(heading, no_wrap=True, justify="left" if heading in ("symbol", "but") else "right")
    for symbol in sorted({*pipeline.signals, *pipeline.sentiments}):
        sentiment = pipeline.sentiments.get(symbol)
        signal = pipeline.signals.get(symbol)
        table.add_row(
            symbol,
            _aggregate_text(sentiment.news if sentiment else None),
            _aggregate_text(sentiment.social if sentiment else None),
            f"{signal.probability_up:.3f}" if signal else "-",
            _move_text(signal.expected_return_bps) if signal else Text("-"),
            f"{signal.half_life_nanos / NANO / 60:.0f} min" if signal else "-",
            str(len(signal.post_ids)) if signal else "-",
            Text(_restrictions(signal) if signal else "", style="yellow"),
        )
    return table


def decisions_table(orders: Iterable[decision_pb2.Decision], time_zone: str) -> Table:
    """Return one line an order: what, why, and where it stands."""
    table = Table(box=box.SIMPLE_HEAD, title="decisions", title_justify="left")
    for heading in ("market time", "decision", "edge", "cost", "posts", "state", "filled"):
        table.add_column(
            heading, no_wrap=True, justify="right" if heading in ("edge", "cost", "filled") else "left"
        )
    for one in orders:
        action = decision_pb2.Action.Name(one.action).removeprefix("ACTION_")
        table.add_row(
            clock(one.event_time_nanos, time_zone),
            f"{action} {side_name(one.side)} {shares(one.quantity_nanos)} {one.symbol} {one.algorithm}",
            f"{one.edge_bps:.1f} bp",
            f"{one.cost.total_bps:.1f} bp",
            f"{len(one.inputs.post_ids)} by {one.inputs.author_count}",
            state_text(one),
            f"{one.filled_quantity_nanos / one.quantity_nanos:.0%}" if one.quantity_nanos else "-",
        )
    return table


def state_text(decision: decision_pb2.Decision) -> str:
    """Return STARTED, DONE, ... without the enum's prefix."""
    return decision_pb2.DecisionState.Name(decision.state).removeprefix("DECISION_STATE_")


def _heading(pipeline: Pipeline, time_zone: str) -> Text:
    alerts = f", {len(pipeline.trends)} alerts" if pipeline.trends else ""
    last = f"  {pipeline.trends[-1].message}" if pipeline.trends else ""
    return Text.assemble(
        (clock(pipeline.event_time_nanos, time_zone), "bold"),
        f"  {pipeline.post_count:,} posts{alerts}, {len(pipeline.orders)} orders",
        (last, "yellow"),
    )


def _score_text(score: float, confidence: float) -> Text:
    word = "bullish" if score > 0.2 else "bearish" if score < -0.2 else "neutral"
    colour = {"bullish": "green", "bearish": "red", "neutral": "dim"}[word]
    return Text(f"{word} {score:+.2f} ({confidence:.2f})", style=colour)


def _reader(link: post_pb2.PostLink) -> str:
    if not link.model_version:
        return "-"
    return "LLM" if link.is_llm_read else "lexicon, shed" if link.is_shed else "lexicon"


def _aggregate_text(aggregate: sentiment_pb2.Aggregate | None) -> Text:
    if aggregate is None or not aggregate.post_count:
        return Text("-", style="dim")
    style = "green" if aggregate.score > 0.1 else "red" if aggregate.score < -0.1 else ""
    return Text(f"{aggregate.score:+.2f} by {aggregate.author_count}", style=style)


def _move_text(bps: float) -> Text:
    return Text(f"{bps:+.1f} bp", style="green" if bps > 0 else "red" if bps < 0 else "")


def _restrictions(signal: signal_pb2.Signal) -> str:
    found = [words for flag, words in _FLAGS.items() if getattr(signal.flags, flag)]
    if not signal.flags.is_calibrated:
        found.append("uncalibrated")
    return ", ".join(found)


def _clipped(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= TEXT_WIDTH else flat[: TEXT_WIDTH - 3] + "..."
