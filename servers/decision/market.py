"""The market as decisions see it: quotes as they come, and facts of the past that hold for a session."""

from __future__ import annotations

from dataclasses import dataclass

from servers.decision.domain.cost import Market
from servers.decision.ports import History, SymbolFacts
from servers.model.market import MarketPhase, Quote
from servers.model.nanos import NANO


@dataclass(frozen=True, slots=True)
class View:
    """One symbol now. `reason` says why nothing at all can be decided, `hold` why nothing can grow."""

    market: Market | None
    facts: SymbolFacts | None
    reason: str = ""
    hold: str = ""


class MarketView:
    """Quotes and session facts.

    Args:
        max_quote_age_seconds: market time after which a quote is too old to size an order.
        close_cutoff_seconds: nothing is opened so close to the end of the session.
    """

    def __init__(
        self, history: History, *, max_quote_age_seconds: float, close_cutoff_seconds: float
    ) -> None:
        self._history = history
        self._max_age_nanos = round(max_quote_age_seconds * NANO)
        self._cutoff_nanos = round(close_cutoff_seconds * NANO)
        self.quotes: dict[str, Quote] = {}
        self.now_nanos = 0

    def take(self, quote: Quote) -> None:
        """Take in a quote; market time does not go back."""
        self.quotes[quote.symbol] = quote
        self.now_nanos = max(self.now_nanos, quote.event_time_nanos)

    def mid_nanos(self, symbol: str) -> int:
        """Return the mid; 0 when there is no two-sided quote."""
        quote = self.quotes.get(symbol)
        return quote.mid_price_nanos if quote is not None else 0

    @property
    def mids_nanos(self) -> dict[str, int]:
        """Mids, or last prices where a side is missing, by symbol."""
        return {symbol: quote.reference_price_nanos for symbol, quote in self.quotes.items()}

    async def view(self, symbol: str) -> View:
        """Return one symbol as it can be decided on now. Raises NotFound SYMBOL_UNKNOWN, Unavailable."""
        facts = await self._history.facts(symbol, self.now_nanos)
        quote = self.quotes.get(symbol)
        if quote is None or not quote.mid_price_nanos:
            return View(None, facts, "QUOTE_STALE")
        if facts.daily_volatility <= 0 or facts.median_daily_volume <= 0:
            return View(None, facts, "NO_HISTORY")
        market = Market(
            quote.mid_price_nanos,
            1e4 * (quote.ask_price_nanos - quote.bid_price_nanos) / quote.mid_price_nanos,
            facts.daily_volatility,
            facts.median_daily_volume,
            facts.session_close_nanos - facts.session_open_nanos,
            facts.lot_nanos,
            facts.is_short_sale_permitted,
        )
        if quote.phase is not MarketPhase.CONTINUOUS:
            return View(market, facts, "PHASE")
        if self.now_nanos - quote.event_time_nanos > self._max_age_nanos:
            return View(market, facts, "QUOTE_STALE")
        is_near = self.now_nanos > facts.session_close_nanos - self._cutoff_nanos
        return View(market, facts, hold="CLOSE_NEAR" if is_near else "")
