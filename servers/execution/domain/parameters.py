"""What a parent order asks for: ranges, defaults and the horizon."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from servers.model.clock import NANOS_PER_SECOND
from servers.model.errors import FailedPrecondition, InvalidInput
from servers.model.instrument import Instrument, ListingState
from servers.model.nanos import INT64_MAX
from servers.model.order import Side, check_account, check_range, check_symbol

if TYPE_CHECKING:
    from servers.execution.domain.experiments import Experiment

MINUTE_NANOS = 60 * NANOS_PER_SECOND
HOUR_NANOS = 60 * MINUTE_NANOS
DAY_NANOS = 24 * HOUR_NANOS

DEFAULT_HORIZON_NANOS = 4 * HOUR_NANOS
DEFAULT_PARTICIPATION_RATE = 0.1
DEFAULT_WINDOW_NANOS = 5 * MINUTE_NANOS
DEFAULT_MARKET_IMPACT = 0.005
DEFAULT_VWAP_DEVIATION = 0.002
DEFAULT_FEED_SILENCE_NANOS = 10 * NANOS_PER_SECOND
DEFAULT_TARGET_OF_CAP = 0.8
DEFAULT_RISK_AVERSION = 1e-5
DEFAULT_TRACKING_TOLERANCE = 0.02
LARGEST_TARGET_RATE = 0.99
LARGEST_RISK_AVERSION = 1.0
LARGEST_TRACKING_TOLERANCE = 0.25

_SLICES = 240
_SHORTEST_SLICE_NANOS = 5 * NANOS_PER_SECOND
_LONGEST_SLICE_NANOS = MINUTE_NANOS


class Algorithm(IntEnum):
    """The numbers are those of tapeline.execution.v1.Algorithm."""

    TWAP = 1
    STATIC_VWAP = 2
    ADAPTIVE_VWAP = 3
    POV = 4
    SHORTFALL = 5


class CompletionRule(IntEnum):
    """The numbers are those of tapeline.execution.v1.CompletionRule."""

    LEAVE_RESIDUAL = 1
    CLEAN_UP = 2
    CLOSING_AUCTION = 3


@dataclass(frozen=True, slots=True)
class Parameters:
    """A parent order as it was asked for; see tapeline.execution.v1.ExecutionParameters for each field.

    Quantities are in 1e-9 shares, prices in 1e-9 currency units, times in UTC epoch nanoseconds of market
    time, rates and fractions as they are. 0, or None, takes the default until `plan_horizon` has filled it
    in.
    """

    account: str
    symbol: str
    side: Side
    quantity_nanos: int
    algorithm: Algorithm
    start_time_nanos: int = 0
    end_time_nanos: int = 0
    horizon_nanos: int = 0
    max_participation_rate: float = 0.0
    participation_window_nanos: int = 0
    limit_price_nanos: int = 0
    completion_rule: CompletionRule = CompletionRule.LEAVE_RESIDUAL
    clean_up_participation_rate: float = 0.0
    decision_price_nanos: int = 0
    decision_time_nanos: int = 0
    join_opening_auction: bool = False
    join_closing_auction: bool = False
    min_child_quantity_nanos: int = 0
    max_market_impact: float = 0.0
    max_vwap_deviation: float = 0.0
    slice_nanos: int = 0
    max_feed_silence_nanos: int = 0
    target_participation_rate: float = 0.0
    risk_aversion: float | None = None
    tracking_tolerance: float | None = None
    display_quantity_nanos: int = 0
    experiment: Experiment | None = None

    def validate(self) -> None:
        """Check what holds whatever the instrument and the market. Raises InvalidInput naming the field."""
        check_account(self.account)
        check_symbol(self.symbol)
        check_range("quantity_nanos", self.quantity_nanos, 1, INT64_MAX)
        check_range("start_time_nanos", self.start_time_nanos, 0, INT64_MAX)
        check_range("end_time_nanos", self.end_time_nanos, 0, INT64_MAX)
        if self.horizon_nanos:
            check_range("horizon_nanos", self.horizon_nanos, MINUTE_NANOS, DAY_NANOS)
        if self.end_time_nanos and self.horizon_nanos:
            raise InvalidInput(
                "HORIZON_INVALID", "end_time_nanos and horizon_nanos are both set", field="horizon_nanos"
            )
        if self.end_time_nanos and self.end_time_nanos <= self.start_time_nanos:
            raise InvalidInput("HORIZON_INVALID", "the end is not after the start", field="end_time_nanos")
        _fraction("max_participation_rate", self.max_participation_rate)
        _fraction("clean_up_participation_rate", self.clean_up_participation_rate)
        _fraction("max_market_impact", self.max_market_impact)
        _fraction("max_vwap_deviation", self.max_vwap_deviation)
        cap = self.max_participation_rate or DEFAULT_PARTICIPATION_RATE
        if self.clean_up_participation_rate and self.clean_up_participation_rate <= cap:
            raise InvalidInput(
                "VALUE_OUT_OF_RANGE",
                f"clean_up_participation_rate {self.clean_up_participation_rate} is not above the cap {cap}",
                field="clean_up_participation_rate",
            )
        for field, low, high in (
            ("participation_window_nanos", NANOS_PER_SECOND, HOUR_NANOS),
            ("slice_nanos", NANOS_PER_SECOND, HOUR_NANOS),
            ("max_feed_silence_nanos", NANOS_PER_SECOND, DAY_NANOS),
        ):
            if getattr(self, field):
                check_range(field, getattr(self, field), low, high)
        check_range("limit_price_nanos", self.limit_price_nanos, 0, INT64_MAX)
        check_range("decision_price_nanos", self.decision_price_nanos, 0, INT64_MAX)
        check_range("decision_time_nanos", self.decision_time_nanos, 0, INT64_MAX)
        check_range("min_child_quantity_nanos", self.min_child_quantity_nanos, 0, self.quantity_nanos)
        check_range("display_quantity_nanos", self.display_quantity_nanos, 0, self.quantity_nanos)
        self._validate_algorithm(cap)

    def _validate_algorithm(self, cap: float) -> None:
        for field, owner, high in (
            ("target_participation_rate", Algorithm.POV, min(cap, LARGEST_TARGET_RATE)),
            ("risk_aversion", Algorithm.SHORTFALL, LARGEST_RISK_AVERSION),
            ("tracking_tolerance", Algorithm.ADAPTIVE_VWAP, LARGEST_TRACKING_TOLERANCE),
        ):
            value = getattr(self, field)
            if self.experiment is not None and value:
                why = f"{field} goes with one algorithm: leave it out of an experiment"
                raise InvalidInput("FIELD_INVALID", why, field=field)
            if self.algorithm is not owner and value:
                raise InvalidInput(
                    "FIELD_INVALID", f"{field} goes with {owner.name}, not {self.algorithm.name}", field=field
                )
            if value is not None and not 0.0 <= value <= high:
                raise InvalidInput(
                    "VALUE_OUT_OF_RANGE", f"{field} is {value}, outside 0 to {high:g}", field=field
                )

    def check_against(self, instrument: Instrument) -> None:
        """Check lots, ticks and listing. Raises InvalidInput, or FailedPrecondition when it is not listed."""
        if instrument.listing_state is not ListingState.LISTED:
            raise FailedPrecondition(
                "MARKET_CLOSED", f"{self.symbol} is {instrument.listing_state.name}", symbol=self.symbol
            )
        if (
            not instrument.is_on_lot(self.quantity_nanos)
            or self.quantity_nanos < instrument.min_quantity_nanos
        ):
            raise InvalidInput(
                "FIELD_INVALID",
                f"quantity_nanos {self.quantity_nanos} is below the minimum {instrument.min_quantity_nanos}"
                f" or no multiple of the lot {instrument.lot_size_nanos}",
                field="quantity_nanos",
            )
        if not instrument.is_on_lot(self.display_quantity_nanos):
            raise InvalidInput(
                "FIELD_INVALID",
                f"display_quantity_nanos {self.display_quantity_nanos} is no multiple of the lot"
                f" {instrument.lot_size_nanos}",
                field="display_quantity_nanos",
            )
        if self.limit_price_nanos and not instrument.is_on_tick(self.limit_price_nanos):
            raise InvalidInput(
                "FIELD_INVALID",
                f"limit_price_nanos {self.limit_price_nanos} is no multiple of the tick"
                f" {instrument.tick_at(self.limit_price_nanos)}",
                field="limit_price_nanos",
            )


@dataclass(frozen=True, slots=True)
class SessionTimes:
    """The session that is on, or is next: open and close, UTC epoch nanoseconds."""

    open_time_nanos: int
    close_time_nanos: int


def plan_horizon(
    asked: Parameters, session: SessionTimes, now_nanos: int, min_child_nanos: int
) -> tuple[Parameters, str]:
    """Return the parameters with every default filled in, and a note on what was changed of the request.

    The start is moved to the open, the end is clipped to the close. Raises InvalidInput HORIZON_INVALID
    when nothing is left between them.
    """
    start = max(asked.start_time_nanos, now_nanos, session.open_time_nanos)
    wanted_end = asked.end_time_nanos or start + (asked.horizon_nanos or DEFAULT_HORIZON_NANOS)
    end = min(wanted_end, session.close_time_nanos)
    if end <= start:
        raise InvalidInput(
            "HORIZON_INVALID",
            f"nothing is left of the horizon: start {start}, end {end}, session {session.open_time_nanos}"
            f" to {session.close_time_nanos} (UTC epoch nanoseconds)",
            start_time_nanos=start,
            end_time_nanos=end,
        )
    note = ""
    if end < wanted_end:
        lost = (wanted_end - end) / MINUTE_NANOS
        note = f"The horizon was clipped to the close: {lost:,.1f} minutes of it lay after it."
    cap = asked.max_participation_rate or DEFAULT_PARTICIPATION_RATE
    horizon = end - start
    chosen_slice = min(max(horizon // _SLICES, _SHORTEST_SLICE_NANOS), _LONGEST_SLICE_NANOS)
    return (
        replace(
            asked,
            start_time_nanos=start,
            end_time_nanos=end,
            horizon_nanos=horizon,
            max_participation_rate=cap,
            participation_window_nanos=asked.participation_window_nanos or DEFAULT_WINDOW_NANOS,
            clean_up_participation_rate=asked.clean_up_participation_rate or min(2 * cap, 1.0),
            min_child_quantity_nanos=asked.min_child_quantity_nanos or min_child_nanos,
            max_market_impact=asked.max_market_impact or DEFAULT_MARKET_IMPACT,
            max_vwap_deviation=asked.max_vwap_deviation or DEFAULT_VWAP_DEVIATION,
            slice_nanos=asked.slice_nanos or chosen_slice,
            max_feed_silence_nanos=asked.max_feed_silence_nanos or DEFAULT_FEED_SILENCE_NANOS,
            **_algorithm_defaults(asked, cap),
        ),
        note,
    )


def _algorithm_defaults(asked: Parameters, cap: float) -> dict[str, Any]:
    match asked.algorithm:
        case Algorithm.POV:
            rate = asked.target_participation_rate or DEFAULT_TARGET_OF_CAP * cap
            return {"target_participation_rate": rate}
        case Algorithm.SHORTFALL if asked.risk_aversion is None:
            return {"risk_aversion": DEFAULT_RISK_AVERSION}
        case Algorithm.ADAPTIVE_VWAP if asked.tracking_tolerance is None:
            return {"tracking_tolerance": DEFAULT_TRACKING_TOLERANCE}
        case _:
            return {}


def _fraction(field: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise InvalidInput("VALUE_OUT_OF_RANGE", f"{field} is {value}, outside 0 to 1", field=field)
