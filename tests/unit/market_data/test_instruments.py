"""The instruments file: what it says, and what it is refused for."""

from __future__ import annotations

from pathlib import Path

import pytest

from servers.model.errors import InvalidInput
from servers.model.instrument import ListingState, ShortSaleState, TickBand
from servers.model.nanos import NANO
from servers.reference import load_instruments, recorded_instrument

GOOD = '[[instrument]]\nsymbol = "ACME"\ncurrency_code = "USD"\ntick_size = 0.01\n'


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "instruments.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_default_file_has_four_simulated_names_on_a_cent_grid() -> None:
    reference = load_instruments()
    assert sorted(reference.instruments) == ["ACME", "BOLT", "CRUX", "DYNE"] == sorted(reference.simulation)
    acme = reference.instruments["ACME"]
    assert acme.tick_bands == (TickBand(0, NANO // 100),)
    assert (acme.lot_size_nanos, acme.min_quantity_nanos) == (NANO, NANO)
    assert (acme.calendar, acme.currency_code, acme.venue) == ("XNYS", "USD", "PRACTICE")
    assert acme.short_sale_state is ShortSaleState.PERMITTED
    assert reference.simulation["ACME"].start_price_nanos == 50 * NANO


def test_a_minimal_table_takes_the_defaults(tmp_path: Path) -> None:
    acme = load_instruments(write(tmp_path, GOOD)).instruments["ACME"]
    assert acme.short_sale_state is ShortSaleState.PROHIBITED
    assert acme.listing_state is ListingState.LISTED
    assert (acme.display_name, acme.aliases, acme.calendar) == ("ACME", (), "XNYS")


def test_a_tick_table_a_lot_and_a_minimum_are_read_exactly(tmp_path: Path) -> None:
    text = GOOD.replace(
        "tick_size = 0.01",
        "lot_size = 0.001\nmin_quantity = 0.003\n"
        "tick_bands = [{ from_price = 0, tick_size = 0.0001 }, { from_price = 1.1, tick_size = 0.1 }]",
    )
    acme = load_instruments(write(tmp_path, text)).instruments["ACME"]
    assert acme.tick_bands == (TickBand(0, 100_000), TickBand(1_100_000_000, 100_000_000))
    assert (acme.lot_size_nanos, acme.min_quantity_nanos) == (1_000_000, 3_000_000)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (GOOD + 'tick = "x"\n', "tick"),
        (GOOD.replace("0.01", '"0.01"'), "tick_size"),
        (GOOD.replace("0.01", "0"), "grid"),
        (GOOD.replace("0.01", "-0.01"), "tick_size"),
        (GOOD.replace("0.01", "nan"), "tick_size"),
        (GOOD.replace("0.01", "inf"), "tick_size"),
        (GOOD.replace("0.01", "true"), "tick_size"),
        (GOOD.replace("0.01", "0.0000000001"), "tick_size"),
        (GOOD.replace("tick_size = 0.01", ""), "tick_size"),
        (GOOD.replace('"ACME"', '"acme"'), "symbol"),
        (GOOD.replace('"ACME"', "7"), "symbol"),
        (GOOD.replace('currency_code = "USD"', ""), "currency_code"),
        (GOOD + "min_quantity = 1.5\n", "grid"),
        (GOOD + 'listing_state = "LOST"\n', "listing_state"),
        (GOOD + "aliases = [1]\n", "aliases"),
        (GOOD + 'tick_bands = "x"\n', "tick_bands"),
        (GOOD + "tick_bands = [1]\n", ""),
        (GOOD + "tick_bands = [{ from_price = 0, tick_size = 1, step = 1 }]\n", "step"),
        (GOOD + "simulation = 3\n", ""),
        (GOOD + "[instrument.simulation]\nstart_price = 50\n", "daily_volume"),
        (GOOD + GOOD, "symbol"),
        ("[instruments]\n", "instruments"),
        ("instrument = 1\n", "instrument"),
        ("instrument = [1]\n", ""),
        ("", "instrument"),
    ],
)
def test_a_wrong_file_is_refused_with_the_field(tmp_path: Path, text: str, field: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        load_instruments(write(tmp_path, text))
    assert refusal.value.reason == "FILE_MALFORMED"
    assert refusal.value.metadata["field"] == field


@pytest.mark.parametrize("content", [b"symbol = ", b"\xff\xfe"])
def test_what_is_no_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "instruments.toml"
    path.write_bytes(content)
    with pytest.raises(InvalidInput):
        load_instruments(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        load_instruments(tmp_path / "absent.toml")


def test_a_recorded_symbol_takes_its_calendars_currency_and_a_fine_grid() -> None:
    instrument = recorded_instrument("TATASTEEL", "XBOM")
    assert (instrument.currency_code, instrument.tick_at(1), instrument.lot_size_nanos) == (
        "INR",
        100_000,
        NANO,
    )
    assert recorded_instrument("BAC").currency_code == "USD"
    assert recorded_instrument("X", "XZZZ").currency_code == "XXX"
