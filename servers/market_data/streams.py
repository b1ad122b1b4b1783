"""The three streams: what a reader may ask for, and what it is owed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

from servers.market_data.domain import MAX_SYMBOLS, MarketRequest, Prints, QuoteUpdate
from servers.market_data.feed import VenueFeed
from servers.market_data.market import Market
from servers.market_data.pacing import Pacer, Pacers
from servers.market_data.subscriptions import (
    MarketEvent,
    MarketSubscription,
    QuoteSubscription,
    Signal,
    TradeCursor,
)
from servers.model.clock import Clock
from servers.model.errors import InvalidInput, OutOfRange, Unavailable
from servers.model.market import MarketTime

MAX_NAME_CHARACTERS = 64


class MarketStreams:
    """Readers of the market.

    Args:
        limit_prints: prints that a live reader may be behind before it is cut off.
        batch_seconds: how long trades and quotes gather before a reader is woken again.
        resume_wait_seconds: how long a reader that is ahead of the tape waits for it.
    """

    def __init__(
        self,
        market: Market,
        pacers: Pacers,
        feed: VenueFeed,
        *,
        wall_clock: Clock,
        limit_prints: int,
        batch_seconds: float,
        resume_wait_seconds: float,
    ) -> None:
        self._market = market
        self._pacers = pacers
        self._feed = feed
        self._wall_clock = wall_clock
        self._limit_prints = limit_prints
        self._batch_seconds = batch_seconds
        self._resume_wait_seconds = resume_wait_seconds
        self.cut_off_count = 0

    # ------------------------------------------------------------------ trades

    async def trades(
        self, asked: Sequence[str], resume: Mapping[str, int]
    ) -> AsyncGenerator[Prints | MarketTime]:
        """Yield every print after the given sequences, then each new one, and the clock."""
        symbols = self._symbols(asked)
        resume_after = await self._resume(symbols, resume)
        tapes = self._market.tapes
        cursors = [
            TradeCursor(tapes[symbol], resume_after.get(symbol), self._limit_prints) for symbol in symbols
        ]
        signal = Signal()
        self._market.listen_trades(signal)
        try:
            while True:
                await signal.wait()
                time = self._market.time
                for cursor in cursors:
                    for prints in cursor.take():
                        prints.receive_time_nanos = self._wall_clock.now_nanos()
                        yield prints
                yield time
                await asyncio.sleep(self._batch_seconds)
        except OutOfRange:
            self.cut_off_count += 1
            raise
        finally:
            self._market.leave(signal)

    # ------------------------------------------------------------------ quotes

    async def quotes(self, asked: Sequence[str]) -> AsyncGenerator[QuoteUpdate]:
        """Yield the present quotes, then those that change, conflated for a slow reader."""
        subscription = QuoteSubscription(self._symbols(asked))
        market = self._market
        market.listen_quotes(subscription)
        try:
            while True:
                await subscription.signal.wait()
                changed = subscription.take(market.quote_updates)
                quotes = tuple(market.quote(symbol) for symbol in changed)
                yield QuoteUpdate(quotes, subscription.conflated_count, market.time)
                await asyncio.sleep(self._batch_seconds)
        finally:
            market.leave(subscription)

    # ------------------------------------------------------------------ everything in one order

    async def market(self, requests: AsyncIterator[MarketRequest]) -> AsyncGenerator[MarketEvent]:
        """Yield trades, quotes, phases and market time in the venue's order; take acknowledgements."""
        first = await anext(requests, None)
        if first is None:
            raise InvalidInput("FIELD_MISSING", "the first message must subscribe", field="symbols")
        symbols = self._symbols(first.symbols)
        resume_after = await self._resume(symbols, first.resume_after)
        _check_acknowledgement(first)
        subscription = MarketSubscription(symbols, self._limit_prints)
        pacer: Pacer | None = None
        if first.is_pacing:
            pacer = self._pacers.join(
                first.subscriber[:MAX_NAME_CHARACTERS],
                self._market.time.event_time_nanos,
                self._wall_clock.now_nanos(),
                is_idle=first.is_idle,
            )
        market = self._market
        market.listen(subscription)
        backlog = self._backlog(symbols, resume_after)
        listening = asyncio.create_task(
            self._listen(requests, subscription, pacer, backlog), name="acknowledgements"
        )
        listening.add_done_callback(lambda _task: subscription.signal.set())
        try:
            for symbol in symbols:
                status = market.status(symbol)
                if status is not None:
                    yield status
            while True:
                while backlog:
                    for prints in backlog.pop(0):
                        prints.receive_time_nanos = self._wall_clock.now_nanos()
                        yield prints
                for event in subscription.take():
                    yield event
                if listening.done() and not listening.cancelled():
                    listening.result()
                await subscription.signal.wait()
        except OutOfRange:
            self.cut_off_count += 1
            raise
        finally:
            listening.cancel()
            market.leave(subscription)
            if pacer is not None:
                self._pacers.leave(pacer)
            with suppress(asyncio.CancelledError, Exception):
                await listening

    async def _listen(
        self,
        requests: AsyncIterator[MarketRequest],
        subscription: MarketSubscription,
        pacer: Pacer | None,
        backlog: list[Iterator[Prints]],
    ) -> None:
        """Take acknowledgements and longer lists of symbols until the reader has said its last."""
        try:
            async for request in requests:
                _check_acknowledgement(request)
                if pacer is not None:
                    self._pacers.acknowledge(
                        pacer,
                        min(request.acknowledged_nanos, self._market.time.event_time_nanos),
                        self._wall_clock.now_nanos(),
                        is_idle=request.is_idle,
                    )
                if request.symbols:
                    asked = self._symbols(request.symbols)
                    added = [symbol for symbol in asked if symbol not in subscription.symbols]
                    resume_after = await self._resume(asked, request.resume_after)
                    for status in map(self._market.status, added):
                        if status is not None:
                            subscription.push(status)
                    subscription.symbols.update(added)
                    backlog.extend(self._backlog(added, resume_after))
                    subscription.signal.set()
        finally:
            if pacer is not None:
                self._pacers.leave(pacer)

    # ------------------------------------------------------------------ what was asked

    def _symbols(self, asked: Iterable[str]) -> list[str]:
        symbols = list(dict.fromkeys(asked))
        if not symbols:
            raise InvalidInput("FIELD_MISSING", "symbols is empty", field="symbols")
        if len(symbols) > MAX_SYMBOLS:
            raise InvalidInput(
                "VALUE_OUT_OF_RANGE",
                f"{len(symbols)} symbols are more than {MAX_SYMBOLS}",
                field="symbols",
                bound=MAX_SYMBOLS,
            )
        for symbol in symbols:
            self._market.instrument(symbol)
        return symbols

    async def _resume(self, symbols: list[str], resume_after: Mapping[str, int]) -> dict[str, int]:
        """Return checked places on the tape; wait for a tape that is still being refilled."""
        asked = dict(resume_after)
        for symbol, sequence in asked.items():
            if sequence < 0:
                raise InvalidInput(
                    "VALUE_OUT_OF_RANGE",
                    f"resume_after_sequence of {symbol[:40]!r} is {sequence}, below 0",
                    field="resume_after_sequence",
                )
        tapes = self._market.tapes
        is_ahead = any(
            symbol in tapes and sequence > tapes[symbol].last_sequence for symbol, sequence in asked.items()
        )
        if is_ahead and not await self._feed.wait_in_step(self._resume_wait_seconds):
            raise Unavailable("NOT_READY", "the tape is still being refilled from the venue")
        self._market.check_resume(symbols, asked)
        return asked

    def _backlog(self, symbols: Iterable[str], resume_after: Mapping[str, int]) -> list[Iterator[Prints]]:
        tapes = self._market.tapes
        return [
            tapes[symbol].read(resume_after[symbol], tapes[symbol].last_sequence)
            for symbol in symbols
            if symbol in resume_after
        ]


def _check_acknowledgement(request: MarketRequest) -> None:
    if request.acknowledged_nanos < 0:
        raise InvalidInput(
            "VALUE_OUT_OF_RANGE",
            f"acknowledged_time_nanos is {request.acknowledged_nanos}, below 0",
            field="acknowledged_time_nanos",
        )
