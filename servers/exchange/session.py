"""The phases of one session, as times: what the venue does when."""

from __future__ import annotations

from typing import NamedTuple

from servers.model.calendar import Session
from servers.model.clock import NANOS_PER_SECOND
from servers.model.market import MarketPhase


class PhaseChange(NamedTuple):
    """From `time_nanos` on, the phase."""

    time_nanos: int
    phase: MarketPhase


def phases_of(session: Session, pre_open_seconds: float, closing_seconds: float) -> tuple[PhaseChange, ...]:
    """Return the phases of a session in order.

    Orders are collected for `pre_open_seconds` before the open; the opening auction is uncrossed at the
    open; the closing auction collects for `closing_seconds` from the close and is uncrossed at their end.
    """
    start, end = session.open_time_nanos, session.close_time_nanos
    return (
        PhaseChange(start - round(pre_open_seconds * NANOS_PER_SECOND), MarketPhase.PRE_OPEN),
        PhaseChange(start, MarketPhase.OPENING_AUCTION),
        PhaseChange(start, MarketPhase.CONTINUOUS),
        PhaseChange(end, MarketPhase.CLOSING_AUCTION),
        PhaseChange(end + round(closing_seconds * NANOS_PER_SECOND), MarketPhase.CLOSED),
    )


def phase_at(phases: tuple[PhaseChange, ...], time_nanos: int) -> MarketPhase:
    """Return the phase in force at a moment."""
    current = MarketPhase.CLOSED
    for change in phases:
        if change.time_nanos <= time_nanos:
            current = change.phase
    return current
