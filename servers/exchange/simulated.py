"""A market with simulated flow: the native book, and everybody but the participants."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

from native import book as native
from native.flow import Flow
from servers.exchange.domain import Happening
from servers.exchange.ports import Level, QuoteColumns
from servers.exchange.tape import Tape
from servers.model.instrument import Instrument
from servers.model.market import MarketPhase
from servers.model.nanos import INT64_MAX, NANO
from servers.model.order import Liquidity, OrderTerms, OrderType, Rejection, Side, TimeInForce
from servers.model.social_events import SocialEvent, log_drift, planted_events

OPENING_SHARE, REOPENING_SHARE, CLOSING_SHARE = 0.02, 0.003, 0.06
"""What an auction trades of an ordinary day's volume, participants apart."""

DRIFT_STEP_NANOS = 5 * NANO
"""The fair price follows social events in steps of this length, however `advance` is cut."""

_SIDES = {Side.BUY: native.BUY, Side.SELL: native.SELL}
_KINDS = {
    OrderType.MARKET: native.MARKET,
    OrderType.LIMIT: native.LIMIT,
    OrderType.MARKET_ON_CLOSE: native.MARKET_ON_CLOSE,
    OrderType.LIMIT_ON_CLOSE: native.LIMIT_ON_CLOSE,
}
_FORCES = {TimeInForce.IOC: native.IMMEDIATE, TimeInForce.FOK: native.ALL_OR_NONE}
_MODES = {
    MarketPhase.PRE_OPEN: native.CALL,
    MarketPhase.OPENING_AUCTION: native.CALL,
    MarketPhase.CONTINUOUS: native.CONTINUOUS,
    MarketPhase.HALTED: native.CLOSED,
    MarketPhase.REOPENING_AUCTION: native.CALL,
    MarketPhase.CLOSING_AUCTION: native.CLOSING_CALL,
    MarketPhase.CLOSED: native.CLOSED,
}
_CALLS = {
    MarketPhase.PRE_OPEN: OPENING_SHARE,
    MarketPhase.OPENING_AUCTION: OPENING_SHARE,
    MarketPhase.REOPENING_AUCTION: REOPENING_SHARE,
    MarketPhase.CLOSING_AUCTION: CLOSING_SHARE,
}


@dataclass(frozen=True, slots=True)
class FlowSettings:
    """How a symbol trades: seed, first price in nanos, shares and standard deviation of an ordinary day.

    `social_effect_bps` is what the fair price moves after a social event of strength 1 (`social_seed` draws
    them, see `servers.model.social_events`); with 0 the flow is what it would be without this module.
    """

    seed: int
    start_price_nanos: int
    daily_volume: float
    daily_volatility: float
    market_order_band: float = 0.05
    social_effect_bps: float = 0.0
    social_seed: int = 1


class SimulatedMarket:
    """`servers.exchange.ports.Market` over `native.book` and `native.flow`."""

    def __init__(
        self, instrument: Instrument, settings: FlowSettings, kept: dict[str, float] | None = None
    ) -> None:
        self.instrument = instrument
        self.tape = Tape(instrument.symbol)
        self._tick = min(band.tick_size_nanos for band in instrument.tick_bands)
        self._lot = instrument.lot_size_nanos
        self._band = settings.market_order_band
        self._phase = MarketPhase.CLOSED
        self._handles: dict[int, int] = {}
        self._book = native.Book()
        self._social_effect_bps = settings.social_effect_bps
        self._social_seed = settings.social_seed
        self._events: list[SocialEvent] = []
        self._drift = 0.0
        seed = zlib.crc32(
            f"{settings.seed}/{instrument.symbol}/{int(kept['restarts']) if kept else 0}".encode()
        )
        price = kept["value"] if kept else settings.start_price_nanos / self._tick
        self._restarts = int(kept["restarts"]) if kept else 0
        self._flow = Flow(
            self._book,
            seed,
            price,
            settings.daily_volume * 1e9 / self._lot,
            settings.daily_volatility,
        )
        if kept:
            self._flow.restore(kept["value"], kept["pressure"])

    # -- orders
    def submit(self, number: int, owner: int, terms: OrderTerms) -> Rejection | None:
        price = terms.limit_price_nanos // self._tick
        if terms.order_type is OrderType.MARKET:
            width = 1 + self._band if terms.side is Side.BUY else 1 - self._band
            price = max(round(self.reference_price_nanos * width) // self._tick, 1)
        result = self._book.submit(
            _SIDES[terms.side],
            _KINDS[terms.order_type],
            _FORCES.get(terms.time_in_force, native.RESTING),
            price,
            terms.quantity_nanos // self._lot,
            terms.display_quantity_nanos // self._lot,
            terms.is_post_only,
            owner,
            native.CANCEL_INCOMING,
            number,
        )
        if result < 0:
            reason = native.REFUSALS[result]
            return Rejection(reason, f"the book refused the order: {reason.lower().replace('_', ' ')}")
        if result > 0:
            self._handles[number] = result
        return None

    def cancel(self, number: int) -> bool:
        handle = self._handles.pop(number, 0)
        return bool(handle) and self._book.cancel(handle) >= 0

    def replace(self, number: int, terms: OrderTerms, leaves_nanos: int) -> Rejection | None:
        handle = self._handles.get(number, 0)
        price = max(terms.limit_price_nanos // self._tick, 1)
        result = self._book.replace(
            handle, price, leaves_nanos // self._lot, terms.display_quantity_nanos // self._lot
        )
        if result < 0:
            return Rejection(native.REFUSALS[result], "the book refused the replacement")
        return None

    # -- phases and time
    def begin_session(self, open_nanos: int, close_nanos: int) -> None:
        self._flow.clear()
        self._flow.begin_session(open_nanos, close_nanos)
        self._plan_events(open_nanos, close_nanos, open_nanos)

    def enter_phase(self, phase: MarketPhase, time_nanos: int) -> None:
        self._book.now_nanos = max(self._book.now_nanos, time_nanos)
        left = self._phase
        if left in _CALLS and phase not in _CALLS:
            if left is MarketPhase.CLOSING_AUCTION:
                self._flow.clear()
            self._flow.collect(_CALLS[left])
            self._book.uncross(max(self._book.last_price, round(self._flow.fair_price)))
        mode = _MODES[phase]
        if self._book.mode != mode:
            self._book.set_mode(mode)
        if phase is MarketPhase.CONTINUOUS:
            self._flow.settle()
        elif phase is MarketPhase.CLOSED:
            self._flow.clear()
        self._phase = phase
        if phase not in _CALLS:
            self._book.record_quote()

    def advance(self, until_nanos: int) -> None:
        if self._events:
            self._follow_events(until_nanos)
        self._flow.advance(until_nanos)
        count, *columns = self._book.take_trades(self._tick, self._lot)
        if count:
            self.tape.extend(*columns)

    def resume(self, open_nanos: int, close_nanos: int, time_nanos: int, phase: MarketPhase) -> None:
        value, pressure = self._flow.fundamental, self._flow.participants_pressure
        self._flow.begin_session(open_nanos, close_nanos, 0.0)
        self._flow.restore(value, pressure)
        self._plan_events(open_nanos, close_nanos, time_nanos)
        self._book.now_nanos = time_nanos
        self._phase = MarketPhase.CLOSED
        self.enter_phase(phase, time_nanos)

    def _plan_events(self, open_nanos: int, close_nanos: int, time_nanos: int) -> None:
        """Know the session's events; what they did up to `time_nanos` is in the price already."""
        self._events.clear()
        if self._social_effect_bps > 0:
            self._events += planted_events(
                self._social_seed,
                open_nanos,
                close_nanos,
                [self.instrument.symbol],
                self._social_effect_bps,
            )
        self._drift = log_drift(self._events, time_nanos)

    def _follow_events(self, until_nanos: int) -> None:
        """Move the value by what events brought, step by step as long as they bring something."""
        step = self._next_drift_step(self._book.now_nanos)
        while step <= until_nanos:
            self._flow.advance(step)
            drift = log_drift(self._events, step)
            if drift != self._drift:
                value = self._flow.fundamental * math.exp(drift - self._drift)
                self._flow.restore(value, self._flow.participants_pressure)
                self._drift = drift
            step = self._next_drift_step(step)

    def _next_drift_step(self, time_nanos: int) -> int:
        """Return the next time on the grid, after `time_nanos`, at which the drift may be another one."""
        begins = [
            max(event.event_time_nanos, time_nanos)
            for event in self._events
            if time_nanos < event.end_time_nanos + DRIFT_STEP_NANOS
        ]
        if not begins:
            return INT64_MAX
        return min(begins) // DRIFT_STEP_NANOS * DRIFT_STEP_NANOS + DRIFT_STEP_NANOS

    # -- what happened
    def take_happenings(self) -> list[Happening]:
        happenings = []
        for kind, _, number, price, lots, leaves, _, liquidity, why, time in self._book.take_events():
            if not leaves:
                self._handles.pop(number, None)
            reason = native.CANCEL_REASONS[why] if kind == native.CANCELLED else ""
            happenings.append(
                Happening(number, lots * self._lot, price * self._tick, Liquidity(liquidity), reason, time)
            )
        return happenings

    def take_quotes(self) -> QuoteColumns:
        return QuoteColumns(*self._book.take_quotes(self._tick, self._lot))

    def depth(self, count: int) -> tuple[list[Level], list[Level]]:
        bids, asks = (
            [Level(price * self._tick, lots * self._lot, orders) for price, lots, orders in levels]
            for levels in (self._book.depth(native.BUY, count), self._book.depth(native.SELL, count))
        )
        return bids, asks

    @property
    def reference_price_nanos(self) -> int:
        return (self._book.last_price or round(self._flow.fair_price)) * self._tick

    def state(self) -> dict[str, float]:
        return {
            "value": self._flow.fundamental,
            "pressure": self._flow.participants_pressure,
            "restarts": self._restarts + 1,
        }
