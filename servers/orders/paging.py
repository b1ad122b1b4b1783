"""Page tokens: a place in a list, bound to the list that it was issued for."""

from __future__ import annotations

from hashlib import blake2s

from servers.model.errors import InvalidInput

MAX_PAGE = 1_000


def page_size(value: int, default: int) -> int:
    """Return the rows of a page; raises InvalidInput outside of 0 to 1,000, where 0 is the default."""
    if not 0 <= value <= MAX_PAGE:
        raise InvalidInput(
            "PAGE_SIZE_INVALID", f"page_size is {value}, outside 0 to {MAX_PAGE}", field="page_size"
        )
    return value or default


def page_token(place: int, *filters: object) -> str:
    """Return the token of the page that begins above `place` in the list with these filters."""
    return f"{_digest(filters)}-{place:x}"


def place_of(token: str, *filters: object) -> int:
    """Return the place that a token stands for; 0 for none. Raises InvalidInput PAGE_TOKEN_INVALID."""
    if not token:
        return 0
    digest, _, place = token.partition("-")
    try:
        if digest == _digest(filters):
            return int(place, 16)
    except ValueError:
        pass
    raise InvalidInput("PAGE_TOKEN_INVALID", field="page_token")


def _digest(filters: tuple[object, ...]) -> str:
    return blake2s("\n".join(map(str, filters)).encode(), digest_size=6).hexdigest()
