"""What risk knows of the market: instruments, quotes with their age, the phase, the session's date."""

from __future__ import annotations

import datetime
from zoneinfo import ZoneInfo

from servers.model.clock import NANOS_PER_SECOND
from servers.model.instrument import Instrument
from servers.model.market import MarketPhase, MarketTime, Quote

FEED_SILENCE_NANOS = 5 * NANOS_PER_SECOND
"""Wall time without any advance of a clock that is not held, after which all prices are stale."""

COLLECTING_PHASES = frozenset(
    {
        MarketPhase.PRE_OPEN,
        MarketPhase.OPENING_AUCTION,
        MarketPhase.REOPENING_AUCTION,
        MarketPhase.CLOSING_AUCTION,
    }
)
"""Phases that take orders while quotes may stand still."""

TRADING_PHASES = COLLECTING_PHASES | {MarketPhase.CONTINUOUS}
"""Phases in which a new order may be sent."""

_NO_QUOTE = Quote("")


class Market:
    """Instruments, present quotes and the venue's clock, as the feed last told them. Never a cache."""

    def __init__(self, feed_silence_nanos: int = FEED_SILENCE_NANOS) -> None:
        self.instruments: dict[str, Instrument] = {}
        self.quotes: dict[str, Quote] = {}
        self.median_volumes: dict[str, float] = {}
        self.now_nanos = 0
        self._feed_silence_nanos = feed_silence_nanos
        self._advanced_at_nanos = 0
        self._is_held = False
        self._zones: dict[str, ZoneInfo] = {}
        self._session_ends: dict[str, tuple[int, int, str]] = {}

    def take_quote(self, quote: Quote) -> None:
        """Put in a quote; one without any price keeps the last price that was known."""
        if not quote.last_price_nanos:
            before = self.quotes.get(quote.symbol, _NO_QUOTE).last_price_nanos
            if before and not quote.mid_price_nanos:
                quote = Quote(
                    quote.symbol,
                    quote.bid_price_nanos,
                    quote.bid_size_nanos,
                    quote.ask_price_nanos,
                    quote.ask_size_nanos,
                    before,
                    quote.event_time_nanos,
                    quote.phase,
                )
        self.quotes[quote.symbol] = quote

    def take_time(self, time: MarketTime, wall_nanos: int) -> None:
        """Move the clock; it never runs back."""
        self._is_held = time.is_held
        if time.event_time_nanos > self.now_nanos:
            self.now_nanos = time.event_time_nanos
            self._advanced_at_nanos = wall_nanos
        elif time.is_held:
            self._advanced_at_nanos = wall_nanos

    def take_zone(self, calendar: str, time_zone: str) -> None:
        """Learn the time zone of a calendar, which its sessions' dates are told in."""
        self._zones[calendar] = ZoneInfo(time_zone)
        self._session_ends.pop(calendar, None)

    def silent_nanos(self, wall_nanos: int) -> int:
        """Return for how much wall time the feed has told nothing."""
        return wall_nanos - self._advanced_at_nanos

    def is_silent(self, wall_nanos: int) -> bool:
        """Return whether the feed has told nothing for too long; a held clock says so as it stands still."""
        return wall_nanos - self._advanced_at_nanos > self._feed_silence_nanos

    def quote(self, symbol: str) -> Quote:
        """Return the present quote, without prices when there is none."""
        return self.quotes.get(symbol, _NO_QUOTE)

    def price_nanos(self, symbol: str) -> int:
        """Return the reference price, whatever its age; 0 when there is none."""
        quote = self.quotes.get(symbol)
        return 0 if quote is None else quote.reference_price_nanos

    def session_of(self, symbol: str, time_nanos: int) -> str:
        """Return the local date that a market time falls on at the symbol's exchange."""
        instrument = self.instruments.get(symbol)
        calendar = "" if instrument is None else instrument.calendar
        known = self._session_ends.get(calendar)
        if known is not None and known[0] <= time_nanos < known[1]:
            return known[2]
        zone = self._zones.get(calendar, datetime.UTC)
        date = datetime.datetime.fromtimestamp(time_nanos // NANOS_PER_SECOND, zone).date()
        begins, ends = _midnight(date, zone), _midnight(date + datetime.timedelta(days=1), zone)
        self._session_ends[calendar] = (begins, ends, date.isoformat())
        return date.isoformat()


def _midnight(date: datetime.date, zone: datetime.tzinfo) -> int:
    moment = datetime.datetime.combine(date, datetime.time(), zone)
    return int(moment.timestamp()) * NANOS_PER_SECOND
