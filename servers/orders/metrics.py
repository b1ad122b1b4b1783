"""What the orders server measures. Counts are plain integers on the loop, shown when somebody scrapes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

COUNTERS = {
    "tapeline_orders_accepted": "Orders journalled and acknowledged.",
    "tapeline_orders_rejected": "Orders refused by risk or by the venue.",
    "tapeline_orders_fills": "Fills booked.",
    "tapeline_orders_unknown": "Orders whose fate the venue left open.",
    "tapeline_orders_overfilled": "Fills that took an order above its quantity.",
    "tapeline_orders_foreign_reports": "Venue reports of orders that are not ours.",
    "tapeline_orders_commits": "Journal commits; events by it is the size of a group.",
    "tapeline_orders_events": "Events journalled.",
}
GAUGES = {
    "tapeline_orders_working": "Orders that have not ended.",
    "tapeline_orders_outbox_depth": "Messages that the venue has not taken yet.",
    "tapeline_orders_venue_report_sequence": "Venue's sequence up to which its reports are booked.",
    "tapeline_orders_accepting": "1 when new orders are accepted, 0 while reconciling.",
}


class OrderMetrics:
    """Shows figures that `read` returns, by the names above without their prefix."""

    def __init__(self, registry: CollectorRegistry, read: Callable[[], dict[str, float]]) -> None:
        self._read = read
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """Yield the metric families; called by the registry on a scrape."""
        figures = self._read()
        for name, documentation in COUNTERS.items():
            yield CounterMetricFamily(name, documentation, value=figures[name.removeprefix(_PREFIX)])
        for name, documentation in GAUGES.items():
            yield GaugeMetricFamily(name, documentation, value=figures[name.removeprefix(_PREFIX)])


_PREFIX = "tapeline_orders_"
