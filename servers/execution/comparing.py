"""Finished parents as rows of transaction cost analysis, and the comparison of their algorithms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from servers.execution.domain.events import ExecutionState
from servers.execution.domain.experiments import Experiment, ExperimentBook, stratum_of
from servers.execution.domain.impact import ImpactModel
from servers.execution.domain.parameters import DAY_NANOS, HOUR_NANOS
from servers.execution.domain.parent import ParentOrder
from servers.execution.domain.report import ExecutionReport
from servers.model.errors import NotFound
from servers.model.nanos import NANO
from servers.tca import Difference, Dimension, FinishedOrder, Group, compare, group


@dataclass(frozen=True, slots=True)
class Comparison:
    """See tapeline.execution.v1.Comparison for each field."""

    groups: Sequence[Group]
    differences: Sequence[Difference]
    order_count: int
    session_count: int
    left_out_count: int
    experiment: Experiment | None
    note: str


def compare_parents(
    parents: Iterable[ParentOrder],
    experiments: ExperimentBook,
    impact: ImpactModel,
    name: str,
    account: str,
    symbol: str,
) -> Comparison:
    """Return what finished parents cost by algorithm. Blocks: run it beside the event loop.

    Args:
        impact: says what trading the rest that a parent left would cost.
        name: of an experiment, empty for all parents; `account` and `symbol` likewise.

    Raises NotFound EXPERIMENT_NOT_FOUND.
    """
    experiment = experiments.experiments.get(name) if name else None
    if name and experiment is None:
        raise NotFound("EXPERIMENT_NOT_FOUND", f"no experiment {name[:64]}", experiment=name[:64])
    chosen = [
        parent
        for parent in parents
        if (not account or parent.parameters.account == account)
        and (not symbol or parent.parameters.symbol == symbol)
        and (experiment is None or parent.parameters.experiment == experiment)
    ]
    orders = [order for order in (finished_order(parent, impact) for parent in chosen) if order is not None]
    differences = compare(
        orders,
        planned_count=experiment.planned_parent_count if experiment else 0,
        smallest_effect_bps=experiment.smallest_effect_bps if experiment else 0.0,
        seed=experiment.seed if experiment else 0,
    )
    return Comparison(
        [figures for dimension in Dimension for figures in group(orders, dimension)],
        differences,
        len(orders),
        len({order.session for order in orders}),
        len(chosen) - len(orders),
        experiment,
        "Shortfall is of the whole quantity, the unfilled rest at the last price and the impact of trading it"
        f" at once ({impact.name}); compared within strata of symbol, side and size. Buckets beside the first"
        " are looked at all together: p counts every look.",
    )


def finished_order(parent: ParentOrder, impact: ImpactModel) -> FinishedOrder | None:
    """Return the row of a parent; None while it has no report, and where it was refused or never arrived.

    What was cancelled counts with the rest that it left, and what filled nothing with all of it: who drops
    bad executions compares good ones. To the report's shortfall comes what trading the rest at once would
    cost by the impact model: an algorithm must not look cheap for what it left undone. Nothing comes where
    the symbol's daily volume is not known.
    """
    report = parent.report
    if report is None or parent.state is ExecutionState.REJECTED or not parent.arrival_time_nanos:
        return None
    decision, vwap = report.benchmark("decision"), report.benchmark("interval_vwap")
    if decision is None or not decision.price_nanos:
        return None
    parameters, plan = parent.parameters, parent.plan
    notional_attos = decision.price_nanos * parent.quantity_nanos
    clean_up_attos = impact.cost_attos(
        report.residual_quantity_nanos, decision.price_nanos, plan.median_daily_volume
    )
    close, median = plan.session_close_time_nanos, plan.median_daily_volume
    opened = plan.session_open_time_nanos or plan.curve_open_time_nanos
    passed = (parent.arrival_time_nanos - opened) / (close - opened) if 0 < opened < close else None
    assignment = parent.assignment
    return FinishedOrder(
        order_id=parent.execution_id,
        algorithm=parameters.algorithm.name.lower(),
        symbol=parameters.symbol,
        session=str(close // DAY_NANOS),
        stratum=(
            assignment.stratum
            if assignment is not None
            else stratum_of(parameters.symbol, parameters.side, parent.quantity_nanos, median)
        ),
        shortfall_bps=(report.shortfall.total_e18 + clean_up_attos) / notional_attos * 1e4,
        tracking_error_bps=abs(vwap.slippage_bps) if vwap and parent.filled_quantity_nanos else math.nan,
        filled_share=parent.filled_quantity_nanos / parent.quantity_nanos,
        size_share=parent.quantity_nanos / NANO / median if median > 0 else None,
        volatility=_hourly(report),
        session_share=passed,
        block=None if assignment is None else assignment.block,
    )


def _hourly(report: ExecutionReport) -> float:
    hours = (report.interval_end_time_nanos - report.interval_start_time_nanos) / HOUR_NANOS
    if not report.interval_volatility > 0 or hours <= 0:
        return math.nan
    return report.interval_volatility / math.sqrt(hours)
