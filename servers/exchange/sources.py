"""Where sessions and markets come from: simulated without end, or a recorded file's dates."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servers.calendars import Calendars
from servers.exchange.history import HistoryModel, MinuteBar, draw_history
from servers.exchange.ports import Market
from servers.exchange.simulated import FlowSettings, SimulatedMarket
from servers.model.calendar import Session
from servers.model.errors import InvalidInput
from servers.model.instrument import Instrument
from servers.reference import ReferenceData, recorded_instrument

if TYPE_CHECKING:
    from servers.exchange.recorded_history import RecordedHistory

Note = Callable[..., object]


class SimulatedSource:
    """Session after session of a calendar, with simulated flow in every instrument that has hints for it."""

    def __init__(
        self,
        reference: ReferenceData,
        calendars: Calendars,
        calendar: str,
        *,
        date: str,
        wall_nanos: int,
        symbols: frozenset[str],
        seed: int,
        social_effect_bps: float = 0.0,
        social_seed: int = 1,
    ) -> None:
        self._social_effect_bps = social_effect_bps
        self._social_seed = social_seed
        self._calendars = calendars
        self._calendar = calendar
        self._date = date
        self._wall_nanos = wall_nanos
        self._seed = seed
        self._reference = reference
        self._symbols = sorted(
            symbol
            for symbol in reference.simulation
            if reference.instruments[symbol].calendar == calendar and (not symbols or symbol in symbols)
        )
        if not self._symbols:
            raise InvalidInput("SYMBOL_UNKNOWN", f"no instrument of {calendar} has simulation hints")

    async def first(self, kept: Mapping[str, Any] | None) -> tuple[Session, dict[str, Market]]:
        session = await asyncio.to_thread(self._first_session, kept)
        states: Mapping[str, Any] = kept["markets"] if kept else {}
        return session, {symbol: self._market(symbol, states.get(symbol)) for symbol in self._symbols}

    async def following(
        self, session: Session, markets: Mapping[str, Market]
    ) -> tuple[Session, dict[str, Market]]:
        for market in markets.values():
            market.tape.start_over()
        after = session.close_time_nanos + 1
        following = await asyncio.to_thread(self._calendars.next_session, self._calendar, after)
        return following, dict(markets)

    def eligibility_rule(self) -> str:
        """Return for people which prints count."""
        return "every print of the practice venue, auctions included"

    def history(self, symbol: str, session: Session, count: int) -> list[MinuteBar]:
        """Return minute bars of the `count` sessions before `session`: drawn, as the flow would trade."""
        hints = self._reference.simulation[symbol]
        instrument = self._reference.instruments[symbol]
        model = HistoryModel(
            symbol,
            self._seed,
            hints.start_price_nanos,
            instrument.tick_at(hints.start_price_nanos),
            hints.daily_volume,
            hints.daily_volatility,
        )
        return draw_history(
            model, self._calendars.sessions_before(self._calendar, session.open_time_nanos, count)
        )

    def _first_session(self, kept: Mapping[str, Any] | None) -> Session:
        if kept:  # without a calendar, which takes a second to load
            return Session(**kept["session"])
        if not self._date:
            return self._calendars.next_session(self._calendar, self._wall_nanos)
        session = self._calendars.session_for(self._calendar, self._date)
        if session is None:
            raise InvalidInput(
                "FIELD_INVALID", f"{self._calendar} has no session on {self._date}", field="date"
            )
        return session

    def _market(self, symbol: str, state: dict[str, float] | None) -> Market:
        hints = self._reference.simulation[symbol]
        settings = FlowSettings(
            self._seed,
            hints.start_price_nanos,
            hints.daily_volume,
            hints.daily_volatility,
            social_effect_bps=self._social_effect_bps,
            social_seed=self._social_seed,
        )
        return SimulatedMarket(self._reference.instruments[symbol], settings, state)


class RecordedSource:
    """The dates of a trades or bars file, or one of them."""

    def __init__(
        self,
        path: Path,
        reference: ReferenceData,
        calendars: Calendars,
        calendar: str,
        *,
        date: str,
        symbols: frozenset[str],
        profile: str,
        print_share: float,
        note: Note,
    ) -> None:
        self._path = path
        self._reference = reference
        self._calendars = calendars
        self._calendar = calendar
        self._date = date
        self._symbols = symbols
        self._profile = profile
        self._share = print_share
        self._note = note
        self._history: RecordedHistory | None = None

    async def first(self, kept: Mapping[str, Any] | None) -> tuple[Session, dict[str, Market]]:
        return await asyncio.to_thread(self._first, kept)

    async def following(
        self, session: Session, markets: Mapping[str, Market]
    ) -> tuple[Session, dict[str, Market]] | None:
        if self._date:
            return None
        first_sequences = {symbol: market.tape.last_sequence + 1 for symbol, market in markets.items()}

        def load() -> tuple[Session, dict[str, Market]] | None:
            later = [date for date in self._dates() if date > session.date]
            if not later:
                return None
            following = self._session(later[0])
            return following, self._markets(following, first_sequences, {}, set(markets))

        return await asyncio.to_thread(load)

    def eligibility_rule(self) -> str:
        """Return for people which of the file's prints count."""
        from servers.exchange.recorded_file import rule_of

        return rule_of(self._path, self._profile)

    def history(self, symbol: str, session: Session, count: int) -> list[MinuteBar]:
        """Return minute bars of up to `count` earlier sessions that the file has.

        The first call reads the file, once for all symbols: blocks for as long.
        """
        if self._history is None:
            from servers.exchange.recorded_history import RecordedHistory  # pyarrow, see `_dates`

            self._history = RecordedHistory(
                self._path, self._calendars, self._calendar, self._symbols, self._profile
            )
        return self._history.bars(symbol, session, count)

    def _first(self, kept: Mapping[str, Any] | None) -> tuple[Session, dict[str, Market]]:
        session = Session(**kept["session"]) if kept else self._session(self._date or self._dates()[0])
        first_sequences = kept["first_sequences"] if kept else {}
        states = kept["markets"] if kept else {}
        return session, self._markets(session, first_sequences, states, set(first_sequences))

    def _dates(self) -> list[str]:
        from servers.recordings.trades import recorded_dates  # pyarrow: only where a file is read

        zone = self._calendars.time_zone(self._calendar)
        dates = [
            date
            for date in recorded_dates(self._path, zone, self._symbols)
            if self._calendars.session_for(self._calendar, date) is not None
        ]
        if not dates:
            raise InvalidInput("FILE_MALFORMED", f"{self._path} has no rows in a session of {self._calendar}")
        return dates

    def _session(self, date: str) -> Session:
        session = self._calendars.session_for(self._calendar, date)
        if session is None:
            raise InvalidInput("FIELD_INVALID", f"{self._calendar} has no session on {date}", field="date")
        return session

    def _markets(
        self,
        session: Session,
        first_sequences: Mapping[str, int],
        states: Mapping[str, Mapping[str, float]],
        before: set[str],
    ) -> dict[str, Market]:
        from servers.exchange.recorded import RecordedMarket
        from servers.exchange.recorded_file import load_day

        day = load_day(self._path, session, self._symbols, self._profile)
        missing = (self._symbols or before) - set(day)
        if missing and self._symbols - before:
            raise InvalidInput(
                "SYMBOL_UNKNOWN",
                f"{self._path} has no prints of {', '.join(sorted(missing))} on {session.date}",
            )
        if not day:
            raise InvalidInput("FILE_MALFORMED", f"{self._path} has no prints on {session.date}")
        return {
            symbol: RecordedMarket(
                self._instrument(symbol),
                trades,
                int(first_sequences.get(symbol, 1)),
                print_share=self._share,
                pressure=states.get(symbol, {}).get("pressure", 0.0),
            )
            for symbol, trades in day.items()
        }

    def _instrument(self, symbol: str) -> Instrument:
        instrument = self._reference.instruments.get(symbol)
        if instrument is None:
            instrument = recorded_instrument(symbol, self._calendar)
            self._note("no reference data: defaults are used", symbol=symbol, calendar=self._calendar,
                       currency_code=instrument.currency_code, tick="0.0001", lot="1")  # fmt: skip
        return instrument
