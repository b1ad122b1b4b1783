"""The exchange's metrics: names, units and labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

COUNTERS = {
    "accepted": ("tapeline_exchange_orders_accepted", "Orders that the venue took."),
    "rejected": ("tapeline_exchange_orders_rejected", "Orders that the venue refused."),
    "fills": ("tapeline_exchange_fills", "Fills of participants' orders."),
    "cancelled": ("tapeline_exchange_orders_cancelled", "Orders cancelled, by request or by the venue."),
    "pacers_dropped": ("tapeline_exchange_pacers_dropped", "Pacers that were silent for too long."),
}
GAUGES = {
    "working": ("tapeline_exchange_orders_working", "Orders in the books."),
    "subscribers": ("tapeline_exchange_subscribers", "Readers of market data."),
    "pacers": ("tapeline_exchange_pacers", "Subscribers that the venue waits for, idle ones included."),
    "market_time": (
        "tapeline_exchange_market_time_seconds",
        "Market time that was published, UTC epoch seconds.",
    ),
    "report_sequence": ("tapeline_exchange_report_sequence", "Sequence of the last report."),
}


class ExchangeMetrics:
    """Shows figures to a Prometheus registry when it is scraped.

    Args:
        read: returns every name of COUNTERS and GAUGES.
    """

    def __init__(self, registry: CollectorRegistry, read: Callable[[], Mapping[str, float]]) -> None:
        self._read = read
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """Yield the metric families."""
        figures = self._read()
        for key, (name, documentation) in COUNTERS.items():
            yield CounterMetricFamily(name, documentation, value=figures[key])
        for key, (name, documentation) in GAUGES.items():
            yield GaugeMetricFamily(name, documentation, value=figures[key])
