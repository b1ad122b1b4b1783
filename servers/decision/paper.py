"""The same rules on paper, so that what the signals know beyond prices can be told apart from luck.

A paper order trades at once at the mid and pays the modelled one-way cost. Two strategies: all that the
signal knows, and prices alone. Neither sees the account; caps on the rest of the book do not bind them.
Prices alone are believed here as they stand: what comes of it is the evidence on which real orders
believe them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from servers.decision.domain.book import ON_PAPER, PRICE_ONLY, DecisionBook
from servers.decision.domain.decision import Event, EventKind, PaperTrade
from servers.decision.domain.evidence import propose_on_evidence
from servers.decision.domain.signal import Signal
from servers.decision.domain.sizing import Action, Holding, Others, Policy, propose
from servers.decision.market import View
from servers.model.nanos import NANO


class PaperDesk:
    """Trades on paper. `cool_down_seconds` as for real orders, in market time."""

    def __init__(self, policy: Policy, cool_down_seconds: float) -> None:
        self._policy = policy
        self._cool_down_nanos = round(cool_down_seconds * NANO)

    def events(
        self, book: DecisionBook, symbol: str, signal: Signal | None, view: View, now_nanos: int
    ) -> list[Event]:
        """Return what both strategies trade in a symbol now."""
        if view.market is None or view.reason:
            return []
        strategies = {ON_PAPER: signal}
        if signal is None or signal.price_only_probability_up is not None:
            strategies[PRICE_ONLY] = None if signal is None else _from_prices_alone(signal)
        found = []
        for strategy, known in strategies.items():
            ledger = book.ledgers.get(strategy)
            held = ledger.positions.get(symbol, 0) if ledger is not None else 0
            last = book.last_paper_nanos.get((strategy, symbol), 0)
            is_cooling = bool(last) and now_nanos - last < self._cool_down_nanos
            hold = view.hold or ("COOL_DOWN" if is_cooling else "")
            args = (self._policy, known, view.market, Holding(held), Others(), now_nanos)
            if strategy == PRICE_ONLY:
                proposal = propose(*args, hold=hold)
            else:
                shown = book.ledgers.get(PRICE_ONLY)
                proposal = propose_on_evidence(*args, price_only=shown, hold=hold)
            if proposal.action is Action.NONE:
                continue
            notional = abs(proposal.quantity_nanos) * view.market.mid_price_nanos
            trade = PaperTrade(
                strategy,
                symbol,
                proposal.quantity_nanos,
                view.market.mid_price_nanos,
                notional * round(proposal.costs.total_bps * 500) // 10_000_000 // NANO,  # one way: half
                now_nanos,
                known.half_life_nanos if known is not None else 0,
                proposal.action.is_larger,
            )
            found.append(Event(EventKind.PAPER, now_nanos, paper=trade))
        return found

    def measured(self, book: DecisionBook, mids_nanos: Mapping[str, int], now_nanos: int) -> list[Event]:
        """Return the paper orders whose half-life has passed, with the price that came of them."""
        return [
            Event(EventKind.MEASURED, now_nanos, paper=replace(trade, outcome_price_nanos=mid))
            for trade in book.unmeasured_paper
            if trade.event_time_nanos + trade.half_life_nanos <= now_nanos
            and (mid := mids_nanos.get(trade.symbol, 0))
        ]


def _from_prices_alone(signal: Signal) -> Signal:
    """Return the signal as it would be without posts; the size of the move is that of chance."""
    return replace(
        signal,
        probability_up=signal.price_only_probability_up or 0.0,
        expected_return_bps=0.0,
        post_ids=(),
        restrictions=frozenset(),
    )
