"""The tape against a plain list: appends, duplicates, gaps, cancels, trims, slices."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.market_data.domain import Prints
from servers.market_data.tape import SymbolTape

AUCTION, CANCEL, ELIGIBLE = 4, 32, 1


@dataclass
class Row:
    sequence: int
    time: int
    price: int
    size: int
    flags: int
    undone: int
    counts: bool = field(default=False)


class TapeTwin:
    """The same in plain lists: specification and oracle."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.last_sequence = 0

    def append(self, rows: list[Row]) -> None:
        new = [row for row in rows if row.sequence > self.last_sequence]
        for row in new:
            row.counts = bool(row.flags & ELIGIBLE) and not row.flags & CANCEL
            self.rows.append(row)
            self.last_sequence = row.sequence
        for row in new:
            if row.undone:
                for other in self.rows:
                    if other.sequence == row.undone:
                        other.counts = False

    def trim_before(self, time: int) -> None:
        while self.rows and self.rows[0].time < time:
            self.rows.pop(0)


def column(values: list[int]) -> bytes:
    return np.asarray(values, "<i8").tobytes()


def prints_of(rows: list[Row]) -> Prints:
    undone = [row.undone for row in rows]
    return Prints(
        "ACME",
        len(rows),
        rows[0].sequence,
        column([row.time for row in rows]),
        column([row.price for row in rows]),
        column([row.size for row in rows]),
        column([row.flags for row in rows]),
        column(undone) if any(undone) else b"",
    )


def rows_of(runs: list[Prints]) -> list[tuple[int, ...]]:
    found = []
    for prints in runs:
        prints.validate()
        columns = [
            np.frombuffer(raw, "<i8").tolist()
            for raw in (
                prints.event_time_nanos,
                prints.price_nanos,
                prints.size_nanos,
                prints.flags,
                prints.cancelled_sequence or bytes(8 * prints.count),
            )
        ]
        found += [
            (prints.first_sequence + offset, *values)
            for offset, values in enumerate(zip(*columns, strict=True))
        ]
    return found


@st.composite
def feeds(draw: st.DrawFn) -> list[list[Row]]:
    """Runs as a venue sends them: mostly the next sequence, sometimes known ones or a gap; cancels."""
    sequence, time, runs = 1, 1_000, []
    for _ in range(draw(st.integers(1, 8))):
        sequence = max(1, sequence + draw(st.sampled_from([0, 0, 0, 0, -2, 3])))
        rows = []
        for _ in range(draw(st.integers(1, 6))):
            time += draw(st.integers(0, 5)) - draw(st.sampled_from([0] * 12 + [20]))
            flags = draw(st.sampled_from([0, 1, 1, 1, 5, 33]))
            undone = draw(st.integers(1, sequence)) if flags & CANCEL else 0
            rows.append(Row(sequence, time, draw(st.integers(1, 50)), draw(st.integers(1, 9)), flags, undone))
            sequence += 1
        runs.append(rows)
    return runs


@given(feeds(), st.integers(0, 60), st.integers(960, 1100), st.integers(0, 60), st.integers(1, 4))
def test_the_tape_does_what_a_list_does(
    feed: list[list[Row]], after: int, start: int, span: int, trim_at: int
) -> None:
    tape, twin = SymbolTape("ACME"), TapeTwin()
    for number, rows in enumerate(feed):
        tape.append(prints_of(rows))
        twin.append(rows)
        if number == trim_at:
            tape.trim_before(start)
            twin.trim_before(start)
    plain = [(row.sequence, row.time, row.price, row.size, row.flags, row.undone) for row in twin.rows]
    assert len(tape) == len(plain)
    assert tape.last_sequence == twin.last_sequence
    assert rows_of(list(tape.read(0, tape.last_sequence))) == plain
    assert rows_of(list(tape.read(after, tape.last_sequence))) == [row for row in plain if row[0] > after]
    between = []
    for first, end in tape.rows_between(start, start + span):
        while first < end:
            between.append(tape.slice(first, end))
            first += between[-1].count
    assert rows_of(between) == [row for row in plain if start <= row[1] < start + span]
    eligible = tape.eligible(start, start + span)
    counted = [row for row in twin.rows if row.counts and start <= row.time < start + span]
    assert eligible.price_nanos.tolist() == [row.price for row in counted]
    assert eligible.size_nanos.tolist() == [row.size for row in counted]
    without = tape.eligible(start, start + span, without_auctions=True)
    assert without.time_nanos.tolist() == [row.time for row in counted if not row.flags & AUCTION]
    if not any(row.time < start for row in twin.rows):
        counting = [row.price for row in twin.rows if row.counts]
        assert not counting or tape.last_price_nanos == counting[-1]


def test_runs_longer_than_the_first_block_are_kept(make_prints: Any) -> None:
    tape = SymbolTape("ACME")
    for first in range(1, 20_001, 1_000):
        tape.append(make_prints(first, [first] * 1_000, [first] * 1_000, [1] * 1_000))
    assert len(tape) == 20_000
    assert [prints.count for prints in tape.read(500, 3_000)] == [1_000, 1_000, 500]
    assert tape.eligible(0, 2**62).price_nanos[::1_000].tolist() == list(range(1, 20_001, 1_000))


def test_the_last_price_goes_back_when_its_print_is_cancelled(make_prints: Any) -> None:
    tape = SymbolTape("ACME")
    tape.append(make_prints(1, [1, 2], [50, 51], [1, 1]))
    assert tape.last_price_nanos == 51
    tape.append(make_prints(3, [3], [51], [1], [33], [2]))
    assert tape.last_price_nanos == 50
    tape.append(make_prints(4, [4], [50], [1], [33], [1]))
    assert tape.last_price_nanos == 0


def test_an_ineligible_print_does_not_move_the_last_price(make_prints: Any) -> None:
    tape = SymbolTape("ACME")
    tape.append(make_prints(1, [1], [50], [1]))
    tape.append(make_prints(2, [2], [99], [1], [64]))
    assert tape.last_price_nanos == 50


def test_a_run_agrees_when_the_last_common_print_is_the_same(make_prints: Any) -> None:
    tape = SymbolTape("ACME")
    tape.append(make_prints(5, [1, 2, 3], [50, 51, 52], [1, 1, 1]))
    assert tape.agrees_with(make_prints(6, [2, 3, 4], [51, 52, 53], [1, 1, 1]))
    assert not tape.agrees_with(make_prints(6, [2, 3, 4], [51, 99, 53], [1, 1, 1]))
    assert not tape.agrees_with(make_prints(5, [9], [50], [1]))
    assert tape.agrees_with(make_prints(1, [1], [7], [1]))
    assert tape.agrees_with(make_prints(8, [1], [7], [1]))


def test_a_cleared_tape_is_empty_and_its_places_are_void(make_prints: Any) -> None:
    tape = SymbolTape("ACME")
    tape.append(make_prints(5, [1, 2, 3], [50, 51, 52], [1, 1, 1]))
    tape.clear()
    assert (len(tape), tape.last_sequence, tape.last_price_nanos, tape.generation) == (0, 0, 0, 1)
    tape.append(make_prints(1, [1], [50], [1]))
    assert tape.last_sequence == 1


@pytest.mark.parametrize("broken", ["price", "count", "cancelled", "none"])
def test_columns_of_the_wrong_length_are_refused(make_prints: Any, broken: str) -> None:
    prints = make_prints(1, [1, 2], [50, 51], [1, 1])
    if broken == "price":
        prints.price_nanos = prints.price_nanos[:-1]
    elif broken == "count":
        prints.count = 1_001
    elif broken == "cancelled":
        prints.cancelled_sequence = b"12345678"
    else:
        prints.count = 0
    with pytest.raises(ValueError, match="ACME"):
        prints.validate()
