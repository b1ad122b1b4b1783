"""Schedules over real sessions: they begin exactly at the open, wherever and whenever that is."""

import numpy as np
import pytest

from native.adaptive_schedule import AdaptiveVwapSchedule
from native.pov_schedule import PovSchedule
from native.schedule import Schedule, StaticVwapSchedule, TwapSchedule
from native.shortfall_schedule import ShortfallSchedule
from servers.calendars import Calendars
from servers.model.calendar import Session

SECOND = 10**9
BIN = 300 * SECOND
QUANTITY = 10_000 * SECOND

# Before and after both changes of the clocks, half days, and India, which has neither and opens at 09:15.
SESSIONS = [
    ("XNYS", "2024-03-08"),
    ("XNYS", "2024-03-11"),
    ("XNYS", "2024-11-01"),
    ("XNYS", "2024-11-04"),
    ("XNYS", "2024-07-03"),
    ("XNYS", "2024-11-29"),
    ("XBOM", "2016-08-16"),
    ("XBOM", "2016-08-30"),
]


@pytest.fixture(scope="module")
def calendars() -> Calendars:
    return Calendars()


def session_of(calendars: Calendars, calendar: str, date: str) -> Session:
    session = calendars.session_for(calendar, date)
    assert session is not None
    return session


def bins_of(session: Session) -> list[int]:
    edges = list(range(session.open_time_nanos, session.close_time_nanos, BIN))
    return [*edges, session.close_time_nanos]


def schedules(session: Session) -> list[Schedule]:
    opens, closes, edges = session.open_time_nanos, session.close_time_nanos, bins_of(session)
    weights = [1.0 + (place % 7) for place in range(len(edges) - 1)]
    order = QUANTITY, SECOND, opens, closes
    return [
        TwapSchedule(*order),
        StaticVwapSchedule(*order, edges, weights),
        AdaptiveVwapSchedule(*order, edges, weights),
        PovSchedule(*order, 0.1, BIN),
        ShortfallSchedule(*order, 1e-6, 0.1, 1e-5),
    ]


@pytest.mark.parametrize(("calendar", "date"), SESSIONS)
def test_nothing_is_due_by_the_open_and_all_of_it_by_the_close_to_the_nanosecond(
    calendars: Calendars, calendar: str, date: str
) -> None:
    session = session_of(calendars, calendar, date)
    opens, closes = session.open_time_nanos, session.close_time_nanos
    for schedule in schedules(session):
        early, first = np.array([opens - 1, opens]), np.array([77_777 * SECOND, 100 * SECOND])
        schedule.add_volume(early.data, first.data)
        assert schedule.target_nanos(opens - 1) == schedule.target_nanos(opens) == 0
        if isinstance(schedule, PovSchedule):
            # What printed before the open is not of the trading day; nor is what prints at the close.
            late = np.array([opens + 1, closes - 1, closes]), np.array([SECOND, 99 * SECOND, 10**15])
            schedule.add_volume(late[0].data, late[1].data)
            assert schedule.target_nanos(closes) == 10 * SECOND
            continue
        assert schedule.target_nanos(closes - 1) <= schedule.target_nanos(closes) == QUANTITY


def test_a_change_of_the_clocks_moves_the_schedule_with_the_session(calendars: Calendars) -> None:
    for before, after in (("2024-03-08", "2024-03-11"), ("2024-11-01", "2024-11-04")):
        winter, summer = (session_of(calendars, "XNYS", date) for date in (before, after))
        # An hour apart on the clock of the world, the same on the clock of the venue.
        assert (summer.open_time_nanos - winter.open_time_nanos) % (86_400 * SECOND) != 0
        for one, other in zip(schedules(winter), schedules(summer), strict=True):
            for minute in (0, 1, 60, 195, 389, 390):
                nanos = minute * 60 * SECOND + 1
                assert one.target_nanos(winter.open_time_nanos + nanos) == other.target_nanos(
                    summer.open_time_nanos + nanos
                )


@pytest.mark.parametrize(("date", "hours"), [("2024-11-29", 3.5), ("2024-07-03", 3.5), ("2024-11-27", 6.5)])
def test_a_half_day_is_spread_over_the_hours_that_it_has(
    calendars: Calendars, date: str, hours: float
) -> None:
    session = session_of(calendars, "XNYS", date)
    schedule = TwapSchedule(QUANTITY, SECOND, session.open_time_nanos, session.close_time_nanos)
    middle = session.open_time_nanos + int(hours * 1800) * SECOND
    assert schedule.target_nanos(middle) == QUANTITY // 2
