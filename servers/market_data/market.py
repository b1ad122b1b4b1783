"""The market as the venue tells it: tapes, best quotes, phases and the clock, and who listens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from servers.market_data.domain import BestQuote, Prints, VenueEvent, VenueSession
from servers.market_data.subscriptions import MarketSubscription, QuoteSubscription, Signal, expired
from servers.market_data.tape import SymbolTape
from servers.model.errors import FailedPrecondition, InvalidInput, NotFound, OutOfRange, Unavailable
from servers.model.instrument import Instrument
from servers.model.market import MarketPhase, MarketTime, Quote, TradingStatus


class Market:
    """State that follows the venue's feed event by event. Plain and synchronous; one writer.

    Args:
        instruments: reference data by symbol; symbols that only the venue knows are added.
        on_session_over: called with tape, open and close of a session when the next one is announced.
    """

    def __init__(
        self,
        instruments: Mapping[str, Instrument],
        on_session_over: Callable[[SymbolTape, int, int], None] = lambda _tape, _open, _close: None,
    ) -> None:
        self._on_session_over = on_session_over
        self.instruments: dict[str, Instrument] = dict(instruments)
        self.tapes: dict[str, SymbolTape] = {symbol: SymbolTape(symbol) for symbol in instruments}
        self.time = MarketTime(0, 0.0)
        self.quote_updates: dict[str, int] = {}
        self._best: dict[str, BestQuote] = {}
        self._statuses: dict[str, TradingStatus] = {}
        self._sessions: dict[str, tuple[int, int]] = {}  # open and close that the last dated status named
        self._changed: set[str] = set()
        self._markets: set[MarketSubscription] = set()
        self._quotes: set[QuoteSubscription] = set()
        self._trades: set[Signal] = set()
        self.has_met_venue = False
        self.own_fills_on_tape: bool | None = None
        self.eligibility_rule = ""
        self.print_count = 0
        self.unknown_count = 0

    # ------------------------------------------------------------------ what is known

    def instrument(self, symbol: str) -> Instrument:
        """Return reference data.

        NotFound SYMBOL_UNKNOWN, or Unavailable NOT_READY as long as the venue may still know it; InvalidInput
        FIELD_MISSING for an empty symbol.
        """
        if not symbol:
            raise InvalidInput("FIELD_MISSING", "symbol is empty", field="symbol")
        instrument = self.instruments.get(symbol)
        if instrument is None and not self.has_met_venue:
            raise Unavailable(
                "NOT_READY", f"the venue that may know {symbol[:40]!r} was not heard yet", symbol=symbol[:40]
            )
        if instrument is None:
            raise NotFound("SYMBOL_UNKNOWN", f"no instrument {symbol[:40]!r}", symbol=symbol[:40])
        return instrument

    def tape(self, symbol: str) -> SymbolTape:
        """Return the symbol's tape; refuses as `instrument` does."""
        self.instrument(symbol)
        return self.tapes[symbol]

    def quote(self, symbol: str) -> Quote:
        """Return the best quote, the last eligible price and the phase.

        FailedPrecondition NO_MARKET_DATA before the venue has said anything about the symbol.
        """
        tape = self.tape(symbol)
        best = self._best.get(symbol)
        status = self._statuses.get(symbol)
        if best is None and status is None and len(tape) == 0:
            raise FailedPrecondition("NO_MARKET_DATA", f"nothing is known of {symbol} yet", symbol=symbol)
        return Quote(
            symbol,
            best.bid_price_nanos if best else 0,
            best.bid_size_nanos if best else 0,
            best.ask_price_nanos if best else 0,
            best.ask_size_nanos if best else 0,
            tape.last_price_nanos,
            max(
                best.event_time_nanos if best else 0,
                tape.last_time_nanos,
                status.event_time_nanos if status else 0,
            ),
            status.phase if status else MarketPhase.UNSPECIFIED,
        )

    def status(self, symbol: str) -> TradingStatus | None:
        """Return the symbol's last status, None before the first."""
        return self._statuses.get(symbol)

    def session(self, symbol: str) -> tuple[int, int]:
        """Return open and close of the session that is on, comes next or was last; 0, 0 before the first."""
        return self._sessions.get(symbol, (0, 0))

    # ------------------------------------------------------------------ what the venue says

    def apply(self, event: VenueEvent) -> int:
        """Take in one event and pass it on. Returns the number of new prints.

        Events of a symbol that has no reference data are counted and left out.
        """
        if isinstance(event, MarketTime):
            self._apply_time(event)
            return 0
        if event.symbol not in self.tapes:
            self.unknown_count += 1
            return 0
        if isinstance(event, Prints):
            return self._apply_prints(event)
        if isinstance(event, BestQuote):
            self._best[event.symbol] = event
            self._change_quote(event.symbol, event.update_count)
        else:
            self._apply_status(event)
        return 0

    def add_instrument(self, instrument: Instrument) -> None:
        """Add reference data of a symbol that the venue trades and no file describes."""
        self.instruments[instrument.symbol] = instrument
        self.tapes.setdefault(instrument.symbol, SymbolTape(instrument.symbol))

    def meet_venue(self, session: VenueSession) -> None:
        """Take phases and clock from a venue that was just connected, in place of what was known."""
        self.has_met_venue = True
        self.own_fills_on_tape = session.own_fills_on_tape
        self.eligibility_rule = session.eligibility_rule
        self._statuses.clear()  # a venue that restarted may count its statuses anew
        for status in session.statuses:
            self.apply(status)
        self.apply(session.time)

    def restore_session(self, symbol: str, open_nanos: int, close_nanos: int) -> None:
        """Set the session of a symbol whose kept tape is read before the venue was heard."""
        self._sessions[symbol] = (open_nanos, close_nanos)

    def clear_tape(self, symbol: str) -> None:
        """Empty a tape that is not this venue's; its readers are cut off, since their places are void."""
        self.tapes[symbol].clear()
        for subscription in self._markets:
            if symbol in subscription.symbols:
                subscription.void()
        for signal in self._trades:
            signal.set()

    def _apply_prints(self, prints: Prints) -> int:
        tape = self.tapes[prints.symbol]
        added = tape.append(prints)
        if not added:
            return 0
        self.print_count += added
        passed = prints if added == prints.count else tape.slice(len(tape) - added, len(tape))
        for subscription in self._markets:
            if prints.symbol in subscription.symbols:
                subscription.push(passed)
        for signal in self._trades:
            signal.set()
        self._change_quote(prints.symbol, 0)
        return added

    def _apply_status(self, status: TradingStatus) -> None:
        symbol = status.symbol
        old = self._statuses.get(symbol)
        if old is not None and status.sequence and status.sequence < old.sequence:
            return
        self._statuses[symbol] = status
        if status.session_open_time_nanos:
            before = self._sessions.get(symbol)
            session = (status.session_open_time_nanos, status.session_close_time_nanos)
            if before is not None and before[0] < session[0]:
                self._on_session_over(self.tapes[symbol], *before)
                self.tapes[symbol].trim_before(before[0])
            self._sessions[symbol] = session
        for subscription in self._markets:
            if symbol in subscription.symbols:
                if symbol in self._changed:
                    subscription.push(self.quote(symbol))
                subscription.push(status)
        self._change_quote(symbol, 1)

    def _apply_time(self, time: MarketTime) -> None:
        if time.event_time_nanos < self.time.event_time_nanos:
            time = MarketTime(self.time.event_time_nanos, time.speed, time.is_held)
        self.time = time
        changed = {symbol: self.quote(symbol) for symbol in sorted(self._changed)} if self._markets else {}
        for subscription in self._markets:
            for symbol, quote in changed.items():
                if symbol in subscription.symbols:
                    subscription.push(quote)
            subscription.push(time)
        for quotes in self._quotes:
            for symbol in self._changed:
                if symbol in quotes.symbols:
                    quotes.mark(symbol)
            quotes.wake()
        for signal in self._trades:
            signal.set()
        self._changed.clear()

    def _change_quote(self, symbol: str, updates: int) -> None:
        self._changed.add(symbol)
        if updates:
            self.quote_updates[symbol] = self.quote_updates.get(symbol, 0) + updates

    # ------------------------------------------------------------------ who listens

    def check_resume(self, symbols: Iterable[str], resume_after: Mapping[str, int]) -> None:
        """Refuse a place on a tape that never was (SEQUENCE_AHEAD) or is not kept (SEQUENCE_EXPIRED)."""
        wanted = set(symbols)
        for symbol, sequence in resume_after.items():
            if symbol not in wanted:
                raise InvalidInput(
                    "FIELD_INVALID",
                    f"resume_after_sequence names {symbol[:40]!r}, which is not subscribed",
                    field="resume_after_sequence",
                )
            tape = self.tape(symbol)
            if sequence > tape.last_sequence:
                raise OutOfRange(
                    "SEQUENCE_AHEAD",
                    f"{symbol}: sequence {sequence} is above the last, {tape.last_sequence}",
                    symbol=symbol,
                    last_sequence=tape.last_sequence,
                )
            if sequence < tape.trimmed_sequence and sequence:
                raise expired(tape)

    def listen(self, subscription: MarketSubscription) -> None:
        """Send everything that happens from now on to a subscription."""
        self._markets.add(subscription)

    def listen_quotes(self, subscription: QuoteSubscription) -> None:
        """Mark the quotes that are known, and those that change from now on."""
        for symbol in subscription.symbols:
            if symbol in self._best or symbol in self._statuses or len(self.tapes[symbol]):
                subscription.mark(symbol)
        self._quotes.add(subscription)
        subscription.wake()

    def listen_trades(self, signal: Signal) -> None:
        """Wake a reader of the tape at every tick of the venue's clock."""
        self._trades.add(signal)
        signal.set()

    def leave(self, listener: MarketSubscription | QuoteSubscription | Signal) -> None:
        """Stop sending."""
        self._markets.discard(listener)
        self._quotes.discard(listener)
        self._trades.discard(listener)

    @property
    def listener_count(self) -> int:
        """Return the number of open streams."""
        return len(self._markets) + len(self._quotes) + len(self._trades)
