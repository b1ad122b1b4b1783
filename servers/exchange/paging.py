"""Page sizes and tokens of list calls."""

from __future__ import annotations

from servers.model.errors import InvalidInput


def page_size(asked: int, default: int, largest: int) -> int:
    """Return the size of a page; raises InvalidInput PAGE_SIZE_INVALID."""
    if not 0 <= asked <= largest:
        raise InvalidInput(
            "PAGE_SIZE_INVALID", f"page_size is {asked}, outside 0 to {largest}", field="page_size"
        )
    return asked or default


def after_token(token: str, otherwise: int) -> int:
    """Return the place that a page token names; raises InvalidInput PAGE_TOKEN_INVALID."""
    if not token:
        return otherwise
    if not (token.isascii() and token.isdigit() and len(token) < 19):
        raise InvalidInput("PAGE_TOKEN_INVALID", field="page_token")
    return int(token)
