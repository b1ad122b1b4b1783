"""More authors than usual: noticed within a minute of the posts that make it so.

Different authors are counted in a sliding window and compared with what is usual at this hour of the week, an
exponentially weighted mean and variance of finished windows (Roberts, 1959; the sum of small excesses after
Page, "Continuous inspection schemes", 1954). Counts of authors are near Poisson, so the variance is never
taken below the mean, and never below one author.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

WINDOW_SECONDS = 300
QUIET_SECONDS = 1_800
"""After an alert nothing new is said of the entity for so long."""
FEWEST_AUTHORS = 7
ZSCORE_FROM = 7.5
SUM_FROM = 30.0
SUM_SLACK = 1.5
"""Standard deviations of excess that add nothing to the sum."""
FORGETTING = 0.05
"""Weight of one finished window in what is usual."""
LEARNT_WINDOWS = 24
"""An hour is known after so many windows: two days of it, or two weeks."""
HOURS = 168
_HOUR_NANOS = 3_600 * 10**9
_WINDOW_NANOS = WINDOW_SECONDS * 10**9
_THURSDAY_HOURS = 72
"""The epoch began on a Thursday; hour 0 of the week is Monday's first."""


@dataclass(slots=True)
class Usual:
    """Mean and variance of authors a window."""

    mean: float = 1.0
    variance: float = 1.0
    windows: int = 0

    def learn(self, authors: float) -> None:
        """Take in a finished window."""
        self.windows += 1
        weight = max(FORGETTING, 1.0 / (self.windows + 1))
        apart = authors - self.mean
        self.mean += weight * apart
        self.variance = (1.0 - weight) * (self.variance + weight * apart * apart)

    @property
    def deviation(self) -> float:
        return math.sqrt(max(self.variance, self.mean, 1.0))


@dataclass(frozen=True, slots=True)
class Burst:
    """More authors than usual, as it was noticed."""

    event_time_nanos: int
    start_time_nanos: int
    author_count: int
    usual_author_count: float
    zscore: float


@dataclass(slots=True)
class BurstWatch:
    """Watches one entity.

    Posts come in order of market time.
    """

    _recent: deque[tuple[int, str]] = field(default_factory=deque)
    _all: Usual = field(default_factory=Usual)
    _of_day: dict[int, Usual] = field(default_factory=dict)
    _of_week: dict[int, Usual] = field(default_factory=dict)
    _window_end: int = 0
    _sum: float = 0.0
    _quiet_until: int = 0

    def take(self, author: str, event_time_nanos: int) -> Burst | None:
        """Take in a post; return a burst when it makes one."""
        self.advance(event_time_nanos)
        self._recent.append((event_time_nanos, author))
        authors = self.author_count
        usual = self.usual(event_time_nanos)
        excess = (authors - usual.mean) / usual.deviation
        # The sum of the windows before, and the present one as far as it has come.
        total = self._sum + max(0.0, excess - SUM_SLACK)
        if authors < FEWEST_AUTHORS or event_time_nanos < self._quiet_until:
            return None
        if excess < ZSCORE_FROM and total < SUM_FROM:
            return None
        self._quiet_until = event_time_nanos + QUIET_SECONDS * 10**9
        self._sum = 0.0
        return Burst(event_time_nanos, self._recent[0][0], authors, usual.mean, excess)

    def advance(self, now_nanos: int) -> None:
        """Let time pass: finished windows become what is usual, a burst's own excepted."""
        if self._window_end == 0:
            self._window_end = now_nanos - now_nanos % _WINDOW_NANOS + _WINDOW_NANOS
        # After a long silence all that is learnt is that nothing came: a day of empty windows says it all.
        self._window_end = max(self._window_end, now_nanos - 288 * _WINDOW_NANOS)
        while now_nanos >= self._window_end:
            self._drop(self._window_end - _WINDOW_NANOS)
            self._finish(self._window_end, self._authors_before(self._window_end))
            self._window_end += _WINDOW_NANOS
        self._drop(now_nanos - _WINDOW_NANOS)

    @property
    def author_count(self) -> int:
        """Different authors in the window that ends with the last post."""
        return len({author for _, author in self._recent})

    def usual(self, now_nanos: int) -> Usual:
        """Return what is usual at this hour of the week; until that is known, of the day; then at all."""
        week = hour_of_week(now_nanos)
        for known in (self._of_week.get(week), self._of_day.get(week % 24)):
            if known is not None and known.windows >= LEARNT_WINDOWS:
                return known
        return self._all

    def zscore(self, now_nanos: int) -> float:
        """Return the authors of the window in standard deviations from what is usual."""
        usual = self.usual(now_nanos)
        return (self.author_count - usual.mean) / usual.deviation

    def ratio(self, now_nanos: int) -> float:
        """Return the authors of the window by what is usual; 0 while nothing is known."""
        usual = self.usual(now_nanos)
        return self.author_count / usual.mean if usual.windows and usual.mean > 0.0 else 0.0

    def _authors_before(self, end_nanos: int) -> int:
        return len({author for time, author in self._recent if time < end_nanos})

    def _finish(self, end_nanos: int, authors: int) -> None:
        usual = self.usual(end_nanos)
        self._sum = max(0.0, self._sum + (authors - usual.mean) / usual.deviation - SUM_SLACK)
        if end_nanos < self._quiet_until:
            return
        if authors:  # empty nights say nothing of an hour that nobody knows yet
            self._all.learn(authors)
        week = hour_of_week(end_nanos - 1)
        self._of_day.setdefault(week % 24, Usual()).learn(authors)
        self._of_week.setdefault(week, Usual()).learn(authors)

    def _drop(self, before_nanos: int) -> None:
        while self._recent and self._recent[0][0] < before_nanos:
            self._recent.popleft()


def hour_of_week(time_nanos: int) -> int:
    """Return the hour of the week, 0 to 167, of a UTC epoch time in nanoseconds."""
    return (time_nanos // _HOUR_NANOS + _THURSDAY_HOURS) % HOURS
