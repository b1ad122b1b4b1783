"""Every reason for which a check refuses: the one table that README and clients refer to."""

from __future__ import annotations

from collections.abc import Mapping

REJECTION_REASONS: Mapping[str, str] = {
    # Who and what
    "ACCOUNT_UNKNOWN": "the account has no limits, and without limits nothing is permitted",
    "SYMBOL_UNKNOWN": "no such instrument",
    "INSTRUMENT_NOT_TRADABLE": "the instrument is suspended or no longer listed",
    "CURRENCY_NOT_CONVERTIBLE": "the instrument's currency is not the account's, and no rate is stated",
    "REQUEST_ID_REUSED": "the id was used before with other content",
    "ORDER_NOT_FOUND": "a replace of an order that is not live",
    # State of the market
    "KILL_SWITCH_ON": "the kill switch of the account, or of all, is on",
    "MARKET_PHASE": "the market's phase takes no orders",
    "REFERENCE_PRICE_MISSING": "no quote and no last price is known",
    "REFERENCE_PRICE_STALE": "the reference price is too old, or the feed is silent",
    # One order
    "ORDER_QUANTITY_ABOVE_LIMIT": "the order is larger than permitted, in shares",
    "ORDER_NOTIONAL_ABOVE_LIMIT": "the order is larger than permitted, in money",
    "PRICE_COLLAR": "the limit price is too far on the aggressive side of the reference price",
    "PARTICIPATION_ABOVE_LIMIT": "the order is too large a share of the median daily volume",
    "MEDIAN_VOLUME_UNKNOWN": "participation is limited, and no median daily volume is known",
    "RESTRICTED": "the symbol is restricted: only orders that reduce a position pass",
    "SHORT_SALE_NOT_PERMITTED": "the sale would make or add to a short position without permission",
    "DUPLICATE_ORDER": "an order of the same content was checked a moment ago",
    "SELF_TRADE": "the order would meet a resting order of the same account",
    # Everything together
    "POSITION_ABOVE_LIMIT": "position, open orders and parents' rest would exceed the limit",
    "GROSS_EXPOSURE_ABOVE_LIMIT": "the sum of absolute exposures would exceed the limit",
    "BUYING_POWER_EXCEEDED": "positions and open orders would take more money than there is",
    "DAILY_LOSS_ABOVE_LIMIT": "the loss of the session has reached its limit",
    "ORDER_RATE_ABOVE_LIMIT": "too many orders a second",
    "MESSAGE_RATE_ABOVE_LIMIT": "too many orders, cancels and replaces a second",
}
"""Reason -> what it means."""
