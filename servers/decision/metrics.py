"""What decision measures: names, units and labels, in one place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from servers.decision.domain.sizing import Action
from servers.decision.engine import DecisionEngine
from servers.model.nanos import ATTO

ORDERS = "tapeline_decision_orders"  # counter (_total); action: OPEN, ADD, REDUCE, CLOSE
DECLINED = "tapeline_decision_declined"  # counter (_total); reason: recorded decisions to do nothing
OPEN = "tapeline_decision_open"  # gauge; state: decisions that are not final
SIGNALS = "tapeline_decision_signals"  # gauge: symbols with a signal
AUTOPILOT = "tapeline_decision_autopilot"  # gauge: 1 when orders go by themselves
KILLED = "tapeline_decision_killed"  # gauge: 1 while risk's kill switch holds the account
NET_PROFIT = "tapeline_decision_net_profit"  # gauge, currency units; strategy
TURNOVER = "tapeline_decision_turnover"  # gauge, currency units; strategy


class DecisionCollector(Collector):
    """Shows the book to a Prometheus registry, read when somebody scrapes."""

    def __init__(self, engine: DecisionEngine) -> None:
        self._engine = engine

    def collect(self) -> Iterable[Metric]:
        """Yield the metric families."""
        engine, book = self._engine, self._engine.book
        actions = Counter(one.action for one in book.decisions.values())
        orders = CounterMetricFamily(ORDERS, "Orders decided.", labels=("action",))
        for action in Action:
            if action is not Action.NONE:
                orders.add_metric((action.name,), actions[action])
        yield orders
        declined = CounterMetricFamily(DECLINED, "Decisions to do nothing.", labels=("reason",))
        for reason, count in sorted(book.declined.items()):
            declined.add_metric((reason,), count)
        yield declined
        states = Counter(one.state for one in book.open.values())
        waiting = GaugeMetricFamily(OPEN, "Decisions that are not final.", labels=("state",))
        for state, count in sorted(states.items()):
            waiting.add_metric((state.name,), count)
        yield waiting
        yield GaugeMetricFamily(SIGNALS, "Symbols with a signal.", value=len(engine.signals))
        yield GaugeMetricFamily(AUTOPILOT, "1 when orders go by themselves.", value=int(book.is_autopilot))
        yield GaugeMetricFamily(KILLED, "1 while the kill switch is on.", value=int(engine.is_killed))
        profit = GaugeMetricFamily(NET_PROFIT, "Profit after costs.", labels=("strategy",))
        turnover = GaugeMetricFamily(TURNOVER, "Sum of what was bought and sold.", labels=("strategy",))
        for strategy, ledger in sorted(book.ledgers.items()):
            profit.add_metric((strategy,), ledger.net_profit_attos(engine.market.mids_nanos) / ATTO)
            turnover.add_metric((strategy,), ledger.turnover_attos / ATTO)
        yield from (profit, turnover)
