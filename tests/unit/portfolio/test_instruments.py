"""An adjustment carries its instrument's currency, which market_data tells soon after the start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from servers.journal import Journal, MemoryDisk, MemoryStore
from servers.model.clock import ManualClock
from servers.model.errors import NotFound, Unavailable
from servers.model.instrument import Instrument, TickBand
from servers.model.nanos import Money
from servers.portfolio.adapters.journal import JournalLedger
from servers.portfolio.domain.adjustments import Adjustment, AdjustmentKind
from servers.portfolio.engine import PortfolioEngine

NANO = 10**9
OPENING = Adjustment(
    AdjustmentKind.OPENING, account="demo", symbol="INFY", quantity_nanos=5 * NANO, price_nanos=1_500 * NANO
)
INFY = Instrument("INFY", "PRACTICE", "INR", (TickBand(0, 1),), NANO, NANO, "XBOM")


@pytest.fixture
async def journal() -> AsyncIterator[Journal]:
    opened = await Journal.open(
        MemoryStore(MemoryDisk()), writer="portfolio", clock=ManualClock(1_000), on_failure=lambda _: None
    )
    yield opened
    await opened.close()


async def test_one_that_comes_before_the_instruments_waits_for_them(journal: Journal) -> None:
    engine = PortfolioEngine(JournalLedger(journal), patience_seconds=60.0)
    recording = asyncio.create_task(engine.record_adjustment("r1", OPENING))
    await asyncio.sleep(0)
    assert not recording.done()
    engine.take_instruments([INFY])
    assert (await recording).cash == Money("INR")


async def test_one_waits_no_longer_than_its_patience_and_leaves_nothing(journal: Journal) -> None:
    engine = PortfolioEngine(JournalLedger(journal), patience_seconds=0.01)
    with pytest.raises(Unavailable, match="has not told the instruments yet"):
        await engine.record_adjustment("r1", OPENING)
    assert journal.last_sequence == 0
    engine.take_instruments([INFY])
    assert (await engine.record_adjustment("r1", OPENING)).sequence == 1


async def test_cash_alone_and_a_repeat_wait_for_nobody(journal: Journal) -> None:
    before = PortfolioEngine(JournalLedger(journal))
    before.take_instruments([INFY])
    recorded = await before.record_adjustment("r1", OPENING)
    engine = PortfolioEngine(JournalLedger(journal), patience_seconds=60.0)
    async with asyncio.timeout(10):
        assert (await engine.record_adjustment("r1", OPENING)).sequence == recorded.sequence
        cash = Adjustment(AdjustmentKind.OPENING, account="demo", cash=Money("USD", 10**18))
        assert (await engine.record_adjustment("r2", cash)).sequence == 2


async def test_a_market_without_the_symbol_is_told_from_one_that_is_not_known_yet(journal: Journal) -> None:
    engine = PortfolioEngine(JournalLedger(journal))
    engine.take_instruments([])
    with pytest.raises(NotFound, match="no instrument INFY"):
        await engine.record_adjustment("r1", OPENING)
