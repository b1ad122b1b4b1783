"""What market_data can be told, from flags and from variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from servers.market_data.settings import MarketDataSettings
from servers.runtime.sources import WrongSettings, load_settings


def test_history_takes_files_with_commas_between() -> None:
    flags = load_settings("market_data", MarketDataSettings, ["--history", "a.csv.xz, b.parquet"])
    assert flags.history == (Path("a.csv.xz"), Path("b.parquet"))
    variable = load_settings("market_data", MarketDataSettings, [], {"TAPELINE_MARKET_DATA_HISTORY": "a.csv"})
    assert variable.history == (Path("a.csv"),)
    assert load_settings("market_data", MarketDataSettings).history == ()


@pytest.mark.parametrize(
    "flags",
    [
        ["--history-sessions", "61"],
        ["--batch-seconds", "0.06"],
        ["--reader-limit-prints", "10"],
        ["--pacer-silence-seconds", "0"],
        ["--tape-sessions", "none"],
    ],
)
def test_a_wrong_value_is_refused_with_its_name(flags: list[str]) -> None:
    with pytest.raises(WrongSettings, match=flags[0][2:].replace("-", "_")):
        load_settings("market_data", MarketDataSettings, flags)
