"""The running news server: its parts, started and stopped in order."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence

from servers.model.errors import TapelineError
from servers.model.nanos import NANO
from servers.news.adapters.intelligence import GrpcReader
from servers.news.adapters.market import GrpcMarket
from servers.news.adapters.platforms.session import WallPause
from servers.news.adapters.spans import NewsSpans
from servers.news.adapters.store import SqlPostStore
from servers.news.domain.desk import KEPT_NANOS, Desk
from servers.news.domain.linking import Linker
from servers.news.domain.post import SourcePost
from servers.news.engine import NewsEngine
from servers.news.metrics import NewsCollector
from servers.news.ports import PostSource
from servers.news.publishing import Publisher
from servers.news.reading import ReadingLoop
from servers.news.service import NewsService, registration
from servers.news.settings import NewsSettings
from servers.news.sources import check_sources, sources
from servers.runtime.component import Context, Registration

FADING_NANOS = 60 * NANO
"""What posts say is published anew after so much market time, since it fades."""

MOST_AHEAD, AHEAD_PAUSE_SECONDS = 2_000, 0.05
"""A file that is replayed faster than posts are read waits from so many posts above the patience on."""


class NewsServer:
    """News without its transport. SERVING when its store is open; posts come once market_data answers."""

    def __init__(self, settings: NewsSettings, context: Context) -> None:
        check_sources(settings)
        self._settings = settings
        self._context = context
        self._store = SqlPostStore(
            settings.database_url.get_secret_value()
            or f"sqlite:///{(settings.data_dir / 'news.db').absolute()}"
        )
        log = context.telemetry.log
        self._market = GrpcMarket(context.channels, log)
        self.engine = NewsEngine(
            Desk(Linker({})),
            self._store,
            GrpcReader(context.channels),
            Publisher(),
            tracing=NewsSpans(context.telemetry.tracer),
            clock=context.wall_clock,
            log=log,
            salt=settings.author_salt.get_secret_value(),
        )
        self._reading = ReadingLoop(
            self.engine,
            patience_posts=settings.patience_posts,
            retry_seconds=settings.retry_seconds,
            log=log,
        )
        self._service = NewsService(self.engine, self._store)
        self._tasks: list[asyncio.Task[None]] = []

    def registrations(self) -> Sequence[Registration]:
        return [registration(self._service)]

    async def start(self) -> None:
        """Open the store, and take posts in from then on."""
        self._settings.data_dir.mkdir(parents=True, exist_ok=True)
        await self._store.open()
        self.engine.publisher.last_sequence = self._store.last_sequence
        self._context.telemetry.registry.register(NewsCollector(self.engine))
        self._run(self._take())
        self._run(self._reading.run())
        self._run(self._forget())
        self._run(self._expire())

    async def stop(self) -> None:
        """Stop what runs and close the store."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._store.close()

    async def _take(self) -> None:
        """Learn the names, take up what is kept, then let the source and market time run."""
        self.engine.desk.link_with(Linker(await self._market.names()))
        await self.engine.restore(lambda newest: newest - KEPT_NANOS)
        self.engine.publisher.entities(set(self.engine.desk.entities))
        log = self._context.telemetry.log
        for source in await sources(self._settings, self._market, self._store, WallPause(), log):
            self._run(self._deliver(source))
        if self._settings.source != "file":
            self._run(self._follow_time())

    async def _deliver(self, source: PostSource) -> None:
        await source.run(self._take_file if self._settings.source == "file" else self.engine.take)
        self._context.telemetry.log.info("a source has ended", source=source.name)

    async def _take_file(self, posts: Sequence[SourcePost]) -> None:
        """Take posts of a file in, whose time goes on with them; wait for readers that fall behind."""
        most = self._settings.patience_posts + MOST_AHEAD
        while self.engine.waiting_count > most:  # noqa: ASYNC110 - only a full replay ever waits here
            await asyncio.sleep(AHEAD_PAUSE_SECONDS)
        await self.engine.take(posts)
        self.engine.advance(max(post.event_time_nanos for post in posts))

    async def _follow_time(self) -> None:
        published = 0
        async for now in self._market.follow():
            self.engine.advance(now)
            if now - published >= FADING_NANOS:
                published = now
                self.engine.publisher.entities(set(self.engine.desk.entities))

    async def _forget(self) -> None:
        """Have intelligence forget what was deleted, again and again until it confirms."""
        log = self._context.telemetry.log
        is_told = False
        while True:
            try:
                if await self.engine.forget_some():
                    if is_told:
                        log.info("intelligence has heard of the deletions")
                    is_told = False
                    continue
            except TapelineError as error:
                if not is_told:
                    log.warning("intelligence does not hear of deletions yet", reason=error.reason)
                is_told = True
                await asyncio.sleep(self._settings.retry_seconds)
                continue
            await self.engine.forgetting_due()

    async def _expire(self) -> None:
        retained = round(self._settings.retention_days * 86_400) * NANO
        while True:
            count = await self._store.expire(self._context.wall_clock.now_nanos() - retained)
            if count:
                self._context.telemetry.log.info("posts deleted: the retention is over", count=count)
            await asyncio.sleep(self._settings.expiry_check_seconds)

    def _run(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(coroutine)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._context.fail(error)
