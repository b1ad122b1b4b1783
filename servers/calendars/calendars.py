"""Look sessions up by date or by moment. Backed by `exchange_calendars`, read once into tuples."""

from __future__ import annotations

import datetime
import warnings
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from servers.model.calendar import Session, date_from_text
from servers.model.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from exchange_calendars import ExchangeCalendar

FIRST_DATE = "2000-01-01"
"""Tables begin here, or where the library knows the calendar from."""


@dataclass(frozen=True)
class _Table:
    """One calendar: its sessions in order, with the keys that are searched."""

    time_zone: str
    sessions: tuple[Session, ...]
    dates: tuple[str, ...]
    opens: tuple[int, ...]
    closes: tuple[int, ...]


class Calendars:
    """Trading calendars by code ("XNYS", "XBOM", or any that `exchange_calendars` knows, aliases included).

    Every method raises NotFound CALENDAR_UNKNOWN for a code that names no calendar, and InvalidInput
    VALUE_OUT_OF_RANGE for a moment or date outside the table (from 2000 to about a year from now).
    """

    def __init__(self) -> None:
        self._tables: dict[str, _Table] = {}
        self._broken: set[str] = set()

    def session_for(self, calendar: str, date: str | datetime.date) -> Session | None:
        """Return the session on `date` (local, "YYYY-MM-DD"), or None when there is none that day."""
        table = self._table(calendar)
        text = (date_from_text(date) if isinstance(date, str) else date).isoformat()
        if not table.dates[0] <= text <= table.dates[-1]:
            raise _outside(calendar, text, table)
        index = bisect_left(table.dates, text)
        return table.sessions[index] if table.dates[index] == text else None

    def next_session(self, calendar: str, time_nanos: int) -> Session:
        """Return the session that is on at `time_nanos` (UTC epoch), or the first one after it."""
        table = self._table(calendar)
        index = bisect_right(table.closes, time_nanos)
        if index == len(table.sessions) or (index == 0 and time_nanos < table.opens[0] - _WEEK_NANOS):
            raise _outside(calendar, str(time_nanos), table)
        return table.sessions[index]

    def previous_session(self, calendar: str, time_nanos: int) -> Session:
        """Return the last session that had closed at `time_nanos` (UTC epoch)."""
        table = self._table(calendar)
        index = bisect_right(table.closes, time_nanos) - 1
        if index < 0 or (index == len(table.sessions) - 1 and time_nanos > table.closes[-1] + _WEEK_NANOS):
            raise _outside(calendar, str(time_nanos), table)
        return table.sessions[index]

    def sessions_before(self, calendar: str, time_nanos: int, count: int) -> tuple[Session, ...]:
        """Return the last `count` sessions that had closed at `time_nanos`, oldest first."""
        table = self._table(calendar)
        end = bisect_right(table.closes, time_nanos)
        return table.sessions[max(0, end - count) : end]

    def sessions_between(self, calendar: str, start_nanos: int, end_nanos: int) -> tuple[Session, ...]:
        """Return the sessions that have a moment in common with [start, end), oldest first."""
        table = self._table(calendar)
        first = bisect_right(table.closes, start_nanos)
        return table.sessions[first : max(first, bisect_left(table.opens, end_nanos))]

    def time_zone(self, calendar: str) -> str:
        """Return the IANA time zone of the calendar."""
        return self._table(calendar).time_zone

    def _table(self, calendar: str) -> _Table:
        table = self._tables.get(calendar)
        if table is None:
            if calendar in self._broken:
                raise _unknown(calendar)
            table = self._tables[calendar] = self._load(calendar)
        return table

    def _load(self, calendar: str) -> _Table:
        try:
            return _load(calendar)
        except _Broken as error:
            # To find that out costs as much as to load a calendar: once is enough.
            self._broken.add(calendar)
            raise _unknown(calendar) from error


_WEEK_NANOS = 7 * 86_400 * 1_000_000_000
_MAX_CODE_LENGTH = 32


class _Broken(Exception):
    """The library knows a calendar and cannot make its table."""


def _load(calendar: str) -> _Table:
    if not 1 <= len(calendar) <= _MAX_CODE_LENGTH:
        raise _unknown(calendar)
    import exchange_calendars

    with warnings.catch_warnings():
        # exchange_calendars 4.13 reads columns in a way that pandas 3.1 announces to change.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        try:
            code = exchange_calendars.resolve_alias(calendar)
            known = exchange_calendars.get_calendar_names()
        except exchange_calendars.errors.CalendarError:
            raise _unknown(calendar) from None
        if code not in known:
            raise _unknown(calendar)
        for start in (FIRST_DATE, None):  # some are known from a later date only: the library's own start
            try:
                return _table_of(code, exchange_calendars.get_calendar(code, start=start))
            except ValueError as error:
                last = error
        raise _Broken(calendar) from last


def _table_of(code: str, table: ExchangeCalendar) -> _Table:
    early = set(table.early_closes.strftime("%Y-%m-%d"))
    dates = tuple(table.sessions.strftime("%Y-%m-%d"))
    opens = tuple(table.opens.astype("int64").tolist())
    closes = tuple(table.closes.astype("int64").tolist())
    time_zone = str(table.tz)
    sessions = tuple(
        Session(code, date, time_zone, open_nanos, close_nanos, date in early)
        for date, open_nanos, close_nanos in zip(dates, opens, closes, strict=True)
    )
    return _Table(time_zone, sessions, dates, opens, closes)


def _unknown(calendar: str) -> NotFound:
    return NotFound("CALENDAR_UNKNOWN", f"no calendar {calendar[:40]!r}", calendar=calendar[:40])


def _outside(calendar: str, value: str, table: _Table) -> InvalidInput:
    return InvalidInput(
        "VALUE_OUT_OF_RANGE",
        f"{value} is outside the table of {calendar}: {table.dates[0]} to {table.dates[-1]}",
        calendar=calendar,
        first_date=table.dates[0],
        last_date=table.dates[-1],
    )
