"""Recorded days of real markets lie where the calendars say: across daylight saving and time zones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from servers.calendars import Calendars
from servers.market_data.adapters.recorded_history import load_history
from servers.market_data.history import resample
from servers.market_data.volume import volume_curve

MINUTE = 60 * 1_000_000_000
DAY = 1_440 * MINUTE

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def calendars() -> Calendars:
    return Calendars()


def test_recorded_us_days_begin_at_the_open_winter_and_summer(
    recorded_data: Path, calendars: Calendars
) -> None:
    history = load_history([recorded_data / "market" / "us_1min_2024.csv.xz"], calendars, "XNYS")
    for symbol in ("AZO", "BKNG"):
        bars = history[symbol]
        first, last = int(bars.start_nanos[0]), int(bars.start_nanos[-1]) + MINUTE
        sessions = calendars.sessions_between("XNYS", first, last)
        minutes = {session.date: resample(bars, session, MINUTE) for session in sessions}
        # The minute after the close and some of the evening are in the file and in no session.
        assert sum(len(day) for day in minutes.values()) > 0.95 * len(bars)
        begins = {
            session.date
            for session in sessions
            if minutes[session.date].start_nanos[0] == session.open_time_nanos
        }
        assert {"2024-03-08", "2024-03-11", "2024-07-03"} <= begins
        assert len(begins) > 0.95 * len(sessions)
        half = next(session for session in sessions if session.date == "2024-07-03")
        assert len(resample(bars, half, 30 * MINUTE)) == 7
    present = calendars.session_for("XNYS", "2024-08-30")
    assert present is not None
    earlier = calendars.sessions_between("XNYS", 0, present.open_time_nanos)[-100:]
    curve = volume_curve(history["AZO"], earlier, present.length_nanos, 5 * MINUTE, 60)
    assert (curve.sessions, len(curve.shares)) == (60, 78)
    assert sum(curve.shares) == pytest.approx(1.0)
    assert curve.shares[77] == max(curve.shares)


def test_indian_days_have_every_minute_of_the_bombay_session(
    recorded_data: Path, calendars: Calendars
) -> None:
    history = load_history([recorded_data / "market" / "nse_1min_2016.csv.xz"], calendars, "XBOM")
    bars = history["ACC"]
    session = calendars.session_for("XBOM", "2016-08-23")
    assert session is not None
    day = bars.between(session.open_time_nanos, session.close_time_nanos)
    assert len(day) == 375
    assert np.array_equal(day.start_nanos, session.open_time_nanos + MINUTE * np.arange(375, dtype=np.int64))
