"""Page tokens go with the list that they were made for, and nothing else passes for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.market_data.paging import make_token, page_size_of, read_token
from servers.model.errors import InvalidInput


@given(st.text(max_size=20), st.text(max_size=5), st.integers())
def test_a_token_gives_its_position_back_for_the_same_list(position: str, symbol: str, start: int) -> None:
    try:
        position.encode()
    except UnicodeEncodeError:
        return
    token = make_token(position, symbol, start)
    assert read_token(token, symbol, start) == position
    with pytest.raises(InvalidInput):
        read_token(token, symbol, start + 1)


@given(st.text(max_size=40))
def test_any_other_text_is_refused(token: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        read_token(token, "ACME")
    assert refusal.value.reason == "PAGE_TOKEN_INVALID"


def test_the_page_size_has_a_default_and_a_bound() -> None:
    assert page_size_of(0, 50, 100) == 50
    assert page_size_of(100, 50, 100) == 100
    for wrong in (-1, 101):
        with pytest.raises(InvalidInput) as refusal:
            page_size_of(wrong, 50, 100)
        assert refusal.value.reason == "PAGE_SIZE_INVALID"
