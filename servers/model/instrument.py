"""Reference data of one tradable symbol, and the rules of its grid."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class ListingState(IntEnum):
    """The numbers are those of tapeline.trading.v1.ListingState."""

    LISTED = 1
    SUSPENDED = 2
    DELISTED = 3


class ShortSaleState(IntEnum):
    """The numbers are those of tapeline.trading.v1.ShortSaleState."""

    PERMITTED = 1
    PROHIBITED = 2


@dataclass(frozen=True, slots=True)
class TickBand:
    """From this price upwards, prices are multiples of this tick (both in 1e-9 currency units)."""

    from_price_nanos: int
    tick_size_nanos: int


@dataclass(frozen=True, slots=True)
class Instrument:
    """Reference data; `tick_bands` ascend and the first starts at 0."""

    symbol: str
    venue: str
    currency_code: str
    tick_bands: tuple[TickBand, ...]
    lot_size_nanos: int
    min_quantity_nanos: int
    calendar: str
    listing_state: ListingState = ListingState.LISTED
    short_sale_state: ShortSaleState = ShortSaleState.PROHIBITED
    display_name: str = ""
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        starts = [band.from_price_nanos for band in self.tick_bands]
        if not starts or starts[0] != 0 or starts != sorted(set(starts)):
            raise ValueError(f"{self.symbol}: tick bands must ascend from 0, got {starts}")
        if min(band.tick_size_nanos for band in self.tick_bands) <= 0 or self.lot_size_nanos <= 0:
            raise ValueError(f"{self.symbol}: ticks and lot must be above 0")
        if self.min_quantity_nanos <= 0 or self.min_quantity_nanos % self.lot_size_nanos:
            raise ValueError(f"{self.symbol}: the minimum quantity must be a positive multiple of the lot")

    def tick_at(self, price_nanos: int) -> int:
        """Return the tick in force at a price, in 1e-9 currency units."""
        tick = self.tick_bands[0].tick_size_nanos
        for band in self.tick_bands:
            if price_nanos < band.from_price_nanos:
                break
            tick = band.tick_size_nanos
        return tick

    def is_on_tick(self, price_nanos: int) -> bool:
        return price_nanos % self.tick_at(price_nanos) == 0

    def is_on_lot(self, quantity_nanos: int) -> bool:
        return quantity_nanos % self.lot_size_nanos == 0

    def floor_to_tick(self, price_nanos: int) -> int:
        """Return the highest price on the grid that is not above `price_nanos`."""
        return price_nanos - price_nanos % self.tick_at(price_nanos)

    def ceil_to_tick(self, price_nanos: int) -> int:
        """Return the lowest price on the grid that is not below `price_nanos`."""
        return -(-price_nanos // self.tick_at(price_nanos)) * self.tick_at(price_nanos)

    def floor_to_lot(self, quantity_nanos: int) -> int:
        """Return the largest multiple of the lot that is not above `quantity_nanos`."""
        return quantity_nanos - quantity_nanos % self.lot_size_nanos
