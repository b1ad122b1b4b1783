"""Portfolio's metrics: names, units and labels."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from servers.portfolio.engine import PortfolioEngine

ORDERS_SEQUENCE = "tapeline_portfolio_orders_sequence"  # gauge: order events taken in
POSITIONS = "tapeline_portfolio_positions"  # gauge: positions that are not flat
REPEATED_FILLS = "tapeline_portfolio_fills_repeated"  # counter (_total): reported again, not booked again
UNKNOWN_REVERSALS = "tapeline_portfolio_reversals_unknown"  # counter (_total): of a fill that is not booked


class PortfolioCollector:
    """Shows the engine's figures to a Prometheus registry on a scrape."""

    def __init__(self, engine: PortfolioEngine) -> None:
        self._engine = engine

    def collect(self) -> Iterable[Metric]:
        """Yield the metric families."""
        ledger = self._engine.ledger
        yield GaugeMetricFamily(ORDERS_SEQUENCE, "Order events taken in.", value=self._engine.orders_sequence)
        count = sum(1 for history in ledger.positions.values() if history.state.quantity_nanos)
        yield GaugeMetricFamily(POSITIONS, "Positions that are not flat.", value=count)
        yield CounterMetricFamily(
            REPEATED_FILLS, "Fills that were booked before.", value=ledger.repeated_fills
        )
        yield CounterMetricFamily(
            UNKNOWN_REVERSALS, "Busts and corrections of unknown fills.", value=ledger.unknown_reversals
        )
