"""Restarts of orders and portfolio from a long journal: from every event, and from a snapshot.

100,000 orders, each accepted, confirmed and filled, and the fills' positions, written through the servers'
own journals on a disk. Wall and CPU time of one process from opening the journal to the whole state, the
cycle collector off as in the servers; the best of some rounds.
"""

import gc
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from benchmarks.report import Options, Row
from servers.journal import Journal
from servers.journal.parts import PartedSnapshot, SnapshotKeeper
from servers.model.clock import WallClock
from servers.model.kill_switch import KillSwitches
from servers.model.nanos import NANO, Money
from servers.model.order import Fill, Liquidity, OrderTerms, OrderType, Rejection, Side, TimeInForce
from servers.orders import snapshot as order_snapshot
from servers.orders.adapters.journal import DurableOrderJournal
from servers.orders.book import PART_ROWS, Draft, OrderBook
from servers.orders.domain import EventKind, NewOrder, OrderEvent
from servers.orders.engine import OrderEngine
from servers.orders.ports import OrderCheck, Risk
from servers.portfolio import snapshot as ledger_snapshot
from servers.portfolio.adapters.journal import JournalLedger
from servers.portfolio.engine import PortfolioEngine
from servers.portfolio.ports import FillFact

ORDERS = 100_000
TOGETHER = 500
EVENTS_EACH = 3
ROUNDS = 3
SERVING_SECONDS = 5.0
BEGAN_NANOS = 1_790_000_000 * NANO
VENUE = "PRACTICE"
LOG = structlog.get_logger("benchmarks")


@dataclass(frozen=True, slots=True)
class Cost:
    """Wall and CPU seconds of a restart."""

    wall: float
    cpu: float


class NoRisk(Risk):
    """Risk for a server that is asked to do nothing."""

    async def check(self, checks: Sequence[OrderCheck]) -> Sequence[Rejection | None]:
        raise RuntimeError("nothing is submitted here")

    def kill_switches(self) -> AsyncIterator[KillSwitches]:
        raise RuntimeError("nothing follows the switches here")


def fill_of(number: int) -> Fill:
    """Return the fill of one order, made up but for its form."""
    side = Side.BUY if number % 3 else Side.SELL
    price = 50 * NANO + number % 997 * NANO // 100
    order_id = f"execution-{number % 400}-{number}"
    return Fill(
        VENUE,
        f"X{number}",
        f"account-{number % 4}",
        order_id,
        f"execution-{number % 400}",
        f"SYM{number % 50}",
        side,
        100 * NANO,
        price,
        Money("USD", NANO // 3),
        Liquidity.TAKER,
        BEGAN_NANOS + number * NANO // 1_000,
    )


def events_of(number: int) -> list[OrderEvent]:
    """Return what happens to one order."""
    fill = fill_of(number)
    moment, report = fill.event_time_nanos, 2 * number + 1
    terms = OrderTerms(
        fill.symbol, fill.side, OrderType.LIMIT, TimeInForce.DAY, fill.quantity_nanos, fill.price_nanos
    )
    traceparent = f"00-{number + 1:032x}-{number + 1:016x}-01"
    order = NewOrder(fill.account, fill.client_order_id, terms, fill.execution_id, traceparent)
    return [
        OrderEvent(EventKind.ACCEPTED, *order.key, moment, order=order),
        OrderEvent(
            EventKind.CONFIRMED,
            *order.key,
            moment,
            venue_order_id=f"V{number}",
            venue_report_sequence=report,
            event_time_nanos=moment,
        ),
        OrderEvent(
            EventKind.FILLED,
            *order.key,
            moment,
            fill=fill,
            venue_order_id=f"V{number}",
            venue_report_sequence=report + 1,
            event_time_nanos=moment,
        ),
    ]


async def opened(path: Path, writer: str) -> Journal:
    """Open a journal as its server does."""
    return await Journal.open(path, writer=writer, clock=WallClock(), on_failure=_fail)


async def write_orders(path: Path) -> None:
    """Write the journal of an orders server that has had all these orders."""
    journal = await opened(path, "orders")
    durable, book = DurableOrderJournal(journal, VENUE), OrderBook()
    for first in range(0, ORDERS, TOGETHER):
        draft = Draft(book)
        for number in range(first, first + TOGETHER):
            for event in events_of(number):
                draft.add(event)
        await durable.append(draft.events, draft.records, {}, 2 * (first + TOGETHER))
        draft.commit()
    await journal.close()


async def write_fills(path: Path) -> None:
    """Write the journal of a portfolio server that has booked all their fills."""
    journal = await opened(path, "portfolio")
    ledger = JournalLedger(journal)
    for first in range(0, ORDERS, TOGETHER):
        numbers = range(first, first + TOGETHER)
        facts = [FillFact(EVENTS_EACH * (number + 1), fill_of(number)) for number in numbers]
        await ledger.save_fills(facts, EVENTS_EACH * (first + TOGETHER))
    await journal.close()


async def restart_orders(path: Path, *, saves: bool) -> int:
    """Bring up the book; with `saves` leave a snapshot. Return the sequence that a snapshot brought it to."""
    journal = await opened(path, "orders")
    engine = OrderEngine(DurableOrderJournal(journal, VENUE), NoRisk(), WallClock())
    snapshot = PartedSnapshot(journal, order_snapshot.NAME, order_snapshot.VERSION, PART_ROWS)
    keeper = SnapshotKeeper(snapshot, order_snapshot.BookState(engine.book), 1, LOG)
    restored = keeper.restore()
    await engine.replay()
    _check(engine.book.fill_count)
    if saves:
        await keeper.close()
    await journal.close()
    return restored


async def restart_portfolio(path: Path, *, saves: bool) -> int:
    """Bring up the ledger; otherwise as `restart_orders`."""
    journal = await opened(path, "portfolio")
    engine = PortfolioEngine(JournalLedger(journal))
    snapshot = PartedSnapshot(
        journal, ledger_snapshot.NAME, ledger_snapshot.VERSION, ledger_snapshot.PART_ROWS
    )
    keeper = SnapshotKeeper(snapshot, ledger_snapshot.LedgerState(engine), 1, LOG)
    restored = keeper.restore()
    await engine.restore()
    if saves:
        await keeper.close()
    await journal.close()
    return restored


async def cost_of(restart: Callable[[], Awaitable[int]]) -> Cost:
    """Return the least wall and CPU time of some restarts."""
    costs = []
    for _ in range(ROUNDS):
        gc.collect()
        gc.disable()
        wall, cpu = time.perf_counter(), time.process_time()
        await restart()
        costs.append(Cost(time.perf_counter() - wall, time.process_time() - cpu))
        gc.enable()
    return Cost(min(cost.wall for cost in costs), min(cost.cpu for cost in costs))


async def run(options: Options) -> list[Row]:
    """Write the journals, restart from every event, save a snapshot, restart from it."""
    rows = []
    cases = (("orders", write_orders, restart_orders), ("portfolio", write_fills, restart_portfolio))
    with tempfile.TemporaryDirectory(prefix="tapeline-restart-") as folder:
        for name, write, restart in cases:
            path = Path(folder) / f"{name}.journal"
            options.progress(f"{name}: writing {ORDERS:,} orders")
            await write(path)
            options.progress(f"{name}: restarting from every event")
            replayed = await cost_of(partial(restart, path, saves=False))
            await restart(path, saves=True)
            options.progress(f"{name}: restarting from a snapshot")
            restored = await cost_of(partial(restart, path, saves=False))
            if not await restart(path, saves=False):
                raise RuntimeError(f"{name} did not use its snapshot")
            note = f"{ORDERS:,} orders and fills; CPU {restored.cpu:.2f} s"
            ratio = replayed.cpu / restored.cpu
            rows += [
                Row(f"{name}_snapshot_seconds", restored.wall, "s", SERVING_SECONDS, "max", note),
                Row(f"{name}_replay_seconds", replayed.wall, "s", None, "max", f"CPU {replayed.cpu:.2f} s"),
                Row(f"{name}_snapshot_over_replay", ratio, "times faster", None, "min", "CPU"),
            ]
    return rows


def _check(fills: int) -> None:
    if fills != ORDERS:
        raise RuntimeError(f"{fills:,} fills came back of {ORDERS:,}")


def _fail(error: BaseException) -> None:
    raise error
