"""Signals' metrics: names, units and labels."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from servers.signals.engine import SignalsEngine

MADE = "tapeline_signals_made"  # counter (_total): signals computed
TOLD = "tapeline_signals_told"  # counter (_total): signals that changed enough to be streamed
FAILED_LOOKS = "tapeline_signals_looks_failed"  # counter (_total): looks at a symbol that a peer spoilt
PRESENT = "tapeline_signals_present"  # gauge: symbols with a signal
PRICE_ONLY = "tapeline_signals_price_only"  # gauge: of those, the ones without posts
STALE = "tapeline_signals_stale"  # gauge: of those, the ones too old to use
MODEL = "tapeline_signals_model_info"  # gauge, label version: 1 for the model that answers


class SignalsCollector:
    """Shows the engine's figures to a Prometheus registry on a scrape."""

    def __init__(self, engine: SignalsEngine) -> None:
        self._engine = engine

    def collect(self) -> Iterable[Metric]:
        """Yield the metric families."""
        engine = self._engine
        present = [engine.signal(symbol) for symbol in engine.symbols()]
        yield CounterMetricFamily(MADE, "Signals computed.", value=engine.made_signals)
        yield CounterMetricFamily(TOLD, "Signals streamed.", value=engine.told_signals)
        yield CounterMetricFamily(
            FAILED_LOOKS, "Looks at a symbol that a peer spoilt.", value=engine.failed_looks
        )
        yield GaugeMetricFamily(PRESENT, "Symbols with a signal.", value=len(present))
        yield GaugeMetricFamily(
            PRICE_ONLY,
            "Signals without posts.",
            value=sum(signal.flags.price_only for signal in present),
        )
        yield GaugeMetricFamily(
            STALE, "Signals too old to use.", value=sum(signal.flags.is_stale for signal in present)
        )
        model = GaugeMetricFamily(MODEL, "The model that answers.", labels=("version",))
        model.add_metric((engine.model.version,), 1.0)
        yield model
