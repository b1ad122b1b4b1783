"""Calls become Prometheus samples, with exemplars for a scraper that reads OpenMetrics."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from servers.runtime.metrics import BOUNDS_SECONDS, CALLS, CLIENT_CALLS, DURATION, CallCollector

LABELS = {"service": "tapeline.test.v1.Echo", "method": "Echo"}


def registry_of(collector: CallCollector) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(collector)
    return registry


@given(st.lists(st.floats(0, 100), max_size=50))
def test_a_histogram_holds_every_observation_once(durations: list[float]) -> None:
    collector = CallCollector()
    figures = collector.served(*LABELS.values())
    for seconds in durations:
        bucket = figures.observe(seconds)
        assert bucket == len(BOUNDS_SECONDS) or seconds <= BOUNDS_SECONDS[bucket]
    registry = registry_of(collector)
    assert registry.get_sample_value(f"{DURATION}_count", LABELS) == len(durations)
    for bound in BOUNDS_SECONDS:
        below = registry.get_sample_value(f"{DURATION}_bucket", {**LABELS, "le": str(bound)})
        assert below == sum(seconds <= bound for seconds in durations)


def test_refusals_are_counted_by_code_and_reason_and_the_rest_is_ok() -> None:
    collector = CallCollector()
    figures = collector.served(*LABELS.values())
    for _ in range(5):
        figures.observe(0.001)
    figures.refuse("NOT_FOUND", "ORDER_NOT_FOUND")
    figures.refuse("NOT_FOUND", "ORDER_NOT_FOUND")
    registry = registry_of(collector)
    ok = registry.get_sample_value(f"{CALLS}_total", {**LABELS, "code": "OK", "reason": ""})
    refused = {**LABELS, "code": "NOT_FOUND", "reason": "ORDER_NOT_FOUND"}
    assert (ok, registry.get_sample_value(f"{CALLS}_total", refused)) == (3, 2)


def test_openmetrics_carries_the_trace_of_a_slow_call() -> None:
    collector = CallCollector()
    figures = collector.served(*LABELS.values())
    figures.exemplars[figures.observe(0.3)] = ("ab" * 16, 0.3, 1_700_000_000.0)
    text = generate_openmetrics(registry_of(collector)).decode()
    exemplars = {
        sample.labels["le"]: sample.exemplar.labels["trace_id"]
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.exemplar is not None
    }
    assert exemplars == {"0.5": "ab" * 16}


def test_peers_and_gauges_are_shown_beside_them() -> None:
    collector = CallCollector()
    collector.called("risk", "tapeline.risk.v1.RiskService/CheckOrder").refuse("UNAVAILABLE", "")
    collector.gauge("tapeline_test_gauge", "A gauge.", lambda: 42.0)
    text = generate_latest(registry_of(collector)).decode()
    assert "tapeline_test_gauge 42.0" in text
    assert CLIENT_CALLS in text
    assert 'peer="risk"' in text
