"""Which sources deliver posts, as the settings say."""

from __future__ import annotations

from collections.abc import Iterable

from servers.model.errors import InvalidInput
from servers.model.nanos import NANO
from servers.news.adapters.files import FilePosts
from servers.news.adapters.market import GrpcMarket
from servers.news.adapters.platforms.following import WATCHED_SECONDS, Platform, PolledPosts, Watch
from servers.news.adapters.platforms.session import PacedSession, Pause, hear_nothing
from servers.news.adapters.simulated import SimulatedPosts
from servers.news.domain.pacing import RateLimit
from servers.news.domain.post import Post, PostState, SourcePost
from servers.news.ports import Log, PostSource, PostStore
from servers.news.settings import NewsSettings


def check_sources(settings: NewsSettings) -> None:
    """Raise InvalidInput FIELD_MISSING for a source that lacks what it needs."""
    needs: list[tuple[bool, str, object]] = [
        (settings.source == "file", "file", settings.file),
        (bool(settings.x_bearer_token.get_secret_value()), "x_query", settings.x_query),
        (bool(settings.reddit_client_id), "reddit_subreddits", settings.reddit_subreddits),
        (bool(settings.reddit_client_id), "reddit_user_agent", settings.reddit_user_agent),
        (bool(settings.telegram_api_id), "telegram_channels", settings.telegram_channels),
        (bool(settings.telegram_api_id), "telegram_session", settings.telegram_session),
    ]
    for is_used, field, value in needs:
        if is_used and not value:
            raise InvalidInput("FIELD_MISSING", f"source = {settings.source} needs `{field}`", field=field)
    for feed in _parts(settings.rss_feeds):
        if not all(feed.partition("=")):
            raise InvalidInput("FIELD_INVALID", f"{feed!r} is not name=address", field="rss_feeds")


async def sources(
    settings: NewsSettings, market: GrpcMarket, store: PostStore, pause: Pause, log: Log
) -> list[PostSource]:
    """Return the sources. Those of platforms remember what of them is kept already."""
    if settings.source == "file" and settings.file is not None:
        return [FilePosts(settings.file, settings.file_source, settings.file_speed)]
    if settings.source == "simulated":
        return [SimulatedPosts(market, market, settings.social_seed, log)]
    if settings.source != "platforms":
        return []
    found: list[PostSource] = []
    kept = await store.since(pause.now_nanos() - round(WATCHED_SECONDS * NANO))
    for platform, poll_seconds in _platforms(settings, pause):
        polled = PolledPosts(
            platform,
            pause,
            log,
            poll_seconds=poll_seconds,
            review_seconds=settings.review_seconds,
            lookback_seconds=settings.lookback_seconds,
        )
        restore(polled.watch, platform.name, kept)
        found.append(polled)
    if settings.x_bearer_token.get_secret_value():
        found.append(_x(settings, pause, log, kept))
    return found


def restore(watch: Watch, name: str, kept: Iterable[Post]) -> None:
    """Have a watch remember the posts of source `name` that are kept."""
    watch.restore(
        [
            SourcePost(
                post.post_id.removeprefix(f"{name}:"), name, post.kind, "", post.event_time_nanos, post.text
            )
            for post in kept
            if post.source == name and post.state is not PostState.DELETED
        ]
    )


def _x(settings: NewsSettings, pause: Pause, log: Log, kept: Iterable[Post]) -> PostSource:
    # Client libraries take a second of processor time to import: only what is used is.
    from servers.news.adapters.platforms import x

    token = settings.x_bearer_token.get_secret_value()
    session = PacedSession(RateLimit(settings.x_requests_a_quarter_hour, 900.0), pause, x.hear)
    platform = x.XPlatform(token, settings.x_query, session)
    polled = PolledPosts(
        platform,
        pause,
        log,
        poll_seconds=settings.x_poll_seconds,
        review_seconds=settings.review_seconds,
        lookback_seconds=settings.lookback_seconds,
    )
    restore(polled.watch, platform.name, kept)
    if settings.x_mode == "search":
        return polled
    return x.XPosts(platform, polled, pause, log, search_seconds=settings.review_seconds)


def _platforms(settings: NewsSettings, pause: Pause) -> Iterable[tuple[Platform, float]]:
    if settings.reddit_client_id:
        from servers.news.adapters.platforms import reddit

        limit = RateLimit(settings.reddit_requests_a_minute, 60.0)
        yield (
            reddit.RedditPlatform(
                settings.reddit_client_id,
                settings.reddit_client_secret.get_secret_value(),
                settings.reddit_user_agent,
                _parts(settings.reddit_subreddits),
                PacedSession(limit, pause, reddit.hear),
            ),
            settings.reddit_poll_seconds,
        )
    if settings.telegram_api_id:
        from servers.news.adapters.platforms import telegram

        client = telegram.client_of(
            str(settings.telegram_session),
            settings.telegram_api_id,
            settings.telegram_api_hash.get_secret_value(),
        )
        limit = RateLimit(settings.telegram_requests_a_minute, 60.0)
        channels = _parts(settings.telegram_channels)
        yield telegram.TelegramPlatform(client, channels, limit, pause), settings.telegram_poll_seconds
    for feed in _parts(settings.rss_feeds):
        from servers.news.adapters.platforms import rss

        name, _, address = feed.partition("=")
        session = PacedSession(RateLimit(settings.rss_requests_an_hour, 3_600.0), pause, hear_nothing)
        yield rss.RssPlatform(name, address, session, pause), settings.rss_poll_seconds


def _parts(listed: str) -> list[str]:
    return [part.strip() for part in listed.split(",") if part.strip()]
