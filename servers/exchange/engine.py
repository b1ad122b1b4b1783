"""Order entry and reports: every fact is committed before anyone is told of it."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, replace

from servers.exchange.domain import (
    VENUE,
    FeeSchedule,
    Happening,
    NewOrder,
    OrderKey,
    Report,
    ReportKind,
    VenueOrder,
    check_price,
    check_terms,
)
from servers.exchange.ports import Market, OrderLog
from servers.exchange.reporting import Batch, Reporter, content_hash_of
from servers.model.errors import AlreadyExists, InvalidInput, NotFound
from servers.model.market import MarketPhase
from servers.model.nanos import INT64_MAX
from servers.model.order import Fill, OrderState, OrderTerms, Rejection, TimeInForce

_CARRIED = frozenset({TimeInForce.GTC, TimeInForce.GTD})


@dataclass
class EngineFigures:
    """Counts since the start, for metrics."""

    accepted: int = 0
    rejected: int = 0
    fills: int = 0
    cancelled: int = 0


class ExchangeEngine:
    """The orders of all participants, over one market a symbol.

    Args:
        markets: symbol -> market; the advance loop moves them.
        log: keeps what is reported.
        fees: what a fill costs.
        price_band: share of the last price by which a limit may lie away from it; 0 for no band.
    """

    def __init__(
        self, markets: Mapping[str, Market], log: OrderLog, fees: FeeSchedule, price_band: float
    ) -> None:
        self.markets = markets
        self.phases: dict[str, MarketPhase] = dict.fromkeys(markets, MarketPhase.CLOSED)
        self.figures = EngineFigures()
        self._log = log
        self._fees = fees
        self._band = price_band
        self._orders: dict[OrderKey, VenueOrder] = {}
        self._by_number: dict[int, VenueOrder] = {}
        self._working: dict[int, VenueOrder] = {}
        self._owners: dict[str, int] = {}
        self._reports = Reporter(log)
        self._numbers = 0
        self._amended: dict[str, Fill | None] = {}

    @property
    def now_nanos(self) -> int:
        """Market time of what happens now, UTC epoch nanoseconds."""
        return self._reports.now_nanos

    @now_nanos.setter
    def now_nanos(self, value: int) -> None:
        self._reports.now_nanos = value

    @property
    def last_sequence(self) -> int:
        """Sequence of the last report that was made, committed or about to be."""
        return self._reports.last_sequence

    @property
    def working_count(self) -> int:
        return len(self._working)

    # -- restart
    def restore_entry(self, number: int, entry: NewOrder) -> None:
        """Take in an entry that the log kept."""
        order = VenueOrder(number, entry, entry.terms)
        self._orders[entry.key] = self._by_number[number] = order
        self._working[number] = order
        self._numbers = max(self._numbers, number)

    def restore_report(self, report: Report) -> None:
        """Take in a report that the log kept."""
        self._reports.last_sequence = report.sequence
        order = self._orders[report.account, report.client_order_id]
        order.apply(report)
        if not order.first_report_sequence:
            order.first_report_sequence = report.sequence
        if report.kind in (ReportKind.BUSTED, ReportKind.CORRECTED) and report.fill is not None:
            self._amended[report.fill.venue_execution_id] = report.corrected_fill
        if order.is_final:
            self._working.pop(order.number, None)

    async def cancel_all(self, reason: str) -> int:
        """Cancel every order that works, with `reason`; return how many."""
        batch = Batch()
        orders = list(self._working.values())
        for order in orders:
            self.markets_cancel(order)
            self._cancelled(batch, order, reason)
        await self._reports.commit(batch)
        return len(orders)

    # -- order entry
    async def submit(self, entries: Sequence[NewOrder], *, is_basket: bool = False) -> list[Report]:
        """Enter orders in the order given; return the first report of each, committed.

        A repeat of an order is answered as the first time. Raises AlreadyExists REQUEST_ID_REUSED when an
        id is taken by another order; in a basket that is a REJECTED report outside the sequence (0).
        """
        batch = Batch()
        answers: list[Report | int] = []
        for entry in entries:
            kept = self._orders.get(entry.key)
            if kept is None:
                answers.append(self._enter(batch, entry))
            elif kept.entry.is_same_as(entry):
                answers.append(kept.first_report_sequence)
            elif is_basket:
                answers.append(self._reused(entry))
            else:
                raise AlreadyExists("REQUEST_ID_REUSED", client_order_id=entry.client_order_id)
        await self._reports.commit(batch)
        reports = []
        for answer in answers:
            if isinstance(answer, int):
                await self._log.wait_for(answer)
                answer = self._log.report(answer)
            reports.append(answer)
        return reports

    def _enter(self, batch: Batch, entry: NewOrder) -> Report:
        self._numbers += 1
        order = VenueOrder(self._numbers, entry, entry.terms)
        self._orders[entry.key] = self._by_number[order.number] = order
        batch.entries.append((order.number, entry))
        rejection = self._refusal(entry.terms) or self._to_market(order)
        if rejection is not None and rejection.reason != "FOK_UNFILLABLE":
            order.state, order.rejection = OrderState.REJECTED, rejection
            self.figures.rejected += 1
            first = self._reports.add(batch, order, ReportKind.REJECTED, rejection=rejection)
        else:
            self.figures.accepted += 1
            self._working[order.number] = order
            first = self._reports.add(batch, order, ReportKind.ACCEPTED)
            if rejection is not None:
                self._cancelled(batch, order, rejection.reason)
        order.first_report_sequence = first.sequence
        self._drain(batch, entry.terms.symbol)
        return first

    def _refusal(self, terms: OrderTerms) -> Rejection | None:
        market = self.markets.get(terms.symbol)
        if market is None:
            return Rejection("SYMBOL_UNKNOWN", f"no instrument {terms.symbol}")
        return check_terms(
            terms,
            market.instrument,
            self.phases[terms.symbol],
            market.reference_price_nanos,
            self._band,
            self.now_nanos,
        )

    def _to_market(self, order: VenueOrder) -> Rejection | None:
        owner = self._owners.setdefault(order.entry.account, len(self._owners) + 1)
        return self.markets[order.terms.symbol].submit(order.number, owner, order.terms)

    def _reused(self, entry: NewOrder) -> Report:
        return Report(
            0,
            ReportKind.REJECTED,
            entry.account,
            entry.client_order_id,
            "",
            entry.terms,
            0,
            0,
            self.now_nanos,
            rejection=Rejection("REQUEST_ID_REUSED", "the id was used before with other content"),
        )

    async def cancel(self, key: OrderKey, request_id: str) -> Report:
        """Take an order out. Raises NotFound ORDER_NOT_FOUND for an id that never came."""
        content_hash = content_hash_of("cancel", key)
        first = await self._reports.repeated(key[0], request_id, content_hash)
        if first is not None:
            return first
        order = self._known(key)
        batch = Batch(content_hash=content_hash)
        if order.is_final:
            rejection = Rejection("ORDER_FINAL", f"the order is {order.state.name.lower()}")
            report = self._reports.add(
                batch, order, ReportKind.CANCEL_REJECTED, rejection=rejection, request_id=request_id
            )
        else:
            self.markets_cancel(order)
            report = self._cancelled(batch, order, "REQUESTED", request_id)
        await self._reports.commit(batch)
        return report

    async def replace(
        self, key: OrderKey, request_id: str, quantity_nanos: int, limit_nanos: int, display_nanos: int
    ) -> Report:
        """Change an order; 0 keeps limit or display. Raises NotFound ORDER_NOT_FOUND."""
        content_hash = content_hash_of("replace", key, quantity_nanos, limit_nanos, display_nanos)
        first = await self._reports.repeated(key[0], request_id, content_hash)
        if first is not None:
            return first
        order = self._known(key)
        batch = Batch(content_hash=content_hash)
        terms = replace(
            order.terms,
            quantity_nanos=quantity_nanos,
            limit_price_nanos=limit_nanos or order.terms.limit_price_nanos,
            display_quantity_nanos=display_nanos or order.terms.display_quantity_nanos,
        )
        rejection = self._replace_refusal(order, terms)
        if rejection is None and order.state is not OrderState.DONE_FOR_DAY:
            before, order.terms = order.terms, terms
            leaves = terms.quantity_nanos - order.filled_quantity_nanos
            rejection = self.markets[terms.symbol].replace(order.number, terms, leaves)
            if rejection is not None:
                order.terms = before
        if rejection is not None:
            kind = ReportKind.REPLACE_REJECTED
            report = self._reports.add(batch, order, kind, rejection=rejection, request_id=request_id)
        else:
            order.terms = terms
            report = self._reports.add(batch, order, ReportKind.REPLACED, request_id=request_id)
            self._drain(batch, terms.symbol)
        await self._reports.commit(batch)
        return report

    def _replace_refusal(self, order: VenueOrder, terms: OrderTerms) -> Rejection | None:
        if order.is_final:
            return Rejection("ORDER_FINAL", f"the order is {order.state.name.lower()}")
        if terms.quantity_nanos <= order.filled_quantity_nanos:
            filled = str(order.filled_quantity_nanos)
            return Rejection(
                "QUANTITY_FILLED", "the new total is filled", "filled", str(terms.quantity_nanos), filled
            )
        try:
            terms.validate()
        except InvalidInput as error:
            return Rejection(error.reason, error.message)
        market = self.markets[terms.symbol]
        phase = self.phases[terms.symbol]
        if phase in (MarketPhase.CLOSED, MarketPhase.HALTED):
            return Rejection("MARKET_CLOSED", "the market takes no replacements", "phase", phase.name)
        if terms.quantity_nanos % market.instrument.lot_size_nanos:
            return Rejection("OFF_LOT", "the new total is no multiple of the lot")
        if terms.order_type.has_limit:
            return check_price(
                terms.limit_price_nanos, market.instrument, market.reference_price_nanos, self._band
            )
        return None

    async def amend(
        self, venue_execution_id: str, account: str, request_id: str, quantity_nanos: int, price_nanos: int
    ) -> Report:
        """Bust (quantity 0) or correct a fill.

        Raises NotFound EXECUTION_NOT_FOUND for a fill that is not of this account or was busted, and
        InvalidInput VALUE_OUT_OF_RANGE for a larger quantity than was filled.
        """
        content_hash = content_hash_of("amend", venue_execution_id, quantity_nanos, price_nanos)
        first = await self._reports.repeated(account, request_id, content_hash)
        if first is not None:
            return first
        fill = await self._fill(venue_execution_id, account)
        order = self._orders[account, fill.client_order_id]
        if not 0 <= quantity_nanos <= fill.quantity_nanos or not 0 <= price_nanos <= INT64_MAX:
            raise InvalidInput("VALUE_OUT_OF_RANGE", "the corrected quantity is above the filled one")
        batch = Batch(content_hash=content_hash)
        if quantity_nanos == 0:
            after, kind = None, ReportKind.BUSTED
            order.amend_fill(fill, 0, 0)
        else:
            price = price_nanos or fill.price_nanos
            fee = self._fees.fee(fill.fee.currency_code, fill.side, fill.liquidity, quantity_nanos, price)
            after, kind = (
                replace(fill, quantity_nanos=quantity_nanos, price_nanos=price, fee=fee),
                ReportKind.CORRECTED,
            )
            order.amend_fill(fill, quantity_nanos, price)
        self._amended[venue_execution_id] = after
        report = self._reports.add(batch, order, kind, fill=fill, corrected_fill=after, request_id=request_id)
        await self._reports.commit(batch)
        return report

    async def _fill(self, venue_execution_id: str, account: str) -> Fill:
        number = venue_execution_id.removeprefix("X")
        fill: Fill | None = None
        if venue_execution_id in self._amended:
            fill = self._amended[venue_execution_id]
        elif (
            number.isascii()
            and number.isdigit()
            and len(number) < 19
            and 0 < int(number) <= self.last_sequence
        ):
            await self._log.wait_for(int(number))
            fill = self._log.report(int(number)).fill
        if fill is None or fill.account != account or fill.venue_execution_id != venue_execution_id:
            raise NotFound("EXECUTION_NOT_FOUND", venue_execution_id=venue_execution_id[:64], account=account)
        return fill

    def order(self, key: OrderKey) -> VenueOrder | None:
        """Return an order as the venue holds it."""
        return self._orders.get(key)

    async def committed(self, order: VenueOrder) -> None:
        """Return when what an order looks like now is committed."""
        if order.last_sequence:
            await self._log.wait_for(order.last_sequence)

    def _known(self, key: OrderKey) -> VenueOrder:
        order = self._orders.get(key)
        if order is None:
            raise NotFound("ORDER_NOT_FOUND", account=key[0], client_order_id=key[1])
        return order

    # -- time
    def collect(self, now_nanos: int) -> Awaitable[None]:
        """Report what befell orders up to `now_nanos`; the result is done when that is committed."""
        self.now_nanos = now_nanos
        batch = Batch()
        for symbol in self.markets:
            self._drain(batch, symbol)
        for order in list(self._working.values()):
            expiry = order.terms.expire_time_nanos
            if expiry and expiry <= now_nanos:
                self.markets_cancel(order)
                self._expired(batch, order)
        return self._reports.commit(batch)

    async def end_session(self) -> None:
        """Expire DAY orders, and take the others out of the books until the next session."""
        batch = Batch()
        for order in list(self._working.values()):
            self.markets_cancel(order)
            if order.terms.time_in_force in _CARRIED:
                if order.state is not OrderState.DONE_FOR_DAY:
                    order.state = OrderState.DONE_FOR_DAY
                    self._reports.add(batch, order, ReportKind.DONE_FOR_DAY)
            else:
                self._expired(batch, order)
        await self._reports.commit(batch)

    async def begin_session(self) -> None:
        """Put carried orders back into the books."""
        batch = Batch()
        for order in list(self._working.values()):
            if order.state is OrderState.DONE_FOR_DAY:
                leaves = replace(
                    order.terms, quantity_nanos=order.terms.quantity_nanos - order.filled_quantity_nanos
                )
                owner = self._owners.setdefault(order.entry.account, len(self._owners) + 1)
                rejection = self.markets[leaves.symbol].submit(order.number, owner, leaves)
                order.state = OrderState.PARTIALLY_FILLED if order.filled_quantity_nanos else OrderState.NEW
                if rejection is not None:
                    self._cancelled(batch, order, rejection.reason)
        await self._reports.commit(batch)

    # -- inner parts
    def markets_cancel(self, order: VenueOrder) -> None:
        market = self.markets.get(order.terms.symbol)
        if market is not None:
            market.cancel(order.number)

    def _drain(self, batch: Batch, symbol: str) -> None:
        market = self.markets.get(symbol)
        for happening in market.take_happenings() if market is not None else ():
            order = self._by_number[happening.number]
            if happening.is_fill:
                self._filled(batch, order, happening)
            elif not order.is_final:
                self._cancelled(batch, order, happening.reason, time_nanos=happening.time_nanos)

    def _filled(self, batch: Batch, order: VenueOrder, happening: Happening) -> None:
        terms = order.terms
        currency = self.markets[terms.symbol].instrument.currency_code
        self.figures.fills += 1
        order.add_fill(happening.quantity_nanos, happening.price_nanos)
        fill = Fill(
            venue=VENUE,
            venue_execution_id=f"X{self._reports.last_sequence + 1}",
            account=order.entry.account,
            client_order_id=order.entry.client_order_id,
            execution_id=order.entry.execution_id,
            symbol=terms.symbol,
            side=terms.side,
            quantity_nanos=happening.quantity_nanos,
            price_nanos=happening.price_nanos,
            fee=self._fees.fee(
                currency, terms.side, happening.liquidity, happening.quantity_nanos, happening.price_nanos
            ),
            liquidity=happening.liquidity,
            event_time_nanos=happening.time_nanos,
        )
        if order.is_final:
            self._working.pop(order.number, None)
        self._reports.add(batch, order, ReportKind.FILL, fill=fill, time_nanos=happening.time_nanos)

    def _cancelled(
        self, batch: Batch, order: VenueOrder, reason: str, request_id: str = "", time_nanos: int = 0
    ) -> Report:
        self.figures.cancelled += 1
        order.state = OrderState.CANCELLED
        self._working.pop(order.number, None)
        return self._reports.add(
            batch, order, ReportKind.CANCELLED, reason=reason, request_id=request_id, time_nanos=time_nanos
        )

    def _expired(self, batch: Batch, order: VenueOrder) -> None:
        order.state = OrderState.EXPIRED
        self._working.pop(order.number, None)
        self._reports.add(batch, order, ReportKind.EXPIRED)
