"""The gRPC edge of news."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from tapeline.news.v1 import news_service_pb2 as pb
from tapeline.news.v1 import news_service_pb2_grpc

from servers.model.errors import InvalidInput, NotFound
from servers.model.order import check_range, check_request_id
from servers.news import wire
from servers.news.engine import NewsEngine, check_entity
from servers.news.ports import PostStore
from servers.runtime.component import Registration

HEARTBEAT_SECONDS = 0.5
DEFAULT_PAGE, MOST_PAGE = 50, 500
_READERS = frozenset({"*"})
ROLES = {
    "ListPosts": _READERS,
    "GetPost": _READERS,
    "GetSentiment": _READERS,
    "StreamSentiment": _READERS,
    "StreamPosts": _READERS,
    "ListTrends": _READERS,
    "StreamTrends": _READERS,
    "DeletePost": frozenset({"operator"}),
}


def registration(service: NewsService) -> Registration:
    """Return how the runtime serves it: a deletion is never refused for load."""
    return Registration(
        news_service_pb2_grpc.add_NewsServiceServicer_to_server,
        service,
        roles=ROLES,
        exempt=frozenset({"DeletePost"}),
    )


class NewsService(news_service_pb2_grpc.NewsServiceServicer):
    """Posts, what they say, and alerts."""

    def __init__(self, engine: NewsEngine, store: PostStore) -> None:
        self._engine = engine
        self._store = store

    async def ListPosts(self, request: pb.ListPostsRequest, context: Any) -> pb.ListPostsResponse:
        entity = check_entity(request.entity) if request.entity else ""
        size, before = _page(request.page_size, request.page_token)
        found = await self._store.page(entity, before, size + 1)
        return pb.ListPostsResponse(
            posts=[wire.post_to_wire(post) for _, post in found[:size]],
            next_page_token=str(found[size - 1][0]) if len(found) > size else "",
            last_sequence=self._store.last_sequence,
        )

    async def GetPost(self, request: pb.GetPostRequest, context: Any) -> pb.GetPostResponse:
        post = await self._store.get(_post_id(request.post_id))
        if post is None:
            raise NotFound("POST_UNKNOWN", f"no post {request.post_id}", post_id=request.post_id[:200])
        return pb.GetPostResponse(post=wire.post_to_wire(post))

    def GetSentiment(self, request: pb.GetSentimentRequest, context: Any) -> pb.GetSentimentResponse:
        if not 1 <= len(request.entities) <= MOST_PAGE:
            raise InvalidInput("FIELD_MISSING", "entities takes 1 to 500 entities", field="entities")
        desk = self._engine.desk
        return pb.GetSentimentResponse(
            sentiments=[
                wire.sentiment_to_wire(desk.sentiment(check_entity(entity))) for entity in request.entities
            ]
        )

    async def StreamSentiment(
        self, request: pb.StreamSentimentRequest, context: Any
    ) -> AsyncIterator[pb.StreamSentimentResponse]:
        wanted = frozenset(check_entity(entity) for entity in request.entities)
        desk = self._engine.desk

        def response(entities: list[str], conflated: int, *, is_snapshot: bool) -> pb.StreamSentimentResponse:
            return pb.StreamSentimentResponse(
                is_snapshot=is_snapshot,
                sentiments=[
                    wire.sentiment_to_wire(desk.sentiment(entity))
                    for entity in entities
                    if not wanted or entity in wanted
                ],
                event_time_nanos=desk.now_nanos,
                conflated_count=conflated,
            )

        changes = self._engine.publisher.follow_entities(HEARTBEAT_SECONDS)
        yield response(desk.entities, 0, is_snapshot=True)
        async for entities, conflated in changes:
            yield response(entities, conflated, is_snapshot=False)

    async def StreamPosts(
        self, request: pb.StreamPostsRequest, context: Any
    ) -> AsyncIterator[pb.StreamPostsResponse]:
        after = check_range("resume_after_sequence", request.resume_after_sequence, 0, 2**63 - 1)
        async for changes, reached in self._engine.publisher.follow_changes(after, HEARTBEAT_SECONDS):
            yield pb.StreamPostsResponse(
                changes=[
                    pb.PostChange(sequence=sequence, post=wire.post_to_wire(post))
                    for sequence, post in changes
                ],
                sequence_reached=reached,
            )

    def ListTrends(self, request: pb.ListTrendsRequest, context: Any) -> pb.ListTrendsResponse:
        size, before = _page(request.page_size, request.page_token)
        found = [
            trend for trend in reversed(self._engine.desk.trends) if not before or trend.sequence < before
        ]
        return pb.ListTrendsResponse(
            trends=[wire.trend_to_wire(trend) for trend in found[:size]],
            next_page_token=str(found[size - 1].sequence) if len(found) > size else "",
        )

    async def StreamTrends(
        self, request: pb.StreamTrendsRequest, context: Any
    ) -> AsyncIterator[pb.StreamTrendsResponse]:
        after = check_range("resume_after_sequence", request.resume_after_sequence, 0, 2**63 - 1)
        async for trends in self._engine.publisher.follow_trends(after, HEARTBEAT_SECONDS):
            yield pb.StreamTrendsResponse(trends=[wire.trend_to_wire(trend) for trend in trends])

    async def DeletePost(self, request: pb.DeletePostRequest, context: Any) -> pb.DeletePostResponse:
        check_request_id(request.request_id)
        post = await self._engine.delete(_post_id(request.post_id))
        return pb.DeletePostResponse(post=wire.post_to_wire(post))


def _page(page_size: int, page_token: str) -> tuple[int, int]:
    if not 0 <= page_size <= MOST_PAGE:
        raise InvalidInput("PAGE_SIZE_INVALID", field="page_size", value=page_size)
    if page_token and not (page_token.isascii() and page_token.isdigit() and len(page_token) <= 18):
        raise InvalidInput("PAGE_TOKEN_INVALID", field="page_token")
    return page_size or DEFAULT_PAGE, int(page_token or 0)


def _post_id(post_id: str) -> str:
    if not post_id or len(post_id) > 200:
        raise InvalidInput("FIELD_MISSING", "post_id takes 1 to 200 characters", field="post_id")
    return post_id
