"""Fixtures of decision's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from servers.decision.domain.decision import Mode
from tests.unit.decision.decision_desk import Desk


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    """An engine on autopilot."""
    made = Desk()
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def approving() -> AsyncIterator[Desk]:
    """An engine whose orders wait for a person."""
    made = Desk(Mode.APPROVAL)
    await made.open()
    yield made
    await made.close()
