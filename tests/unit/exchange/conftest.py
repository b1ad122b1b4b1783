"""Fixtures of the exchange's tests."""

from __future__ import annotations

import pytest

from tests.unit.exchange.exchange_desk import Desk


@pytest.fixture
def desk() -> Desk:
    """An engine over one market in continuous trading."""
    return Desk()
