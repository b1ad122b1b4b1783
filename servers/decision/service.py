"""The gRPC edge of decision."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from typing import Any

from tapeline.decision.v1 import decision_service_pb2 as pb
from tapeline.decision.v1 import decision_service_pb2_grpc

from servers.decision import wire
from servers.decision.adapters.journal import DurableDecisionJournal
from servers.decision.domain.book import DECIDED, ON_PAPER, PRICE_ONLY
from servers.decision.domain.performance import Ledger, wilson_half_width
from servers.decision.engine import DecisionEngine
from servers.decision.ports import Portfolio
from servers.model.errors import InvalidInput, TapelineError
from servers.model.nanos import Money
from servers.model.order import check_range, check_request_id, check_symbol
from servers.runtime.call import current_call
from servers.runtime.component import Registration
from servers.wire.money import money_to_wire

HEARTBEAT_SECONDS = 0.5
DEFAULT_PAGE, MOST_PAGE = 100, 1_000
DO_NOTHING = "do_nothing"
_TRADERS = frozenset({"trader", "operator"})
_READERS = frozenset({"*"})
ROLES = {
    "Propose": _TRADERS,
    "Approve": _TRADERS,
    "Reject": _TRADERS,
    "SetMode": frozenset({"operator"}),
    "ListDecisions": _READERS,
    "StreamDecisions": _READERS,
    "GetPerformance": _READERS,
    "GetMode": _READERS,
}


def registration(service: DecisionService) -> Registration:
    """Return how the runtime serves it. Refusing a decision is never refused for want of capacity."""
    return Registration(
        decision_service_pb2_grpc.add_DecisionServiceServicer_to_server,
        service,
        roles=ROLES,
        exempt=frozenset({"Reject"}),
    )


class DecisionService(decision_service_pb2_grpc.DecisionServiceServicer):
    """Answers calls; all decisions are the engine's."""

    def __init__(self, engine: DecisionEngine, journal: DurableDecisionJournal, portfolio: Portfolio) -> None:
        self._engine = engine
        self._journal = journal
        self._portfolio = portfolio

    async def Propose(self, request: pb.ProposeRequest, context: Any) -> pb.ProposeResponse:
        symbol = check_symbol(request.symbol)
        request_id = "" if request.is_dry_run else check_request_id(request.request_id)
        decision = await self._engine.propose(request_id, symbol, is_dry_run=request.is_dry_run)
        return pb.ProposeResponse(decision=wire.decision_to_wire(decision))

    async def Approve(self, request: pb.ApproveRequest, context: Any) -> pb.ApproveResponse:
        request_id = check_request_id(request.request_id)
        decision = await self._engine.approve(request_id, _id(request.decision_id), _identity())
        return pb.ApproveResponse(decision=wire.decision_to_wire(decision))

    async def Reject(self, request: pb.RejectRequest, context: Any) -> pb.RejectResponse:
        request_id = check_request_id(request.request_id)
        decision = await self._engine.reject(request_id, _id(request.decision_id), _identity())
        return pb.RejectResponse(decision=wire.decision_to_wire(decision))

    async def SetMode(self, request: pb.SetModeRequest, context: Any) -> pb.SetModeResponse:
        request_id = check_request_id(request.request_id)
        mode = wire.mode_from_wire(request.mode)
        if not request.reason or len(request.reason) > 1_000:
            raise InvalidInput("FIELD_MISSING", "reason takes 1 to 1,000 characters", field="reason")
        change = await self._engine.set_mode(request_id, mode, _identity(), request.reason)
        return pb.SetModeResponse(mode_change=wire.mode_change_to_wire(change))

    def GetMode(self, request: pb.GetModeRequest, context: Any) -> pb.GetModeResponse:
        engine = self._engine
        return pb.GetModeResponse(
            mode_change=wire.mode_change_to_wire(engine.book.mode),
            is_killed=engine.is_killed,
            account=engine.account,
        )

    def ListDecisions(self, request: pb.ListDecisionsRequest, context: Any) -> pb.ListDecisionsResponse:
        if request.symbol:
            check_symbol(request.symbol)
        if not 0 <= request.page_size <= MOST_PAGE:
            raise InvalidInput("PAGE_SIZE_INVALID", field="page_size", value=request.page_size)
        size, before = request.page_size or DEFAULT_PAGE, request.page_token
        if before and before not in self._engine.book.decisions:
            raise InvalidInput("PAGE_TOKEN_INVALID", field="page_token")
        matching = self._engine.book.newest(
            before,
            symbol=request.symbol,
            orders_only=request.orders_only,
            pending_only=request.pending_only,
        )
        found = list(itertools.islice(matching, size + 1))
        return pb.ListDecisionsResponse(
            decisions=[wire.decision_to_wire(one) for one in found[:size]],
            next_page_token=found[size - 1].decision_id if len(found) > size else "",
        )

    async def StreamDecisions(
        self, request: pb.StreamDecisionsRequest, context: Any
    ) -> AsyncIterator[pb.StreamDecisionsResponse]:
        after = check_range("resume_after_sequence", request.resume_after_sequence, 0, 2**63 - 1)
        async for events, reached in self._journal.follow(after, HEARTBEAT_SECONDS):
            yield pb.StreamDecisionsResponse(events=events, sequence_reached=reached)

    async def GetPerformance(
        self, request: pb.GetPerformanceRequest, context: Any
    ) -> pb.GetPerformanceResponse:
        book = self._engine.book
        performances = [
            self._performance(strategy, book.ledgers[strategy])
            for strategy in (DECIDED, ON_PAPER, PRICE_ONLY)
            if strategy in book.ledgers
        ]
        beside = await self._beside()
        if beside is not None:
            performances.append(beside)
        return pb.GetPerformanceResponse(
            performances=performances,
            decision_count=len(book.decisions),
            declined_counts=dict(book.declined),
        )

    def _performance(self, strategy: str, ledger: Ledger) -> pb.Performance:
        code = self._engine.book.currency_code
        profit = ledger.net_profit_attos(self._engine.market.mids_nanos)
        return pb.Performance(
            strategy=strategy,
            turnover=money_to_wire(Money(code, ledger.turnover_attos)),
            cost=money_to_wire(Money(code, ledger.cost_attos)),
            net_profit=money_to_wire(Money(code, profit)),
            order_count=ledger.orders,
            measured_count=ledger.measured,
            hit_rate=ledger.hit_rate,
            hit_rate_half_width=wilson_half_width(ledger.hits, ledger.measured),
        )

    async def _beside(self) -> pb.Performance | None:
        """Return what the account made without the decided orders; None while portfolio does not answer."""
        engine, code = self._engine, self._engine.book.currency_code
        try:
            whole = await self._portfolio.profit_attos(engine.account, code)
        except TapelineError:
            return None
        decided = engine.book.ledgers[DECIDED].net_profit_attos(engine.market.mids_nanos)
        return pb.Performance(
            strategy=DO_NOTHING,
            turnover=money_to_wire(Money(code)),
            cost=money_to_wire(Money(code)),
            net_profit=money_to_wire(Money(code, whole - decided)),
        )


def _identity() -> str:
    call = current_call()
    return (call.identity if call is not None else None) or ""


def _id(decision_id: str) -> str:
    if not decision_id:
        raise InvalidInput("FIELD_MISSING", "decision_id is empty", field="decision_id")
    return decision_id
