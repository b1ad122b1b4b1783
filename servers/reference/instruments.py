"""Load `instruments.toml`: what can be traded, on which grid, and how its practice flow behaves.

One `[[instrument]]` table a symbol. Prices and sizes are decimal numbers (read exactly, never as binary
floats); `tick_size = 0.01` is short for one band, `tick_bands` spells a tick table out. A wrong file is
refused as a whole with FILE_MALFORMED, the symbol and the field.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import servers
from servers.model.errors import InvalidInput
from servers.model.instrument import Instrument, ListingState, ShortSaleState, TickBand
from servers.model.nanos import NANO, nanos_from_text

DEFAULT_INSTRUMENTS_FILE = Path(servers.__path__[0]) / "market_data" / "instruments.toml"
DEFAULT_CALENDAR = "XNYS"
PRACTICE_VENUE = "PRACTICE"

_RECORDED_TICK_NANOS = 100_000  # 0.0001
_SYMBOL = re.compile(r"[A-Z0-9.\-/]{1,32}")
_CURRENCY_OF_CALENDAR: Mapping[str, str] = {
    "XNYS": "USD",
    "XNAS": "USD",
    "XBOM": "INR",
    "XNSE": "INR",
    "XLON": "GBP",
    "XETR": "EUR",
    "XFRA": "EUR",
    "XPAR": "EUR",
    "XAMS": "EUR",
    "XTKS": "JPY",
    "XHKG": "HKD",
    "XTSE": "CAD",
    "XASX": "AUD",
    "XSWX": "CHF",
}
_UNKNOWN_CURRENCY = "XXX"  # ISO 4217: no currency


@dataclass(frozen=True, slots=True)
class SimulationHints:
    """How the practice venue's simulated flow treats a symbol; no one else reads it.

    Attributes:
        start_price_nanos: price before the first session, in 1e-9 currency units.
        daily_volume: shares of an ordinary day.
        daily_volatility: standard deviation of a day's log return.
    """

    start_price_nanos: int
    daily_volume: float
    daily_volatility: float = 0.015


@dataclass(frozen=True, slots=True)
class ReferenceData:
    """Instruments by symbol, and the simulation hints of those that have them."""

    instruments: Mapping[str, Instrument]
    simulation: Mapping[str, SimulationHints]


def load_instruments(path: Path = DEFAULT_INSTRUMENTS_FILE) -> ReferenceData:
    """Read an instruments file.

    Raises InvalidInput FILE_MALFORMED that names the symbol and the field; nothing is half-loaded.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidInput("FILE_MALFORMED", f"{path}: {error}", file=path) from error
    unknown = sorted(set(document) - {"instrument"})
    if unknown:
        raise InvalidInput(
            "FILE_MALFORMED", f"{path}: unknown table {unknown[0]!r}", file=path, field=unknown[0]
        )
    instruments: dict[str, Instrument] = {}
    simulation: dict[str, SimulationHints] = {}
    tables = document.get("instrument")
    if not isinstance(tables, list) or not tables:
        raise InvalidInput(
            "FILE_MALFORMED", f"{path}: no [[instrument]] table", file=path, field="instrument"
        )
    for row, table in enumerate(tables, start=1):
        reader = _Table(path, f"instrument {row}", table)
        instrument = _instrument(reader)
        if instrument.symbol in instruments:
            raise reader.wrong("symbol", "is there twice")
        instruments[instrument.symbol] = instrument
        hints = reader.table("simulation")
        if hints is not None:
            simulation[instrument.symbol] = _hints(hints)
        reader.finish()
    return ReferenceData(instruments, simulation)


def recorded_instrument(symbol: str, calendar: str = DEFAULT_CALENDAR) -> Instrument:
    """Return reference data for a symbol of a recorded file that no instruments file describes.

    The calendar's currency, tick 0.0001, lot 1 share, no short sale. Whoever uses it says so to people.
    """
    return Instrument(
        symbol=symbol,
        venue=PRACTICE_VENUE,
        currency_code=_CURRENCY_OF_CALENDAR.get(calendar, _UNKNOWN_CURRENCY),
        tick_bands=(TickBand(0, _RECORDED_TICK_NANOS),),
        lot_size_nanos=NANO,
        min_quantity_nanos=NANO,
        calendar=calendar,
        display_name=symbol,
    )


_Choice = TypeVar("_Choice", bound=Enum)


class _Table:
    """Take fields out of one TOML table; whatever is left over at the end is unknown."""

    def __init__(self, path: Path, name: str, table: object) -> None:
        self._path = path
        self._name = name
        if not isinstance(table, dict):
            raise self.wrong("", "is not a table")
        self._left: dict[str, Any] = dict(table)

    def wrong(self, field: str, why: str) -> InvalidInput:
        return InvalidInput(
            "FILE_MALFORMED", f"{self._path}: {self._name}: {field} {why}", file=self._path, field=field
        )

    def rename(self, name: str) -> None:
        self._name = name

    def text(self, field: str, default: str | None = None) -> str:
        value = self._left.pop(field, default)
        if not isinstance(value, str) or (default is None and not value):
            raise self.wrong(field, "is missing" if value is None else f"is no text: {value!r}")
        return value

    def texts(self, field: str) -> tuple[str, ...]:
        value = self._left.pop(field, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(field, "is no list of texts")
        return tuple(value)

    def number(self, field: str, default: Decimal | None = None) -> Decimal:
        value = self._left.pop(field, default)
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise self.wrong(field, "is missing" if value is None else f"is no number: {value!r}")
        if not Decimal(value).is_finite() or value < 0:
            raise self.wrong(field, f"is negative or not finite: {value}")
        return Decimal(value)

    def nanos(self, field: str, default: Decimal | None = None) -> int:
        try:
            return nanos_from_text(str(self.number(field, default)))
        except ValueError as error:
            raise self.wrong(field, str(error)) from error

    def choice(self, field: str, kind: type[_Choice], default: _Choice) -> _Choice:
        name = self.text(field, default.name)
        if name not in kind.__members__:
            raise self.wrong(field, f"is {name!r}, not one of {', '.join(kind.__members__)}")
        return kind[name]

    def tables(self, field: str) -> list[_Table] | None:
        value = self._left.pop(field, None)
        if value is None:
            return None
        if not isinstance(value, list):
            raise self.wrong(field, "is no list of tables")
        return [_Table(self._path, f"{self._name}: {field}", item) for item in value]

    def table(self, field: str) -> _Table | None:
        value = self._left.pop(field, None)
        return None if value is None else _Table(self._path, f"{self._name}: {field}", value)

    def finish(self) -> None:
        for field in self._left:
            raise self.wrong(field, "is unknown")


def _instrument(reader: _Table) -> Instrument:
    symbol = reader.text("symbol")
    if not _SYMBOL.fullmatch(symbol):
        raise reader.wrong("symbol", f"{symbol[:40]!r} is not 1 to 32 of A-Z, 0-9, '.', '-', '/'")
    reader.rename(symbol)
    lot_size_nanos = reader.nanos("lot_size", Decimal(1))
    bands = reader.tables("tick_bands")
    if bands is None:
        tick_bands = [TickBand(0, reader.nanos("tick_size"))]
    else:
        tick_bands = []
        for band in bands:
            tick_bands.append(TickBand(band.nanos("from_price"), band.nanos("tick_size")))
            band.finish()
    try:
        return Instrument(
            symbol=symbol,
            venue=reader.text("venue", PRACTICE_VENUE),
            currency_code=reader.text("currency_code"),
            tick_bands=tuple(tick_bands),
            lot_size_nanos=lot_size_nanos,
            min_quantity_nanos=reader.nanos("min_quantity", Decimal(lot_size_nanos).scaleb(-9)),
            calendar=reader.text("calendar", DEFAULT_CALENDAR),
            listing_state=reader.choice("listing_state", ListingState, ListingState.LISTED),
            short_sale_state=reader.choice("short_sale_state", ShortSaleState, ShortSaleState.PROHIBITED),
            display_name=reader.text("display_name", symbol),
            aliases=reader.texts("aliases"),
        )
    except ValueError as error:
        raise reader.wrong("grid", str(error)) from error


def _hints(reader: _Table) -> SimulationHints:
    hints = SimulationHints(
        start_price_nanos=reader.nanos("start_price"),
        daily_volume=float(reader.number("daily_volume")),
        daily_volatility=float(reader.number("daily_volatility", Decimal("0.015"))),
    )
    reader.finish()
    return hints
