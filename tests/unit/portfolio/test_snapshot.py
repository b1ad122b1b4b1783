"""A ledger from a snapshot and the facts after it is the ledger from all facts."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servers.journal import Journal, MemoryDisk, MemoryStore
from servers.journal.parts import Image, Kept, PartedSnapshot, SnapshotBroken
from servers.model.clock import ManualClock
from servers.model.errors import ResourceExhausted
from servers.model.instrument import Instrument, TickBand
from servers.model.nanos import Money
from servers.model.order import Fill, Liquidity, Side
from servers.portfolio import snapshot as snapshot_module
from servers.portfolio.adapters.journal import JournalLedger
from servers.portfolio.domain.adjustments import Adjustment, AdjustmentKind
from servers.portfolio.domain.position import CHECKPOINT_ENTRIES, Entry, PositionState
from servers.portfolio.engine import PortfolioEngine
from servers.portfolio.ports import FillFact
from servers.portfolio.snapshot import NAME, VERSION, LedgerState

NANO = 10**9
PART_ROWS = 3
SYMBOLS = ("ACME", "BOLT", "CORE")


@pytest.fixture(autouse=True)
def small_parts() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot_module, "PART_ROWS", PART_ROWS)
        yield


def contents(engine: PortfolioEngine) -> dict[str, Any]:
    """Return all that an engine holds of facts, with the order of its keys."""
    ledger = dict(vars(engine.ledger))
    positions = ledger.pop("positions")
    return {
        **{name: [*value.items()] if isinstance(value, dict) else value for name, value in ledger.items()},
        "positions": [(key, vars(history)) for key, history in positions.items()],
        "sequence": engine.sequence,
    }


def parted(journal: Journal) -> PartedSnapshot:
    return PartedSnapshot(journal, NAME, VERSION, snapshot_module.PART_ROWS)


async def open_journal(disk: MemoryDisk) -> Journal:
    return await Journal.open(
        MemoryStore(disk), writer="portfolio", clock=ManualClock(1_000), on_failure=lambda _: None
    )


def new_engine(journal: Journal) -> PortfolioEngine:
    engine = PortfolioEngine(JournalLedger(journal))
    engine.take_instruments(
        Instrument(symbol, "PRACTICE", "USD", (TickBand(0, 1),), NANO, NANO, "XNYS") for symbol in SYMBOLS
    )
    return engine


def loaded(journal: Journal) -> PortfolioEngine:
    """Return an engine with what the last snapshot holds."""
    engine = new_engine(journal)
    kept = parted(journal).load()
    if kept is not None:
        LedgerState(engine).restore(kept)
    return engine


def fill(number: int, size: int, at: int, symbol: str) -> Fill:
    return Fill(
        "PRACTICE",
        f"x{number}",
        f"a{number % 2}",
        f"o{number}",
        "",
        symbol,
        Side.BUY if size % 3 else Side.SELL,
        (size % 5 + 1) * NANO,
        100 * NANO + size * 7,
        Money("USD", size * NANO),
        Liquidity.TAKER,
        at,
    )


async def take(engine: PortfolioEngine, count: int, pick: tuple[int, int, int]) -> None:
    """Let one thing happen: a fill, a bust, a correction or an adjustment."""
    what, which, at = pick
    symbol = SYMBOLS[which % 3]
    if what < 12:
        one = fill(which % 9, what, at, symbol)
        corrected = fill(which % 9, what + 1, at + which % 2, symbol) if what % 4 == 3 else None
        fact = FillFact(count, one, what % 4 == 2, corrected)
        await engine.take_fills([fact], count)
        return
    common: dict[str, Any] = {"symbol": symbol, "effective_time_nanos": at}
    asked = {
        12: Adjustment(AdjustmentKind.SPLIT, ratio_numerator=3, ratio_denominator=2, **common),
        13: Adjustment(AdjustmentKind.DIVIDEND, cash=Money("USD", 7 * NANO), **common),
        14: Adjustment(AdjustmentKind.SYMBOL_CHANGE, new_symbol=SYMBOLS[(which + 1) % 3], **common),
        15: Adjustment(
            AdjustmentKind.OPENING,
            f"a{which % 2}",
            quantity_nanos=NANO * (which + 1),
            price_nanos=NANO,
            **common,
        ),
        16: Adjustment(
            AdjustmentKind.OPENING, f"a{which % 2}", cash=Money("USD", 5 * NANO), effective_time_nanos=at
        ),
    }[what]
    await engine.record_adjustment(f"r{count}", asked)


PICKS = st.lists(st.tuples(st.integers(0, 16), st.integers(0, 30), st.integers(0, 20)), max_size=25)


@settings(max_examples=50, deadline=None)
@given(PICKS)
def test_a_snapshot_at_every_cut_with_the_facts_after_it_equals_a_full_replay(
    picks: list[tuple[int, int, int]],
) -> None:
    asyncio.run(_at_every_cut(picks))


async def _at_every_cut(picks: list[tuple[int, int, int]]) -> None:
    journal = await open_journal(MemoryDisk())
    engine, restored = new_engine(journal), []
    state, snapshot = LedgerState(engine), parted(journal)
    for count, pick in enumerate(picks, 1):
        await take(engine, count, pick)
        assert engine.sequence == journal.last_sequence
        await snapshot.save(state.capture(), share=1.0)
        one = loaded(journal)
        assert contents(one) == contents(engine)
        restored.append(one)
    whole = new_engine(journal)
    await whole.restore()
    for one in restored:
        await one.restore()
        assert contents(one) == contents(whole)
    assert loaded(journal).sequence == whole.sequence == journal.last_sequence
    assert whole.orders_sequence == engine.orders_sequence
    await journal.close()


@settings(max_examples=30, deadline=None)
@given(PICKS, st.integers(1, 6), st.integers(0, 5))
def test_a_save_that_is_cut_short_costs_nothing(
    picks: list[tuple[int, int, int]], every: int, refused: int
) -> None:
    asyncio.run(_cut_short(picks, every, refused))


async def _cut_short(picks: list[tuple[int, int, int]], every: int, refused: int) -> None:
    disk = MemoryDisk()
    journal = await open_journal(disk)
    engine = new_engine(journal)
    state, snapshot = LedgerState(engine), parted(journal)
    for count, pick in enumerate(picks, 1):
        await take(engine, count, pick)
        if count % every == 0:
            await _save_some(state, snapshot, state.capture(), refused if count % 2 else 99)
    await journal.close()
    journal = await open_journal(disk)
    again, whole = loaded(journal), new_engine(journal)
    await again.restore()
    await whole.restore()
    assert contents(again) == contents(whole) == contents(engine)
    await journal.close()


async def _save_some(state: LedgerState, snapshot: PartedSnapshot, image: Image, refused: int) -> None:
    """Save, but break off at the part of this number, when there is one."""

    def refuse() -> list[Any]:
        raise ResourceExhausted("DISK_FULL")

    parts = dict(image.parts)
    for part in [*parts][refused : refused + 1]:
        parts[part] = refuse
    try:
        await snapshot.save(Image(image.sequence, image.facts, image.counts, parts), share=1.0)
    except ResourceExhausted:
        state.give_back(image)


async def test_a_long_history_has_its_checkpoints_again() -> None:
    journal = await open_journal(MemoryDisk())
    engine = new_engine(journal)
    for number in range(2 * CHECKPOINT_ENTRIES + 1):
        await engine.take_fills([FillFact(number + 1, fill(2 * number, number, number, "ACME"))], number + 1)
    await parted(journal).save(LedgerState(engine).capture())
    again = loaded(journal)
    assert contents(again) == contents(engine)
    late = FillFact(9_000, fill(9_000, 1, CHECKPOINT_ENTRIES + 3, "ACME"))
    for one in (again, engine):
        one.ledger.book(late.fill, late.sequence)
    assert contents(again) == contents(engine)
    await journal.close()


# -- What does not fit is ignored ---------------------------------------------------------------------


async def kept_of_three() -> tuple[PortfolioEngine, Kept]:
    journal = await open_journal(MemoryDisk())
    engine = new_engine(journal)
    for count, pick in enumerate([(1, 1, 1), (5, 2, 2), (15, 2, 3)], 1):
        await take(engine, count, pick)
    await parted(journal).save(LedgerState(engine).capture())
    kept = parted(journal).load()
    assert kept is not None
    return new_engine(journal), kept


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda kept: kept.rows["lines"].pop(), "fold"),
        (lambda kept: kept.rows["lines"][0].__setitem__(9, 1), "fold"),
        (lambda kept: kept.rows["positions"].pop(), "read"),
        (lambda kept: kept.rows["positions"][0].__setitem__(3, 1), "fold"),
        (lambda kept: kept.rows["adjustments"].pop(), "fold"),
        (lambda kept: kept.rows["adjustments"][0].__setitem__(0, 99), "read"),
        (lambda kept: kept.rows["lines"][0].append(1), "read"),
        (lambda kept: kept.rows.pop("lines"), "read"),
        (lambda kept: kept.facts.pop("repeated"), "read"),
    ],
)
async def test_what_does_not_fold_to_the_figures_kept_is_not_used(spoil: Any, why: str) -> None:
    engine, kept = await kept_of_three()
    spoil(kept)
    before = contents(engine)
    with pytest.raises(SnapshotBroken, match=why):
        LedgerState(engine).restore(kept)
    assert contents(engine) == before


async def test_a_ledger_in_which_a_fact_broke_off_is_never_saved() -> None:
    journal = await open_journal(MemoryDisk())
    engine = new_engine(journal)
    state = LedgerState(engine)
    await take(engine, 1, (1, 1, 1))
    assert state.sequence == 1
    # Its own lines are gone: nothing that can happen from outside, and nothing to be kept.
    engine.ledger.positions["a1", "BOLT"].entries.clear()
    with pytest.raises(KeyError):
        await engine.take_fills([FillFact(2, fill(1, 1, 1, "BOLT"), is_bust=True)], 2)
    await take(engine, 3, (1, 2, 1))
    assert state.sequence == 0
    await journal.close()


def test_rows_of_another_layout_come_with_another_version() -> None:
    layout = Entry._fields, *([field.name for field in fields(kind)] for kind in (PositionState, Adjustment))
    digest = sha256(repr(layout).encode()).hexdigest()[:12]
    assert (VERSION, digest) == (1, "32ddc4018eda"), "the fields changed: raise VERSION"
