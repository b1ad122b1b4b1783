"""What market_data measures. Plain integers on the event loop become samples when somebody scrapes."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from servers.market_data.feed import VenueFeed
from servers.market_data.market import Market
from servers.market_data.pacing import Pacers
from servers.market_data.recorder import TapeRecorder
from servers.market_data.streams import MarketStreams

PRINTS = "tapeline_market_data_prints"  # counter (_total); prints that came on the tape
TAPE_ROWS = "tapeline_market_data_tape_rows"  # gauge; symbol; prints in memory
TAPE_GAPS = "tapeline_market_data_tape_gaps"  # counter (_total); gaps that the venue could not fill
MALFORMED = "tapeline_market_data_malformed_runs"  # counter (_total); runs of prints that were left out
UNKNOWN = (
    "tapeline_market_data_unknown_symbol_events"  # counter (_total); events of symbols without reference data
)
IN_STEP = "tapeline_market_data_feed_in_step"  # gauge; 1 when the tape holds all that the venue has printed
RECONNECTS = "tapeline_market_data_feed_reconnects"  # counter (_total)
MARKET_TIME = "tapeline_market_data_market_time_seconds"  # gauge; the venue's clock, UTC epoch
READERS = "tapeline_market_data_readers"  # gauge; open streams
READERS_CUT_OFF = "tapeline_market_data_readers_cut_off"  # counter (_total); slow readers and void places
PACERS = "tapeline_market_data_pacers"  # gauge
PACERS_DROPPED = "tapeline_market_data_pacers_dropped"  # counter (_total); silent for too long
TAPE_STORED = "tapeline_market_data_tape_stored_prints"  # counter (_total); prints written and synced
TAPE_FAILING = "tapeline_market_data_tape_store_failing"  # gauge; 1 while the disk takes nothing


class MarketDataCollector(Collector):
    """Reads the server's counters at each scrape."""

    def __init__(
        self, market: Market, pacers: Pacers, feed: VenueFeed, streams: MarketStreams, recorder: TapeRecorder
    ) -> None:
        self._market = market
        self._pacers = pacers
        self._feed = feed
        self._streams = streams
        self._recorder = recorder

    def collect(self) -> Iterator[Metric]:
        market, feed = self._market, self._feed
        gaps = sum(tape.gap_count for tape in market.tapes.values())
        yield CounterMetricFamily(PRINTS, "Prints that came on the tape.", market.print_count)
        yield CounterMetricFamily(TAPE_GAPS, "Gaps that the venue could not fill.", gaps)
        yield CounterMetricFamily(MALFORMED, "Runs of prints that were left out.", feed.malformed_count)
        yield CounterMetricFamily(UNKNOWN, "Events of symbols without reference data.", market.unknown_count)
        yield CounterMetricFamily(
            RECONNECTS, "Connections to the venue after the first.", feed.reconnect_count
        )
        yield CounterMetricFamily(READERS_CUT_OFF, "Readers that were cut off.", self._streams.cut_off_count)
        yield CounterMetricFamily(PACERS_DROPPED, "Pacers silent for too long.", self._pacers.dropped_count)
        yield CounterMetricFamily(TAPE_STORED, "Prints written and synced.", self._recorder.stored_count)
        yield GaugeMetricFamily(
            IN_STEP, "Whether the tape holds all that was printed.", float(feed.is_in_step)
        )
        yield GaugeMetricFamily(MARKET_TIME, "The venue's clock.", market.time.event_time_nanos / 1e9)
        yield GaugeMetricFamily(READERS, "Open streams.", market.listener_count)
        yield GaugeMetricFamily(PACERS, "Subscribers that pace.", len(self._pacers))
        yield GaugeMetricFamily(
            TAPE_FAILING, "Whether the disk takes no tape.", float(self._recorder.is_failing)
        )
        rows = GaugeMetricFamily(TAPE_ROWS, "Prints in memory.", labels=("symbol",))
        for symbol, tape in market.tapes.items():
            rows.add_metric((symbol,), len(tape))
        yield rows
