"""What the engine needs of others: markets to trade in, and a log that keeps what it reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from servers.exchange.domain import Happening, NewOrder, Report
from servers.exchange.tape import Tape
from servers.model.instrument import Instrument
from servers.model.market import MarketPhase
from servers.model.order import OrderTerms, Rejection


class QuoteColumns(NamedTuple):
    """Best quotes in columns of little-endian int64: UTC nanoseconds, price nanos, size nanos."""

    length: int
    times: bytes
    bid_prices: bytes
    bid_sizes: bytes
    ask_prices: bytes
    ask_sizes: bytes


class Level(NamedTuple):
    """One price of a book, with what it shows."""

    price_nanos: int
    size_nanos: int
    orders: int


class Market(Protocol):
    """Where one instrument trades. Orders are named by numbers that the engine gives."""

    instrument: Instrument
    tape: Tape

    def submit(self, number: int, owner: int, terms: OrderTerms) -> Rejection | None:
        """Take an order; what becomes of it comes with `take_happenings`. Return why it is not taken."""
        ...

    def cancel(self, number: int) -> bool:
        """Take an order out; False if it is not there."""
        ...

    def replace(self, number: int, terms: OrderTerms, leaves_nanos: int) -> Rejection | None:
        """Give an order new terms and open quantity. Return why not; then nothing has changed."""
        ...

    def begin_session(self, open_nanos: int, close_nanos: int) -> None:
        """Get ready for a session; the books of participants are empty."""
        ...

    def enter_phase(self, phase: MarketPhase, time_nanos: int) -> None:
        """Change phase. Leaving a call uncrosses it."""
        ...

    def advance(self, until_nanos: int) -> None:
        """Let everything happen up to and including `until_nanos`; prints go on the tape."""
        ...

    def resume(self, open_nanos: int, close_nanos: int, time_nanos: int, phase: MarketPhase) -> None:
        """After a restart: go on in the middle of a session, with nothing of the past matched again."""
        ...

    def take_happenings(self) -> list[Happening]:
        """Return what befell participants' orders since the last call."""
        ...

    def take_quotes(self) -> QuoteColumns:
        """Return the changes of the best quote since the last call."""
        ...

    def depth(self, count: int) -> tuple[list[Level], list[Level]]:
        """Return the best `count` bids and asks."""
        ...

    @property
    def reference_price_nanos(self) -> int:
        """The last price, or what is known before the first."""
        ...

    def state(self) -> dict[str, float]:
        """Return what a restart goes on from."""
        ...


class OrderLog(Protocol):
    """The durable record of entries and reports."""

    @property
    def last_sequence(self) -> int:
        """Sequence of the last committed report."""
        ...

    async def commit(
        self, entries: Sequence[tuple[int, NewOrder]], reports: Sequence[Report], content_hash: bytes
    ) -> None:
        """Keep entries (number and order) and reports; return when both are synced.

        Called in the order of the reports' sequences. A report that answers a request is kept as its
        first answer, with the hash of what was asked.
        """
        ...

    def request(self, account: str, request_id: str) -> tuple[bytes, Report] | None:
        """Return hash and first answer of a request that came before."""
        ...

    async def wait_for(self, sequence: int) -> None:
        """Return when the report with this sequence is committed."""
        ...

    def report(self, sequence: int) -> Report:
        """Return one committed report."""
        ...
