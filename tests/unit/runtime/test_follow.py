"""A follower outlives its peer's losses, and ends only by an error of our own."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from typing import Any

import grpc
import pytest

from servers.runtime.follow import Follower


class Told:
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.infos: list[str] = []
        self.warnings: list[dict[str, Any]] = []

    def info(self, event: str, **facts: Any) -> None:
        self.infos.append(event)

    def warning(self, event: str, **facts: Any) -> None:
        self.warnings.append(facts)


def _lost(code: grpc.StatusCode) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), "gone", None)


class Peer:
    """Answers each subscription with the next of its streams: messages, then an error or an end."""

    def __init__(self, *streams: tuple[Sequence[str], grpc.StatusCode | None]) -> None:
        self._streams = list(streams)
        self.taken: list[str] = []
        self.all_taken = asyncio.Event()

    async def subscribe(self) -> AsyncIterable[Any]:
        messages, code = self._streams.pop(0) if self._streams else ((), None)
        if not self._streams:
            self.all_taken.set()
        return self._stream(messages, code)

    async def _stream(self, messages: Sequence[str], code: grpc.StatusCode | None) -> AsyncIterator[str]:
        for message in messages:
            yield message
        if code is not None:
            raise _lost(code)

    async def take(self, message: str) -> None:
        if message == "bad":
            raise ValueError("a message that our own code cannot take")
        self.taken.append(message)


async def test_a_lost_stream_is_opened_again_and_the_loss_is_told_once_it_had_spoken() -> None:
    peer = Peer(((), grpc.StatusCode.UNAVAILABLE), (("one",), grpc.StatusCode.UNAVAILABLE), (("two",), None))
    told, losses = Told(), []
    follower = Follower("peer", peer.subscribe, peer.take, told, lambda: losses.append(1))
    task = asyncio.create_task(follower.run())
    await asyncio.wait_for(peer.all_taken.wait(), 10)
    async with asyncio.timeout(10):
        while len(losses) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0)
    task.cancel()
    assert peer.taken == ["one", "two"]
    # A peer that is not there yet is ordinary; one that went away is told. An end in order is no news either.
    assert [facts["status"] for facts in told.warnings] == ["UNAVAILABLE"]


async def test_an_error_of_our_own_ends_it() -> None:
    peer = Peer((("bad",), None))
    follower = Follower("peer", peer.subscribe, peer.take, Told())
    with pytest.raises(ValueError, match="cannot take"):
        await follower.run()


async def test_caught_up_is_said_once() -> None:
    told = Told()
    follower = Follower("peer", Peer().subscribe, Peer().take, told)
    assert not follower.caught_up.is_set()
    follower.set_caught_up()
    follower.set_caught_up()
    assert follower.caught_up.is_set()
    assert told.infos == ["caught up"]
