"""Limits of accounts and symbols, and the stricter of the two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from servers.model.errors import InvalidInput
from servers.model.nanos import Money
from servers.model.order import check_account, check_range, check_symbol

DEFAULT_CURRENCY = "USD"
DEFAULT_REFERENCE_AGE_SECONDS = 60.0
BILLION = 1_000_000_000

_N = TypeVar("_N", int, float)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one account, or one symbol of it, may do. None sets no bound.

    Quantities are in 1e-9 shares; `price_collar` and `max_participation` are fractions; rates are per
    second of wall time; the reference's age is in market seconds.
    """

    account: str
    symbol: str = ""
    max_order_quantity_nanos: int | None = None
    max_order_notional: Money | None = None
    price_collar: float | None = None
    max_position_nanos: int | None = None
    max_gross_exposure: Money | None = None
    max_participation: float | None = None
    max_daily_loss: Money | None = None
    is_restricted: bool = False
    buying_power: Money | None = None
    max_orders_per_second: float | None = None
    max_messages_per_second: float | None = None
    duplicate_window_seconds: float | None = None
    short_sale_permitted: bool = False
    max_reference_age_seconds: float | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.account, self.symbol

    def money(self) -> list[Money]:
        """Return the bounds in money that are set."""
        amounts = (self.max_order_notional, self.max_gross_exposure, self.max_daily_loss, self.buying_power)
        return [amount for amount in amounts if amount is not None]

    def validate(self) -> None:
        """Raise InvalidInput for an account, symbol, range or currency that can never be right."""
        check_account(self.account)
        if self.symbol:
            check_symbol(self.symbol)
        for field in ("max_order_quantity_nanos", "max_position_nanos"):
            value = getattr(self, field)
            if value is not None:
                check_range(field, value, 0, 2**63 - 1)
        for field, most in _HIGHEST.items():
            value = getattr(self, field)
            if value is not None and not 0 <= value <= most:
                raise InvalidInput(
                    "VALUE_OUT_OF_RANGE",
                    f"{field} is {value}, outside 0 to {most:g}",
                    field=field,
                    value=value,
                )
        amounts = self.money()
        if any(amount.attos < 0 for amount in amounts):
            raise InvalidInput("VALUE_OUT_OF_RANGE", "a limit in money is below 0")
        if len({amount.currency_code for amount in amounts}) > 1:
            raise InvalidInput("FIELD_INVALID", "all limits in money are in the account's base currency")


_HIGHEST = {
    "price_collar": 1.0,
    "max_participation": 1.0,
    "max_orders_per_second": 1e9,
    "max_messages_per_second": 1e9,
    "duplicate_window_seconds": 86_400.0,
    "max_reference_age_seconds": 1e9,
}


@dataclass(frozen=True, slots=True)
class KillSwitch:
    """Whether trading of an account is stopped; an empty account stands for all."""

    account: str
    is_on: bool
    reason: str
    set_by: str = ""
    create_time_nanos: int = 0


@dataclass(frozen=True, slots=True)
class EffectiveLimits:
    """The limits that one check applies: those of the account and those of the symbol, joined.

    Money is in 1e-18 units of `currency_code`. `*_attos` bound the account as a whole and
    `symbol_*_attos` the symbol alone; None sets no bound.
    """

    currency_code: str
    max_order_quantity_nanos: int | None
    max_order_notional_attos: int | None
    price_collar_ppb: int | None
    max_position_nanos: int | None
    max_participation: float | None
    gross_attos: int | None
    daily_loss_attos: int | None
    buying_power_attos: int | None
    symbol_gross_attos: int | None
    symbol_daily_loss_attos: int | None
    symbol_buying_power_attos: int | None
    is_restricted: bool
    short_sale_permitted: bool
    duplicate_window_nanos: int
    max_reference_age_nanos: int
    has_rates: bool


def base_currency(limits: Limits | None) -> str:
    """Return the currency in which an account's limits are stated."""
    amounts = limits.money() if limits is not None else []
    return amounts[0].currency_code if amounts else DEFAULT_CURRENCY


def effective(account: Limits, symbol: Limits | None) -> EffectiveLimits:
    """Return the stricter of the account's and the symbol's limits, field by field."""
    other = symbol or Limits(account.account)
    collar = _least(account.price_collar, other.price_collar)
    age = _least(account.max_reference_age_seconds, other.max_reference_age_seconds)
    window = max(account.duplicate_window_seconds or 0.0, other.duplicate_window_seconds or 0.0)
    rates = (
        account.max_orders_per_second,
        account.max_messages_per_second,
        other.max_orders_per_second,
        other.max_messages_per_second,
    )
    return EffectiveLimits(
        currency_code=base_currency(account),
        max_order_quantity_nanos=_least(account.max_order_quantity_nanos, other.max_order_quantity_nanos),
        max_order_notional_attos=_least(_attos(account.max_order_notional), _attos(other.max_order_notional)),
        price_collar_ppb=None if collar is None else round(collar * BILLION),
        max_position_nanos=_least(account.max_position_nanos, other.max_position_nanos),
        max_participation=_least(account.max_participation, other.max_participation),
        gross_attos=_attos(account.max_gross_exposure),
        daily_loss_attos=_attos(account.max_daily_loss),
        buying_power_attos=_attos(account.buying_power),
        symbol_gross_attos=_attos(other.max_gross_exposure),
        symbol_daily_loss_attos=_attos(other.max_daily_loss),
        symbol_buying_power_attos=_attos(other.buying_power),
        is_restricted=account.is_restricted or other.is_restricted,
        short_sale_permitted=account.short_sale_permitted and (symbol is None or symbol.short_sale_permitted),
        duplicate_window_nanos=round(window * BILLION),
        max_reference_age_nanos=round((DEFAULT_REFERENCE_AGE_SECONDS if age is None else age) * BILLION),
        has_rates=any(rate is not None for rate in rates),
    )


def _attos(amount: Money | None) -> int | None:
    return None if amount is None else amount.attos


def _least(first: _N | None, second: _N | None) -> _N | None:
    if first is None:
        return second
    return first if second is None else min(first, second)
