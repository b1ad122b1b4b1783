"""Market data on its way out: facts become messages once, for all subscribers."""

from __future__ import annotations

from typing import Any

from tapeline.exchange.v1 import exchange_service_pb2 as pb

from servers.exchange import wire
from servers.exchange.feed import Feed
from servers.exchange.ports import Level, QuoteColumns
from servers.exchange.tape import Prints
from servers.model.clock import Clock
from servers.model.market import MarketTime, TradingStatus
from servers.wire.trading import status_to_wire, time_to_wire


class FeedPublisher:
    """`servers.exchange.venue.Publisher` over a `Feed`."""

    def __init__(self, feed: Feed, wall_clock: Clock) -> None:
        self._feed = feed
        self._wall = wall_clock
        self._messages: list[tuple[str, bool, Any]] = []
        self._quote_sequences: dict[str, int] = {}

    @property
    def wants_depth(self) -> bool:
        return self._feed.wants_depth

    def prints(self, prints: Prints) -> None:
        batch = wire.prints_to_wire(prints, self._wall.now_nanos())
        self._add(prints.symbol, pb.StreamMarketDataResponse(trades=batch))

    def quotes(self, symbol: str, columns: QuoteColumns) -> None:
        first = self._quote_sequences.get(symbol, 1)
        self._quote_sequences[symbol] = first + columns.length
        for batch in wire.quotes_to_wire(symbol, columns, first, self._wall.now_nanos()):
            self._add(symbol, pb.StreamMarketDataResponse(quotes=batch))

    def depth(self, symbol: str, bids: list[Level], asks: list[Level], time_nanos: int) -> None:
        message = pb.StreamMarketDataResponse(depth=wire.depth_to_wire(symbol, bids, asks, time_nanos))
        self._messages.append((symbol, True, message))

    def status(self, status: TradingStatus) -> None:
        self._add(status.symbol, pb.StreamMarketDataResponse(status=status_to_wire(status)))

    def time(self, time: MarketTime) -> None:
        self._add("", pb.StreamMarketDataResponse(time=time_to_wire(time)))

    def flush(self) -> None:
        messages, self._messages = self._messages, []
        self._feed.publish(messages)

    def _add(self, symbol: str, message: pb.StreamMarketDataResponse) -> None:
        self._messages.append((symbol, False, message))
