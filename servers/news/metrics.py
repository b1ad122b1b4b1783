"""What news measures: names, units and labels, in one place."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from servers.news.engine import NewsEngine

POSTS = "tapeline_news_posts"  # counter (_total); outcome: see OUTCOMES
OUTCOMES = (
    *("taken", "repeated", "empty", "duplicate", "spam", "unlinked"),
    *("read", "shed", "unread", "edited", "deleted"),
)
WAITING = "tapeline_news_waiting_posts"  # gauge: posts that have not been read yet
KEPT = "tapeline_news_kept_posts"  # gauge: posts that have not faded
TRENDS = "tapeline_news_trends"  # counter (_total): alerts


class NewsCollector(Collector):
    """Shows the desk to a Prometheus registry, read when somebody scrapes."""

    def __init__(self, engine: NewsEngine) -> None:
        self._engine = engine

    def collect(self) -> Iterable[Metric]:
        """Yield the metric families."""
        engine = self._engine
        posts = CounterMetricFamily(POSTS, "Posts, by what became of them.", labels=("outcome",))
        for outcome in OUTCOMES:
            posts.add_metric((outcome,), engine.counts[outcome])
        yield posts
        yield GaugeMetricFamily(WAITING, "Posts that have not been read yet.", value=engine.waiting_count)
        yield GaugeMetricFamily(KEPT, "Posts that have not faded.", value=len(engine.desk.posts))
        yield CounterMetricFamily(TRENDS, "Alerts.", value=engine.desk.trend_count)
