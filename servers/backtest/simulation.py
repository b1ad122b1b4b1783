"""Replay a file for some symbols: the work of one process, here or on another machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np

from native.backtest import Parent, finish, replay
from servers.backtest.inputs import DayInputs
from servers.backtest.options import BacktestOptions
from servers.backtest.orders import PART_NANOS, SESSION_PARTS, DayOrders, Order
from servers.backtest.tape import Prints, TapeFile
from servers.calendars import Calendars
from servers.recordings.table import Doubles

CHUNK_PRINTS = 4096
"""Prints that all parents get at a time: small enough to stay in the processor's cache."""

CLEAN_UP_SHARE = 0.1
"""A residual is priced as if it took part in this share of the median day's volume, at the close."""

NO_PARTS = np.zeros(len(SESSION_PARTS))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one parent order did; costs in bps of its quantity at the arrival price, positive is a cost.

    `shortfall_bps` is spread + impact + timing + opportunity, the last being the residual at the close with
    its clean-up impact. A breach is a figure that rises above its bound, an action what a control did about
    it; `controlled` is the share of the session in which one held, `fills_without_action` those that one
    should have stopped. Of each part of the session: the share of the order that was done in it, and what
    that cost against the part's own VWAP; 0 where no fills were kept, or nothing was done.
    """

    shortfall_bps: float
    spread_bps: float
    impact_bps: float
    opportunity_bps: float
    vwap_slippage_bps: float
    filled: float
    passive: float
    participation: float
    controlled: float
    first_hour_done: float
    middle_done: float
    last_hour_done: float
    first_hour_cost_bps: float
    middle_cost_bps: float
    last_hour_cost_bps: float
    children: int
    fills: int
    impact_breaches: int
    impact_actions: int
    deviation_breaches: int
    deviation_actions: int
    fills_without_action: int

    @property
    def timing_bps(self) -> float:
        """Return what the market's moves cost, by the definition of the sum."""
        return self.shortfall_bps - self.spread_bps - self.impact_bps - self.opportunity_bps


OUTCOME_FIELDS = tuple(field.name for field in fields(Outcome))


@dataclass(frozen=True, slots=True)
class Job:
    """Some symbols of a file, with the inputs of their sessions."""

    number: int
    options: BacktestOptions
    symbols: tuple[str, ...]
    inputs: tuple[DayInputs, ...]


@dataclass(frozen=True, slots=True)
class DayResult:
    """All outcomes of one symbol's session, in the order of `variants`; `volatility` was known before it."""

    symbol: str
    date: str
    volatility: float
    outcomes: tuple[Outcome, ...]


def run_job(job: Job) -> list[DayResult]:
    """Return the outcomes of every symbol and session of a job; one session is in memory."""
    wanted = {(day.symbol, day.session.date): day for day in job.inputs}
    running: dict[str, tuple[DayInputs, list[Order]]] = {}
    results: list[DayResult] = []
    for part in TapeFile(job.options.path, job.options.is_bars, job.options.calendar, Calendars()).prints(
        job.symbols
    ):
        inputs = wanted.get((part.symbol, part.session.date))
        active = running.get(part.symbol)
        if active is not None and active[0] is not inputs:
            results.append(_ended(*running.pop(part.symbol)))
            active = None
        if inputs is None:
            continue
        if active is None:
            active = inputs, list(DayOrders(inputs, job.options).all())
            running[part.symbol] = active
        feed([order.parent for order in active[1]], part)
    results.extend(_ended(*active) for active in running.values())
    return sorted(results, key=lambda result: (result.symbol, result.date))


def feed(parents: Sequence[Parent], part: Prints) -> None:
    """Give all parents a part of a session, in chunks."""
    edges = [*range(0, len(part.times), CHUNK_PRINTS), len(part.times)]
    for low, high in pairwise(edges):
        replay(
            parents,
            part.times[low:high],
            part.prices[low:high],
            part.sizes[low:high],
            part.takeable[low:high],
        )


def run_orders(orders: Sequence[Order], inputs: DayInputs, options: BacktestOptions) -> None:
    """Replay one symbol's session for some orders, to its close."""
    parents = [order.parent for order in orders]
    tape = TapeFile(options.path, options.is_bars, options.calendar, Calendars())
    for part in tape.prints([inputs.symbol]):
        if part.session.date == inputs.session.date:
            feed(parents, part)
    finish(parents, inputs.session.close_time_nanos)


def _ended(inputs: DayInputs, orders: list[Order]) -> DayResult:
    finish([order.parent for order in orders], inputs.session.close_time_nanos)
    outcomes = tuple(outcome(order, inputs) for order in orders)
    return DayResult(inputs.symbol, inputs.session.date, inputs.volatility, outcomes)


def by_part(order: Order, inputs: DayInputs) -> tuple[Doubles, Doubles]:
    """Return the share done in each of SESSION_PARTS, and its cost in bps against the VWAP of the part."""
    fills = order.parent.fill_columns()
    edges = [inputs.session.open_time_nanos + PART_NANOS, inputs.session.close_time_nanos - PART_NANOS]
    parts = np.searchsorted(edges, fills["time_nanos"], side="right")
    sizes = fills["size_nanos"] / 1e9
    done = np.bincount(parts, sizes, len(SESSION_PARTS))
    paid = np.bincount(parts, sizes * (fills["price_nanos"] / 1e9), len(SESSION_PARTS))
    traded = inputs.volumes > 0
    bins = np.searchsorted(edges, np.array(inputs.edges[:-1], np.int64)[traded], side="right")
    volumes = inputs.volumes[traded]
    volume = np.bincount(bins, volumes, len(SESSION_PARTS))
    notional = np.bincount(bins, volumes * inputs.prices[traded], len(SESSION_PARTS))
    with np.errstate(invalid="ignore", divide="ignore"):
        cost = order.variant.side * (paid / done / (notional / volume) - 1.0) * 1e4
    return done / (order.parent.quantity_nanos / 1e9), np.nan_to_num(cost)


def outcome(order: Order, inputs: DayInputs) -> Outcome:
    """Return what an order that has ended did."""
    parent, side, controls = order.parent, order.variant.side, order.parent.controls
    arrival, close = parent.arrival_price_nanos, parent.last_price_nanos
    whole = parent.quantity_nanos * arrival
    residual = parent.residual_nanos
    clean_up = order.costs.clean_up_bps(
        inputs.session.close_time_nanos, residual / 1e9, CLEAN_UP_SHARE * inputs.median_volume
    )
    # Exact integers of 1e-18 until they become bps.
    filled_e18 = side * (parent.notional_e18 - parent.done_nanos * arrival)
    left_e18 = side * residual * (close - arrival)
    opportunity = (left_e18 + residual * close * clean_up * 1e-4) / whole * 1e4
    market = parent.market_notional_e18 / parent.market_volume_nanos if parent.market_volume_nanos else np.nan
    own = parent.notional_e18 / parent.done_nanos if parent.done_nanos else np.nan
    done, costs = by_part(order, inputs) if order.keeps_fills else (NO_PARTS, NO_PARTS)
    return Outcome(
        shortfall_bps=filled_e18 / whole * 1e4 + opportunity,
        spread_bps=parent.spread_cost_e18 / whole * 1e4,
        impact_bps=parent.impact_cost_e18 / whole * 1e4,
        opportunity_bps=opportunity,
        vwap_slippage_bps=float(side * (own - market) / market * 1e4),
        filled=parent.done_nanos / parent.quantity_nanos,
        passive=parent.passive_nanos / parent.quantity_nanos,
        participation=parent.done_nanos / (parent.done_nanos + parent.market_volume_nanos),
        controlled=controls.controlled_nanos / inputs.session.length_nanos if controls else 0.0,
        **{f"{part}_done": float(value) for part, value in zip(SESSION_PARTS, done, strict=True)},
        **{f"{part}_cost_bps": float(value) for part, value in zip(SESSION_PARTS, costs, strict=True)},
        children=parent.child_count,
        fills=parent.fill_count,
        impact_breaches=controls.impact_breaches if controls else 0,
        impact_actions=controls.impact_actions if controls else 0,
        deviation_breaches=controls.deviation_breaches if controls else 0,
        deviation_actions=controls.deviation_actions if controls else 0,
        fills_without_action=controls.fills_without_action if controls else 0,
    )
