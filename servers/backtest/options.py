"""What a backtest is asked for, checked once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from native.backtest import MOST_STEPS
from servers.model.calendar import date_from_text
from servers.model.errors import InvalidInput

ALGORITHMS = ("twap", "static_vwap", "adaptive_vwap", "pov", "shortfall")
ALIASES = {"vwap": "static_vwap"}
ZERO_SIZE_ALGORITHMS = ("twap", "static_vwap", "adaptive_vwap")
"""Those that have a meaning for an order of zero size: the others answer volume or impact with quantity."""

MAX_SIZE = 1.0


@dataclass(frozen=True, slots=True)
class CostSettings:
    """The cost model. None of these figures was calibrated to the market that is replayed.

    Attributes:
        half_spread_bps: half the bid-ask spread, bps of the price.
        temporary: coefficient of the temporary impact (Almgren and others 2005: 0.142).
        temporary_power: its exponent (0.6).
        permanent: coefficient of the permanent impact (0.314).
        permanent_share: what stays of it, 0 to 1; the rest fades.
        half_life_seconds: how fast it fades.
        root: coefficient of the square-root law, 0 for none.
        scale: factor on the spread and every coefficient, for the sensitivity.
    """

    half_spread_bps: float = 2.0
    temporary: float = 0.142
    temporary_power: float = 0.6
    permanent: float = 0.314
    permanent_share: float = 0.5
    half_life_seconds: float = 1800.0
    root: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class BacktestOptions:
    """One backtest.

    Attributes:
        path: bars or trades file.
        is_bars: which of the two.
        calendar: code of the trading calendar.
        algorithms: names out of ALGORITHMS, in the order of the report.
        train_until: last session (local date) without orders; empty for the default of the study.
        sizes: orders as fractions of the trailing median volume; (0.0,) is the tracking study.
        cap: participation cap, None for none.
        seed: of the orders' sides and of the bootstrap.
        step_seconds: how often a parent decides.
        latency_seconds: from a decision to the market.
        print_share: what an own order may take of a print.
        rate_seconds: over how long the temporary impact measures the rate of trading.
        patience_seconds: how long a passive child rests before what is left of it goes at market.
        queue_share: queue ahead of a passive child, as a share of the volume of an ordinary step.
        max_impact: bound of the modelled impact, a fraction, 0 for no controls at all.
        max_deviation: bound of |own average / VWAP since arrival - 1|, a fraction.
        answer_seconds: after how long an order that paused and asks is taken to be resumed.
        risk_aversion: of `shortfall` (Almgren and Chriss's lambda), per currency unit.
        costs: the cost model.
    """

    path: Path
    is_bars: bool
    calendar: str
    algorithms: tuple[str, ...]
    train_until: str = ""
    sizes: tuple[float, ...] = (0.0,)
    cap: float | None = 0.1
    seed: int = 1
    step_seconds: float = 60.0
    latency_seconds: float = 0.1
    print_share: float = 1.0
    rate_seconds: float = 900.0
    patience_seconds: float = 300.0
    queue_share: float = 0.1
    max_impact: float = 0.005
    max_deviation: float = 0.002
    answer_seconds: float = 300.0
    risk_aversion: float = 1e-6
    costs: CostSettings = field(default_factory=CostSettings)

    @property
    def is_zero_size(self) -> bool:
        """Tell whether this is the tracking study."""
        return self.sizes == (0.0,)

    def fingerprint(self) -> str:
        """Return a hash of all that decides the result, the file's size and time of change included."""
        facts = self.path.stat()
        content = {
            **asdict(self),
            "path": str(self.path.resolve()),
            "file": [facts.st_size, facts.st_mtime_ns],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def parse_algorithms(text: str) -> tuple[str, ...]:
    """Return the names of a comma-separated list, aliases resolved, each once.

    Raises InvalidInput FIELD_INVALID for a name that is none, or no name.
    """
    names = [ALIASES.get(name.strip(), name.strip()) for name in text.split(",") if name.strip()]
    for name in names:
        if name not in ALGORITHMS:
            raise InvalidInput(
                "FIELD_INVALID",
                f"no algorithm {name[:40]!r}; there are {', '.join(ALGORITHMS)}",
                field="algo",
            )
    if not names:
        raise InvalidInput("FIELD_INVALID", "name an algorithm", field="algo")
    return tuple(dict.fromkeys(names))


def parse_sizes(texts: Sequence[str]) -> tuple[float, ...]:
    """Return the sizes of "0.01,0.05" or of several such texts; (0.0,) for none.

    Raises InvalidInput FIELD_INVALID for what is no fraction, or for zero among others.
    """
    parts = [part.strip() for text in texts for part in text.split(",") if part.strip()]
    try:
        sizes = tuple(dict.fromkeys(float(part) for part in parts)) or (0.0,)
    except ValueError:
        raise InvalidInput(
            "FIELD_INVALID", f"a size is no number: {','.join(parts)[:60]}", field="size"
        ) from None
    for size in sizes:
        if not 0.0 <= size <= MAX_SIZE:
            raise InvalidInput("FIELD_INVALID", f"size {size} is outside 0 to {MAX_SIZE:g}", field="size")
    if 0.0 in sizes and len(sizes) > 1:
        raise InvalidInput(
            "FIELD_INVALID", "size 0 is a study of its own: leave it out among others", field="size"
        )
    return sizes


def check_options(options: BacktestOptions) -> None:
    """Check what the types do not say. Raises InvalidInput FIELD_INVALID that names the field."""
    if options.train_until:
        date_from_text(options.train_until, "train_until")
    if options.cap is not None and not 0.0 < options.cap < 1.0:
        raise _wrong("cap", f"{options.cap} is not between 0 and 1")
    if options.is_zero_size:
        unfit = [name for name in options.algorithms if name not in ZERO_SIZE_ALGORITHMS]
        if unfit:
            raise _wrong("algo", f"{unfit[0]} answers what trades with quantity: give it a --size above 0")
    if not 0.0 < options.print_share <= 1.0:
        raise _wrong("print_share", f"{options.print_share} is not above 0, to 1")
    if options.step_seconds < 1.0:
        raise _wrong("step_seconds", f"{options.step_seconds} is below 1")
    for name in ("rate_seconds", "patience_seconds"):
        steps = getattr(options, name) / options.step_seconds
        if not 1 <= steps <= MOST_STEPS:
            raise _wrong(name, f"{getattr(options, name)} is not 1 to {MOST_STEPS} steps")
    if not 0.0 <= options.max_impact <= 1.0:
        raise _wrong("max_impact", f"{options.max_impact} is outside 0 to 1")
    if not 0.0 < options.max_deviation <= 1.0:
        raise _wrong("max_deviation", f"{options.max_deviation} is not above 0, to 1")
    if options.answer_seconds < 0.0:
        raise _wrong("answer_seconds", f"{options.answer_seconds} is below 0")
    if not 0.0 <= options.latency_seconds < options.step_seconds:
        raise _wrong("latency_seconds", f"{options.latency_seconds} is not from 0 to below a step")


def _wrong(name: str, why: str) -> InvalidInput:
    return InvalidInput("FIELD_INVALID", f"{name}: {why}", field=name)
