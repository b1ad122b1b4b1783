"""The part of the mesh that `benchmarks/news_llm.py` measures: real processes, a real Triton."""

import asyncio
import time
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psutil
from prometheus_client.parser import text_string_to_metric_families
from tapeline.exchange.v1 import exchange_service_pb2, exchange_service_pb2_grpc
from tapeline.intelligence.v1 import intelligence_service_pb2, intelligence_service_pb2_grpc
from tapeline.news.v1 import news_service_pb2, news_service_pb2_grpc
from tapeline.signals.v1 import signals_service_pb2_grpc

from benchmarks._post_feed import SYMBOLS
from benchmarks._servers import ServerProcess, start_server, stop_servers, until_serving
from servers.local.mesh import RECEIVER, TRITON, ServerPlace, pick_places
from servers.local.supervisor import TRITON_NICENESS
from servers.local.triton import Triton, TritonPlan
from servers.news.metrics import POSTS, WAITING

SERVERS = (RECEIVER, "exchange", "market_data", "intelligence", "signals", "news")
TRADED = "S0,S1,S2,S3"
"""The rest of the symbols is spoken of and not traded: signals follows these."""
MARKET_SPEED = 20
MIB = 1 << 20
POLL_SECONDS, FETCH_SECONDS = 0.2, 60.0
_INSTRUMENT = """
[[instrument]]
symbol = "S{number}"
display_name = "Company {number}"
venue = "PRACTICE"
currency_code = "USD"
calendar = "XNYS"
tick_size = 0.01
lot_size = 1
short_sale_state = "PERMITTED"
[instrument.simulation]
start_price = 50
daily_volume = 2_000_000
daily_volatility = 0.015
"""


@dataclass(frozen=True, slots=True)
class Progress:
    """Posts taken in (edits among them), posts unread, and posts by what became of them."""

    taken: int
    waiting: int
    counts: Mapping[str, int]


class NewsMesh:
    """A running mesh that reads posts from a file."""

    def __init__(self, places: Mapping[str, ServerPlace]) -> None:
        self._places = places
        self._channels = {
            name: grpc.aio.insecure_channel(places[name].address)
            for name in ("news", "intelligence", "signals", "exchange")
        }
        self.news = news_service_pb2_grpc.NewsServiceStub(self._channels["news"])
        self.intelligence = intelligence_service_pb2_grpc.IntelligenceServiceStub(
            self._channels["intelligence"]
        )
        self.signals = signals_service_pb2_grpc.SignalsServiceStub(self._channels["signals"])
        self.exchange = exchange_service_pb2_grpc.ExchangeServiceStub(self._channels["exchange"])

    async def close(self) -> None:
        """Close the channels."""
        for channel in self._channels.values():
            await channel.close(None)

    async def progress(self) -> Progress:
        """Return how far news has come, from its metrics."""
        url = f"http://{self._places['news'].metrics}/metrics"
        text = await asyncio.to_thread(_fetch, url)
        counts: dict[str, int] = {}
        waiting = 0
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == f"{POSTS}_total":
                    counts[sample.labels["outcome"]] = round(sample.value)
                elif sample.name == WAITING:
                    waiting = round(sample.value)
        return Progress(counts.get("taken", 0), waiting, counts)

    async def status(self) -> Any:
        """Return the status of intelligence."""
        return await self.intelligence.GetStatus(intelligence_service_pb2.GetStatusRequest())

    async def market_time_nanos(self) -> int:
        """Return the venue's clock, UTC epoch nanoseconds."""
        answer = await self.exchange.GetSession(exchange_service_pb2.GetSessionRequest())
        return int(answer.time.event_time_nanos)

    async def release(self) -> None:
        """Let a clock run that was held."""
        request = exchange_service_pb2.ControlSessionRequest(
            request_id="release", action=exchange_service_pb2.SESSION_ACTION_RELEASE
        )
        await self.exchange.ControlSession(request)

    async def set_speed(self, speed: float) -> None:
        """Let so many market seconds pass in a second of the machine's."""
        request = exchange_service_pb2.ControlSessionRequest(
            request_id=f"speed-{speed}", action=exchange_service_pb2.SESSION_ACTION_SET_SPEED, speed=speed
        )
        await self.exchange.ControlSession(request)

    async def delete(self, post_id: str) -> None:
        """Take a post back."""
        await self.news.DeletePost(news_service_pb2.DeletePostRequest(request_id=post_id, post_id=post_id))

    def peak_mib(self, name: str) -> float:
        """Return the most memory that a server and its children have had, MiB; see proc(5), VmHWM."""
        process = psutil.Process(self._places[name].pid)
        return sum(_peak_mib(one.pid) for one in (process, *process.children(recursive=True)))

    async def until_read(self, taken: int, patience_seconds: float = 120.0) -> tuple[float, float, Progress]:
        """Return once so many posts were taken in and all are read.

        Gives the seconds from the first post until all were taken in, until all were read, and the counts.
        Raises RuntimeError when nothing has moved for `patience_seconds`.
        """
        began, all_taken, moved = 0.0, 0.0, time.monotonic()
        before: Progress | None = None
        while True:
            progress = await self.progress()
            now = time.monotonic()
            if progress != before:
                before, moved = progress, now
            if progress.taken and not began:
                began = now
            if progress.taken >= taken:
                all_taken = all_taken or now
                if not progress.waiting:
                    return all_taken - began, now - began, progress
            if now - moved > patience_seconds:
                raise RuntimeError(f"nothing has moved: {progress}")
            await asyncio.sleep(POLL_SECONDS)


@asynccontextmanager
async def news_mesh(folder: Path, settings: Mapping[str, Mapping[str, str]]) -> AsyncIterator[NewsMesh]:
    """Run what a post passes through as `tapeline up` does; news last, when all that it needs is there.

    Args:
        folder: gets all that the servers write.
        settings: of each server, beside addresses and folders.
    """
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    places = pick_places(SERVERS, 0)
    processes: list[ServerProcess] = []
    triton = Triton(TritonPlan(threads=1, niceness=TRITON_NICENESS), log_path=folder / "triton.log")
    triton.start()
    try:
        await asyncio.to_thread(triton.wait_ready)
        places[TRITON] = ServerPlace(triton.grpc_address, "", triton.pid)
        for name in SERVERS:
            processes.append(start_server(name, places, folder, settings.get(name, {})))
            places[name].pid = processes[-1].pid
            await until_serving(name, places[name].address, folder)
        mesh = NewsMesh(places)
        try:
            yield mesh
        finally:
            await mesh.close()
    finally:
        await stop_servers(processes)
        await asyncio.to_thread(triton.stop)


def replay_settings(folder: Path, posts: Path) -> dict[str, dict[str, str]]:
    """Return settings for news that replays a file as fast as it goes.

    Writes the reference data of the symbols that `Feed` speaks of.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "instruments.toml"
    path.write_text("".join(_INSTRUMENT.format(number=number) for number in range(SYMBOLS)))
    venue = {"symbols": TRADED, "speed": str(MARKET_SPEED), "pre_open_seconds": "1"}
    return {
        "exchange": {"instruments": str(path), **venue},
        "market_data": {"instruments": str(path)},
        "signals": {"symbols": TRADED},
        # A span for each of a hundred thousand posts is not what is measured.
        "news": {"source": "file", "file": str(posts), "trace_sample_ratio": "0.01"},
    }


def _fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=FETCH_SECONDS) as response:
        return str(response.read().decode())


def _peak_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / MIB
    return 0.0
