"""Limits: their file, the stricter of two, and what their file may not say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from servers.risk.adapters.limits_file import LimitsFileError, load_limits_file
from servers.risk.controls import Controls
from servers.risk.domain.limits import Limits, base_currency, effective
from servers.risk.settings import DEFAULT_LIMITS_FILE
from tests.unit.risk.world import LOOSE, NANO, usd


def test_the_stricter_of_account_and_symbol_counts() -> None:
    account = Limits(
        "a", max_position_nanos=10, price_collar=0.1, short_sale_permitted=True, max_gross_exposure=usd(7)
    )
    symbol = Limits("a", "X", max_position_nanos=20, price_collar=0.05, max_gross_exposure=usd(5))
    joined = effective(account, symbol)
    assert joined.max_position_nanos == 10
    assert joined.price_collar_ppb == 50_000_000
    assert not joined.short_sale_permitted
    assert (joined.gross_attos, joined.symbol_gross_attos) == (usd(7).attos, usd(5).attos)
    assert effective(account, None).short_sale_permitted
    assert effective(account, None).max_reference_age_nanos == 60 * NANO


def test_the_base_currency_is_that_of_the_limits() -> None:
    assert base_currency(None) == "USD"
    assert base_currency(replace(LOOSE, buying_power=usd(1))) == "USD"


def test_controls_forget_what_they_joined_when_limits_change() -> None:
    controls = Controls([LOOSE])
    before = controls.effective("a", "X")
    assert before is not None
    assert before.max_position_nanos is None
    controls.set_limits(Limits("a", "X", max_position_nanos=5))
    after = controls.effective("a", "X")
    assert after is not None
    assert after.max_position_nanos == 5
    assert controls.effective("b", "X") is None


def test_the_file_that_is_shipped_lets_the_demonstration_trade() -> None:
    demo, autopilot, rupees = load_limits_file(DEFAULT_LIMITS_FILE)
    assert autopilot.account == "autopilot"
    assert autopilot.max_gross_exposure == usd(10_000_000)
    assert (demo.account, demo.max_position_nanos) == ("demo", 10_000_000 * NANO)
    assert demo.buying_power == usd(500_000_000)
    assert (rupees.account, base_currency(rupees)) == ("demo-inr", "INR")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[limits", "Expected"),
        ("[other]", "unknown table 'other'"),
        ("[[limits]]\nmax_position = '1'", "account is empty"),
        ("[[limits]]\naccount = 'a'\nmax_positon = '1'", "max_positon"),
        ("[[limits]]\naccount = 'a'\nmax_position = 'many'", "max_position = 'many'"),
        ("[[limits]]\naccount = 'a'\nbuying_power = 'x'", "not a decimal number"),
        ("[[limits]]\naccount = 'a'\nbuying_power = '-1'", "not an amount of money"),
        ("[[limits]]\naccount = 'a'\nis_restricted = 'yes'", "is_restricted"),
        ("[[limits]]\naccount = 'a'\nprice_collar = 2", "price_collar"),
    ],
)
def test_a_file_that_is_wrong_says_where(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "limits.toml"
    path.write_text(text)
    with pytest.raises(LimitsFileError) as refused:
        load_limits_file(path)
    assert said in str(refused.value)
    assert str(path) in str(refused.value)


def test_a_file_that_is_absent_says_so(tmp_path: Path) -> None:
    with pytest.raises(LimitsFileError):
        load_limits_file(tmp_path / "none.toml")
