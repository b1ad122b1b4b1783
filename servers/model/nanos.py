"""Fixed-point numbers: prices and quantities as integer nanos (1e-9), cash as integer attos (1e-18).

A price times a quantity is exact in attos, and so is every sum of cash. Rounding happens once, at the
edge, half to even.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction

NANO = 1_000_000_000
ATTO = NANO * NANO
INT64_MAX = 2**63 - 1


def divide_half_even(numerator: int, denominator: int) -> int:
    """Return `numerator / denominator` rounded half to even. The denominator is not 0."""
    return round(Fraction(numerator, denominator))


def nanos_from_text(text: str) -> int:
    """Return the nanos of a decimal number such as "50.25" or "1500000".

    Raises ValueError when it is no finite decimal number, has more than nine places, or does not fit
    in int64.
    """
    try:
        value = Decimal(text.replace(",", "").replace("_", ""))
    except InvalidOperation:
        raise ValueError(f"{text!r} is not a decimal number") from None
    if not value.is_finite():
        raise ValueError(f"{text!r} is not a finite number")
    scaled = value.scaleb(9)
    if scaled != scaled.to_integral_value():
        raise ValueError(f"{text!r} has more than nine decimal places")
    nanos = int(scaled)
    if abs(nanos) > INT64_MAX:
        raise ValueError(f"{text!r} is outside the range of +-9,223,372,036.85")
    return nanos


def nanos_to_text(nanos: int, places: int | None = None) -> str:
    """Return nanos as a decimal number: as short as it is exact, or rounded to `places`."""
    value = Decimal(nanos).scaleb(-9)
    if places is not None:
        return f"{value:,.{places}f}"
    text = f"{value:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass(frozen=True, slots=True)
class Money:
    """An exact amount of one currency, in attos (1e-18 units)."""

    currency_code: str
    attos: int = 0

    @classmethod
    def from_text(cls, currency_code: str, text: str) -> Money:
        """Return the amount that a decimal number such as "100000.25" states."""
        return cls(currency_code, nanos_from_text(text) * NANO)

    @classmethod
    def of_trade(cls, currency_code: str, price_nanos: int, quantity_nanos: int) -> Money:
        """Return price times quantity, exactly."""
        return cls(currency_code, price_nanos * quantity_nanos)

    def __add__(self, other: Money) -> Money:
        return Money(self._same_currency(other), self.attos + other.attos)

    def __sub__(self, other: Money) -> Money:
        return Money(self._same_currency(other), self.attos - other.attos)

    def __neg__(self) -> Money:
        return Money(self.currency_code, -self.attos)

    def __abs__(self) -> Money:
        return Money(self.currency_code, abs(self.attos))

    def __str__(self) -> str:
        return f"{Decimal(self.attos).scaleb(-18):,.2f} {self.currency_code}"

    def rounded_nanos(self) -> int:
        """Return the amount in nanos, rounded half to even: what goes on the wire."""
        return divide_half_even(self.attos, NANO)

    def _same_currency(self, other: Money) -> str:
        if self.currency_code != other.currency_code:
            raise ValueError(f"cannot add {other.currency_code} to {self.currency_code} without a rate")
        return self.currency_code
