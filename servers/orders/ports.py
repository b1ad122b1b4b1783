"""What the orders server needs from others: a journal, a venue, and somebody who knows the limits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple, Protocol

from servers.model.kill_switch import KillSwitches
from servers.model.order import Fill, OrderState, OrderTerms, Rejection
from servers.orders.domain import NewOrder, OrderEvent, OrderKey, OrderRecord


class Answer(NamedTuple):
    """The first answer to a cancel or a replace: the order as it was then, and a refusal."""

    order: OrderRecord
    rejection: Rejection | None = None


class KeptAnswer(NamedTuple):
    """An answer with the hash of what was asked."""

    content_hash: bytes
    answer: Answer


class RequestKey(NamedTuple):
    """A cancel's or a replace's request id, unique per account."""

    account: str
    request_id: str


class OrderJournal(Protocol):
    """Keeps order events for ever, and the answers to requests for 24 hours."""

    @property
    def last_sequence(self) -> int:
        """The sequence of the last committed event."""
        ...

    async def append(
        self,
        events: Sequence[OrderEvent],
        records: Sequence[OrderRecord],
        answers: Mapping[RequestKey, KeptAnswer],
        venue_position: int,
    ) -> None:
        """Store events with the orders after them, answers and the venue's position, all or nothing.

        Return when they are synced. Raises as `servers.journal.Journal.append` does.
        """
        ...

    def replay(self, after_sequence: int) -> AsyncIterator[tuple[OrderEvent, int]]:
        """Yield every event above `after_sequence` with its sequence, in order."""
        ...

    def answer(self, key: RequestKey) -> KeptAnswer | None:
        """Return the first answer under a request id."""
        ...

    def venue_position(self) -> int:
        """Return the sequence of the venue's reports up to which all were taken in."""
        ...


class OrderCheck(NamedTuple):
    """One order for risk to check; a replace names its request."""

    account: str
    client_order_id: str
    terms: OrderTerms
    execution_id: str = ""
    replace_request_id: str = ""


class Risk(Protocol):
    """Checks orders and says when to stop."""

    async def check(self, checks: Sequence[OrderCheck]) -> Sequence[Rejection | None]:
        """Return one verdict each: None is approved and reserved.

        Raises Unavailable RISK_UNAVAILABLE when it cannot answer.
        """
        ...

    def kill_switches(self) -> AsyncIterator[KillSwitches]:
        """Yield the switches now and after every change, for ever; a lost connection is made again."""
        ...


class ReportKind(IntEnum):
    """The numbers are those of tapeline.exchange.v1.ReportKind."""

    ACCEPTED = 1
    REJECTED = 2
    FILL = 3
    CANCELLED = 4
    REPLACED = 5
    CANCEL_REJECTED = 6
    REPLACE_REJECTED = 7
    EXPIRED = 8
    DONE_FOR_DAY = 9
    BUSTED = 10
    CORRECTED = 11


class Report(NamedTuple):
    """One fact about one order in the venue's own order; see tapeline.exchange.v1.ExecutionReport."""

    sequence: int
    kind: ReportKind
    account: str
    client_order_id: str
    event_time_nanos: int
    venue_order_id: str = ""
    terms: OrderTerms | None = None
    leaves_quantity_nanos: int = 0
    fill: Fill | None = None
    corrected_fill: Fill | None = None
    rejection: Rejection | None = None
    reason: str = ""
    request_id: str = ""

    @property
    def key(self) -> OrderKey:
        return self.account, self.client_order_id


class ReportPage(NamedTuple):
    """Reports in order, and how far the venue's sequence has been covered by them."""

    reports: Sequence[Report]
    sequence_reached: int


class Submission(NamedTuple):
    """What the venue said to one order: nothing (its report comes by itself) or that it never entered."""

    rejection: Rejection | None = None


class VenueOrder(NamedTuple):
    """An order as the venue holds it."""

    state: OrderState
    venue_order_id: str


class Venue(Protocol):
    """Where orders go.

    The sending calls may be repeated under the same ids. They raise Unavailable when the outcome is not
    known; a refusal that the venue reports by itself is no error. Facts about orders come from `reports`
    alone, each exactly once and in the venue's order.
    """

    @property
    def name(self) -> str:
        """The venue's name, for example "PRACTICE"."""
        ...

    async def submit(self, orders: Sequence[NewOrder]) -> Sequence[Submission]:
        """Send up to 256 new orders, in order."""
        ...

    async def cancel(self, order: OrderKey, request_id: str) -> Rejection | None:
        """Ask for a cancel. A rejection is one that will not come as a report."""
        ...

    async def replace(self, order: OrderKey, request_id: str, terms: OrderTerms) -> Rejection | None:
        """Ask for other terms. A rejection is one that will not come as a report."""
        ...

    async def order(self, order: OrderKey) -> VenueOrder | None:
        """Return the order as the venue holds it; None is its word that it never entered."""
        ...

    async def last_report_sequence(self) -> int:
        """Return the sequence of the venue's last report."""
        ...

    def reports(self, after_sequence: int) -> AsyncIterator[ReportPage]:
        """Yield the reports above `after_sequence` and go on with new ones, until the connection ends.

        Raises Unavailable when it does; OutOfRange when the venue does not know so high a sequence.
        """
        ...
