"""The risk engine: checks that reserve, in one thread, each after the one before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from servers.model.clock import NANOS_PER_SECOND, Clock
from servers.model.order import OrderTerms, Rejection, Side
from servers.risk.books import Books
from servers.risk.controls import Controls
from servers.risk.domain import checks as rules
from servers.risk.domain.checks import Valuation, reject
from servers.risk.domain.exposure import AccountBook, OpenOrder, Parent, PendingReplace
from servers.risk.domain.facts import ExecutionCheck, OrderCheck
from servers.risk.domain.limits import EffectiveLimits
from servers.risk.domain.market import Market
from servers.risk.rate_limits import RateLimits

REMEMBERED_VERDICTS = 32_768
"""Verdicts that are kept, so that a repeat gets the first one."""

Verdict = Rejection | None
"""None approves."""


@dataclass(frozen=True, slots=True)
class SymbolReport:
    """Exposure of an account in one symbol, in 1e-9 shares; gross in 1e-18 currency units."""

    symbol: str
    position_nanos: int
    open_buy_nanos: int
    open_sell_nanos: int
    reserved_buy_nanos: int
    reserved_sell_nanos: int
    reference_price_nanos: int
    gross_attos: int


class RiskEngine:
    """Checks orders and parents against limits and everything that is open.

    No method awaits: that is what serialises checks. `is_ready` of its owner says whether the books
    have caught up; the engine itself answers always.
    """

    def __init__(self, market: Market, books: Books, controls: Controls, clock: Clock) -> None:
        self.market = market
        self.books = books
        self.controls = controls
        self.rates = RateLimits(controls)
        self._clock = clock
        self._verdicts: dict[tuple[str, str, str], tuple[object, Verdict]] = {}
        self.approved = 0
        self.refused: dict[str, int] = {}

    # -- Orders -----------------------------------------------------------------------------------

    def check_orders(self, checks: Sequence[OrderCheck]) -> list[Verdict]:
        """Check and reserve orders in the order given, each after the ones before."""
        now_nanos = self._clock.now_nanos()
        valuations: dict[str, Valuation] = {}
        return [self._check_once(check, now_nanos, valuations) for check in checks]

    def _check_once(self, check: OrderCheck, now_nanos: int, valuations: dict[str, Valuation]) -> Verdict:
        key = (check.account, check.client_order_id, check.replace_request_id)
        content = (check.terms, check.execution_id)
        first = self._verdicts.get(key)
        if first is not None:
            return first[1] if first[0] == content else _reused(check)
        book = self._book(check.account)
        order = book.orders.get(check.client_order_id)
        if check.replace_request_id:
            verdict = self._check_replace(check, order, book, now_nanos, valuations)
        elif order is not None:
            # From before a restart. What orders has journalled it compares itself.
            unseen = self.books.unseen_orders.get((check.account, check.client_order_id))
            is_same = unseen is None or (unseen.terms, unseen.execution_id) == content
            return None if is_same else _reused(check)
        else:
            verdict = self._check_new(check, book, now_nanos, valuations)
        self._remember(key, content, verdict)
        return verdict

    def _check_new(
        self, check: OrderCheck, book: AccountBook, now_nanos: int, valuations: dict[str, Valuation]
    ) -> Verdict:
        terms = check.terms
        limits = self.controls.effective(check.account, terms.symbol)
        refusal = self._check_control(check.account, limits)
        if refusal is not None or limits is None:
            return refusal
        if limits.has_rates:
            refusal = self.rates.take_order(check.account, terms.symbol, now_nanos)
            if refusal is not None:
                return refusal
        is_child = bool(check.execution_id)
        if limits.duplicate_window_nanos and not is_child:
            refusal = self.rates.check_duplicate(
                check.account, terms, now_nanos, limits.duplicate_window_nanos
            )
            if refusal is not None:
                return refusal
        refusal = self._check_exposure(
            limits, book, terms, terms.quantity_nanos, check.execution_id, now_nanos, valuations
        )
        if refusal is not None:
            return refusal
        order = OpenOrder(check.client_order_id, terms, terms.quantity_nanos, check.execution_id, now_nanos)
        self._reserve(book, order, valuations)
        self.books.unseen_orders[check.account, check.client_order_id] = order
        if limits.duplicate_window_nanos and not is_child:
            self.rates.remember(check.account, terms, now_nanos, limits.duplicate_window_nanos)
        return None

    def _check_replace(
        self,
        check: OrderCheck,
        order: OpenOrder | None,
        book: AccountBook,
        now_nanos: int,
        valuations: dict[str, Valuation],
    ) -> Verdict:
        terms = check.terms
        limits = self.controls.effective(check.account, terms.symbol)
        refusal = self._check_control(check.account, limits)
        if refusal is not None or limits is None:
            return refusal
        if limits.has_rates:
            refusal = self.rates.take_message(check.account, terms.symbol, now_nanos)
            if refusal is not None:
                return refusal
        if order is None or order.symbol != terms.symbol or order.side is not terms.side:
            return reject("ORDER_NOT_FOUND", f"no live order {check.client_order_id} of these terms")
        filled_nanos = order.terms.quantity_nanos - order.leaves_nanos
        leaves_nanos = max(0, terms.quantity_nanos - filled_nanos)
        added_nanos = max(0, leaves_nanos - order.reserved_nanos)
        refusal = self._check_exposure(
            limits, book, terms, added_nanos, order.execution_id, now_nanos, valuations
        )
        if refusal is not None:
            return refusal
        replace = PendingReplace(leaves_nanos, terms.limit_price_nanos, now_nanos)
        self.books.add_replace(check.account, order, check.replace_request_id, replace)
        self._reserve(book, order, valuations)
        return None

    def _check_control(self, account: str, limits: EffectiveLimits | None) -> Verdict:
        switch = self.controls.stopping(account)
        if switch is not None:
            return reject("KILL_SWITCH_ON", f"the kill switch is on: {switch.reason}", "kill switch")
        if limits is None:
            return reject("ACCOUNT_UNKNOWN", f"account {account} has no limits")
        return None

    def _check_exposure(
        self,
        limits: EffectiveLimits,
        book: AccountBook,
        terms: OrderTerms,
        added_nanos: int,
        execution_id: str,
        now_nanos: int,
        valuations: dict[str, Valuation],
    ) -> Verdict:
        symbol, market = terms.symbol, self.market
        instrument = market.instruments.get(symbol)
        refusal = rules.check_market(limits, instrument, symbol, market, now_nanos)
        if refusal is not None or instrument is None:
            return refusal
        reference_nanos = market.price_nanos(symbol)
        refusal = rules.check_size(limits, terms, reference_nanos, market.median_volumes.get(symbol, 0.0))
        if refusal is not None:
            return refusal
        exposure = book.symbol(symbol)
        if not terms.order_type.is_on_close:
            met = exposure.resting_against(terms.side, terms.limit_price_nanos, book.orders)
            if met is not None:
                return reject("SELF_TRADE", f"it would meet the own order {met.order_id}", "self-trade")
        return rules.check_exposure(
            limits,
            instrument,
            exposure,
            terms.side,
            added_nanos,
            _from_parent(book, execution_id, terms, added_nanos),
            reference_nanos or terms.limit_price_nanos,
            self._valuation(book, valuations),
        )

    def _valuation(self, book: AccountBook, valuations: dict[str, Valuation]) -> Valuation:
        valuation = valuations.get(book.account)
        if valuation is None:
            valuation = valuations[book.account] = rules.value_account(book, self.market)
        return valuation

    def _reserve(self, book: AccountBook, order: OpenOrder, valuations: dict[str, Valuation]) -> None:
        valuation = self._valuation(book, valuations)
        exposure = book.symbol(order.symbol)
        price = self.market.price_nanos(order.symbol) or order.terms.limit_price_nanos
        worst, taken = exposure.worst_nanos, exposure.taken_nanos
        book.add_order(order)
        valuation.gross_attos += (exposure.worst_nanos - worst) * price
        valuation.taken_attos += (exposure.taken_nanos - taken) * price
        self.approved += 1

    # -- Parents ----------------------------------------------------------------------------------

    def check_execution(self, check: ExecutionCheck) -> Verdict:
        """Check a parent order and reserve its unsent rest.

        The parent may be meant for later, so neither phase nor age of the price is asked for here: its
        children are checked at the price of their own moment.
        """
        key = (check.account, check.execution_id, " parent")
        first = self._verdicts.get(key)
        if first is not None:
            if first[0] == check:
                return first[1]
            return reject("REQUEST_ID_REUSED", f"{check.execution_id} was checked with other content")
        book = self._book(check.account)
        known = book.parents.get(check.execution_id)
        if known is not None and known.is_running:
            return None
        verdict = self._check_parent(check, book)
        if verdict is None:
            now_nanos = self._clock.now_nanos()
            parent = book.run_parent(
                check.execution_id, check.symbol, check.side, check.quantity_nanos, now_nanos
            )
            self.books.unseen_parents[check.account, check.execution_id] = parent
            self.approved += 1
        self._remember(key, check, verdict)
        return verdict

    def _check_parent(self, check: ExecutionCheck, book: AccountBook) -> Verdict:
        limits = self.controls.effective(check.account, check.symbol)
        refusal = self._check_control(check.account, limits)
        if refusal is not None or limits is None:
            return refusal
        instrument = self.market.instruments.get(check.symbol)
        refusal = rules.check_instrument(limits, instrument, check.symbol)
        if refusal is not None or instrument is None:
            return refusal
        refusal = rules.check_participation(
            limits, check.quantity_nanos, self.market.median_volumes.get(check.symbol, 0.0)
        )
        if refusal is not None:
            return refusal
        return rules.check_exposure(
            limits,
            instrument,
            book.symbol(check.symbol),
            check.side,
            check.quantity_nanos,
            0,
            self.market.price_nanos(check.symbol) or check.limit_price_nanos,
            self._valuation(book, {}),
        )

    def _book(self, account: str) -> AccountBook:
        """Return an account's book; one that has no limits, and so reserves nothing, is not kept."""
        book = self.books.accounts.get(account)
        if book is None and (account, "") in self.controls.limits:
            return self.books.account(account)
        return book or AccountBook(account)

    # -- Housekeeping -----------------------------------------------------------------------------

    def _remember(self, key: tuple[str, str, str], content: object, verdict: Verdict) -> None:
        verdicts = self._verdicts
        verdicts[key] = (content, verdict)
        if len(verdicts) > REMEMBERED_VERDICTS:
            del verdicts[next(iter(verdicts))]
        if verdict is not None:
            self.refused[verdict.reason] = self.refused.get(verdict.reason, 0) + 1

    def expire(self, heard_orders_nanos: int, heard_executions_nanos: int, wait_nanos: int) -> list[str]:
        """End reservations whose order or parent never appeared; a repeat of them is checked anew."""
        orders = list(self.books.expire_orders(heard_orders_nanos, wait_nanos))
        parents = list(self.books.expire_parents(heard_executions_nanos, wait_nanos))
        gone = {*orders, *parents}
        if gone:
            for key in [key for key in self._verdicts if key[1] in gone]:
                del self._verdicts[key]
        return [*orders, *parents]

    # -- Reports ----------------------------------------------------------------------------------

    def exposures(self, account: str) -> Mapping[str, SymbolReport]:
        """Return the exposure of an account, by symbol, those without any left out."""
        book = self.books.accounts.get(account)
        if book is None:
            return {}
        reports = {}
        for symbol, exposure in sorted(book.symbols.items()):
            if exposure.is_empty:
                continue
            price = self.market.price_nanos(symbol)
            reports[symbol] = SymbolReport(
                symbol,
                exposure.position_nanos,
                exposure.open_buy_nanos,
                exposure.open_sell_nanos,
                exposure.rest_buy_nanos,
                exposure.rest_sell_nanos,
                price,
                exposure.worst_nanos * (price or exposure.last_price_nanos),
            )
        return reports

    def symbols_with_participation(self) -> list[str]:
        """Return the symbols whose median volume some limit asks for."""
        symbols: set[str] = set()
        for limits in self.controls.limits.values():
            if limits.max_participation is not None:
                symbols.update([limits.symbol] if limits.symbol else self.market.instruments)
        return sorted(symbols & self.market.instruments.keys())

    def feed_silence_seconds(self) -> float:
        """Return for how much wall time the market's clock has stood still, in seconds."""
        return self.market.silent_nanos(self._clock.now_nanos()) / NANOS_PER_SECOND

    def profit_attos(self, account: str) -> int:
        """Return the profit of the session so far, in 1e-18 units of the base currency."""
        book = self.books.accounts.get(account)
        return 0 if book is None else rules.value_account(book, self.market).profit_attos


def _from_parent(book: AccountBook, execution_id: str, terms: OrderTerms, added_nanos: int) -> int:
    """Return how much of a child its parent has reserved already."""
    parent: Parent | None = book.parents.get(execution_id) if execution_id else None
    if parent is None or parent.symbol != terms.symbol or parent.side is not Side(terms.side):
        return 0
    return min(added_nanos, parent.rest_nanos)


def _reused(check: OrderCheck) -> Verdict:
    return reject("REQUEST_ID_REUSED", f"{check.client_order_id} was checked with other content")
