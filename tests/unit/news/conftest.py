"""The room that the tests of news work in."""

import pytest

from tests.unit.news.newsroom import Room


@pytest.fixture
def room() -> Room:
    return Room()
