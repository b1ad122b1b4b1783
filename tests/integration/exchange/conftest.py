"""Fixtures of the exchange's integration tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.exchange.exchange_client import Client, Start, running


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Start an exchange in the test's folder; again and again if wanted."""

    def begin(**settings: Any) -> AbstractAsyncContextManager[Client]:
        return running(tmp_path, **settings)

    return begin


@pytest.fixture
async def background() -> AsyncIterator[Callable[[Awaitable[None]], asyncio.Task[None]]]:
    """Run something beside the test; it ends with it."""
    tasks: list[asyncio.Task[None]] = []

    def begin(work: Awaitable[None]) -> asyncio.Task[None]:
        tasks.append(asyncio.ensure_future(work))
        return tasks[-1]

    yield begin
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
