"""Intelligence as a real server before a server that speaks Triton's protocol."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tapeline.intelligence.v1 import (
    intelligence_service_pb2,
    intelligence_service_pb2_grpc,
    rollout_pb2,
    sentiment_pb2,
)

from servers.intelligence.__main__ import build
from servers.intelligence.component import IntelligenceServer
from servers.intelligence.settings import IntelligenceSettings
from servers.runtime.channels import Channels
from servers.runtime.running import RunningServer
from servers.runtime.server import make_context, start_server
from tests.integration.intelligence.triton_server import TritonServer

_ids = itertools.count()


async def eventually(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Return what `condition` gives once it is true; fail when it is not in time."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + seconds
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert loop.time() < ends, "the condition did not come true in time"
        await asyncio.sleep(0.01)


def item(text: str, entity: str = "ACME", **named: Any) -> sentiment_pb2.SentimentItem:
    """A text with an id of its own."""
    named.setdefault("item_id", f"post-{next(_ids)}")
    return sentiment_pb2.SentimentItem(text=text, entity=entity, **named)


@dataclass
class Mind:
    """Intelligence and the Triton behind it."""

    triton: TritonServer
    settings: IntelligenceSettings
    running: RunningServer | None = None
    component: IntelligenceServer | None = None
    channels: list[Channels] = field(default_factory=list)
    stub: Any = None

    async def start(self, **changes: Any) -> Any:
        """Start intelligence, with other settings if any are given, and return a stub of it."""
        self.settings = self.settings.model_copy(update=changes)
        context = await make_context("intelligence", self.settings)
        self.component = await build(self.settings, context)
        self.running = await start_server(self.settings, context, self.component)
        telemetry = context.telemetry
        channels = Channels(
            {"intelligence": self.running.address},
            tracer=telemetry.tracer,
            calls=telemetry.calls,
            call_timeout_seconds=10.0,
        )
        self.channels.append(channels)
        channel = channels.channel("intelligence")
        self.stub = intelligence_service_pb2_grpc.IntelligenceServiceStub(channel)
        return self.stub

    async def stop(self) -> None:
        for channels in self.channels:
            await channels.close()
        self.channels.clear()
        if self.running is not None:
            await self.running.stop()
        self.running = None

    async def classify(self, *items: Any, timeout: float | None = None) -> Any:
        response = await self.stub.ClassifySentiment(
            intelligence_service_pb2.ClassifySentimentRequest(items=items), timeout=timeout
        )
        return response.sentiments

    async def rollout(self) -> Any:
        response = await self.stub.GetRollout(intelligence_service_pb2.GetRolloutRequest())
        return response.rollout

    async def set_rollout(self, action: Any, reason: str = "a test", **named: Any) -> Any:
        named.setdefault("request_id", f"request-{next(_ids)}")
        response = await self.stub.SetRollout(
            intelligence_service_pb2.SetRolloutRequest(action=action, reason=reason, **named)
        )
        return response.rollout

    async def try_out(self, stage: Any = rollout_pb2.ROLLOUT_STAGE_25_PERCENT, **plan: Any) -> Any:
        """Begin an experiment with version 2."""
        return await self.set_rollout(
            rollout_pb2.ROLLOUT_ACTION_START,
            candidate_version="2",
            stage=stage,
            plan=rollout_pb2.RolloutPlan(**plan),
        )

    async def events(self) -> Any:
        response = await self.stub.ListRolloutEvents(
            intelligence_service_pb2.ListRolloutEventsRequest(page_size=1000)
        )
        return response.events

    async def status(self) -> Any:
        return await self.stub.GetStatus(intelligence_service_pb2.GetStatusRequest())


@pytest.fixture
async def mind(tmp_path: Path) -> AsyncIterator[Mind]:
    triton = TritonServer()
    await triton.start()
    calibration = tmp_path / "calibration.toml"
    calibration.write_text("[sources.news]\ntemperature = 1.0\nbias = [0, 0, 0]\n")
    settings = IntelligenceSettings(
        port=0,
        data_dir=tmp_path,
        triton=triton.address,
        calibration_file=calibration,
        drain_notice_seconds=0,
        drain_seconds=0.2,
        log_level="error",
    )
    made = Mind(triton, settings)
    try:
        yield made
    finally:
        await made.stop()
        await triton.stop()
