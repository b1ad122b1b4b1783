"""Intelligence's metrics: names, units and labels."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily

from servers.intelligence.domain.sentiment import Answerer, FallbackReason
from servers.intelligence.engine import IntelligenceEngine

ITEMS = "tapeline_intelligence_items"  # counter (_total); answered_by
FALLBACKS = "tapeline_intelligence_fallbacks"  # counter (_total); reason ("shed" among them)
CACHED = "tapeline_intelligence_items_cached"  # counter (_total)
UNCALIBRATED = "tapeline_intelligence_items_uncalibrated"  # counter (_total)
FORGOTTEN = "tapeline_intelligence_answers_forgotten"  # counter (_total): removed by ForgetTexts
LATENCY = "tapeline_intelligence_item_seconds"  # summary (_sum, _count): arrival to answer
KEPT = "tapeline_intelligence_answers_kept"  # gauge
QUEUED = "tapeline_intelligence_queued_texts"  # gauge
QUEUE_AGE = "tapeline_intelligence_queue_age_seconds"  # gauge: age of the oldest text that waits
MODEL_UP = "tapeline_intelligence_model_up"  # gauge, 1 asked; answerer, version
MODEL_FAILURES = "tapeline_intelligence_model_failures"  # counter (_total); version
ROLLOUT_STATE = "tapeline_intelligence_rollout_state"  # gauge: RolloutState of the contract
ROLLOUT_SHARE = "tapeline_intelligence_rollout_share"  # gauge: share of entities that the candidate answers
ROLLOUT_EVIDENCE = "tapeline_intelligence_rollout_evidence"  # gauge; test


class IntelligenceCollector:
    """Shows the engine's figures to a Prometheus registry on a scrape."""

    def __init__(self, engine: IntelligenceEngine) -> None:
        self._engine = engine

    def collect(self) -> Iterable[Metric]:
        """Yield the metric families."""
        engine, totals = self._engine, self._engine.totals
        items = CounterMetricFamily(ITEMS, "Items answered.", labels=["answered_by"])
        for answerer in Answerer:
            items.add_metric([answerer.name.lower()], totals.by_answerer[answerer])
        yield items
        fallbacks = CounterMetricFamily(
            FALLBACKS, "Items that were not answered by the version meant for them.", labels=["reason"]
        )
        for reason in FallbackReason:
            if reason is not FallbackReason.NONE:
                fallbacks.add_metric([reason.name.lower()], totals.by_reason[reason])
        yield fallbacks
        yield CounterMetricFamily(CACHED, "Items answered from kept answers.", value=totals.cached)
        yield CounterMetricFamily(
            UNCALIBRATED, "Items of sources without calibration.", value=totals.uncalibrated
        )
        yield CounterMetricFamily(FORGOTTEN, "Kept answers removed by deletions.", value=totals.forgotten)
        yield SummaryMetricFamily(
            LATENCY,
            "Time from arrival to answer.",
            count_value=totals.items,
            sum_value=totals.latency_seconds,
        )
        yield GaugeMetricFamily(KEPT, "Answers kept.", value=len(engine.answers))
        count, age = engine.queued()
        yield GaugeMetricFamily(QUEUED, "Texts that wait for a model.", value=count)
        yield GaugeMetricFamily(QUEUE_AGE, "Age of the oldest text that waits.", value=age)
        yield from self._models()
        yield from self._rollout()

    def _models(self) -> Iterable[Metric]:
        up = GaugeMetricFamily(MODEL_UP, "Whether a model is asked.", labels=["answerer", "version"])
        for answerer, model in self._engine.models():
            up.add_metric([answerer.name.lower(), model.version], not model.unavailable_reason)
        yield up
        failures = CounterMetricFamily(MODEL_FAILURES, "Calls that failed.", labels=["version"])
        for (role, version), lane in self._engine.lanes.items():
            failures.add_metric([f"{role.name.lower()}/{version}"], lane.failed_calls)
        yield failures

    def _rollout(self) -> Iterable[Metric]:
        conductor = self._engine.conductor
        rollout = conductor.rollout
        yield GaugeMetricFamily(ROLLOUT_STATE, "State of the roll-out.", value=rollout.state)
        share = rollout.stage.share if rollout.is_on_trial else 0.0
        yield GaugeMetricFamily(ROLLOUT_SHARE, "Share of entities of the candidate.", value=share)
        evidence = GaugeMetricFamily(ROLLOUT_EVIDENCE, "Evidence of the trial.", labels=["test"])
        if conductor.trial is not None:
            figures = conductor.trial.figures()
            for test in ("agreement", "error", "latency", "accuracy", "calibration", "sample_ratio"):
                evidence.add_metric([test], getattr(figures, f"{test}_evidence"))
        yield evidence
