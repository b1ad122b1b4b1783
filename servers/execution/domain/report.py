"""What a parent order did and what it cost, as values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from native.slippage import (
    Shortfall,
    interval_twap,
    interval_vwap,
    participation_weighted_price,
    shortfall,
    slippage_bps,
)
from servers.execution.domain.quality import (
    Markout,
    PastDay,
    Quality,
    completion,
    control_orders,
    interval_sigma,
    markouts,
    quality,
)
from servers.execution.domain.tape import Tape
from servers.model.clock import NANOS_PER_SECOND
from servers.model.nanos import NANO
from servers.model.order import Fill, Liquidity, Side

PWP_PERCENTS = (5, 10, 20)
"""Participations whose weighted prices a report shows."""

SHOW_OTHER_ABOVE_SHARE = 0.01
"""Own share of volume above which the VWAP with and without own fills are both shown."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One price that the execution is compared with; NaN and 0 where it is unknown."""

    name: str
    price_nanos: int
    price: float
    slippage_bps: float
    slippage_attos: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class ExecutionReport:
    """See tapeline.execution.v1.ExecutionReport for each field. Costs are in attos, quantities in nanos."""

    benchmarks: tuple[Benchmark, ...]
    shortfall: Shortfall
    currency_code: str
    residual_quantity_nanos: int
    residual_reason: str
    residual_message: str
    interval_volume: float
    interval_trade_count: int
    interval_start_time_nanos: int
    interval_end_time_nanos: int
    eligibility_rule: str
    peak_window_participation_rate: float
    participation_rate: float
    duration_nanos: int
    fill_count: int
    child_count: int
    impact_model: str
    fallback: str
    own_fills_in_benchmark: bool
    interval_vwap_other: float
    maker_quantity_nanos: int
    taker_quantity_nanos: int
    auction_quantity_nanos: int
    markouts: tuple[Markout, ...] = ()
    quality: Quality | None = None
    volume_forecast: str = ""
    interval_volatility: float = math.nan

    def benchmark(self, name: str) -> Benchmark | None:
        """Return the benchmark of that name."""
        return next((benchmark for benchmark in self.benchmarks if benchmark.name == name), None)


@dataclass(frozen=True, slots=True)
class DayVwap:
    """VWAP of the session from its open to the end of the interval; NaN and 0 where it is not known."""

    price: float = math.nan
    price_nanos: int = 0
    trade_count: int = 0


@dataclass(frozen=True, slots=True)
class ReportInput:
    """Everything a report is made of.

    Attributes:
        fills: in the order of the owner's sequence, with the mid when each one's child was planned.
        decision_price_nanos: 0 takes the arrival price, and says so.
        own_fills_on_tape: None when the feed does not say: own fills are then taken to be on the tape.
        impact_attos: the model's estimate of the cost of impact.
        controlled_nanos: market time under a control.
        day_vwap: of the session, auctions included, and `day_vwap_continuous` without them.
        past_days: earlier sessions, for control orders; none where there is no history.
        volume_forecast: which forecast of volume the schedule followed, for people.
    """

    side: Side
    currency_code: str
    quantity_nanos: int
    fills: Sequence[Fill]
    mids_when_sent_nanos: Sequence[int]
    decision_price_nanos: int
    arrival_price_nanos: int
    arrival_time_nanos: int
    interval_end_time_nanos: int
    session_close_time_nanos: int
    participation_window_nanos: int
    own_fills_on_tape: bool | None
    eligibility_rule: str
    residual_reason: str
    residual_message: str
    child_count: int
    impact_attos: int
    impact_model: str
    fallback: str
    note: str
    last_price_nanos: int
    session_open_time_nanos: int = 0
    limit_price_nanos: int = 0
    max_participation_rate: float = 1.0
    controlled_nanos: int = 0
    day_vwap: DayVwap = DayVwap()
    day_vwap_continuous: DayVwap = DayVwap()
    past_days: Sequence[PastDay] = ()
    volume_forecast: str = ""


def make_report(given: ReportInput, tape: Tape) -> ExecutionReport:
    """Return the report over [arrival, interval end). The tape holds that interval."""
    prices = np.array([fill.price_nanos for fill in given.fills], dtype=np.int64)
    sizes = np.array([fill.quantity_nanos for fill in given.fills], dtype=np.int64)
    mids = np.array(given.mids_when_sent_nanos, dtype=np.int64)
    last = tape.last_price_before(given.interval_end_time_nanos) or given.last_price_nanos
    arrival = given.arrival_price_nanos or last
    decided = given.decision_price_nanos or arrival
    filled = sum(fill.quantity_nanos for fill in given.fills)
    notional_attos = sum(fill.notional_attos for fill in given.fills)
    average = notional_attos / (filled * NANO) if filled else math.nan
    start, end = given.arrival_time_nanos, given.interval_end_time_nanos
    tape_prices, tape_sizes, tape_times = tape.eligible()
    market = interval_vwap(tape_prices.data, tape_sizes.data, tape_times.data, start, end - 1)
    twap = interval_twap(tape_prices.data, tape_times.data, start, end)
    is_closed = bool(given.session_close_time_nanos) and end >= given.session_close_time_nanos
    in_benchmark = given.own_fills_on_tape is not False
    volume = market.quantity_nanos + (0 if in_benchmark else filled)
    other = _other_vwap(market.notional_e18, market.quantity_nanos, notional_attos, filled, in_benchmark)
    costs = shortfall(
        given.side.sign,
        max(given.quantity_nanos, filled),  # a correction may fill more than was asked for
        decided,
        arrival,
        last or arrival,
        prices.data,
        sizes.data,
        mids.data,
        impact_e18=given.impact_attos if filled else 0,
        fees_e18=sum(fill.fee.attos for fill in given.fills),
    )

    def against(name: str, price: float, price_nanos: int, note: str = "") -> Benchmark:
        is_known = price > 0 and filled > 0
        cost = given.side.sign * (notional_attos - filled * price_nanos) if is_known else 0
        bps = slippage_bps(given.side.sign, average, price) if is_known else math.nan
        return Benchmark(name, price_nanos, price if price > 0 else math.nan, bps, cost, note)

    benchmarks = [
        against(
            "decision",
            decided / NANO,
            decided,
            "mid when the decision was taken"
            if given.decision_price_nanos
            else "not given: the arrival price",
        ),
        against("arrival", given.arrival_price_nanos / NANO, given.arrival_price_nanos, "mid on arrival"),
        against(
            "interval_vwap",
            market.price,
            market.price_nanos or 0,
            f"{market.print_count:,} eligible prints, {market.quantity_nanos / NANO:,.0f} shares, from"
            f" arrival to the end of the horizon; own fills {'included' if in_benchmark else 'not included'}."
            + (f" {given.note}" if given.note else ""),
        ),
        against(
            "twap",
            twap,
            _nanos(twap),
            "last eligible price, averaged over market time from arrival to the end",
        ),
        against(
            "close",
            last / NANO if is_closed else math.nan,
            last if is_closed else 0,
            "last eligible price of the session"
            if is_closed
            else "unknown: the session had not closed when the report was made",
        ),
    ]
    until = "the close" if is_closed else "the end of the horizon, before the close"
    for name, day, what in (
        ("day_vwap", given.day_vwap, "auctions included"),
        ("day_vwap_continuous", given.day_vwap_continuous, "without auctions"),
    ):
        note = f"{day.trade_count:,} eligible prints of the session, {what}, from the open to {until}"
        benchmarks.append(
            against(name, day.price, day.price_nanos, note if day.price > 0 else "not known to market data")
        )
    inside = tape_times < end
    for percent in PWP_PERCENTS:
        pwp = participation_weighted_price(
            tape_prices[inside].data,
            tape_sizes[inside].data,
            tape_times[inside].data,
            start,
            given.quantity_nanos,
            percent / 100,
        )
        wanted = given.quantity_nanos * 100 // percent
        is_whole = pwp.quantity_nanos >= wanted - 1
        note = f"VWAP of the first {wanted / NANO:,.0f} eligible shares after arrival"
        if not is_whole:
            note = f"unknown: {wanted / NANO:,.0f} eligible shares did not trade in the interval"
        benchmarks.append(
            against(
                f"pwp_{percent}",
                pwp.price if is_whole else math.nan,
                (pwp.price_nanos or 0) if is_whole else 0,
                note,
            )
        )
    by_liquidity = dict.fromkeys(Liquidity, 0)
    for fill in given.fills:
        by_liquidity[fill.liquidity] += fill.quantity_nanos
    last_fill = max((fill.event_time_nanos for fill in given.fills), default=start)
    share = filled / volume if volume else 0.0
    window_shares = _window_shares(
        given.fills, tape, start, given.participation_window_nanos, own_on_tape=in_benchmark
    )
    inside &= tape_times >= start
    sigma = interval_sigma(tape_prices[inside], tape_times[inside], start, end)
    minute = 60 * NANOS_PER_SECOND
    volatility = interval_sigma(tape_prices[inside], tape_times[inside], start, end, minute)
    return ExecutionReport(
        benchmarks=tuple(benchmarks),
        shortfall=costs,
        currency_code=given.currency_code,
        residual_quantity_nanos=max(given.quantity_nanos - filled, 0),
        residual_reason=given.residual_reason,
        residual_message=given.residual_message,
        interval_volume=market.quantity_nanos / NANO,
        interval_trade_count=market.print_count,
        interval_start_time_nanos=start,
        interval_end_time_nanos=end,
        eligibility_rule=given.eligibility_rule,
        peak_window_participation_rate=float(window_shares.max(initial=0.0)),
        participation_rate=share,
        duration_nanos=max(last_fill - start, 0),
        fill_count=len(given.fills),
        child_count=given.child_count,
        impact_model=given.impact_model,
        fallback=given.fallback,
        own_fills_in_benchmark=in_benchmark,
        interval_vwap_other=other if share > SHOW_OTHER_ABOVE_SHARE else math.nan,
        maker_quantity_nanos=by_liquidity[Liquidity.MAKER],
        taker_quantity_nanos=by_liquidity[Liquidity.TAKER],
        auction_quantity_nanos=by_liquidity[Liquidity.AUCTION],
        markouts=markouts(given.side, given.fills, tape),
        quality=_quality(given, tape, benchmarks, filled, window_shares, sigma),
        volume_forecast=given.volume_forecast,
        interval_volatility=volatility,
    )


def _quality(
    given: ReportInput,
    tape: Tape,
    benchmarks: Sequence[Benchmark],
    filled: int,
    window_shares: npt.NDArray[np.float64],
    sigma: float,
) -> Quality:
    start, end = given.arrival_time_nanos, given.interval_end_time_nanos
    bps = {benchmark.name: benchmark.slippage_bps for benchmark in benchmarks}
    prices, sizes, times = tape.eligible(start)
    inside = times < end
    controls = []
    if given.session_open_time_nanos:
        begins, ends = start - given.session_open_time_nanos, end - given.session_open_time_nanos
        controls = control_orders(given.past_days, given.side, begins, ends)
    cap = given.max_participation_rate
    controlled = min(given.controlled_nanos / (end - start), 1.0) if end > start else 0.0
    above = float((window_shares > cap).mean()) if len(window_shares) else 0.0
    return quality(
        controls,
        abs(bps["interval_vwap"]),
        bps["arrival"] / 1e4 / sigma,
        completion(
            filled,
            given.quantity_nanos,
            given.limit_price_nanos,
            given.side,
            cap,
            prices[inside],
            sizes[inside],
        ),
        max(1.0 - controlled - above, 0.0),
    )


def peak_participation(
    fills: Sequence[Fill], tape: Tape, start_nanos: int, window_nanos: int, *, own_on_tape: bool
) -> float:
    """Return the highest own share of continuous eligible volume in any window that ends at a fill.

    Volume before `start_nanos` does not count, so the first windows are judged harshly. Fills in auctions
    are no part of continuous volume and stay out.
    """
    shares = _window_shares(fills, tape, start_nanos, window_nanos, own_on_tape=own_on_tape)
    return float(shares.max(initial=0.0))


def _window_shares(
    fills: Sequence[Fill], tape: Tape, start_nanos: int, window_nanos: int, *, own_on_tape: bool
) -> npt.NDArray[np.float64]:
    # The own share in the window that ends at each fill, in time order.
    own = sorted(
        (fill.event_time_nanos, fill.quantity_nanos)
        for fill in fills
        if fill.liquidity is not Liquidity.AUCTION
    )
    if not own:
        return np.empty(0)
    times = np.array([time for time, _ in own], dtype=np.int64)
    own_sums = np.concatenate(([0.0], np.cumsum([size / NANO for _, size in own])))
    tape_times, tape_sizes = tape.continuous(start_nanos)
    volume_sums = np.concatenate(([0.0], np.cumsum(tape_sizes / NANO)))
    own_in = (
        own_sums[np.searchsorted(times, times, "right")]
        - own_sums[np.searchsorted(times, times - window_nanos, "right")]
    )
    volume_in = (
        volume_sums[np.searchsorted(tape_times, times, "right")]
        - volume_sums[np.searchsorted(tape_times, times - window_nanos, "right")]
    )
    total = volume_in if own_on_tape else volume_in + own_in
    shares = np.divide(own_in, total, out=np.ones_like(own_in), where=total > 0)
    return np.asarray(shares)


def _other_vwap(
    notional_attos: int, volume_nanos: int, own_attos: int, own_nanos: int, own_is_in: bool
) -> float:
    sign = -1 if own_is_in else 1
    notional, volume = notional_attos + sign * own_attos, volume_nanos + sign * own_nanos
    return notional / (volume * NANO) if volume > 0 else math.nan


def _nanos(price: float) -> int:
    return 0 if math.isnan(price) else round(price * NANO)
