"""The questions that market data answers: which state is read, in which order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from native.slippage import average_price
from servers.calendars import Calendars
from servers.market_data.domain import (
    MAX_BATCH_PRINTS,
    NANOS_PER_DAY,
    NANOS_PER_MINUTE,
    NANOS_PER_SECOND,
    Bar,
    IndicatorSeries,
    IndicatorSpec,
    Prints,
    VolumeCurve,
    VolumeProfile,
    Vwap,
)
from servers.market_data.history import BarColumns, bars_of_prints, concatenate, resample
from servers.market_data.indicators import BarSeries
from servers.market_data.market import Market
from servers.market_data.paging import make_token, page_size_of, read_token
from servers.market_data.ports import Indicators
from servers.market_data.shelf import HistoryShelf
from servers.market_data.subscriptions import expired
from servers.market_data.volume import volume_curve, volume_profile
from servers.model.calendar import Session
from servers.model.errors import FailedPrecondition, InvalidInput, Unavailable
from servers.model.instrument import Instrument
from servers.model.market import Quote

END_OF_TIME = 2**63 - 1
DEFAULT_VALUE_AREA_SHARE = 0.7
DEFAULT_CURVE_BIN_NANOS = 5 * NANOS_PER_MINUTE
MAX_INDICATORS = 32
MAX_INDICATOR_BARS = 5_000


class MarketDataEngine:
    """Answers over the market's state, the shelf of earlier sessions, and the calendars.

    Args:
        calendars: gives the calendars once they are loaded.
    """

    def __init__(
        self,
        market: Market,
        shelf: HistoryShelf,
        calendars: Callable[[], Awaitable[Calendars]],
        indicators: Indicators,
    ) -> None:
        self._market = market
        self._shelf = shelf
        self._calendars = calendars
        self._indicators = indicators

    # ------------------------------------------------------------------ reference data and quotes

    def quote(self, symbol: str) -> Quote:
        """Return the best quote, the last eligible price and the phase."""
        return self._market.quote(symbol)

    def market_time_nanos(self) -> int:
        """Return the venue's clock, 0 before the venue was heard."""
        return self._market.time.event_time_nanos

    def eligibility_rule(self) -> str:
        """Return the feed's rule of which prints count, for people; empty before the venue was heard."""
        return self._market.eligibility_rule

    def own_fills_on_tape(self) -> bool | None:
        """Return whether participants' fills print on the tape; None before the venue was heard."""
        return self._market.own_fills_on_tape

    def list_instruments(
        self, symbols: Sequence[str], page_size: int, page_token: str
    ) -> tuple[list[Instrument], str]:
        """Return one page of instruments by symbol, and the next page's token.

        Raises Unavailable NOT_READY for a list of all before the venue has said what it trades.
        """
        if not symbols and not self._market.has_met_venue:
            raise Unavailable("NOT_READY", "the venue has not said yet what it trades")
        size = page_size_of(page_size, 500, 1_000)
        wanted = sorted({self._market.instrument(symbol).symbol for symbol in symbols})
        after = read_token(page_token, "instruments", wanted) if page_token else ""
        listed = [symbol for symbol in wanted or sorted(self._market.instruments) if symbol > after]
        token = make_token(listed[size - 1], "instruments", wanted) if len(listed) > size else ""
        return [self._market.instruments[symbol] for symbol in listed[:size]], token

    async def session(self, calendar: str, symbol: str, date: str) -> tuple[str, str, str, Session | None]:
        """Return calendar, date, time zone and session; no date asks for the session on or next."""
        if not calendar:
            calendar = self._market.instrument(symbol).calendar
        elif symbol:
            raise InvalidInput("FIELD_INVALID", "give a calendar or a symbol, not both", field="symbol")
        calendars = await self._calendars()
        if date:
            return calendar, date, calendars.time_zone(calendar), calendars.session_for(calendar, date)
        now = self._market.time.event_time_nanos
        if not now:
            raise FailedPrecondition("NO_MARKET_DATA", "the venue's clock is not known yet: give a date")
        session = calendars.next_session(calendar, now)
        return calendar, session.date, session.time_zone, session

    # ------------------------------------------------------------------ the tape

    def list_trades(
        self,
        symbol: str,
        after_sequence: int,
        start_nanos: int,
        end_nanos: int,
        page_size: int,
        page_token: str,
    ) -> tuple[list[Prints], str]:
        """Return one page of runs of prints, oldest first, and the next page's token.

        OutOfRange SEQUENCE_EXPIRED when prints after `after_sequence` are no longer kept.
        """
        tape = self._market.tape(symbol)
        size = page_size_of(page_size, 50, 100)
        if after_sequence < 0:
            raise _out_of_range("after_sequence", after_sequence, "0 or more")
        start, end = time_range(start_nanos, end_nanos)
        query = ("trades", symbol, after_sequence, start_nanos, end_nanos)
        after = int(read_token(page_token, *query)) if page_token else after_sequence
        if 0 < after < tape.trimmed_sequence:
            raise expired(tape)
        first_row = tape.row_after(after)
        runs: list[Prints] = []
        for first, last in tape.rows_between(start, end):
            row = max(first, first_row)
            while row < last:
                if len(runs) == size:
                    return runs, make_token(str(runs[-1].last_sequence), *query)
                run = tape.slice(row, last, MAX_BATCH_PRINTS)
                runs.append(run)
                row += run.count
        return runs, ""

    def vwap(self, symbol: str, start_nanos: int, end_nanos: int, *, without_auctions: bool) -> Vwap:
        """Return the exact VWAP of the eligible prints in [start, end)."""
        tape = self._market.tape(symbol)
        start, end = time_range(start_nanos, end_nanos, self._market.session(symbol)[0])
        prints = tape.eligible(start, end, without_auctions=without_auctions)
        average = average_price(prints.price_nanos.data, prints.size_nanos.data)
        return Vwap(average.notional_e18, average.quantity_nanos, average.print_count)

    def profile(
        self, symbol: str, start_nanos: int, end_nanos: int, step_nanos: int, value_area_share: float
    ) -> VolumeProfile:
        """Return volume by price of the eligible prints in [start, end)."""
        instrument = self._market.instrument(symbol)
        if step_nanos < 0:
            raise _out_of_range("price_step_nanos", step_nanos, "0 or more")
        if not 0 <= value_area_share <= 1:
            raise _out_of_range("value_area_share", value_area_share, "0 to 1")
        start, end = time_range(start_nanos, end_nanos, self._market.session(symbol)[0])
        prints = self._market.tapes[symbol].eligible(start, end)
        if not step_nanos:
            step_nanos = instrument.tick_at(int(prints.price_nanos.min()) if len(prints.price_nanos) else 0)
        return volume_profile(prints, step_nanos, value_area_share or DEFAULT_VALUE_AREA_SHARE)

    # ------------------------------------------------------------------ bars

    async def list_bars(
        self,
        symbol: str,
        length_nanos: int,
        start_nanos: int,
        end_nanos: int,
        page_size: int,
        page_token: str,
    ) -> tuple[list[Bar], str]:
        """Return one page of bars, oldest first, and the next token. The last bar may be unfinished."""
        self._market.instrument(symbol)
        size = page_size_of(page_size, 500, 5_000)
        check_length(length_nanos)
        start, end = time_range(start_nanos, end_nanos)
        query = ("bars", symbol, length_nanos, start_nanos, end_nanos)
        if page_token:
            start = max(start, int(read_token(page_token, *query)))
        bars = (await self._bars(symbol, length_nanos, start)).between(start, end)
        token = make_token(str(int(bars.start_nanos[size])), *query) if len(bars) > size else ""
        return bars.take(slice(0, size)).bars(), token

    async def indicators(
        self, symbol: str, length_nanos: int, bar_count: int, specs: Sequence[IndicatorSpec]
    ) -> tuple[list[int], list[IndicatorSeries]]:
        """Return the start of each of the last bars, and one series for each output of each indicator."""
        self._market.instrument(symbol)
        check_length(length_nanos)
        if not 0 <= bar_count <= MAX_INDICATOR_BARS:
            raise _out_of_range("bar_count", bar_count, f"0 to {MAX_INDICATOR_BARS}")
        if not 1 <= len(specs) <= MAX_INDICATORS:
            raise _out_of_range("indicators", len(specs), f"1 to {MAX_INDICATORS}")
        lookback = max(self._indicators.lookback(spec) for spec in specs)
        all_bars = await self._bars(symbol, length_nanos)
        shown = min(bar_count or 200, len(all_bars))
        bars = all_bars.take(slice(max(0, len(all_bars) - shown - lookback), len(all_bars)))
        series = BarSeries.of(bars)
        outputs = [
            IndicatorSeries(spec.name, output, tuple(values[len(bars) - shown :].tolist()))
            for spec in specs
            for output, values in self._indicators.compute(spec, series).items()
        ]
        return all_bars.start_nanos[len(all_bars) - shown :].tolist(), outputs

    async def _bars(self, symbol: str, length_nanos: int, since_nanos: int = 0) -> BarColumns:
        """Return all bars that can be made: earlier sessions first (when asked for), then the present one."""
        tape = self._market.tapes[symbol]
        open_nanos, close_nanos = self._market.session(symbol)
        calendars = await self._calendars()
        calendar = self._market.instruments[symbol].calendar
        parts: list[BarColumns] = []
        is_present = 0 < open_nanos <= since_nanos
        history = (
            await self._shelf.bars(symbol, open_nanos or END_OF_TIME)
            if not is_present
            else BarColumns.empty(length_nanos)
        )
        if len(history) and (length_nanos % history.length_nanos == 0 or length_nanos == NANOS_PER_DAY):
            first, last = int(history.start_nanos[0]), int(history.start_nanos[-1])
            until = min(last + 1, open_nanos or END_OF_TIME)
            parts += [
                resample(history, session, length_nanos)
                for session in calendars.sessions_between(calendar, first, until)
            ]
        if open_nanos:
            prints = tape.eligible(self._session_floor(calendars, calendar, open_nanos), END_OF_TIME)
            parts.append(bars_of_prints(prints, open_nanos, close_nanos, length_nanos))
        return concatenate(parts, length_nanos)

    def _session_floor(self, calendars: Calendars, calendar: str, open_nanos: int) -> int:
        # The tape may still hold the session before: what belongs to this one begins after its close.
        earlier = calendars.sessions_before(calendar, open_nanos, 1)
        return (earlier[-1].close_time_nanos + open_nanos) // 2 if earlier else 0

    # ------------------------------------------------------------------ the curve

    async def curve(self, symbol: str, bin_nanos: int, session_count: int) -> VolumeCurve:
        """Return the mean share of volume by bin over the sessions before the present one."""
        instrument = self._market.instrument(symbol)
        bin_nanos = bin_nanos or DEFAULT_CURVE_BIN_NANOS
        if not NANOS_PER_MINUTE <= bin_nanos <= 60 * NANOS_PER_MINUTE:
            raise _out_of_range("bin_nanos", bin_nanos, "1 minute to 1 hour")
        if not 0 <= session_count <= 60:
            raise _out_of_range("sessions", session_count, "1 to 60, or 0 for 60")
        open_nanos, close_nanos = self._market.session(symbol)
        if not open_nanos:
            raise FailedPrecondition(
                "NO_MARKET_DATA", f"the session of {symbol} is not known yet", symbol=symbol
            )
        calendars = await self._calendars()
        history = await self._shelf.bars(symbol, open_nanos)
        earlier: tuple[Session, ...] = ()
        if len(history):
            earlier = calendars.sessions_between(instrument.calendar, int(history.start_nanos[0]), open_nanos)
        return volume_curve(history, earlier, close_nanos - open_nanos, bin_nanos, session_count or 60)


def time_range(start_nanos: int, end_nanos: int, default_start_nanos: int = 0) -> tuple[int, int]:
    """Return [start, end) with 0 resolved; InvalidInput for negative times and empty ranges."""
    for field, value in (("start_time_nanos", start_nanos), ("end_time_nanos", end_nanos)):
        if value < 0:
            raise _out_of_range(field, value, "0 or more")
    start, end = start_nanos or default_start_nanos, end_nanos or END_OF_TIME
    if end <= start:
        raise InvalidInput(
            "TIME_RANGE_INVALID", f"the range [{start}, {end}) is empty", field="end_time_nanos"
        )
    return start, end


def check_length(length_nanos: int) -> None:
    """Refuse a bar's length outside 1 second to 1 day."""
    if not NANOS_PER_SECOND <= length_nanos <= NANOS_PER_DAY:
        raise _out_of_range("length_nanos", length_nanos, "1 second to 1 day")


def _out_of_range(field: str, value: object, bound: str) -> InvalidInput:
    return InvalidInput(
        "VALUE_OUT_OF_RANGE", f"{field} is {value}, not {bound}", field=field, value=value, bound=bound
    )
