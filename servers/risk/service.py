"""RiskService at the gRPC edge."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from tapeline.risk.v1 import risk_service_pb2, risk_service_pb2_grpc

from servers.model.clock import Clock
from servers.model.errors import InvalidInput, Unavailable
from servers.model.order import check_account, check_request_id
from servers.risk import wire
from servers.risk.controls import Controls
from servers.risk.domain.limits import KillSwitch, Limits, base_currency
from servers.risk.domain.simulation import TailRisk, simulate
from servers.risk.engine import RiskEngine
from servers.risk.paging import key_from_token, token_from_key
from servers.risk.ports import ControlJournal, PriceHistory
from servers.runtime.call import current_call
from servers.runtime.component import Registration

HEARTBEAT_SECONDS = 1.0
DEFAULT_PAGE, MOST_PAGE = 100, 1_000
DEFAULT_CONFIDENCE = 0.99
ATTOS = 10**18
ROLES = {
    "CheckOrder": frozenset({"orders"}),
    "CheckOrders": frozenset({"orders"}),
    "CheckExecution": frozenset({"execution"}),
    "GetExposure": frozenset({"*"}),
    "GetRiskReport": frozenset({"*"}),
    "ListLimits": frozenset({"*"}),
    "StreamRiskState": frozenset({"*"}),
    "SetLimits": frozenset({"operator", "risk_officer"}),
    "SetKillSwitch": frozenset({"operator", "risk_officer", "trader"}),
}


def registration(service: RiskService) -> Registration:
    """Return how the runtime serves it: the kill switch is never refused for load."""
    return Registration(
        risk_service_pb2_grpc.add_RiskServiceServicer_to_server,
        service,
        roles=ROLES,
        exempt=frozenset({"SetKillSwitch"}),
    )


class RiskService(risk_service_pb2_grpc.RiskServiceServicer):
    """Checks are plain functions: nothing awaits between one order and the next."""

    def __init__(self, engine: RiskEngine, controls: Controls, history: PriceHistory, clock: Clock) -> None:
        self._engine = engine
        self._controls = controls
        self._history = history
        self._clock = clock
        self._changing = asyncio.Lock()
        self.store: ControlJournal | None = None
        self.is_ready = False

    # -- Checks -----------------------------------------------------------------------------------

    def CheckOrder(
        self, request: risk_service_pb2.CheckOrderRequest, context: Any
    ) -> risk_service_pb2.CheckOrderResponse:
        self._require_ready()
        verdicts = self._engine.check_orders([wire.check_from_wire(request.check)])
        return risk_service_pb2.CheckOrderResponse(verdict=wire.verdict_to_wire(verdicts[0]))

    def CheckOrders(
        self, request: risk_service_pb2.CheckOrdersRequest, context: Any
    ) -> risk_service_pb2.CheckOrdersResponse:
        self._require_ready()
        verdicts = self._engine.check_orders(wire.checks_from_wire(request))
        return risk_service_pb2.CheckOrdersResponse(
            verdicts=[wire.verdict_to_wire(verdict) for verdict in verdicts]
        )

    def CheckExecution(
        self, request: risk_service_pb2.CheckExecutionRequest, context: Any
    ) -> risk_service_pb2.CheckExecutionResponse:
        self._require_ready()
        verdict = self._engine.check_execution(wire.execution_check_from_wire(request))
        return risk_service_pb2.CheckExecutionResponse(verdict=wire.verdict_to_wire(verdict))

    # -- Reports ----------------------------------------------------------------------------------

    def GetExposure(
        self, request: risk_service_pb2.GetExposureRequest, context: Any
    ) -> risk_service_pb2.GetExposureResponse:
        self._require_ready()
        account = check_account(request.account)
        currency = self._currency(account)
        reports = self._engine.exposures(account)
        return risk_service_pb2.GetExposureResponse(
            exposures=[wire.exposure_to_wire(account, report, currency) for report in reports.values()],
            gross=wire.attos_to_wire(currency, sum(report.gross_attos for report in reports.values())),
            orders_sequence=self._engine.books.orders_sequence,
        )

    async def GetRiskReport(
        self, request: risk_service_pb2.GetRiskReportRequest, context: Any
    ) -> risk_service_pb2.GetRiskReportResponse:
        self._require_ready()
        account = check_account(request.account)
        confidence = request.confidence or DEFAULT_CONFIDENCE
        if not 0.5 <= confidence <= 0.999:
            raise InvalidInput(
                "VALUE_OUT_OF_RANGE", f"confidence is {confidence}, outside 0.5 to 0.999", field="confidence"
            )
        tail = await self._tail_risk(account, confidence)
        profit = self._engine.profit_attos(account)
        return wire.report_to_wire(tail, confidence, self._currency(account), profit)

    async def _tail_risk(self, account: str, confidence: float) -> TailRisk:
        values = {
            symbol: report.position_nanos * report.reference_price_nanos / ATTOS
            for symbol, report in self._engine.exposures(account).items()
            if report.position_nanos
        }
        closes = {symbol: await self._history.daily_closes(symbol) for symbol in values}
        return simulate(values, closes, confidence)

    # -- Controls ---------------------------------------------------------------------------------

    async def SetLimits(
        self, request: risk_service_pb2.SetLimitsRequest, context: Any
    ) -> risk_service_pb2.SetLimitsResponse:
        request_id = check_request_id(request.request_id)
        limits = wire.limits_from_wire(request.limits)
        async with self._changing:
            first = self._store().first_limits(request_id, limits)
            if first is None:
                self._require_base_currency(limits)
                sequence = await self._store().save_limits(request_id, limits)
                self._controls.set_limits(limits, sequence)
                first = limits
        return risk_service_pb2.SetLimitsResponse(limits=wire.limits_to_wire(first))

    def ListLimits(
        self, request: risk_service_pb2.ListLimitsRequest, context: Any
    ) -> risk_service_pb2.ListLimitsResponse:
        if request.account:
            check_account(request.account)
        if not 0 <= request.page_size <= MOST_PAGE:
            raise InvalidInput("PAGE_SIZE_INVALID", field="page_size", value=request.page_size)
        size = request.page_size or DEFAULT_PAGE
        found = self._controls.page(request.account, key_from_token(request.page_token), size + 1)
        page = found[:size]
        return risk_service_pb2.ListLimitsResponse(
            limits=[wire.limits_to_wire(limits) for limits in page],
            next_page_token=token_from_key(page[-1].key) if len(found) > size else "",
        )

    async def SetKillSwitch(
        self, request: risk_service_pb2.SetKillSwitchRequest, context: Any
    ) -> risk_service_pb2.SetKillSwitchResponse:
        request_id = check_request_id(request.request_id)
        if request.account:
            check_account(request.account)
        if not request.reason:
            raise InvalidInput("FIELD_MISSING", "reason is empty", field="reason")
        call = current_call()
        switch = KillSwitch(
            request.account,
            request.is_on,
            request.reason[:500],
            (call.identity if call is not None else None) or "",
            self._clock.now_nanos(),
        )
        async with self._changing:
            first = self._store().first_kill_switch(request_id, switch)
            if first is None:
                if switch.is_on:
                    # Stops at once; the caller hears of it when it is durable.
                    self._controls.set_kill_switch(switch)
                sequence = await self._store().save_kill_switch(request_id, switch)
                self._controls.set_kill_switch(switch, sequence)
                first = switch
        return risk_service_pb2.SetKillSwitchResponse(kill_switch=wire.kill_switch_to_wire(first))

    async def StreamRiskState(
        self, request: risk_service_pb2.StreamRiskStateRequest, context: Any
    ) -> AsyncIterator[risk_service_pb2.StreamRiskStateResponse]:
        if request.account:
            check_account(request.account)
        account = request.account
        changes: dict[object, Limits | KillSwitch] = {}
        changed = asyncio.Event()

        def note(change: Limits | KillSwitch) -> None:
            key = change.key if isinstance(change, Limits) else change.account
            if account in ("", change.account) or change.account == "":
                changes[key] = change
                changed.set()

        stop = self._controls.listen(note)
        try:
            yield self._state(
                [limits for limits in self._controls.limits.values() if account in ("", limits.account)],
                [
                    switch
                    for switch in self._controls.switches.values()
                    if switch.is_on and (account in ("", switch.account) or not switch.account)
                ],
                is_snapshot=True,
            )
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(HEARTBEAT_SECONDS):
                        await changed.wait()
                changed.clear()
                taken = list(changes.values())
                changes.clear()
                yield self._state(
                    [change for change in taken if isinstance(change, Limits)],
                    [change for change in taken if isinstance(change, KillSwitch)],
                )
        finally:
            stop()

    def _state(
        self, limits: list[Limits], switches: list[KillSwitch], *, is_snapshot: bool = False
    ) -> risk_service_pb2.StreamRiskStateResponse:
        return risk_service_pb2.StreamRiskStateResponse(
            is_snapshot=is_snapshot,
            limits=[wire.limits_to_wire(one) for one in limits],
            kill_switches=[wire.kill_switch_to_wire(one) for one in switches],
            sequence=self._controls.sequence,
        )

    # -- Preconditions ----------------------------------------------------------------------------

    def _require_ready(self) -> None:
        if not self.is_ready:
            raise Unavailable("NOT_READY", "risk has not caught up with orders, executions and positions yet")

    def _require_base_currency(self, limits: Limits) -> None:
        others = [
            other
            for key, other in self._controls.limits.items()
            if key[0] == limits.account and key != limits.key
        ]
        own = limits.money()
        for other in others:
            amounts = other.money()
            if own and amounts and own[0].currency_code != amounts[0].currency_code:
                raise InvalidInput(
                    "FIELD_INVALID",
                    f"account {limits.account} is limited in {amounts[0].currency_code}",
                    field="currency_code",
                )

    def _currency(self, account: str) -> str:
        return base_currency(self._controls.limits.get((account, "")))

    def _store(self) -> ControlJournal:
        assert self.store is not None, "the runtime serves no call before start() has returned"
        return self.store
