"""The news server over gRPC: a file of posts in, sentiment, changes and deletions out, and a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tapeline.intelligence.v1 import intelligence_service_pb2, intelligence_service_pb2_grpc, sentiment_pb2
from tapeline.marketdata.v1 import market_data_service_pb2, market_data_service_pb2_grpc
from tapeline.news.v1 import news_service_pb2 as pb
from tapeline.news.v1 import post_pb2
from tapeline.news.v1.news_service_pb2_grpc import NewsServiceStub

from servers.local.mesh import pick_places
from servers.news.__main__ import build
from servers.news.settings import NewsSettings
from servers.runtime.server import make_context, start_server

SECRET = "a-text-that-is-planted-once-2209"
ROWS = f"""id,time_ms,source,kind,author,followers,text,action
1,1700000000000,board,social,ann,900,$ACME goes up,
2,1700000001000,board,social,ben,800,$ACME goes up because {SECRET},
3,1700000002000,wire,news,desk,9000,ACME Corp. is said to go down,
3,1700000003000,wire,news,desk,9000,ACME Corp. is said to go up after all,edited
"""


class Market(market_data_service_pb2_grpc.MarketDataServiceServicer):
    """Knows one instrument."""

    async def ListInstruments(self, request: Any, context: Any) -> Any:
        answer = market_data_service_pb2.ListInstrumentsResponse()
        answer.instruments.add(symbol="ACME", display_name="ACME Corp.")
        return answer


class Intelligence(intelligence_service_pb2_grpc.IntelligenceServiceServicer):
    """Reads `up` and `down`, and remembers what it was told to forget."""

    def __init__(self) -> None:
        self.forgotten: list[str] = []
        self._heard = asyncio.Condition()

    async def hears_of(self, post_id: str) -> None:
        """Return when it was told to forget a post."""
        async with asyncio.timeout(20), self._heard:
            await self._heard.wait_for(lambda: post_id in self.forgotten)

    async def ClassifySentiment(self, request: Any, context: Any) -> Any:
        answer = intelligence_service_pb2.ClassifySentimentResponse()
        for item in request.items:
            is_up = " up" in item.text
            answer.sentiments.add(
                scores=sentiment_pb2.Scores(bullish=0.9 * is_up, bearish=0.9 * (not is_up)),
                confidence=0.9,
                model_version="m/1",
                answered_by=sentiment_pb2.ANSWERER_STABLE,
                is_source_calibrated=True,
            )
        return answer

    async def ForgetTexts(self, request: Any, context: Any) -> Any:
        async with self._heard:
            self.forgotten += request.item_ids
            self._heard.notify_all()
        return intelligence_service_pb2.ForgetTextsResponse()


class Newsroom:
    """A running news server and its peers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.intelligence = Intelligence()  # type: ignore[abstract]  # news asks nothing else

    async def begin(self) -> None:
        names = ["news", "market_data", "intelligence"]
        self.places = {name: place.address for name, place in pick_places(names, 0).items()}
        self.market = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        market_data_service_pb2_grpc.add_MarketDataServiceServicer_to_server(Market(), self.market)  # type: ignore[abstract]
        self.market.add_insecure_port(self.places["market_data"])
        await self.market.start()
        await self.start_intelligence()
        (self.folder / "posts.csv").write_text(ROWS)
        await self.start()

    async def start_intelligence(self) -> None:
        self.reader = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        intelligence_service_pb2_grpc.add_IntelligenceServiceServicer_to_server(
            self.intelligence, self.reader
        )
        self.reader.add_insecure_port(self.places["intelligence"])
        await self.reader.start()

    async def start(self, **changes: Any) -> None:
        settings = NewsSettings(
            port=int(self.places["news"].rpartition(":")[2]), metrics_port=0, data_dir=self.folder / "news",
            peers=self.places, log_level="error", drain_notice_seconds=0, drain_seconds=0.2,
            source="file", file=self.folder / "posts.csv", retry_seconds=0.05,
            **changes,
        )  # fmt: skip
        context = await make_context("news", settings)
        self.running = await start_server(settings, context, await build(settings, context))
        self.channel = grpc.aio.insecure_channel(self.places["news"])
        self.stub = NewsServiceStub(self.channel)

    async def stop(self) -> None:
        await self.channel.close(None)
        await self.running.stop()

    async def end(self) -> None:
        await self.stop()
        await self.market.stop(0)
        await self.reader.stop(0)

    async def sentiment(self, posts: int) -> Any:
        """Return what is said of ACME once so many posts count."""
        async with asyncio.timeout(20):
            while True:
                answer = await self.stub.GetSentiment(pb.GetSentimentRequest(entities=["ACME"]))
                found = answer.sentiments[0]
                if found.news.post_count + found.social.post_count == posts:
                    return found
                await asyncio.sleep(0.02)

    async def sequences(self, after: int) -> list[int]:
        """Return the sequences of the changes that are streamed after one."""
        async for message in self.stub.StreamPosts(pb.StreamPostsRequest(resume_after_sequence=after)):
            if message.changes:
                return [change.sequence for change in message.changes]
        raise AssertionError("the stream has ended")


@pytest.fixture
async def newsroom(tmp_path: Path) -> AsyncIterator[Newsroom]:
    room = Newsroom(tmp_path)
    await room.begin()
    yield room
    await room.end()


async def test_a_file_of_posts_becomes_sentiment_with_news_and_people_apart(newsroom: Newsroom) -> None:
    found = await newsroom.sentiment(3)
    assert (found.social.author_count, found.news.author_count) == (2, 1)
    assert found.news.score > 0, "the edited article is what counts"
    assert found.social.llm_share == found.social.calibrated_share == 1.0
    assert set(found.post_ids) == {"board:1", "board:2", "wire:3"}
    assert found.traceparent.startswith("00-")
    async for message in newsroom.stub.StreamSentiment(pb.StreamSentimentRequest()):
        assert message.is_snapshot
        assert [one.entity for one in message.sentiments] == ["ACME"]
        break
    page = await newsroom.stub.ListPosts(pb.ListPostsRequest(entity="ACME", page_size=2))
    rest = await newsroom.stub.ListPosts(
        pb.ListPostsRequest(entity="ACME", page_size=2, page_token=page.next_page_token)
    )
    assert len({post.post_id for post in (*page.posts, *rest.posts)}) == 3


async def test_a_deletion_reaches_every_file_and_reader_and_lasts_over_a_restart(newsroom: Newsroom) -> None:
    await newsroom.sentiment(3)
    answer = await newsroom.stub.DeletePost(pb.DeletePostRequest(request_id="r1", post_id="board:2"))
    assert answer.post.state == post_pb2.POST_STATE_DELETED
    assert not answer.post.text
    assert "board:2" in newsroom.intelligence.forgotten
    changes: list[pb.PostChange] = []
    async for message in newsroom.stub.StreamPosts(pb.StreamPostsRequest(resume_after_sequence=1)):
        changes += message.changes
        if changes and changes[-1].post.state == post_pb2.POST_STATE_DELETED:
            break
    assert not any(SECRET in change.post.text for change in changes)
    data = newsroom.folder / "news"
    files = [path for path in data.rglob("*") if path.is_file()]
    assert files
    assert not any(SECRET.encode() in path.read_bytes() for path in files)
    await newsroom.stop()
    await newsroom.start()
    await newsroom.sentiment(2)
    kept = await newsroom.stub.GetPost(pb.GetPostRequest(post_id="board:2"))
    assert kept.post.state == post_pb2.POST_STATE_DELETED
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await newsroom.stub.GetPost(pb.GetPostRequest(post_id="board:77"))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_intelligence_hears_of_a_deletion_when_it_is_back_also_after_a_restart_of_news(
    newsroom: Newsroom,
) -> None:
    await newsroom.sentiment(3)
    await newsroom.intelligence.hears_of("wire:3")  # the edit of the file
    await newsroom.reader.stop(0)
    answer = await newsroom.stub.DeletePost(pb.DeletePostRequest(request_id="r2", post_id="board:2"))
    assert answer.post.state == post_pb2.POST_STATE_DELETED
    assert "board:2" not in newsroom.intelligence.forgotten
    await newsroom.stop()
    await newsroom.start()
    await newsroom.start_intelligence()
    await newsroom.intelligence.hears_of("board:2")


async def test_sequences_go_on_after_retention_has_taken_the_newest_post(newsroom: Newsroom) -> None:
    await newsroom.sentiment(3)
    before = (await newsroom.stub.ListPosts(pb.ListPostsRequest())).last_sequence
    await newsroom.stop()
    await newsroom.start(retention_days=1e-9, expiry_check_seconds=0.01)
    async with asyncio.timeout(20):
        while True:
            answer = await newsroom.stub.ListPosts(pb.ListPostsRequest())
            if not answer.posts:
                break
            await asyncio.sleep(0.02)
    reached = answer.last_sequence
    await newsroom.stop()
    await newsroom.start()
    await newsroom.sentiment(3)
    again = await newsroom.stub.ListPosts(pb.ListPostsRequest())
    assert again.last_sequence > reached >= before
    assert (await newsroom.sequences(again.last_sequence - 1))[0] == again.last_sequence
