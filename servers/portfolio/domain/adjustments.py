"""Dated events that change positions or cash without a fill."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from servers.model.errors import FailedPrecondition, InvalidInput
from servers.model.nanos import INT64_MAX, Money
from servers.model.order import check_account, check_range, check_symbol

LARGEST_RATIO = 1_000_000


class AdjustmentKind(IntEnum):
    """The numbers are those of tapeline.portfolio.v1.AdjustmentKind."""

    OPENING = 1
    SPLIT = 2
    DIVIDEND = 3
    SYMBOL_CHANGE = 4


@dataclass(frozen=True, slots=True)
class Adjustment:
    """An opening position or a corporate action.

    Quantity in 1e-9 shares, price in 1e-9 currency units, effective time in UTC epoch nanoseconds of
    market time: what was traded before it is restated. `cash` is the opening cash, or the dividend of
    one share; for an opening position it carries the instrument's currency.
    """

    kind: AdjustmentKind
    account: str = ""
    symbol: str = ""
    quantity_nanos: int = 0
    price_nanos: int = 0
    cash: Money | None = None
    ratio_numerator: int = 0
    ratio_denominator: int = 0
    new_symbol: str = ""
    effective_time_nanos: int = 0
    sequence: int = 0

    def validate(self) -> None:
        """Raise InvalidInput for what can never be right, FailedPrecondition CORPORATE_ACTION_INVALID."""
        check_range("effective_time_nanos", self.effective_time_nanos, 0, INT64_MAX)
        if self.kind is AdjustmentKind.OPENING:
            self._validate_opening()
            return
        if self.account:
            raise InvalidInput(
                "FIELD_INVALID",
                "a corporate action meets every account and names none",
                field="account",
            )
        check_symbol(self.symbol)
        if self.kind is AdjustmentKind.SPLIT:
            check_range("ratio_numerator", self.ratio_numerator, 1, LARGEST_RATIO)
            check_range("ratio_denominator", self.ratio_denominator, 1, LARGEST_RATIO)
        elif self.kind is AdjustmentKind.DIVIDEND:
            if self.cash is None or self.cash.attos <= 0:
                raise InvalidInput("FIELD_MISSING", "a dividend needs cash a share above 0", field="cash")
        elif check_symbol(self.new_symbol) == self.symbol:
            raise FailedPrecondition("CORPORATE_ACTION_INVALID", f"{self.symbol} is its name already")

    def _validate_opening(self) -> None:
        check_account(self.account)
        if self.symbol:
            check_symbol(self.symbol)
            check_range("quantity_nanos", abs(self.quantity_nanos), 1, INT64_MAX)
            check_range("price_nanos", self.price_nanos, 1, INT64_MAX)
        elif self.cash is None or not self.cash.attos:
            raise InvalidInput("FIELD_MISSING", "an opening needs a position or cash", field="symbol")
        elif self.quantity_nanos or self.price_nanos:
            raise InvalidInput("FIELD_MISSING", "an opening position needs a symbol", field="symbol")
