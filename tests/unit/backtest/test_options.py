"""What a backtest is asked for is checked once, and the field is named."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from servers.backtest.options import (
    BacktestOptions,
    check_options,
    parse_algorithms,
    parse_sizes,
)
from servers.model.errors import InvalidInput

GOOD = BacktestOptions(Path("bars.csv"), True, "XNYS", ("twap",), sizes=(0.05,))


def test_algorithms_are_known_by_name_and_alias_each_once() -> None:
    assert parse_algorithms("vwap, twap,static_vwap") == ("static_vwap", "twap")
    for wrong in ("", " , ", "twap,best"):
        with pytest.raises(InvalidInput):
            parse_algorithms(wrong)


def test_sizes_come_in_one_text_or_in_several() -> None:
    assert parse_sizes(()) == (0.0,)
    assert parse_sizes(("0.01,0.05", "0.05")) == (0.01, 0.05)
    for wrong in (("0,0.1",), ("x",), ("1.5",), ("-0.1",), ("nan",)):
        with pytest.raises(InvalidInput) as caught:
            parse_sizes(wrong)
        assert caught.value.metadata["field"] == "size"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"cap": 1.0}, "cap"),
        ({"cap": 0.0}, "cap"),
        ({"train_until": "01/02/2024"}, "train_until"),
        ({"print_share": 0.0}, "print_share"),
        ({"max_impact": -0.001}, "max_impact"),
        ({"max_deviation": 0.0}, "max_deviation"),
        ({"answer_seconds": -1.0}, "answer_seconds"),
        ({"step_seconds": 0.5}, "step_seconds"),
        ({"latency_seconds": 60.0}, "latency_seconds"),
        ({"rate_seconds": 10_000.0}, "rate_seconds"),
        ({"patience_seconds": 1.0}, "patience_seconds"),
        ({"sizes": (0.0,), "algorithms": ("pov",)}, "algo"),
    ],
)
def test_what_is_out_of_range_is_named(change: dict[str, Any], field: str) -> None:
    check_options(GOOD)
    with pytest.raises(InvalidInput) as caught:
        check_options(replace(GOOD, **change))
    assert caught.value.metadata["field"] == field


def test_the_fingerprint_knows_every_option_and_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    path.write_text("one")
    one = replace(GOOD, path=path)
    assert one.fingerprint() == replace(GOOD, path=path).fingerprint()
    assert one.fingerprint() != replace(one, seed=2).fingerprint()
    before = one.fingerprint()
    path.write_text("other")
    assert one.fingerprint() != before
