"""Page tokens: where the next page begins, bound to the list that was asked for."""

from __future__ import annotations

import base64
import binascii
import zlib

from servers.model.errors import InvalidInput

_CHECK_BYTES = 4
_MAX_TOKEN_CHARACTERS = 256


def page_size_of(asked: int, default: int, most: int) -> int:
    """Return the page size; InvalidInput PAGE_SIZE_INVALID for a negative one or one above `most`."""
    if not 0 <= asked <= most:
        raise InvalidInput(
            "PAGE_SIZE_INVALID", f"page_size {asked} is not 0 to {most}", field="page_size", bound=most
        )
    return asked or default


def make_token(position: str, *query: object) -> str:
    """Return a token for `position` in the list that `query` names."""
    raw = position.encode()
    return base64.urlsafe_b64encode(_check(raw, query) + raw).decode()


def read_token(token: str, *query: object) -> str:
    """Return the position; InvalidInput PAGE_TOKEN_INVALID when the token is not of this list."""
    try:
        raw = base64.b64decode(token[:_MAX_TOKEN_CHARACTERS].encode("ascii"), altchars=b"-_", validate=True)
        check, position = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:]
        if check == _check(position, query):
            return position.decode()
    except (binascii.Error, UnicodeError):
        pass
    raise InvalidInput("PAGE_TOKEN_INVALID", "page_token was not issued for this list", field="page_token")


def _check(position: bytes, query: tuple[object, ...]) -> bytes:
    return zlib.crc32(position + b"\0" + repr(query).encode()).to_bytes(_CHECK_BYTES, "little")
