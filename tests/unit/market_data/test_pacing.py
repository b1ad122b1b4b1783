"""Who the venue waits for."""

from __future__ import annotations

from servers.market_data.domain import Acknowledgement
from servers.market_data.pacing import Pacers

SILENCE = 2_000


def test_nobody_who_paces_leaves_the_venue_free() -> None:
    assert Pacers(SILENCE).acknowledgement(77) == Acknowledgement(77, is_idle=True)


def test_the_slowest_pacer_counts_and_its_leaving_lets_the_next_one_count() -> None:
    pacers = Pacers(SILENCE)
    slow = pacers.join("slow", 10, 0, is_idle=False)
    quick = pacers.join("quick", 10, 0, is_idle=False)
    pacers.acknowledge(quick, 50, 1, is_idle=False)
    pacers.acknowledge(slow, 20, 1, is_idle=False)
    assert pacers.acknowledgement(99) == Acknowledgement(20, is_idle=False)
    pacers.leave(slow)
    assert pacers.acknowledgement(99) == Acknowledgement(50, is_idle=False)
    pacers.leave(quick)
    assert pacers.acknowledgement(99).is_idle


def test_an_idle_pacer_does_not_hold_the_venue() -> None:
    pacers = Pacers(SILENCE)
    pacer = pacers.join("execution", 10, 0, is_idle=True)
    assert pacers.acknowledgement(99).is_idle
    pacers.acknowledge(pacer, 30, 1, is_idle=False)
    assert pacers.acknowledgement(99) == Acknowledgement(30, is_idle=False)


def test_acknowledged_time_never_goes_back_nor_past_the_clock() -> None:
    pacers = Pacers(SILENCE)
    pacer = pacers.join("execution", 10, 0, is_idle=False)
    pacers.acknowledge(pacer, 60, 1, is_idle=False)
    pacers.acknowledge(pacer, 40, 2, is_idle=False)
    assert pacers.acknowledgement(99).time_nanos == 60
    assert pacers.acknowledgement(50).time_nanos == 50


def test_a_silent_pacer_is_dropped_once_and_comes_back_with_its_next_word() -> None:
    pacers = Pacers(SILENCE)
    pacer = pacers.join("execution", 10, 0, is_idle=False)
    idle = pacers.join("idle", 10, 0, is_idle=True)
    assert pacers.drop_silent(SILENCE) == []
    assert pacers.drop_silent(SILENCE + 1) == [pacer]
    assert pacers.drop_silent(SILENCE + 2) == []
    assert pacers.dropped_count == 1
    assert pacers.acknowledgement(99).is_idle
    pacers.acknowledge(pacer, 20, SILENCE + 3, is_idle=False)
    assert pacers.acknowledgement(99) == Acknowledgement(20, is_idle=False)
    assert not idle.is_dropped


def test_the_feed_is_told_only_of_what_changes_for_the_venue() -> None:
    told: list[int] = []
    pacers = Pacers(SILENCE, lambda: told.append(len(told)))
    slow = pacers.join("slow", 10, 0, is_idle=False)
    quick = pacers.join("quick", 10, 0, is_idle=False)
    assert len(told) == 1
    pacers.acknowledge(quick, 50, 1, is_idle=False)
    assert len(told) == 1
    pacers.acknowledge(slow, 20, 1, is_idle=False)
    assert len(told) == 2
    assert len(pacers) == 2
