"""The exchange: `python -m servers.exchange`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from tapeline.exchange.v1 import exchange_service_pb2_grpc

from servers.calendars import Calendars
from servers.exchange.adapters.journal import DurableOrderLog
from servers.exchange.adapters.publisher import FeedPublisher
from servers.exchange.adapters.spans import ReportSpans
from servers.exchange.clock import VenueClock
from servers.exchange.domain import FeeSchedule
from servers.exchange.engine import ExchangeEngine
from servers.exchange.feed import Feed
from servers.exchange.history import MinuteBar
from servers.exchange.metrics import ExchangeMetrics
from servers.exchange.service import ExchangeService
from servers.exchange.settings import ExchangeSettings
from servers.exchange.shared_answers import SharedAnswers
from servers.exchange.sources import RecordedSource, SimulatedSource
from servers.exchange.tape import TapeFile
from servers.exchange.venue import Venue
from servers.journal import Journal
from servers.model.nanos import NANO
from servers.reference import load_instruments
from servers.runtime.component import Context, Registration
from servers.runtime.server import run

_MEMBERS = frozenset({"orders", "operator"})
_READERS = frozenset({"orders", "market_data", "operator", "reader"})
_OPERATORS = frozenset({"operator"})
ROLES = {
    "SubmitOrder": _MEMBERS,
    "SubmitOrders": _MEMBERS,
    "CancelOrder": _MEMBERS,
    "ReplaceOrder": _MEMBERS,
    "GetOrder": _READERS,
    "ListExecutions": _READERS,
    "StreamExecutionReports": _READERS,
    "StreamMarketData": _READERS,
    "ListTrades": _READERS,
    "ListHistoryBars": _READERS,
    "GetSession": _READERS,
    "ControlSession": _OPERATORS,
    "AmendExecution": _OPERATORS,
}


class ExchangeServer:
    """The parts of the exchange, started and stopped in order."""

    def __init__(self, settings: ExchangeSettings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._service = ExchangeService()
        self._feed = Feed()
        self._journal: Journal | None = None
        self._log: DurableOrderLog | None = None
        self._venue: Venue | None = None
        self._running: asyncio.Task[None] | None = None

    def registrations(self) -> Sequence[Registration]:
        return [
            Registration(
                exchange_service_pb2_grpc.add_ExchangeServiceServicer_to_server,
                self._service,
                roles=ROLES,
                exempt=frozenset({"CancelOrder"}),
            )
        ]

    async def start(self) -> None:
        settings, context = self._settings, self._context
        log, wall = context.telemetry.log, context.wall_clock
        self._journal = journal = await Journal.open(
            settings.data_dir / "exchange.journal", writer="exchange", clock=wall, on_failure=context.fail
        )
        self._log = orders = DurableOrderLog(journal, ReportSpans(context.telemetry.tracer).committed)
        source = self._source(wall.now_nanos())
        engine = ExchangeEngine({}, orders, self._fees(), settings.price_band)
        await orders.replay(engine)
        is_recorded = settings.flow == "recorded"
        tapes = settings.data_dir / "exchange.tape"
        self._venue = venue = Venue(
            engine,
            source,
            VenueClock(
                0,
                settings.speed,
                is_held=settings.hold,
                lead_seconds=settings.lead_seconds,
                silence_seconds=settings.pacer_silence_seconds,
            ),
            orders,
            FeedPublisher(self._feed, wall),
            wall,
            pre_open_seconds=settings.pre_open_seconds,
            closing_seconds=settings.recorded_closing_seconds if is_recorded else settings.closing_seconds,
            reopening_seconds=settings.reopening_seconds,
            tape_file=None if is_recorded else lambda symbol: TapeFile(tapes, symbol),
            on_session_end=lambda session: log.info("session closed", date=session.date),
            on_pacer_dropped=lambda name: log.warning("a pacer is silent and is dropped", subscriber=name),
        )
        await venue.start(orders.clock())
        log.info(
            "the venue stands",
            flow=settings.flow,
            date=venue.session.date,
            market_time=datetime.fromtimestamp(venue.clock.now_nanos / NANO, UTC).isoformat(),
            symbols=sorted(engine.markets),
            held=venue.clock.is_held,
            reports=engine.last_sequence,
        )
        histories = SharedAnswers[tuple[str, str, int], list[MinuteBar]]()

        async def history(symbol: str, sessions: int) -> list[MinuteBar]:
            session = venue.session
            return await histories.get(
                (symbol, session.date, sessions),
                lambda: asyncio.to_thread(source.history, symbol, session, sessions),
                keep=lambda key: key[1] == session.date,
            )

        self._service.serve(
            venue,
            orders,
            self._feed,
            history,
            wall,
            flow=settings.flow,
            eligibility_rule=source.eligibility_rule(),
            reader_limit=settings.reader_limit_messages,
        )
        self._measure(venue)
        self._running = asyncio.create_task(venue.run(), name="exchange venue")
        self._running.add_done_callback(self._ended)

    async def stop(self) -> None:
        if self._running is not None:
            self._running.remove_done_callback(self._ended)
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        self._feed.close()
        if self._log is not None:
            self._log.close()
        if self._venue is not None:
            self._venue.close()
        if self._journal is not None:
            await self._journal.close()

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._context.fail(error)

    def _source(self, wall_nanos: int) -> SimulatedSource | RecordedSource:
        settings = self._settings
        reference = load_instruments(settings.instruments)
        symbols = frozenset(part.strip() for part in settings.symbols.split(",") if part.strip())
        if settings.flow == "simulated":
            return SimulatedSource(
                reference,
                Calendars(),
                settings.calendar,
                date=settings.date,
                wall_nanos=wall_nanos,
                symbols=symbols,
                seed=settings.seed,
                social_effect_bps=settings.social_effect_bps,
                social_seed=settings.social_seed,
            )
        if settings.recorded_file is None:
            raise ValueError("recorded flow needs recorded_file")
        return RecordedSource(
            settings.recorded_file,
            reference,
            Calendars(),
            settings.calendar,
            date=settings.date,
            symbols=symbols,
            profile=settings.feed_profile,
            print_share=settings.print_share,
            note=self._context.telemetry.log.info,
        )

    def _fees(self) -> FeeSchedule:
        settings = self._settings
        return FeeSchedule(
            round(settings.maker_fee_per_share * NANO),
            round(settings.taker_fee_per_share * NANO),
            round(settings.auction_fee_per_share * NANO),
            settings.sale_tax_millionths,
        )

    def _measure(self, venue: Venue) -> None:
        def read() -> dict[str, float]:
            figures = venue.engine.figures
            return {
                "accepted": figures.accepted,
                "rejected": figures.rejected,
                "fills": figures.fills,
                "cancelled": figures.cancelled,
                "pacers_dropped": venue.pacers_dropped,
                "working": venue.engine.working_count,
                "subscribers": len(self._feed),
                "pacers": venue.clock.pacer_count,
                "market_time": venue.published_nanos / NANO,
                "report_sequence": venue.engine.last_sequence,
            }

        ExchangeMetrics(self._context.telemetry.registry, read)


def build(settings: ExchangeSettings, context: Context) -> ExchangeServer:
    """Return the practice exchange."""
    return ExchangeServer(settings, context)


if __name__ == "__main__":
    run("exchange", ExchangeSettings, build)
