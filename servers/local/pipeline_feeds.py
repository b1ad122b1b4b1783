"""From posts to fills as it happens: what the servers on the way stream, gathered in one place."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from tapeline.decision.v1 import decision_pb2, decision_service_pb2
from tapeline.decision.v1.decision_service_pb2_grpc import DecisionServiceStub
from tapeline.execution.v1 import execution_pb2, execution_service_pb2
from tapeline.execution.v1.execution_service_pb2_grpc import ExecutionServiceStub
from tapeline.news.v1 import news_service_pb2, post_pb2, sentiment_pb2
from tapeline.news.v1.news_service_pb2_grpc import NewsServiceStub
from tapeline.signals.v1 import signal_pb2, signals_service_pb2
from tapeline.signals.v1.signals_service_pb2_grpc import SignalsServiceStub

RECENT = 200
PAUSE_SECONDS = 0.25

ChannelOf = Callable[[str], grpc.aio.Channel]


@dataclass
class Pipeline:
    """What has been seen. The methods take the streams' messages; `version` counts what they changed.

    Attributes:
        posts: the newest, by id, oldest first; a deleted one is dropped.
        declined: the newest decisions to do nothing.
        executions: parent orders of decisions, by id.
    """

    posts: dict[str, post_pb2.Post] = field(default_factory=dict)
    post_count: int = 0
    sentiments: dict[str, sentiment_pb2.EntitySentiment] = field(default_factory=dict)
    trends: deque[sentiment_pb2.Trend] = field(default_factory=lambda: deque(maxlen=RECENT))
    signals: dict[str, signal_pb2.Signal] = field(default_factory=dict)
    orders: dict[str, decision_pb2.Decision] = field(default_factory=dict)
    declined: deque[decision_pb2.Decision] = field(default_factory=lambda: deque(maxlen=RECENT))
    executions: dict[str, execution_pb2.Execution] = field(default_factory=dict)
    event_time_nanos: int = 0
    version: int = 0
    _early: dict[str, execution_pb2.Execution] = field(default_factory=dict)

    def take_posts(self, message: news_service_pb2.StreamPostsResponse) -> None:
        """Take in posts as they are written, read, edited and deleted."""
        for change in message.changes:
            post = change.post
            known = self.posts.pop(post.post_id, None)
            if post.state == post_pb2.POST_STATE_DELETED:
                continue
            self.post_count += known is None
            self.posts[post.post_id] = post
            while len(self.posts) > RECENT:
                del self.posts[next(iter(self.posts))]
            self._reach(post.event_time_nanos)
        self.version += bool(message.changes)

    def take_sentiment(self, message: news_service_pb2.StreamSentimentResponse) -> None:
        """Take in what posts say of entities."""
        for sentiment in message.sentiments:
            self.sentiments[sentiment.entity] = sentiment
        self._reach(message.event_time_nanos)
        self.version += bool(message.sentiments)

    def take_trends(self, message: news_service_pb2.StreamTrendsResponse) -> None:
        """Take in alerts."""
        self.trends.extend(message.trends)
        self.version += bool(message.trends)

    def take_signals(self, message: signals_service_pb2.StreamSignalsResponse) -> None:
        """Take in signals."""
        for signal in message.signals:
            self.signals[signal.symbol] = signal
        self._reach(message.event_time_nanos)
        self.version += bool(message.signals)

    def take_decisions(self, message: decision_service_pb2.StreamDecisionsResponse) -> None:
        """Take in decisions and what becomes of them."""
        for event in message.events:
            if not event.HasField("decision"):
                continue
            decision = event.decision
            if decision.action != decision_pb2.ACTION_NONE:
                self.orders[decision.decision_id] = decision
            elif event.kind == decision_pb2.DECISION_EVENT_KIND_DECIDED:
                self.declined.append(decision)
            if decision.execution_id in self._early:
                self.executions[decision.execution_id] = self._early.pop(decision.execution_id)
            self._reach(event.event_time_nanos)
        self.version += bool(message.events)

    def take_executions(self, message: execution_service_pb2.StreamExecutionEventsResponse) -> None:
        """Take in progress of the parent orders that decisions started; other people's are not shown."""
        known = {one.execution_id for one in self.orders.values()}
        for event in message.events:
            execution = event.execution
            is_known = execution.execution_id in known
            (self.executions if is_known else self._early)[execution.execution_id] = execution
            while len(self._early) > RECENT:
                del self._early[next(iter(self._early))]
        self.version += bool(message.events)

    @property
    def filled(self) -> list[decision_pb2.Decision]:
        """Decisions with post ids whose parent order has filled something, oldest first."""
        return [one for one in self.orders.values() if one.inputs.post_ids and one.filled_quantity_nanos > 0]

    def _reach(self, time_nanos: int) -> None:
        self.event_time_nanos = max(self.event_time_nanos, time_nanos)


@asynccontextmanager
async def following(channel_of: ChannelOf, changed: Callable[[], None]) -> AsyncIterator[Pipeline]:
    """Follow news, signals, decision and execution for as long as the context is open.

    A server that is not there, or goes away, is tried again; what it said before stays. `changed` is called
    after each message that changes something.
    """
    pipeline = Pipeline()
    news = NewsServiceStub(channel_of("news"))
    signals = SignalsServiceStub(channel_of("signals"))
    decision = DecisionServiceStub(channel_of("decision"))
    execution = ExecutionServiceStub(channel_of("execution"))
    posts_sequence = decisions_sequence = executions_sequence = 0

    def posts(message: news_service_pb2.StreamPostsResponse) -> None:
        nonlocal posts_sequence
        pipeline.take_posts(message)
        posts_sequence = message.sequence_reached

    def decisions(message: decision_service_pb2.StreamDecisionsResponse) -> None:
        nonlocal decisions_sequence
        pipeline.take_decisions(message)
        decisions_sequence = message.sequence_reached

    def executions(message: execution_service_pb2.StreamExecutionEventsResponse) -> None:
        nonlocal executions_sequence
        pipeline.take_executions(message)
        executions_sequence = message.sequence_reached

    streams: tuple[tuple[Callable[[], Any], Callable[[Any], None]], ...] = (
        (
            lambda: news.StreamPosts(
                news_service_pb2.StreamPostsRequest(resume_after_sequence=posts_sequence)
            ),
            posts,
        ),
        (lambda: news.StreamSentiment(news_service_pb2.StreamSentimentRequest()), pipeline.take_sentiment),
        (lambda: news.StreamTrends(news_service_pb2.StreamTrendsRequest()), pipeline.take_trends),
        (lambda: signals.StreamSignals(signals_service_pb2.StreamSignalsRequest()), pipeline.take_signals),
        (
            lambda: decision.StreamDecisions(
                decision_service_pb2.StreamDecisionsRequest(resume_after_sequence=decisions_sequence)
            ),
            decisions,
        ),
        (
            lambda: execution.StreamExecutionEvents(
                execution_service_pb2.StreamExecutionEventsRequest(resume_after_sequence=executions_sequence)
            ),
            executions,
        ),
    )

    async def follow(open_stream: Callable[[], Any], take: Callable[[Any], None]) -> None:
        while True:
            try:
                async for message in open_stream():
                    before = pipeline.version
                    take(message)
                    if pipeline.version != before:
                        changed()
            except grpc.aio.AioRpcError:
                pass  # not there, or gone: what it said before stays on the screen
            await asyncio.sleep(PAUSE_SECONDS)

    tasks = [asyncio.create_task(follow(open_stream, take)) for open_stream, take in streams]
    try:
        yield pipeline
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
