"""Practice peers in memory: an account that risk and execution agree on, a past, and no traces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from servers.decision.domain.decision import Decision
from servers.decision.ports import TRANSIENT, ExecutionFact, Exposure, Started, SymbolFacts
from servers.model.errors import NotFound, TapelineError, Unavailable
from servers.model.nanos import NANO, Money
from servers.model.order import Rejection


@dataclass
class PracticeParent:
    """A parent order as the practice account holds it. Quantities are signed, in 1e-9 shares."""

    symbol: str
    quantity_nanos: int
    filled_nanos: int = 0
    paid_attos: int = 0
    is_over: bool = False


@dataclass
class PracticeAccount:
    """`Risk` and `Executions` over one account.

    Attributes:
        parents: by execution id.
        requests: execution id by request id: a repeat gets the first answer.
        foreign: net quantity of other people's orders, by symbol.
        failures: raised by the next calls to `start`, in order; the order goes in all the same when the
            error is one that loses the answer alone.
        rejection: what the next parent orders are refused with.
        cancels: request ids of cancels, by execution id.
    """

    positions: dict[str, int] = field(default_factory=dict)
    parents: dict[str, PracticeParent] = field(default_factory=dict)
    requests: dict[str, str] = field(default_factory=dict)
    foreign: dict[str, int] = field(default_factory=dict)
    failures: list[TapelineError] = field(default_factory=list)
    rejection: Rejection | None = None
    cancels: dict[str, str] = field(default_factory=dict)
    price_nanos: int = 50 * NANO
    is_risk_away: bool = False

    async def exposures(self, account: str) -> Mapping[str, Exposure]:
        if self.is_risk_away:
            raise Unavailable("PEER_UNAVAILABLE", "risk is away")
        working = dict(self.foreign)
        for parent in self.parents.values():
            if not parent.is_over:
                left = parent.quantity_nanos - parent.filled_nanos
                working[parent.symbol] = working.get(parent.symbol, 0) + left
        return {
            symbol: Exposure(
                self.positions.get(symbol, 0),
                max(working.get(symbol, 0), 0),
                max(-working.get(symbol, 0), 0),
                self.price_nanos,
            )
            for symbol in {*self.positions, *working}
        }

    async def start(self, decision: Decision) -> Started:
        known = self.requests.get(decision.decision_id)
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None and known is not None and failure.status not in TRANSIENT:
            failure = None  # what was taken is not refused
        if failure is not None and failure.status != "DEADLINE_EXCEEDED":
            raise failure
        if known is None:
            known = self.requests[decision.decision_id] = f"E{len(self.requests) + 1}"
            if self.rejection is None:
                self.parents[known] = PracticeParent(decision.symbol, decision.signed_quantity_nanos)
        if failure is not None:
            raise failure
        return Started(known, self.rejection)

    async def cancel(self, request_id: str, execution_id: str) -> None:
        self.cancels.setdefault(execution_id, request_id)

    def fill(
        self, execution_id: str, quantity_nanos: int, price_nanos: int, time_nanos: int
    ) -> ExecutionFact:
        """Fill an unsigned quantity, a fee of a thousandth of a currency unit a share."""
        parent = self.parents[execution_id]
        sign = 1 if parent.quantity_nanos > 0 else -1
        parent.filled_nanos += sign * quantity_nanos
        parent.paid_attos += quantity_nanos * price_nanos
        parent.is_over = parent.filled_nanos == parent.quantity_nanos
        self.positions[parent.symbol] = self.positions.get(parent.symbol, 0) + sign * quantity_nanos
        return self._fact(execution_id, time_nanos, Money("USD", quantity_nanos * NANO // 1_000))

    def end(self, execution_id: str, time_nanos: int) -> ExecutionFact:
        """End a parent order as it stands."""
        self.parents[execution_id].is_over = True
        return self._fact(execution_id, time_nanos, None)

    def _fact(self, execution_id: str, time_nanos: int, fees: Money | None) -> ExecutionFact:
        parent = self.parents[execution_id]
        filled = abs(parent.filled_nanos)
        average = parent.paid_attos // filled if filled else 0
        return ExecutionFact(execution_id, time_nanos, parent.is_over, filled, average, fees)


@dataclass
class PracticeHistory:
    """`History` of known symbols."""

    known: dict[str, SymbolFacts]

    async def facts(self, symbol: str, now_nanos: int) -> SymbolFacts:
        if symbol not in self.known:
            raise NotFound("SYMBOL_UNKNOWN", symbol=symbol)
        return self.known[symbol]


class NoTracing:
    """`Tracing` that carries the context on and records nothing."""

    @contextmanager
    def span(self, name: str, traceparent: str, **attributes: str) -> Iterator[str]:
        yield traceparent
