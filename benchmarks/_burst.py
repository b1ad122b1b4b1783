"""One burst of the simulated world, followed from its first post to the signal that it makes."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tapeline.news.v1 import news_service_pb2, sentiment_pb2
from tapeline.signals.v1 import signals_service_pb2

from benchmarks._news_mesh import NewsMesh, news_mesh
from servers.model.nanos import NANO
from servers.news.domain.bursts import FEWEST_AUTHORS

SYMBOL, SEED, DATE = "ACME", 1_717, "2026-11-23"
"""Of this world: a strong event that people speak of first, 435 seconds after the open."""
EVENT_NANOS = round(datetime(2026, 11, 23, 14, 30, tzinfo=UTC).timestamp()) * NANO + 435 * NANO
FAST, SLOW = 60.0, 5.0
"""Market seconds a second: up to the event, and from shortly before it on."""
BEFORE_NANOS = 25 * NANO
PATIENCE_SECONDS = 240.0


@dataclass(frozen=True, slots=True)
class BurstTimes:
    """Market times, UTC epoch nanoseconds.

    Attributes:
        first_post: when the first post of the burst was written.
        alert: of the alert of news.
        signal: of the first published signal that rests on at least `FEWEST_AUTHORS` posts of the burst.
        is_lexicon_only: whether no LLM read what that signal rests on.
    """

    first_post: int
    alert: int
    signal: int
    is_lexicon_only: bool
    probability_up: float

    @property
    def alert_seconds(self) -> float:
        """Return the market time from the first post to the alert."""
        return (self.alert - self.first_post) / NANO

    @property
    def signal_seconds(self) -> float:
        """Return the market time from the first post to the published signal."""
        return (self.signal - self.first_post) / NANO


async def follow_burst(folder: Path) -> BurstTimes:
    """Run the simulated market and its posts through real servers and a real Triton up to the signal."""
    settings = {
        "exchange": {
            "date": DATE,
            "speed": f"{FAST:g}",
            "hold": "true",
            "pre_open_seconds": "1",
            "social_seed": str(SEED),
        },
        "news": {"social_seed": str(SEED)},
    }
    async with news_mesh(folder, settings) as mesh, asyncio.timeout(PATIENCE_SECONDS):
        alert = asyncio.create_task(_alert(mesh))
        signals = asyncio.create_task(_signals(mesh))
        await mesh.release()
        while await mesh.market_time_nanos() < EVENT_NANOS - BEFORE_NANOS:  # noqa: ASYNC110 - a clock elsewhere
            await asyncio.sleep(0.02)
        await mesh.set_speed(SLOW)
        alerted = await alert
        signal, first = await signals
    return BurstTimes(
        first, alerted, signal.event_time_nanos, signal.flags.lexicon_only, signal.probability_up
    )


async def _alert(mesh: NewsMesh) -> int:
    async for message in mesh.news.StreamTrends(news_service_pb2.StreamTrendsRequest()):
        for trend in message.trends:
            if trend.entity == SYMBOL and trend.kind == sentiment_pb2.TREND_KIND_BURST:
                return int(trend.event_time_nanos)
    raise RuntimeError("the stream of alerts has ended")


async def _signals(mesh: NewsMesh) -> tuple[Any, int]:
    """Return the first signal that rests on the burst, and when the burst's first post was written."""
    request = signals_service_pb2.StreamSignalsRequest(symbols=[SYMBOL])
    async for message in mesh.signals.StreamSignals(request):
        for signal in message.signals:
            burst = await _posts_of_burst(mesh)
            if len(burst.keys() & set(signal.post_ids)) >= FEWEST_AUTHORS:
                return signal, min(burst.values())
    raise RuntimeError("the stream of signals has ended")


async def _posts_of_burst(mesh: NewsMesh) -> dict[str, int]:
    answer = await mesh.news.ListPosts(news_service_pb2.ListPostsRequest(entity=SYMBOL, page_size=200))
    return {
        post.post_id: post.event_time_nanos for post in answer.posts if post.event_time_nanos >= EVENT_NANOS
    }
