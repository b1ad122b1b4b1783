"""A day of the simulated flow, for the tests that measure it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from native import book as b
from native.flow import Flow

SECOND = 1_000_000_000
OPEN = 34_200 * SECOND
SESSION = 23_400 * SECOND
DAY = 86_400 * SECOND
PRICE, DAILY_LOTS, VOLATILITY = 5_000, 5_000_000, 0.015

Column = npt.NDArray[np.int64]
Act = Callable[[b.Book, int], None]


class Tape(NamedTuple):
    """What a day printed and quoted."""

    times: Column
    prices: Column
    sizes: Column
    flags: Column
    quote_times: Column
    bids: Column
    asks: Column

    @property
    def mids(self) -> npt.NDArray[np.float64]:
        return (self.bids + self.asks) / 2

    def mid_at(self, times: Column) -> npt.NDArray[np.float64]:
        return self.mids[np.maximum(np.searchsorted(self.quote_times, times, side="right") - 1, 0)]


def opened(seed: int) -> tuple[b.Book, Flow]:
    """Return a book in continuous trading just after the opening auction."""
    book = b.Book()
    flow = Flow(book, seed, PRICE, DAILY_LOTS, VOLATILITY)
    open_session(book, flow, 0)
    return book, flow


def open_session(book: b.Book, flow: Flow, day: int) -> None:
    start = day * DAY + OPEN
    book.now_nanos = start - 300 * SECOND
    book.set_mode(b.CALL)
    flow.begin_session(start, start + SESSION)
    flow.advance(start)
    flow.collect(0.02)
    book.uncross(round(flow.fair_price))
    book.set_mode(b.CONTINUOUS)
    flow.settle()


def close_session(book: b.Book, flow: Flow) -> None:
    flow.clear()
    book.set_mode(b.CLOSING_CALL)
    flow.collect(0.06)
    book.uncross(book.last_price)
    book.set_mode(b.CLOSED)
    flow.clear()


def trade_days(seed: int, days: int = 1, act: Act | None = None, act_every: int = 60) -> list[Tape]:
    """Return the tapes of `days` sessions; `act(book, second of the session)` trades as a participant."""
    book = b.Book()
    flow = Flow(book, seed, PRICE, DAILY_LOTS, VOLATILITY)
    tapes = []
    for day in range(days):
        open_session(book, flow, day)
        for second in range(act_every, SESSION // SECOND + 1, act_every):
            flow.advance(day * DAY + OPEN + second * SECOND)
            if act is not None:
                act(book, second)
        close_session(book, flow)
        _, *trades = book.take_trades(1, 1)
        _, *quotes = book.take_quotes(1, 1)
        columns = [np.frombuffer(column, np.int64) for column in (*trades, quotes[0], quotes[1], quotes[3])]
        tapes.append(Tape(*columns))
    return tapes


def cash_of(events: Sequence[tuple[int, ...]], sides: dict[int, int]) -> tuple[int, int]:
    """Return (cash in tick-lots, position in lots) of fills; `sides` maps references to +1 or -1."""
    cash = position = 0
    for kind, _, reference, price, lots, *_ in events:
        if kind == b.FILL:
            cash -= sides[reference] * price * lots
            position += sides[reference] * lots
    return cash, position
