"""Risk's metrics: names, units and labels."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from servers.risk.engine import RiskEngine

APPROVED = "tapeline_risk_checks_approved"  # counter (_total)
REFUSED = "tapeline_risk_checks_refused"  # counter (_total); reason
OPEN_ORDERS = "tapeline_risk_open_orders"  # gauge; account
GROSS_EXPOSURE = "tapeline_risk_gross_exposure"  # gauge, currency units; account
KILL_SWITCH = "tapeline_risk_kill_switch"  # gauge, 1 on; account ("" is all)
FEED_SILENCE = "tapeline_risk_feed_silence_seconds"  # gauge, wall seconds without market time
EXPIRED = "tapeline_risk_reservations_expired"  # counter (_total): checked, and never appeared


class RiskCollector:
    """Shows the engine's figures to a Prometheus registry on a scrape."""

    def __init__(self, engine: RiskEngine) -> None:
        self._engine = engine
        self.expired = 0

    def collect(self) -> Iterable[Metric]:
        """Yield the metric families."""
        engine = self._engine
        yield CounterMetricFamily(APPROVED, "Checks that were approved.", value=engine.approved)
        refused = CounterMetricFamily(REFUSED, "Checks that were refused, by reason.", labels=("reason",))
        for reason, count in engine.refused.items():
            refused.add_metric((reason,), count)
        yield refused
        orders = GaugeMetricFamily(OPEN_ORDERS, "Live orders.", labels=("account",))
        gross = GaugeMetricFamily(GROSS_EXPOSURE, "Sum of absolute exposures.", labels=("account",))
        for account, book in list(engine.books.accounts.items()):
            orders.add_metric((account,), len(book.orders))
            total = sum(report.gross_attos for report in engine.exposures(account).values())
            gross.add_metric((account,), total / 1e18)
        yield orders
        yield gross
        switches = GaugeMetricFamily(KILL_SWITCH, "Whether trading is stopped.", labels=("account",))
        for name, switch in engine.controls.switches.items():
            switches.add_metric((name,), switch.is_on)
        yield switches
        yield GaugeMetricFamily(
            FEED_SILENCE, "Wall time without an advance of market time.", value=engine.feed_silence_seconds()
        )
        yield CounterMetricFamily(EXPIRED, "Reservations that nothing followed.", value=self.expired)
