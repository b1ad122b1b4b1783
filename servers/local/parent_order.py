"""A parent order from the words of a command: `BUY 50000 ACME --algo vwap --start 09:30 --horizon 4h`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import TypeVar
from zoneinfo import ZoneInfo

from tapeline.execution.v1 import execution_pb2
from tapeline.trading.v1 import side_pb2

from servers.model.nanos import NANO, nanos_from_text

ALGORITHMS = {
    "twap": execution_pb2.ALGORITHM_TWAP,
    "static_vwap": execution_pb2.ALGORITHM_STATIC_VWAP,
    "adaptive_vwap": execution_pb2.ALGORITHM_ADAPTIVE_VWAP,
    "pov": execution_pb2.ALGORITHM_POV,
    "shortfall": execution_pb2.ALGORITHM_SHORTFALL,
}
ALIASES = {"vwap": "static_vwap"}
COMPLETION_RULES = {
    "leave_residual": execution_pb2.COMPLETION_RULE_LEAVE_RESIDUAL,
    "clean_up": execution_pb2.COMPLETION_RULE_CLEAN_UP,
    "closing_auction": execution_pb2.COMPLETION_RULE_CLOSING_AUCTION,
}
SIDES = {"BUY": side_pb2.SIDE_BUY, "SELL": side_pb2.SIDE_SELL}
_Choice = TypeVar("_Choice")
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")


@dataclass(frozen=True)
class ParentOrder:
    """A parent order in the words of the command line. Empty texts take the server's default."""

    side: str
    quantity: str
    symbol: str
    algorithm: str = "static_vwap"
    account: str = "demo"
    start: str = ""
    horizon: str = "4h"
    max_participation: float = 0.0
    limit_price: str = ""
    completion: str = "leave_residual"
    target_participation: float = 0.0
    risk_aversion: float | None = None
    tolerance: float | None = None
    display: str = ""
    max_impact: float = 0.0
    max_deviation: float = 0.0

    def to_parameters(self, session_date: str, time_zone: str) -> execution_pb2.ExecutionParameters:
        """Return the request's parameters; a start such as "09:30" is a time of `session_date`.

        Raises ValueError that names the word and what it may be.
        """
        return execution_pb2.ExecutionParameters(
            account=self.account,
            symbol=self.symbol.upper(),
            side=_choose("side", self.side.upper(), SIDES),
            quantity_nanos=_positive("quantity", self.quantity),
            algorithm=algorithm_from_text(self.algorithm),
            start_time_nanos=_start_nanos(self.start, session_date, time_zone),
            horizon_nanos=duration_nanos(self.horizon),
            max_participation_rate=self.max_participation,
            limit_price_nanos=_positive("limit price", self.limit_price) if self.limit_price else 0,
            completion_rule=_choose("completion", self.completion.lower(), COMPLETION_RULES),
            max_market_impact=self.max_impact,
            max_vwap_deviation=self.max_deviation,
            target_participation_rate=self.target_participation,
            risk_aversion=self.risk_aversion,
            tracking_tolerance=self.tolerance,
            display_quantity_nanos=_positive("display quantity", self.display) if self.display else 0,
        )


def algorithm_from_text(text: str) -> execution_pb2.Algorithm.ValueType:
    """Return the algorithm's number. Raises ValueError that lists the names."""
    name = text.lower().replace("-", "_")
    return _choose("algorithm", ALIASES.get(name, name), ALGORITHMS)


def algorithm_to_text(algorithm: int) -> str:
    """Return the algorithm's name as the command line takes it."""
    return (
        execution_pb2.Algorithm.Name(execution_pb2.Algorithm.ValueType(algorithm))
        .removeprefix("ALGORITHM_")
        .lower()
    )


def duration_nanos(text: str) -> int:
    """Return the nanoseconds of "4h", "90m", "1h30m" or "45s". Raises ValueError for anything else."""
    match = _DURATION.fullmatch(text.strip().lower())
    if not match or not any(match.groups()):
        raise ValueError(f"{text!r} is not a duration; write 4h, 90m, 1h30m or 45s")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return round((hours * 3600 + minutes * 60 + seconds) * NANO)


def _start_nanos(text: str, session_date: str, time_zone: str) -> int:
    if not text:
        return 0
    match = _CLOCK.fullmatch(text)
    if not match:
        raise ValueError(f"start {text!r} is not a time of day; write 09:30 or 09:30:00")
    hour, minute, second = (int(part or 0) for part in match.groups())
    try:
        moment = datetime.combine(
            date.fromisoformat(session_date), time(hour, minute, second), tzinfo=ZoneInfo(time_zone)
        )
    except ValueError as error:
        raise ValueError(f"start {text!r}: {error}") from None
    return round(moment.timestamp()) * NANO


def _positive(what: str, text: str) -> int:
    try:
        nanos = nanos_from_text(text)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None
    if nanos <= 0:
        raise ValueError(f"{what} {text!r} must be above 0")
    return nanos


def _choose(what: str, text: str, choices: Mapping[str, _Choice]) -> _Choice:
    if text not in choices:
        raise ValueError(f"{what} {text!r} is unknown; it is one of {', '.join(choices)}")
    return choices[text]
