"""The market_data server: `python -m servers.market_data [flags]`."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress

from tapeline.marketdata.v1.market_data_service_pb2_grpc import add_MarketDataServiceServicer_to_server

from servers.calendars import Calendars
from servers.market_data.adapters.exchange import ExchangeVenue
from servers.market_data.adapters.recorded_history import load_history
from servers.market_data.adapters.talib_indicators import TalibIndicators
from servers.market_data.adapters.tape_files import TapeFiles
from servers.market_data.domain import VenueSession
from servers.market_data.engine import MarketDataEngine
from servers.market_data.feed import VenueFeed
from servers.market_data.market import Market
from servers.market_data.metrics import MarketDataCollector
from servers.market_data.pacing import Pacers
from servers.market_data.recorder import TapeRecorder
from servers.market_data.service import MarketDataService
from servers.market_data.settings import MarketDataSettings
from servers.market_data.shelf import HistoryShelf
from servers.market_data.streams import MarketStreams
from servers.model.nanos import NANO
from servers.reference import load_instruments, recorded_instrument
from servers.runtime.component import Context, Registration
from servers.runtime.security import EVERYONE
from servers.runtime.server import run

METHODS = (
    "GetQuote",
    "ListBars",
    "ListTrades",
    "ListInstruments",
    "GetIndicators",
    "GetVolumeProfile",
    "GetVolumeCurve",
    "GetVwap",
    "GetSession",
    "StreamTrades",
    "StreamQuotes",
    "StreamMarket",
)


class MarketDataServer:
    """The component: everything wired, started and stopped."""

    def __init__(self, settings: MarketDataSettings, context: Context) -> None:
        self._settings = settings
        self._context = context
        venue = ExchangeVenue(context.channels.channel("exchange"))
        self._shelf = HistoryShelf(venue, settings.history_sessions)
        self._described = load_instruments(settings.instruments).instruments
        self._market = Market(self._described, self._shelf.keep)
        self._pacers = Pacers(round(settings.pacer_silence_seconds * NANO))
        self._recorder = TapeRecorder(
            self._market,
            TapeFiles(settings.data_dir / "tape", settings.tape_sessions),
            interval_seconds=settings.tape_sync_seconds,
            log=context.telemetry.log,
            instrument_for=lambda symbol: recorded_instrument(symbol, settings.calendar),
        )
        self._feed = VenueFeed(
            venue,
            self._market,
            self._pacers,
            wall_clock=context.wall_clock,
            log=context.telemetry.log,
            on_session=self._meet_session,
            on_prints=self._recorder.mark,
            on_other_venue=self._recorder.start_over,
        )
        self._streams = MarketStreams(
            self._market,
            self._pacers,
            self._feed,
            wall_clock=context.wall_clock,
            limit_prints=settings.reader_limit_prints,
            batch_seconds=settings.batch_seconds,
            resume_wait_seconds=settings.resume_wait_seconds,
        )
        self._engine = MarketDataEngine(self._market, self._shelf, self._loaded_calendars, TalibIndicators())
        context.telemetry.registry.register(
            MarketDataCollector(self._market, self._pacers, self._feed, self._streams, self._recorder)
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._calendars: asyncio.Task[Calendars] | None = None

    def registrations(self) -> Sequence[Registration]:
        return [
            Registration(
                add_MarketDataServiceServicer_to_server,
                MarketDataService(self._engine, self._streams, self._context.wall_clock),
                roles={method: frozenset((EVERYONE,)) for method in METHODS},
            )
        ]

    async def start(self) -> None:
        self._calendars = asyncio.create_task(asyncio.to_thread(self._load_calendars), name="load calendars")
        restored = await asyncio.to_thread(self._recorder.restore)
        if restored:
            self._context.telemetry.log.info("restored the tape", prints=restored)
        if self._settings.history:
            self._shelf.files = await asyncio.to_thread(
                load_history, self._settings.history, await self._calendars, self._settings.calendar
            )
        self._run(self._recorder.run(), "record the tape")
        self._run(self._feed.run(), "follow the venue")

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._recorder.close()
        if self._calendars is not None:
            with suppress(Exception):
                await self._calendars

    def _load_calendars(self) -> Calendars:
        # The library behind them takes most of a second to import: not on the event loop.
        calendars = Calendars()
        for calendar in {instrument.calendar for instrument in self._market.instruments.values()}:
            calendars.time_zone(calendar)
        return calendars

    async def _loaded_calendars(self) -> Calendars:
        assert self._calendars is not None
        return await asyncio.shield(self._calendars)

    def _meet_session(self, session: VenueSession) -> None:
        """Add what the venue trades and no instruments file describes."""
        calendar = session.calendar or self._settings.calendar
        for status in session.statuses:
            if status.symbol in self._described:
                continue
            if status.symbol not in self._market.instruments:
                self._context.telemetry.log.warning(
                    "no reference data: tick 0.0001, lot 1, the calendar's currency, no short sale",
                    symbol=status.symbol,
                    calendar=calendar,
                )
            self._market.add_instrument(recorded_instrument(status.symbol, calendar))

    def _run(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._finished)
        self._tasks.append(task)

    def _finished(self, task: asyncio.Task[None]) -> None:
        # A background task never ends by itself: one that does takes the process with it.
        if not task.cancelled():
            self._context.fail(task.exception() or RuntimeError(f"{task.get_name()} ended"))


def build(settings: MarketDataSettings, context: Context) -> MarketDataServer:
    """Return the server's component."""
    return MarketDataServer(settings, context)


if __name__ == "__main__":
    run("market_data", MarketDataSettings, build)
