"""What a parent order is planned from: session, volume curve, forecast fitted on earlier sessions."""

from __future__ import annotations

from dataclasses import dataclass, replace

from servers.execution.domain.curve import TYPICAL_BIN_NANOS, typical_curve
from servers.execution.domain.events import SchedulePlan
from servers.execution.domain.fitting import FIT_BIN_NANOS
from servers.execution.domain.parameters import Algorithm, Parameters, SessionTimes
from servers.execution.domain.placing import Tuning
from servers.execution.fitting import SessionFits
from servers.execution.ports import Market, TapeFacts, VolumeCurve, answer_or


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known of a symbol when a parent begins; empty where market data does not say."""

    session: SessionTimes
    facts: TapeFacts
    curve: VolumeCurve


class Planner:
    """Makes plans; nothing that a plan can do without keeps a parent from starting."""

    def __init__(self, market: Market, tuning: Tuning) -> None:
        self._market = market
        self._tuning = tuning
        self._fits = SessionFits(market)

    async def look_around(self, symbol: str) -> Surroundings:
        """Return what is known of a symbol. Raises Unavailable while its session is not."""
        return Surroundings(
            await self._market.session(symbol),
            await answer_or(self._market.tape_facts(symbol, 0, 0), TapeFacts()),
            await answer_or(self._market.volume_curve(symbol), VolumeCurve()),
        )

    async def plan(self, parameters: Parameters, known: Surroundings, note: str, now: int) -> SchedulePlan:
        """Return the plan of a parent whose defaults are filled in."""
        session, facts, curve = known.session, known.facts, known.curve
        plan = SchedulePlan(
            session.close_time_nanos,
            median_daily_volume=curve.median_daily_volume,
            own_fills_on_tape=facts.own_fills_on_tape,
            note=note,
            session_open_time_nanos=session.open_time_nanos,
        )
        if parameters.algorithm in (Algorithm.TWAP, Algorithm.POV):
            return plan
        if parameters.algorithm is Algorithm.SHORTFALL:
            return replace(
                plan,
                daily_volatility=self._tuning.impact.daily_volatility,
                impact_fraction=self._tuning.impact_fraction,
            )
        if curve.shares:
            shares, bin_nanos, fallback = tuple(curve.shares), curve.bin_nanos, ""
        else:
            shares, bin_nanos = typical_curve(session), TYPICAL_BIN_NANOS
            name = parameters.algorithm.name
            fallback = f"{name}: no volume history; a typical U-shaped curve stands in for it."
        plan = replace(
            plan,
            curve_shares=shares,
            curve_bin_nanos=bin_nanos,
            curve_open_time_nanos=session.open_time_nanos,
            fallback=fallback,
        )
        if parameters.algorithm is not Algorithm.ADAPTIVE_VWAP:
            return plan
        is_fit = bool(curve.shares) and curve.bin_nanos == FIT_BIN_NANOS
        return replace(
            plan,
            session_volume=facts.volume,
            session_volume_time_nanos=max(now, session.open_time_nanos),
            forecast=await self._fits.fitted(parameters.symbol, session) if is_fit else None,
        )
