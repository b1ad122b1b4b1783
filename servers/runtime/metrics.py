"""The runtime's own metrics: their names, units and labels, and the per-call figures behind them.

Calls are counted in plain integers on the event loop and become Prometheus samples only when somebody
scrapes: one observation costs a bisection and two additions, a tenth of a `Histogram.observe`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.samples import Exemplar

DURATION = (
    "tapeline_rpc_server_duration_seconds"  # histogram; service, method; answered or streamed to the end
)
CALLS = "tapeline_rpc_server_calls"  # counter (_total); service, method, code, reason
IN_FLIGHT = "tapeline_rpc_server_in_flight"  # gauge; service, method
CONCURRENCY_LIMIT = "tapeline_rpc_server_concurrency_limit"  # gauge
LOOP_LAG = "tapeline_event_loop_lag_seconds"  # gauge
CLIENT_CALLS = "tapeline_rpc_client_calls"  # counter (_total); peer, method, code
CLIENT_DURATION = "tapeline_rpc_client_duration_seconds"  # histogram; peer, method
SPANS_DROPPED = "tapeline_spans_dropped"  # counter (_total)

BOUNDS_SECONDS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
_BOUND_NAMES = [*(str(bound) for bound in BOUNDS_SECONDS), "+Inf"]


class CallFigures:
    """Rate, errors and duration of one method."""

    __slots__ = ("buckets", "exemplars", "in_flight", "labels", "refused", "total_seconds")

    def __init__(self, labels: tuple[str, ...]) -> None:
        self.labels = labels
        self.in_flight = 0
        self.total_seconds = 0.0
        self.buckets = [0] * (len(BOUNDS_SECONDS) + 1)
        self.exemplars: list[tuple[str, float, float] | None] = [None] * (len(BOUNDS_SECONDS) + 1)
        self.refused: dict[tuple[str, str], int] = {}

    def observe(self, seconds: float) -> int:
        """Count one finished call and return its bucket, for an exemplar."""
        bucket = bisect_left(BOUNDS_SECONDS, seconds)
        self.buckets[bucket] += 1
        self.total_seconds += seconds
        return bucket

    def refuse(self, code: str, reason: str) -> None:
        """Count one call that did not end with OK."""
        key = (code, reason)
        self.refused[key] = self.refused.get(key, 0) + 1


class CallCollector:
    """Shows the figures of all methods to a Prometheus registry."""

    def __init__(self) -> None:
        self._figures: dict[tuple[str, ...], CallFigures] = {}
        self._client_figures: dict[tuple[str, ...], CallFigures] = {}
        self._gauges: list[tuple[str, str, Callable[[], float]]] = []
        self._counters: list[tuple[str, str, Callable[[], float]]] = []

    def served(self, service: str, method: str) -> CallFigures:
        """Return the figures of a method that this server serves."""
        labels = (service, method)
        return self._figures.setdefault(labels, CallFigures(labels))

    def called(self, peer: str, method: str) -> CallFigures:
        """Return the figures of a method of `peer` that this server calls."""
        labels = (peer, method)
        return self._client_figures.setdefault(labels, CallFigures(labels))

    def gauge(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        """Show `read()` under `name`."""
        self._gauges.append((name, documentation, read))

    def counter(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        """Show `read()`, which never falls, under `name`."""
        self._counters.append((name, documentation, read))

    def collect(self) -> Iterable[Metric]:
        """Yield the metric families; called by the registry on a scrape."""
        names = ("service", "method")
        yield _durations(DURATION, "Time from decoding to the answer.", names, self._figures.values())
        yield _calls(CALLS, "Calls by status code and reason.", names, self._figures.values())
        in_flight = GaugeMetricFamily(IN_FLIGHT, "Calls being served.", labels=names)
        for figures in self._figures.values():
            in_flight.add_metric(figures.labels, figures.in_flight)
        yield in_flight
        names = ("peer", "method")
        clients = self._client_figures.values()
        yield _durations(CLIENT_DURATION, "Time of a call to a peer, retries included.", names, clients)
        yield _calls(CLIENT_CALLS, "Calls to peers by status code and reason.", names, clients)
        for name, documentation, read in self._gauges:
            yield GaugeMetricFamily(name, documentation, value=read())
        for name, documentation, read in self._counters:
            yield CounterMetricFamily(name, documentation, value=read())


def _durations(
    name: str, documentation: str, labels: tuple[str, ...], all_figures: Iterable[CallFigures]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, documentation, labels=labels)
    for figures in all_figures:
        running = 0
        buckets: list[object] = []
        for bound, count, seen in zip(_BOUND_NAMES, figures.buckets, figures.exemplars, strict=True):
            running += count
            exemplar = None if seen is None else Exemplar({"trace_id": seen[0]}, seen[1], seen[2])
            buckets.append((bound, running, exemplar))
        family.add_metric(figures.labels, buckets, sum_value=figures.total_seconds)  # type: ignore[arg-type]  # its annotation lacks the exemplar
    return family


def _calls(
    name: str, documentation: str, labels: tuple[str, ...], all_figures: Iterable[CallFigures]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, documentation, labels=(*labels, "code", "reason"))
    for figures in all_figures:
        answered = sum(figures.buckets) - sum(figures.refused.values())
        family.add_metric((*figures.labels, "OK", ""), answered)
        for (code, reason), count in figures.refused.items():
            family.add_metric((*figures.labels, code, reason), count)
    return family
