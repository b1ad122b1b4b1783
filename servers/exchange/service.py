"""The gRPC edge of the exchange."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import islice
from typing import Any

from tapeline.exchange.v1 import exchange_service_pb2 as pb
from tapeline.exchange.v1 import exchange_service_pb2_grpc

from servers.exchange import wire
from servers.exchange.adapters.journal import DurableOrderLog
from servers.exchange.clock import Pacer
from servers.exchange.engine import ExchangeEngine
from servers.exchange.feed import Feed, Subscription
from servers.exchange.history import MinuteBar
from servers.exchange.paging import after_token, page_size
from servers.exchange.venue import Venue
from servers.model.clock import Clock
from servers.model.errors import AlreadyExists, InvalidInput, NotFound, OutOfRange
from servers.model.order import (
    check_account,
    check_client_order_id,
    check_range,
    check_request_id,
    check_symbol,
)
from servers.wire.trading import order_to_wire, status_to_wire, time_to_wire

REPORT_HEARTBEAT_SECONDS = 0.5
_INT64_MAX = 2**63 - 1
_MAX_SYMBOLS = 1_000
_KEPT_CONTROLS = 1_000
_MIN_SPEED, _MAX_SPEED = 0.1, 100_000.0

History = Callable[[str, int], Awaitable[list[MinuteBar]]]


class ExchangeService(exchange_service_pb2_grpc.ExchangeServiceServicer):
    """`tapeline.exchange.v1.ExchangeService`. The runtime admits no call before the server has started."""

    _venue: Venue
    _engine: ExchangeEngine
    _log: DurableOrderLog
    _feed: Feed

    def serve(
        self,
        venue: Venue,
        log: DurableOrderLog,
        feed: Feed,
        history: History,
        wall_clock: Clock,
        *,
        flow: str,
        eligibility_rule: str,
        reader_limit: int,
    ) -> None:
        """Answer over this venue from now on."""
        self._venue, self._engine, self._log, self._feed = venue, venue.engine, log, feed
        self._history = history
        self._wall = wall_clock
        self._flow = flow
        self._eligibility_rule = eligibility_rule
        self._reader_limit = reader_limit
        self._controls: dict[str, bytes] = {}

    # -- orders
    async def SubmitOrder(self, request: pb.SubmitOrderRequest, context: Any) -> pb.SubmitOrderResponse:
        if not request.HasField("entry"):
            raise InvalidInput("FIELD_MISSING", "entry is missing", field="entry")
        (report,) = await self._engine.submit([wire.entry_from_wire(request.entry)])
        return pb.SubmitOrderResponse(report=wire.report_to_wire(report))

    async def SubmitOrders(self, request: pb.SubmitOrdersRequest, context: Any) -> pb.SubmitOrdersResponse:
        reports = await self._engine.submit(wire.basket_from_wire(request), is_basket=True)
        return pb.SubmitOrdersResponse(reports=[wire.report_to_wire(report) for report in reports])

    async def CancelOrder(self, request: pb.CancelOrderRequest, context: Any) -> pb.CancelOrderResponse:
        report = await self._engine.cancel(wire.change_key_from_wire(request), request.request_id)
        return pb.CancelOrderResponse(report=wire.report_to_wire(report))

    async def ReplaceOrder(self, request: pb.ReplaceOrderRequest, context: Any) -> pb.ReplaceOrderResponse:
        key = wire.change_key_from_wire(request)
        check_range("quantity_nanos", request.quantity_nanos, 1, _INT64_MAX)
        check_range("limit_price_nanos", request.limit_price_nanos, 0, _INT64_MAX)
        check_range("display_quantity_nanos", request.display_quantity_nanos, 0, _INT64_MAX)
        report = await self._engine.replace(
            key,
            request.request_id,
            request.quantity_nanos,
            request.limit_price_nanos,
            request.display_quantity_nanos,
        )
        return pb.ReplaceOrderResponse(report=wire.report_to_wire(report))

    async def GetOrder(self, request: pb.GetOrderRequest, context: Any) -> pb.GetOrderResponse:
        key = check_account(request.account), check_client_order_id(request.client_order_id)
        order = self._engine.order(key)
        if order is None:
            raise NotFound("ORDER_NOT_FOUND", account=key[0], client_order_id=key[1])
        await self._engine.committed(order)
        return pb.GetOrderResponse(order=order_to_wire(order.as_order()), last_sequence=order.last_sequence)

    async def AmendExecution(
        self, request: pb.AmendExecutionRequest, context: Any
    ) -> pb.AmendExecutionResponse:
        report = await self._engine.amend(
            request.venue_execution_id,
            check_account(request.account),
            check_request_id(request.request_id),
            request.quantity_nanos,
            request.price_nanos,
        )
        return pb.AmendExecutionResponse(report=wire.report_to_wire(report))

    # -- reports
    def ListExecutions(self, request: pb.ListExecutionsRequest, context: Any) -> pb.ListExecutionsResponse:
        limit = page_size(request.page_size, 500, 1_000)
        check_range("after_sequence", request.after_sequence, 0, _INT64_MAX)
        after = after_token(request.page_token, request.after_sequence)
        reports = self._log.page(after, limit)
        reached = after + len(reports)
        last = self._log.last_sequence
        return pb.ListExecutionsResponse(
            reports=[
                report for report in reports if not request.account or report.account == request.account
            ],
            next_page_token=str(reached) if reached < last else "",
            last_sequence=last,
        )

    async def StreamExecutionReports(
        self, request: pb.StreamExecutionReportsRequest, context: Any
    ) -> AsyncIterator[pb.StreamExecutionReportsResponse]:
        check_range("resume_after_sequence", request.resume_after_sequence, 0, _INT64_MAX)
        account = request.account
        async for reports, reached in self._log.follow(
            request.resume_after_sequence, REPORT_HEARTBEAT_SECONDS
        ):
            wanted = [report for report in reports if not account or report.account == account]
            yield pb.StreamExecutionReportsResponse(reports=wanted, sequence_reached=reached)

    # -- market data
    async def StreamMarketData(
        self, request_iterator: AsyncIterator[pb.StreamMarketDataRequest], context: Any
    ) -> AsyncIterator[pb.StreamMarketDataResponse]:
        first = await anext(aiter(request_iterator), None)
        if first is None:
            raise InvalidInput("FIELD_MISSING", "the first message says what is wanted")
        symbols = self._symbols(list(first.symbols))
        subscription = Subscription(symbols, include_depth=first.include_depth, limit=self._reader_limit)
        venue = self._venue
        # From here to `join` nothing is awaited: what is told below and what comes after it leave no gap.
        opening = self._opening(subscription, dict(first.resume_after_sequence))
        self._feed.join(subscription)
        pacer: Pacer | None = None
        if first.pace:
            name = first.subscriber[:64] or "unnamed"
            pacer = venue.clock.join(name, self._wall.now_nanos(), is_idle=first.idle)
        reader = asyncio.create_task(self._acknowledgements(request_iterator, pacer))
        try:
            for message in opening:
                yield message
            while True:
                for message in await subscription.take():
                    yield message
        finally:
            reader.cancel()
            self._feed.leave(subscription)
            if pacer is not None:
                venue.clock.leave(pacer)

    async def _acknowledgements(
        self, requests: AsyncIterator[pb.StreamMarketDataRequest], pacer: Pacer | None
    ) -> None:
        async for request in requests:
            if pacer is not None:
                self._venue.clock.acknowledge(
                    pacer, request.acknowledged_time_nanos, self._wall.now_nanos(), is_idle=request.idle
                )

    def _opening(
        self, subscription: Subscription, after: dict[str, int]
    ) -> list[pb.StreamMarketDataResponse]:
        """Return phases, prints that the reader has not seen, and the time, as of now."""
        venue = self._venue
        messages = [
            pb.StreamMarketDataResponse(status=status_to_wire(venue.statuses[symbol]))
            for symbol in sorted(subscription.symbols)
            if symbol in venue.statuses
        ]
        for symbol, sequence in after.items():
            tape = self._engine.markets[symbol].tape if symbol in subscription.symbols else None
            if tape is None:
                continue
            published = venue.published_sequence(symbol)
            _check_place(symbol, sequence, published)
            for prints in tape.after(sequence):
                # What is on the tape and not yet out comes with the live feed.
                if prints.first_sequence + prints.length - 1 <= published:
                    batch = wire.prints_to_wire(prints, self._wall.now_nanos())
                    messages.append(pb.StreamMarketDataResponse(trades=batch))
        messages.append(pb.StreamMarketDataResponse(time=time_to_wire(venue.time())))
        return messages

    def _symbols(self, wanted: list[str]) -> list[str]:
        if len(wanted) > _MAX_SYMBOLS:
            raise InvalidInput("VALUE_OUT_OF_RANGE", f"more than {_MAX_SYMBOLS} symbols", field="symbols")
        for symbol in wanted:
            if check_symbol(symbol) not in self._engine.markets:
                raise NotFound("SYMBOL_UNKNOWN", symbol=symbol)
        return wanted or list(self._engine.markets)

    def ListTrades(self, request: pb.ListTradesRequest, context: Any) -> pb.ListTradesResponse:
        limit = page_size(request.page_size, 50, 100)
        (symbol,) = self._symbols([request.symbol])
        check_range("after_sequence", request.after_sequence, 0, _INT64_MAX)
        after = after_token(request.page_token, request.after_sequence)
        published = self._venue.published_sequence(symbol)
        _check_place(symbol, after, published)
        wall = self._wall.now_nanos()
        pages = list(islice(self._engine.markets[symbol].tape.after(after), limit))
        reached = pages[-1].first_sequence + pages[-1].length - 1 if pages else after
        return pb.ListTradesResponse(
            batches=[wire.prints_to_wire(prints, wall) for prints in pages],
            next_page_token=str(reached) if pages and reached < published else "",
        )

    async def ListHistoryBars(
        self, request: pb.ListHistoryBarsRequest, context: Any
    ) -> pb.ListHistoryBarsResponse:
        limit = page_size(request.page_size, 2_000, 5_000)
        (symbol,) = self._symbols([request.symbol])
        sessions = check_range("sessions", request.sessions, 0, 60) or 60
        start = after_token(request.page_token, 0)
        bars = await self._history(symbol, sessions)
        page = bars[start : start + limit]
        return pb.ListHistoryBarsResponse(
            bars=[
                pb.HistoryBar(
                    start_time_nanos=bar.start_nanos,
                    open_price_nanos=bar.open_nanos,
                    high_price_nanos=bar.high_nanos,
                    low_price_nanos=bar.low_nanos,
                    close_price_nanos=bar.close_nanos,
                    volume=bar.volume,
                )
                for bar in page
            ],
            next_page_token=str(start + limit) if start + limit < len(bars) else "",
        )

    # -- the session
    def GetSession(self, request: pb.GetSessionRequest, context: Any) -> pb.GetSessionResponse:
        venue = self._venue
        return pb.GetSessionResponse(
            time=time_to_wire(venue.time()),
            statuses=[status_to_wire(venue.statuses[symbol]) for symbol in sorted(self._engine.markets)],
            flow=self._flow,
            last_sequence=self._log.last_sequence,
            session_date=venue.session.date,
            calendar=venue.session.calendar,
            eligibility_rule=self._eligibility_rule,
        )

    async def ControlSession(
        self, request: pb.ControlSessionRequest, context: Any
    ) -> pb.ControlSessionResponse:
        content = self._controls.get(check_request_id(request.request_id))
        asked = request.SerializeToString(deterministic=True)
        if content is None:
            await self._control(request)
            self._controls[request.request_id] = asked
            if len(self._controls) > _KEPT_CONTROLS:
                del self._controls[next(iter(self._controls))]
        elif content != asked:
            raise AlreadyExists("REQUEST_ID_REUSED", request_id=request.request_id)
        return pb.ControlSessionResponse(time=time_to_wire(self._venue.time()))

    async def _control(self, request: pb.ControlSessionRequest) -> None:
        venue, action = self._venue, request.action
        if request.symbol:
            check_symbol(request.symbol)
        if action == pb.SESSION_ACTION_RELEASE:
            await venue.release()
        elif action == pb.SESSION_ACTION_HOLD:
            await venue.hold()
        elif action == pb.SESSION_ACTION_SET_SPEED:
            if not (math.isfinite(request.speed) and _MIN_SPEED <= request.speed <= _MAX_SPEED):
                raise InvalidInput(
                    "VALUE_OUT_OF_RANGE", f"speed is {request.speed}, outside 0.1 to 100,000", field="speed"
                )
            venue.set_speed(request.speed)
        elif action == pb.SESSION_ACTION_HALT:
            await venue.halt(request.symbol, request.reason[:200])
        elif action == pb.SESSION_ACTION_RESUME:
            await venue.resume(request.symbol)
        else:
            raise InvalidInput("ENUM_UNSPECIFIED", f"action {action} is unknown", field="action")


def _check_place(symbol: str, sequence: int, last: int) -> None:
    check_range(f"resume_after_sequence[{symbol}]", sequence, 0, _INT64_MAX)
    if sequence > last:
        raise OutOfRange("SEQUENCE_AHEAD", symbol=symbol, last_sequence=last)
