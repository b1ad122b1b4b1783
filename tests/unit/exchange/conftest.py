"""Fixtures of the exchange's tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from exchange_desk import Desk


@pytest.fixture
def desk() -> Desk:
    """An engine over one market in continuous trading."""
    return Desk()
