"""Impact and deviation control: what they allow, and when they change their mind.

Both have hysteresis: they let go well below the bound at which they took hold. Every change is told with
its numbers.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

DEVIATION_REASON = "VWAP_DEVIATION"

RELEASE_SHARE = 0.75
"""Share of its bound below which a control lets go."""

FILLED_SHARE_FOR_DEVIATION = 0.1
"""Share of the quantity that must be filled before deviation means anything."""


class Rate(IntEnum):
    """How fast the impact control lets a parent trade."""

    FULL = 0
    HALF = 1
    NONE = 2


class Deviation(IntEnum):
    """What the deviation control asks for."""

    NORMAL = 0
    PASSIVE_ONLY = 1
    PAUSE = 2


class Change(NamedTuple):
    """A control that changed its mind."""

    reason: str
    message: str


class ImpactControl:
    """Halve the rate above the bound, stop above one and a half times it, until the estimate decays.

    Args:
        bound: largest modelled impact as a fraction.
    """

    def __init__(self, bound: float) -> None:
        self._bound = bound
        self.rate = Rate.FULL

    def update(self, impact: float) -> Change | None:
        """Take in the estimate for executed plus next child, a fraction."""
        wanted = self.rate
        if impact > 1.5 * self._bound:
            wanted = Rate.NONE
        elif impact > self._bound:
            wanted = max(self.rate, Rate.HALF)
        elif impact < RELEASE_SHARE * self._bound:
            wanted = Rate.FULL
        if wanted is self.rate:
            return None
        self.rate = wanted
        what = {
            Rate.FULL: "full rate again",
            Rate.HALF: "the rate is halved",
            Rate.NONE: "nothing is sent until it decays",
        }[wanted]
        return Change("MARKET_IMPACT", f"modelled impact {impact:.6f}, bound {self._bound:.6f}: {what}")


class DeviationControl:
    """Passive only above the bound, pause and ask above twice the bound.

    Args:
        bound: largest deviation of the own average from the market's VWAP, as a fraction.
    """

    def __init__(self, bound: float) -> None:
        self._bound = bound
        self._is_answered = False
        self.mode = Deviation.NORMAL

    def answer(self) -> None:
        """A person resumed: do not ask again before the deviation has been back under the bound."""
        self._is_answered = True
        self.mode = Deviation.PASSIVE_ONLY

    def update(self, own_average: float, market_vwap: float, filled_share: float) -> Change | None:
        """Take in both averages, and the share of the quantity that is filled."""
        if filled_share < FILLED_SHARE_FOR_DEVIATION or not market_vwap > 0 or self.mode is Deviation.PAUSE:
            return None
        deviation = abs(own_average / market_vwap - 1)
        wanted: Deviation = self.mode
        if deviation > 2 * self._bound and not self._is_answered:
            wanted = Deviation.PAUSE
        elif deviation > self._bound:
            wanted = Deviation.PASSIVE_ONLY
        elif deviation < RELEASE_SHARE * self._bound:
            wanted = Deviation.NORMAL
            self._is_answered = False
        if wanted is self.mode:
            return None
        self.mode = wanted
        what = {
            Deviation.NORMAL: "back to normal",
            Deviation.PASSIVE_ONLY: "static schedule, passive only",
            Deviation.PAUSE: "paused: resume or cancel it",
        }[wanted]
        return Change(
            DEVIATION_REASON,
            f"own average {own_average:.6f}, market VWAP {market_vwap:.6f}, deviation {deviation:.6f},"
            f" bound {self._bound:.6f}: {what}",
        )
