"""Page tokens of lists by sequence."""

from __future__ import annotations

import base64
import binascii

from servers.model.errors import InvalidInput


def token_from_sequence(sequence: int) -> str:
    """Return the token of the page that begins after `sequence`."""
    return base64.urlsafe_b64encode(str(sequence).encode()).decode()


def sequence_from_token(token: str) -> int:
    """Return the sequence that a page begins after. Raises InvalidInput PAGE_TOKEN_INVALID."""
    if not token:
        return 0
    try:
        text = base64.b64decode(token, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise InvalidInput("PAGE_TOKEN_INVALID") from error
    if not text.isdigit() or len(text) > 18:
        raise InvalidInput("PAGE_TOKEN_INVALID")
    return int(text)
