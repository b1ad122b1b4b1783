"""What execution measures: names, units and labels, in one place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from servers.execution.book import ParentBook
from servers.execution.domain.events import ExecutionState

PARENTS = "tapeline_execution_parents"  # gauge; state
FILLED = "tapeline_execution_filled_share"  # gauge; execution_id, of parents that are not over
PARTICIPATION = "tapeline_execution_participation_rate"  # gauge; execution_id; likewise
SCHEDULE_LAG = "tapeline_execution_schedule_lag_share"  # gauge; execution_id; behind plan
SLIPPAGE = "tapeline_execution_slippage_vwap_bps"  # gauge; execution_id; positive is a cost
OUT_OF_BAND = "tapeline_execution_out_of_band"  # gauge; execution_id, reason; 1 while it is


class ExecutionCollector(Collector):
    """Shows the parents to a Prometheus registry, read when somebody scrapes."""

    def __init__(self, book: ParentBook) -> None:
        self._book = book

    def collect(self) -> Iterable[Metric]:
        """Yield the metric families."""
        counts = Counter(parent.state for parent in self._book.parents.values())
        parents = GaugeMetricFamily(PARENTS, "Parent orders by state.", labels=("state",))
        for state in ExecutionState:
            parents.add_metric((state.name,), counts[state])
        yield parents
        labels = ("execution_id",)
        filled = GaugeMetricFamily(FILLED, "Share of the quantity that is filled.", labels=labels)
        share = GaugeMetricFamily(PARTICIPATION, "Own share of eligible volume since arrival.", labels=labels)
        lag = GaugeMetricFamily(
            SCHEDULE_LAG, "Scheduled less filled, as a share of the quantity.", labels=labels
        )
        slippage = GaugeMetricFamily(
            SLIPPAGE, "Slippage against the market's VWAP since arrival, basis points.", labels=labels
        )
        out_of_band = GaugeMetricFamily(
            OUT_OF_BAND, "Whether a control or a fallback holds the parent.", labels=(*labels, "reason")
        )
        for execution_id, working in self._book.working.items():
            parent = working.parent
            planned = working.scheduled_nanos(self._book.now_nanos)
            filled.add_metric((execution_id,), parent.filled_quantity_nanos / parent.quantity_nanos)
            share.add_metric((execution_id,), working.figures.participation_rate)
            lag.add_metric((execution_id,), (planned - parent.filled_quantity_nanos) / parent.quantity_nanos)
            view = self._book.view(execution_id)
            slippage.add_metric((execution_id,), view.slippage_vwap_bps)
            for reason, is_out in working.out_of_band().items():
                out_of_band.add_metric((execution_id, reason), float(is_out))
        yield from (filled, share, lag, slippage, out_of_band)
