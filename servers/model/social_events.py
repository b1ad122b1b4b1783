"""What happens to companies in the simulated world: events that posts speak of and that prices may follow.

The simulated post source writes of these events at about their time; the practice venue lets fair prices
drift after them by a stated effect, or, with an effect of 0, not at all. Both call `planted_events` with the
same arguments and so agree without ever meeting.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from servers.model.nanos import NANO

EVENTS_A_DAY = 4.0
"""Mean number of events of one symbol in `DAY_SECONDS` of session; a shorter session has fewer."""
DAY_SECONDS = 23_400
QUIET_BEGINNING_SECONDS = 300
QUIET_END_SECONDS = 1_200
LEAST_GAP_SECONDS = 900
"""Two events of one symbol lie at least so far apart."""
HALF_LIVES = 12
"""After so many half-lives all of an event's effect has come (all but 1/4,096 has by then)."""
LEAST_STRENGTH, GREATEST_STRENGTH = 0.5, 2.0
NEWS_SHARE = 0.5
NEWS_HALF_LIFE_SECONDS, SOCIAL_HALF_LIFE_SECONDS = 600.0, 1_800.0


class EventKind(IntEnum):
    """Who speaks of an event first."""

    NEWS = 1
    SOCIAL = 2


@dataclass(frozen=True, slots=True, order=True)
class SocialEvent:
    """One event of one symbol.

    Attributes:
        event_time_nanos: when it happens, UTC epoch nanoseconds; prices move from here on, never before.
        direction: +1 good for the price, -1 bad.
        strength: how strong it is, `LEAST_STRENGTH` to `GREATEST_STRENGTH`, 1 on average.
        half_life_nanos: half of what the price makes of it is made so long after it.
        effect_bps: the whole move of the fair price, unsigned; 0 when prices do not care.
    """

    event_time_nanos: int
    symbol: str
    direction: int
    strength: float
    kind: EventKind
    half_life_nanos: int
    effect_bps: float = 0.0

    @property
    def end_time_nanos(self) -> int:
        """When all of the effect has come, UTC epoch nanoseconds."""
        return self.event_time_nanos + HALF_LIVES * self.half_life_nanos

    def drift_bps(self, time_nanos: int) -> float:
        """Return the signed move that has come up to `time_nanos`: nothing before the event."""
        age = time_nanos - self.event_time_nanos
        if age <= 0:
            return 0.0
        if time_nanos >= self.end_time_nanos:
            return self.direction * self.effect_bps
        return self.direction * self.effect_bps * -math.expm1(-math.log(2.0) * age / self.half_life_nanos)


def planted_events(
    seed: int,
    session_open_nanos: int,
    session_close_nanos: int,
    symbols: Iterable[str],
    effect: float = 0.0,
) -> list[SocialEvent]:
    """Return the events of one session in order of time, the same for the same arguments on every machine.

    Events of a symbol do not depend on which other symbols are asked for, and neither their times nor their
    directions on `effect`: basis points that a price moves for an event of strength 1, at least 0. What has
    not come when the session closes never comes. Raises ValueError for a negative effect or a session that
    closes before it opens.
    """
    if effect < 0 or not math.isfinite(effect):
        raise ValueError("the effect must be at least 0 basis points")
    if session_close_nanos <= session_open_nanos:
        raise ValueError("a session must close after it opens")
    events = [
        event
        for symbol in sorted(set(symbols))
        for event in _events_of(seed, session_open_nanos, session_close_nanos, symbol, effect)
    ]
    return sorted(events)


def log_drift(events: Sequence[SocialEvent], time_nanos: int) -> float:
    """Return the log return that `events` have brought up to `time_nanos`."""
    return sum(event.drift_bps(time_nanos) for event in events) * 1e-4


def _events_of(seed: int, opens: int, closes: int, symbol: str, effect: float) -> list[SocialEvent]:
    chance = random.Random(f"{seed}/{symbol}/{opens}")  # a text is hashed: the same stream everywhere
    begins = opens + QUIET_BEGINNING_SECONDS * NANO
    length = closes - QUIET_END_SECONDS * NANO - begins
    if length <= 0:
        return []
    events: list[SocialEvent] = []
    last = begins - LEAST_GAP_SECONDS * NANO
    for time in sorted(begins + int(chance.random() * length) for _ in range(_count(chance, opens, closes))):
        is_news = chance.random() < NEWS_SHARE
        direction = 1 if chance.random() < 0.5 else -1
        # the square root of a uniform number, turned round: more weak events than strong ones, mean 1
        strength = LEAST_STRENGTH + (GREATEST_STRENGTH - LEAST_STRENGTH) * (1.0 - math.sqrt(chance.random()))
        half_life = NEWS_HALF_LIFE_SECONDS if is_news else SOCIAL_HALF_LIFE_SECONDS
        half_life *= math.exp2(2.0 * chance.random() - 1.0)
        if time - last < LEAST_GAP_SECONDS * NANO:
            continue
        last = time
        events.append(
            SocialEvent(
                event_time_nanos=time,
                symbol=symbol,
                direction=direction,
                strength=strength,
                kind=EventKind.NEWS if is_news else EventKind.SOCIAL,
                half_life_nanos=round(half_life) * NANO,
                effect_bps=effect * strength,
            )
        )
    return events


def _count(chance: random.Random, opens: int, closes: int) -> int:
    """Draw from a Poisson distribution: exponential gaps, counted until the session is over."""
    mean = EVENTS_A_DAY * (closes - opens) / (DAY_SECONDS * NANO)
    count, left = 0, mean + math.log(1.0 - chance.random())
    while left > 0:
        count += 1
        left += math.log(1.0 - chance.random())
    return count
