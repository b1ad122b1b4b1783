"""Sessions of a trading calendar, as values: when a venue's regular hours begin and end."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from servers.model.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Session:
    """The regular session of one calendar on one local date.

    Attributes:
        calendar: code, for example "XNYS".
        date: date in the calendar's own time zone, "YYYY-MM-DD".
        time_zone: IANA name, for example "America/New_York".
        open_time_nanos: start of the regular session, UTC epoch nanoseconds.
        close_time_nanos: end of the regular session, not included, UTC epoch nanoseconds.
        is_half_day: whether the session closes earlier than an ordinary one.
    """

    calendar: str
    date: str
    time_zone: str
    open_time_nanos: int
    close_time_nanos: int
    is_half_day: bool = False

    @property
    def length_nanos(self) -> int:
        """Return the length of the regular session in nanoseconds."""
        return self.close_time_nanos - self.open_time_nanos

    def contains(self, time_nanos: int) -> bool:
        """Return whether `time_nanos` lies in [open, close)."""
        return self.open_time_nanos <= time_nanos < self.close_time_nanos


def date_from_text(text: str, field: str = "date") -> datetime.date:
    """Return the date that "YYYY-MM-DD" names. Raises InvalidInput FIELD_INVALID for anything else."""
    parsed: datetime.date | None
    try:
        parsed = datetime.date.fromisoformat(text)
    except ValueError:
        parsed = None
    if parsed is None or parsed.isoformat() != text:
        raise InvalidInput("FIELD_INVALID", f"{field} {text[:40]!r} is not a date YYYY-MM-DD", field=field)
    return parsed
