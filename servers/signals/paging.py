"""Page tokens of lists by symbol."""

from __future__ import annotations

import base64
import binascii

from servers.model.errors import InvalidInput


def token_from_symbol(symbol: str) -> str:
    """Return the token of the page that begins after `symbol`."""
    return base64.urlsafe_b64encode(symbol.encode()).decode()


def symbol_from_token(token: str) -> str:
    """Return the symbol that a page begins after. Raises InvalidInput PAGE_TOKEN_INVALID."""
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise InvalidInput("PAGE_TOKEN_INVALID") from error
