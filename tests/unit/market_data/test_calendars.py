"""Real sessions: daylight saving, half days, holidays, time zones, and what is not a calendar."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.calendars import Calendars
from servers.model.calendar import Session, date_from_text
from servers.model.errors import InvalidInput, NotFound

NANOS = 1_000_000_000
CALENDARS = Calendars()


def nanos(text: str, zone: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * NANOS


@pytest.mark.parametrize(
    ("calendar", "date", "opens", "closes", "zone", "half_day"),
    [
        ("XNYS", "2013-10-07", "09:30", "16:00", "America/New_York", False),
        ("XNYS", "2024-03-08", "09:30", "16:00", "America/New_York", False),  # the last day of winter time
        ("XNYS", "2024-03-11", "09:30", "16:00", "America/New_York", False),  # the first of summer time
        ("XNYS", "2024-07-03", "09:30", "13:00", "America/New_York", True),
        ("XNYS", "2024-11-29", "09:30", "13:00", "America/New_York", True),
        ("XBOM", "2016-08-23", "09:15", "15:30", "Asia/Kolkata", False),
        ("XLON", "2024-12-24", "08:00", "12:30", "Europe/London", True),
    ],
)
def test_a_session_opens_and_closes_at_the_exchanges_own_wall_clock(
    calendar: str, date: str, opens: str, closes: str, zone: str, half_day: bool
) -> None:
    session = CALENDARS.session_for(calendar, date)
    assert session == Session(
        calendar, date, zone, nanos(f"{date}T{opens}", zone), nanos(f"{date}T{closes}", zone), half_day
    )


def test_the_change_to_summer_time_moves_the_open_by_an_hour_of_utc() -> None:
    friday = CALENDARS.session_for("XNYS", "2024-03-08")
    monday = CALENDARS.session_for("XNYS", "2024-03-11")
    assert friday is not None
    assert monday is not None
    assert monday.open_time_nanos - friday.open_time_nanos == (3 * 24 - 1) * 3600 * NANOS


def test_a_holiday_and_a_weekend_have_no_session() -> None:
    assert CALENDARS.session_for("XNYS", "2024-07-04") is None
    assert CALENDARS.session_for("XNYS", "2024-03-09") is None
    assert CALENDARS.session_for("XBOM", "2016-08-15") is None


def test_the_next_session_is_the_one_that_is_on_or_else_the_first_after() -> None:
    session = CALENDARS.session_for("XNYS", "2024-07-03")
    assert session is not None
    assert CALENDARS.next_session("XNYS", session.open_time_nanos) == session
    assert CALENDARS.next_session("XNYS", session.close_time_nanos - 1) == session
    assert CALENDARS.next_session("XNYS", session.close_time_nanos).date == "2024-07-05"
    assert CALENDARS.previous_session("XNYS", session.close_time_nanos) == session
    assert CALENDARS.previous_session("XNYS", session.close_time_nanos - 1).date == "2024-07-02"


@given(st.integers(min_value=nanos("2005-01-03T00:00", "UTC"), max_value=nanos("2026-06-01T00:00", "UTC")))
def test_every_moment_lies_between_the_session_before_it_and_the_one_on_or_after_it(moment: int) -> None:
    before = CALENDARS.previous_session("XNYS", moment)
    after = CALENDARS.next_session("XNYS", moment)
    assert before.close_time_nanos <= moment < after.close_time_nanos
    assert before == CALENDARS.sessions_before("XNYS", after.open_time_nanos, 1)[-1]


def test_trailing_sessions_come_oldest_first_and_between_counts_those_it_touches() -> None:
    monday = CALENDARS.session_for("XNYS", "2024-03-11")
    assert monday is not None
    trailing = CALENDARS.sessions_before("XNYS", monday.open_time_nanos, 3)
    assert [session.date for session in trailing] == ["2024-03-06", "2024-03-07", "2024-03-08"]
    week = CALENDARS.sessions_between("XNYS", trailing[0].close_time_nanos - 1, monday.open_time_nanos + 1)
    assert [session.date for session in week] == ["2024-03-06", "2024-03-07", "2024-03-08", "2024-03-11"]
    assert CALENDARS.sessions_between("XNYS", monday.close_time_nanos, monday.close_time_nanos) == ()


def test_an_alias_names_the_same_calendar() -> None:
    session = CALENDARS.session_for("NYSE", "2024-03-11")
    assert session is not None
    assert session.calendar == "XNYS"
    assert CALENDARS.time_zone("NYSE") == "America/New_York"


@pytest.mark.parametrize("calendar", ["", "NOPE", "xnys", "X" * 5000, "../XNYS", "XNYS\x00"])
def test_what_names_no_calendar_is_refused(calendar: str) -> None:
    with pytest.raises(NotFound) as refusal:
        CALENDARS.session_for(calendar, "2024-03-11")
    assert refusal.value.reason == "CALENDAR_UNKNOWN"


@pytest.mark.parametrize("date", ["", "2024-3-11", "20240311", "2024-13-01", "2024-W10-1", "2024-03-11 "])
def test_what_is_no_date_is_refused(date: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        date_from_text(date)
    assert refusal.value.reason == "FIELD_INVALID"


@pytest.mark.parametrize("date", ["1885-01-01", "9999-12-31"])
def test_a_date_outside_the_table_is_refused(date: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        CALENDARS.session_for("XNYS", date)
    assert refusal.value.reason == "VALUE_OUT_OF_RANGE"


@pytest.mark.parametrize("moment", [-(2**63), 0, 2**63 - 1])
def test_a_moment_outside_the_table_is_refused(moment: int) -> None:
    with pytest.raises(InvalidInput):
        CALENDARS.next_session("XNYS", moment)
    with pytest.raises(InvalidInput):
        CALENDARS.previous_session("XNYS", moment)


def test_a_session_holds_its_open_and_not_its_close() -> None:
    session = Session("XNYS", "2024-03-11", "America/New_York", 10, 20)
    assert session.length_nanos == 10
    assert [session.contains(moment) for moment in (9, 10, 19, 20)] == [False, True, True, False]


def test_a_calendar_that_the_library_cannot_make_is_unknown_and_tried_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def fail(name: str, start: str | None = None) -> None:
        asked.append(name)
        raise ValueError("special dates are not sessions")

    monkeypatch.setattr("exchange_calendars.get_calendar", fail)
    calendars = Calendars()
    for _ in range(3):
        with pytest.raises(NotFound) as refusal:
            calendars.session_for("XTKS", "2024-03-11")
        assert refusal.value.reason == "CALENDAR_UNKNOWN"
    assert asked == ["XTKS", "XTKS"]  # from our first date, and from the library's own
