"""The other kernels of the native core: CPU of one operation, and how many times faster than the plain twin.

The twin (tests/native) says in plain Python what the kernel must do; both get the same input in the same run.
Calls come one at a time from Python, as the servers make them, but for profiles, which take batches.
"""

import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from benchmarks.report import Options, Row
from native import book as native_book
from native.book import Book
from native.flow import Flow
from native.participation import ParticipationTracker
from native.schedule import StaticVwapSchedule, TwapSchedule
from native.slippage import shortfall
from native.volume_profile import PriceProfile
from tests.native import twins
from tests.native.book_twin import BookTwin

ROUNDS = 7
SECOND = 1_000_000_000
NANO = 1_000_000_000
RESTING = 200
BINS = 78
SESSION = 23_400 * SECOND
PRINTS = 1_000
FILLS = 100


def cost_ns(case: Callable[[], object], operations: int) -> float:
    """Return the CPU time of one operation in nanoseconds: the best of all rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time_ns()
        case()
        best = min(best, time.process_time_ns() - began)
    return best / operations


def compared(name: str, native_ns: float, twin_ns: float, note: str) -> list[Row]:
    """Return the cost of an operation, and the ratio to its twin."""
    return [
        Row(f"{name}_ns", native_ns, "ns", None, "max", note),
        Row(
            f"{name}_over_twin",
            twin_ns / native_ns,
            "times faster",
            None,
            "min",
            f"the twin: {twin_ns:,.0f} ns",
        ),
    ]


def run(options: Options) -> list[Row]:
    """Measure every kernel beside its twin."""
    rows: list[Row] = []
    for part in (book_rows, schedule_rows, participation_rows, profile_rows, shortfall_rows, flow_rows):
        options.progress(part.__name__.removesuffix("_rows"))
        rows += part()
    return rows


def filled_book(book: Book | BookTwin) -> None:
    """Open a book and rest orders of others on both sides of 10,000 ticks."""
    book.set_mode(native_book.CONTINUOUS)
    for place in range(RESTING):
        offset = 1 + place % 20
        book.submit(native_book.BUY, native_book.LIMIT, native_book.RESTING, 10_000 - offset, 100, owner=1)
        book.submit(native_book.SELL, native_book.LIMIT, native_book.RESTING, 10_000 + offset, 100, owner=1)


def book_rows() -> list[Row]:
    """Measure an order that rests and is cancelled, and one that trades against a resting one."""

    def rest_and_cancel(book: Book | BookTwin, count: int) -> None:
        for place in range(count):
            price = 9_999 - place % 20
            book.cancel(
                book.submit(native_book.BUY, native_book.LIMIT, native_book.RESTING, price, 10, owner=2)
            )

    def trade(book: Book | BookTwin, count: int) -> None:
        for _ in range(count):
            book.submit(native_book.SELL, native_book.LIMIT, native_book.RESTING, 10_000, 10, owner=1)
            book.submit(native_book.BUY, native_book.LIMIT, native_book.IMMEDIATE, 10_000, 10, owner=2)

    native, twin = Book(), BookTwin()
    filled_book(native)
    filled_book(twin)

    def trade_native() -> None:
        trade(native, 20_000)
        native.take_events()

    def trade_twin() -> None:
        trade(twin, 200)
        twin.events.clear()

    rest = cost_ns(lambda: rest_and_cancel(native, 20_000), 20_000)
    rest_twin = cost_ns(lambda: rest_and_cancel(twin, 200), 200)
    fill, fill_twin = cost_ns(trade_native, 20_000), cost_ns(trade_twin, 200)
    note = f"{2 * RESTING} orders resting at 40 prices"
    return [
        *compared("book_submit_cancel", rest, rest_twin, note),
        *compared("book_submit_fill", fill, fill_twin, f"one rests, one takes it; {note}"),
    ]


def schedule_rows() -> list[Row]:
    """Measure the question how much should be done by now."""
    edges = [place * SESSION // BINS for place in range(BINS + 1)]
    weights = [1.0 + abs(place - BINS / 2) / BINS for place in range(BINS)]
    twap = TwapSchedule(50_000 * NANO, NANO, 0, SESSION)
    vwap = StaticVwapSchedule(50_000 * NANO, NANO, 0, SESSION, edges, weights)
    moments = [place * SESSION // 10_000 for place in range(10_000)]

    def ask(schedule: TwapSchedule | StaticVwapSchedule) -> None:
        for now in moments:
            schedule.target_nanos(now)

    def ask_twin() -> None:
        for now in moments[::200]:
            twins.curve_share(edges, weights, 0, SESSION, now)

    note = f"{BINS} bins, target by now; the twin works in exact fractions"
    return [
        Row("twap_target_ns", cost_ns(lambda: ask(twap), len(moments)), "ns", None, "max", "target by now"),
        *compared(
            "static_vwap_target", cost_ns(lambda: ask(vwap), len(moments)), cost_ns(ask_twin, 50), note
        ),
    ]


def participation_rows() -> list[Row]:
    """Measure a batch of market volume and the question what may be done under the cap."""
    sizes = np.full(10, 100 * NANO, np.int64)
    batches = [np.arange(step, step + 10, dtype=np.int64) * SECOND // 10 for step in range(0, 30_000, 10)]

    def ask() -> None:
        tracker = ParticipationTracker(300 * SECOND, assumed_pace=0.25)
        for times in batches:
            tracker.add_volume(times, sizes)
            tracker.allowed_nanos(int(times[-1]), 0.1)

    def ask_twin() -> None:
        tape: list[tuple[int, int]] = []
        for times in batches[:100]:
            tape += [(moment, 100 * NANO) for moment in times.tolist()]
            twins.allowed(tape, [], tape[-1][0], 10**8, 300 * SECOND, False, 25 * 10**7)

    note = "ten prints in, then the allowed quantity; 3,000 steps of a second"
    return compared("participation_step", cost_ns(ask, len(batches)), cost_ns(ask_twin, 100), note)


def profile_rows() -> list[Row]:
    """Measure volume by price, a print at a time out of batches."""
    generator = np.random.default_rng(7)
    prices = (10_000 + generator.integers(-200, 200, PRINTS)).astype(np.int64) * 10_000_000
    sizes = generator.integers(1, 1_000, PRINTS).astype(np.int64) * NANO
    pairs = list(zip(prices.tolist(), sizes.tolist(), strict=True))

    def add() -> None:
        profile = PriceProfile(10_000_000)
        for _ in range(50):
            profile.add(prices, sizes)

    native = cost_ns(add, 50 * PRINTS)
    twin = cost_ns(lambda: twins.price_levels(pairs, 10_000_000), PRINTS)
    return compared("price_profile_print", native, twin, f"{PRINTS:,} prints a batch, 400 prices")


def shortfall_rows() -> list[Row]:
    """Measure the exact split of what an execution cost."""
    generator = np.random.default_rng(9)
    prices = (50 * NANO + generator.integers(-(10**7), 10**7, FILLS)).astype(np.int64)
    mids = prices + 5_000_000
    sizes = np.full(FILLS, 100 * NANO, np.int64)

    def split() -> None:
        for _ in range(1_000):
            shortfall(1, FILLS * 100 * NANO, 50 * NANO, 50 * NANO, 50 * NANO, prices, sizes, mids)

    def split_twin() -> int:
        paid = zip(prices.tolist(), sizes.tolist(), mids.tolist(), strict=True)
        return sum(size * (price - mid) + size * (mid - 50 * NANO) for price, size, mid in paid)

    note = f"{FILLS} fills; the twin is the bare sum of two parts"
    return compared("shortfall", cost_ns(split, 1_000), cost_ns(split_twin, 1), note)


def flow_rows() -> list[Row]:
    """Measure a simulated session of one symbol, second by second."""

    def session() -> None:
        book = Book()
        flow = Flow(book, 7, 5_000.0, 5_000_000.0, 0.015)
        book.set_mode(native_book.CALL)
        flow.begin_session(0, SESSION)
        flow.collect(0.02)
        book.uncross(5_000)
        book.set_mode(native_book.CONTINUOUS)
        flow.settle()
        for before, until in pairwise(range(0, SESSION + 1, SECOND)):
            if until > before:
                flow.advance(until)

    seconds = cost_ns(session, 1) / 1e9
    return [Row("flow_cpu_seconds_a_session", seconds, "s", None, "max", "one symbol, five million shares")]
