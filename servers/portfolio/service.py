"""PortfolioService at the gRPC edge."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from tapeline.portfolio.v1 import portfolio_service_pb2, portfolio_service_pb2_grpc

from servers.model.errors import InvalidInput, OutOfRange
from servers.model.order import check_account, check_range, check_request_id
from servers.portfolio import wire
from servers.portfolio.adapters.journal import ADJUSTMENT, JournalLedger, adjustment_of
from servers.portfolio.domain.adjustments import Adjustment
from servers.portfolio.domain.ledger import Key
from servers.portfolio.engine import Holding, PortfolioEngine
from servers.portfolio.paging import key_from_token, sequence_from_token, token_from_key, token_from_sequence
from servers.runtime.component import Registration

HEARTBEAT_SECONDS = 1.0
DEFAULT_PAGE, MOST_PAGE = 100, 1_000
READ_RECORDS = 1_024
ROLES = {
    "GetPortfolio": frozenset({"*"}),
    "ListPositions": frozenset({"*"}),
    "ListAdjustments": frozenset({"*"}),
    "StreamAdjustments": frozenset({"*"}),
    "StreamPortfolio": frozenset({"*"}),
    "RecordAdjustment": frozenset({"operator"}),
}


def registration(service: PortfolioService) -> Registration:
    """Return how the runtime serves it."""
    return Registration(
        portfolio_service_pb2_grpc.add_PortfolioServiceServicer_to_server, service, roles=ROLES
    )


class PortfolioService(portfolio_service_pb2_grpc.PortfolioServiceServicer):
    """Positions, cash and adjustments."""

    def __init__(self, engine: PortfolioEngine, ledger: JournalLedger, pause_seconds: float) -> None:
        self._engine = engine
        self._journal = ledger.journal
        self._pause_seconds = pause_seconds

    def GetPortfolio(
        self, request: portfolio_service_pb2.GetPortfolioRequest, context: Any
    ) -> portfolio_service_pb2.GetPortfolioResponse:
        engine, account = self._engine, check_account(request.account)
        return wire.portfolio_to_wire(
            account, engine.holdings(account), engine.ledger.cash(account), engine.orders_sequence
        )

    def ListPositions(
        self, request: portfolio_service_pb2.ListPositionsRequest, context: Any
    ) -> portfolio_service_pb2.ListPositionsResponse:
        if request.account:
            check_account(request.account)
        size = _page_size(request.page_size)
        found = self._engine.page(request.account, key_from_token(request.page_token), size + 1)
        page = found[:size]
        return portfolio_service_pb2.ListPositionsResponse(
            positions=[wire.position_to_wire(holding) for holding in page],
            next_page_token=token_from_key((page[-1].account, page[-1].symbol)) if len(found) > size else "",
        )

    # -- Adjustments ------------------------------------------------------------------------------

    async def RecordAdjustment(
        self, request: portfolio_service_pb2.RecordAdjustmentRequest, context: Any
    ) -> portfolio_service_pb2.RecordAdjustmentResponse:
        request_id = check_request_id(request.request_id)
        if request.adjustment.sequence:
            raise InvalidInput(
                "FIELD_INVALID", "the sequence is given by the server: send 0", field="adjustment.sequence"
            )
        asked = wire.adjustment_from_wire(request.adjustment)
        recorded = await self._engine.record_adjustment(request_id, asked)
        return portfolio_service_pb2.RecordAdjustmentResponse(adjustment=wire.adjustment_to_wire(recorded))

    def ListAdjustments(
        self, request: portfolio_service_pb2.ListAdjustmentsRequest, context: Any
    ) -> portfolio_service_pb2.ListAdjustmentsResponse:
        size = _page_size(request.page_size)
        check_range("after_sequence", request.after_sequence, 0, 2**63 - 1)
        after = max(request.after_sequence, sequence_from_token(request.page_token))
        adjustments: list[Adjustment] = []
        last_sequence = self._journal.last_sequence
        while len(adjustments) <= size:
            records = self._journal.page(after, READ_RECORDS)
            if not records:
                break
            adjustments += [adjustment_of(record) for record in records if record.kind == ADJUSTMENT]
            after = records[-1].sequence
        page = adjustments[:size]
        return portfolio_service_pb2.ListAdjustmentsResponse(
            adjustments=[wire.adjustment_to_wire(adjustment) for adjustment in page],
            next_page_token=token_from_sequence(page[-1].sequence) if len(adjustments) > size else "",
            last_sequence=last_sequence,
        )

    async def StreamAdjustments(
        self, request: portfolio_service_pb2.StreamAdjustmentsRequest, context: Any
    ) -> AsyncIterator[portfolio_service_pb2.StreamAdjustmentsResponse]:
        sequence = check_range("resume_after_sequence", request.resume_after_sequence, 0, 2**63 - 1)
        journal = self._journal
        if sequence > journal.last_sequence:
            raise OutOfRange("SEQUENCE_AHEAD", sequence=sequence, last_sequence=journal.last_sequence)
        if sequence == journal.last_sequence:
            yield portfolio_service_pb2.StreamAdjustmentsResponse(sequence_reached=sequence)
        async for records in journal.follow_groups(sequence, wait_seconds=HEARTBEAT_SECONDS):
            adjustments = [adjustment_of(record) for record in records if record.kind == ADJUSTMENT]
            sequence = records[-1].sequence if records else sequence
            if adjustments or not records:
                yield portfolio_service_pb2.StreamAdjustmentsResponse(
                    adjustments=[wire.adjustment_to_wire(adjustment) for adjustment in adjustments],
                    sequence_reached=sequence,
                )
            if records and sequence == journal.last_sequence:
                yield portfolio_service_pb2.StreamAdjustmentsResponse(sequence_reached=sequence)

    # -- State ------------------------------------------------------------------------------------

    async def StreamPortfolio(
        self, request: portfolio_service_pb2.StreamPortfolioRequest, context: Any
    ) -> AsyncIterator[portfolio_service_pb2.StreamPortfolioResponse]:
        engine, account = self._engine, check_account(request.account)
        changes: set[Key] = set()
        changed = asyncio.Event()
        conflated = 0

        def note(key: Key) -> None:
            nonlocal conflated
            if key[0] != account:
                return
            conflated += key in changes
            changes.add(key)
            changed.set()

        stop = engine.listen(note)
        try:
            cash = engine.ledger.cash(account)
            yield self._state(account, engine.holdings(account), cash, 0, is_snapshot=True)
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(HEARTBEAT_SECONDS):
                        await changed.wait()
                changed.clear()
                taken = sorted(changes)
                changes.clear()
                found = [engine.holding(key) or key for key in taken]
                present = engine.ledger.cash(account)
                news = {code: attos for code, attos in present.items() if cash.get(code) != attos}
                cash = present
                yield self._state(account, found, news, conflated)
                await asyncio.sleep(self._pause_seconds)
        finally:
            stop()

    def _state(
        self,
        account: str,
        holdings: Sequence[Holding | Key],
        cash: dict[str, int],
        conflated: int,
        *,
        is_snapshot: bool = False,
    ) -> portfolio_service_pb2.StreamPortfolioResponse:
        """Return a message of the stream; a bare key is a position that is gone."""
        return portfolio_service_pb2.StreamPortfolioResponse(
            is_snapshot=is_snapshot,
            positions=[
                wire.position_to_wire(one) if isinstance(one, Holding) else wire.no_position_to_wire(one)
                for one in holdings
            ],
            cash=[wire.cash_to_wire(account, code, attos) for code, attos in cash.items()],
            orders_sequence=self._engine.orders_sequence,
            conflated_count=conflated,
        )


def _page_size(asked: int) -> int:
    if not 0 <= asked <= MOST_PAGE:
        raise InvalidInput("PAGE_SIZE_INVALID", field="page_size", value=asked)
    return asked or DEFAULT_PAGE
