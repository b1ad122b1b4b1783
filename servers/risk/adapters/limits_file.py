"""Limits from a TOML file."""

from __future__ import annotations

import tomllib
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from servers.model.errors import TapelineError
from servers.model.nanos import ATTO, INT64_MAX, Money, nanos_from_text
from servers.risk.domain.limits import DEFAULT_CURRENCY, Limits

_QUANTITIES = {"max_order_quantity": "max_order_quantity_nanos", "max_position": "max_position_nanos"}
_MONEY = ("max_order_notional", "max_gross_exposure", "max_daily_loss", "buying_power")
_NUMBERS = (
    "price_collar",
    "max_participation",
    "max_orders_per_second",
    "max_messages_per_second",
    "duplicate_window_seconds",
    "max_reference_age_seconds",
)
_FLAGS = ("is_restricted", "short_sale_permitted")


class LimitsFileError(ValueError):
    """The limits file cannot be read; the message names the entry and the key."""


def load_limits_file(path: Path) -> list[Limits]:
    """Return the limits that a TOML file states, `[[limits]]` by `[[limits]]`. Raises LimitsFileError."""
    try:
        table = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise LimitsFileError(f"{path}: {error}") from error
    unknown = set(table) - {"limits"}
    if unknown:
        raise LimitsFileError(f"{path}: unknown table {min(unknown)!r}")
    return [_entry(path, number, entry) for number, entry in enumerate(table.get("limits", []), start=1)]


def _entry(path: Path, number: int, entry: dict[str, Any]) -> Limits:
    place = f"{path}: [[limits]] {number}"
    values: dict[str, Any] = {}
    entry = dict(entry)
    currency = entry.pop("currency", DEFAULT_CURRENCY)
    for key, value in entry.items():
        try:
            if key in ("account", "symbol"):
                values[key] = str(value)
            elif key in _QUANTITIES:
                values[_QUANTITIES[key]] = nanos_from_text(str(value))
            elif key in _MONEY:
                values[key] = _money(currency, str(value))
            elif key in _NUMBERS:
                values[key] = float(value)
            elif key in _FLAGS and isinstance(value, bool):
                values[key] = value
            else:
                raise ValueError("no such limit, or not of its type")
        except (TypeError, ValueError) as error:
            raise LimitsFileError(f"{place}: {key} = {value!r}: {error}") from error
    try:
        limits = Limits(**{"account": "", **values})
        limits.validate()
    except TapelineError as error:
        raise LimitsFileError(f"{place}: {error.message}") from error
    return limits


def _money(currency_code: str, text: str) -> Money:
    """Return an amount; unlike a price it may be as large as google.type.Money."""
    try:
        amount = Decimal(text) * ATTO
    except InvalidOperation:
        raise ValueError("not a decimal number") from None
    if not amount.is_finite() or not 0 <= amount <= INT64_MAX * ATTO or amount != amount.to_integral_value():
        raise ValueError("not an amount of money")
    return Money(currency_code, int(amount))
