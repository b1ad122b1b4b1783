"""Recorded files: what is read, which prints count, and what a damaged file is told."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from servers.model.calendar import Session
from servers.model.errors import InvalidInput
from servers.model.market import TradeFlag
from servers.model.nanos import NANO
from servers.recordings import load_bars, load_profile, load_trades, profile_for
from servers.recordings.trades import is_trades_file, recorded_dates

OPEN = 1381152600  # 2013-10-07 09:30 New York
CLOSE = OPEN + 23400
SESSION = Session("XNYS", "2013-10-07", "America/New_York", OPEN * NANO, CLOSE * NANO)
HEAD = "symbol,time_ms,price,size,exchange,sale_condition\n"


def row(
    symbol: str = "BAC",
    second: float = 1.0,
    price: str = "13.94",
    size: str = "100",
    where: str = "N",
    bits: str = "1",
) -> str:
    return f"{symbol},{int((OPEN + second) * 1000)},{price},{size},{where},{bits}\n"


def trades_file(folder: Path, *rows: str, head: str = HEAD) -> Path:
    path = folder / "trades.csv"
    path.write_text(head + "".join(rows))
    return path


def flags_of(folder: Path, *rows: str) -> list[TradeFlag]:
    return [
        TradeFlag(flag) for flag in load_trades(trades_file(folder, *rows), SESSION)["BAC"].flags.tolist()
    ]


def test_prices_and_sizes_are_exact_nanos(tmp_path: Path) -> None:
    trades = load_trades(
        trades_file(tmp_path, row(price="13.9450", size="333"), row(price="123456.000000001")), SESSION
    )
    assert trades["BAC"].price_nanos.tolist() == [13_945_000_000, 123_456_000_000_001]
    assert trades["BAC"].size_nanos.tolist() == [333 * NANO, 100 * NANO]
    assert trades["BAC"].time_nanos.tolist() == [(OPEN + 1) * NANO] * 2


@pytest.mark.parametrize(
    "bits",
    [
        "2",
        "4",
        "8",
        "200",
        "400",
        "800",
        "2000",
        "4000",
        "100000",
        "1000000",
        "2000000",
        "4000000",
        "20004001",
    ],
)
def test_prints_with_an_excluded_condition_do_not_count(tmp_path: Path, bits: str) -> None:
    assert TradeFlag.ELIGIBLE not in flags_of(tmp_path, row(bits=bits))[0]


@pytest.mark.parametrize("bits", ["1", "20", "21", "20000000", "20000020"])
def test_regular_and_sweep_prints_count(tmp_path: Path, bits: str) -> None:
    assert flags_of(tmp_path, row(bits=bits)) == [TradeFlag.ELIGIBLE]


def test_auction_and_off_exchange_prints_are_marked_and_count(tmp_path: Path) -> None:
    auction, dark = flags_of(tmp_path, row(bits="40"), row(where="D"))
    assert auction == TradeFlag.ELIGIBLE | TradeFlag.AUCTION
    assert dark == TradeFlag.ELIGIBLE | TradeFlag.OFF_EXCHANGE


def test_only_the_regular_session_counts_with_the_closing_auction_after_the_bell(tmp_path: Path) -> None:
    before, after, auction = flags_of(
        tmp_path, row(second=-1), row(second=23400), row(second=23402, bits="80")
    )
    assert before == after == TradeFlag.EXTENDED_HOURS
    assert auction == TradeFlag.ELIGIBLE | TradeFlag.AUCTION


def test_another_day_and_other_symbols_are_left_out(tmp_path: Path) -> None:
    path = trades_file(tmp_path, row(), row("IBM"), row(second=86400), row(second=-40000))
    assert set(load_trades(path, SESSION)) == {"BAC", "IBM"}
    assert len(load_trades(path, SESSION, ["BAC"])["BAC"]) == 1
    assert recorded_dates(path, "America/New_York") == ["2013-10-06", "2013-10-07", "2013-10-08"]


def test_equal_times_keep_the_order_of_the_file(tmp_path: Path) -> None:
    path = trades_file(tmp_path, row(second=2, price="3"), row(second=1, price="1"), row(second=1, price="2"))
    assert (load_trades(path, SESSION)["BAC"].price_nanos // NANO).tolist() == [1, 2, 3]


def test_a_file_without_conditions_counts_the_whole_session(tmp_path: Path) -> None:
    path = trades_file(tmp_path, f"A,{OPEN * 1000},5,1\n", head="symbol,time_ms,price,size\n")
    assert load_trades(path, SESSION)["A"].flags.tolist() == [int(TradeFlag.ELIGIBLE)]
    assert is_trades_file(path)


def test_compressed_files_and_parquet_say_the_same(tmp_path: Path) -> None:
    path = trades_file(tmp_path, row(), row(second=2, price="14.01"))
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    (tmp_path / "t.csv.xz").write_bytes(lzma.compress(path.read_bytes()))
    table = pyarrow.csv.read_csv(
        path, convert_options=pyarrow.csv.ConvertOptions(column_types={"sale_condition": pa.string()})
    )
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    expected = load_trades(path, SESSION)["BAC"]
    for name in ("t.csv.gz", "t.csv.xz", "t.parquet"):
        found = load_trades(tmp_path / name, SESSION)["BAC"]
        assert np.array_equal(found.price_nanos, expected.price_nanos)
        assert np.array_equal(found.flags, expected.flags)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([row(), row(price="x")], ["row 2", "column price", "invalid value 'x'"]),
        ([row(), row(), row(price="-1")], ["row 3", "column price", "not a price"]),
        ([row(price="nan")], ["row 1", "column price"]),
        ([row(size="0")], ["row 1", "column size", "not a size"]),
        ([row(size="")], ["row 1", "column size", "missing"]),
        ([row(bits="zz")], ["row 1", "column sale_condition", "hexadecimal"]),
        ([row(), "BAC,1\n"], ["row 2", "Expected 6 columns"]),
    ],
)
def test_a_damaged_row_is_named_with_its_column_and_reason(
    tmp_path: Path, rows: list[str], words: list[str]
) -> None:
    with pytest.raises(InvalidInput) as caught:
        load_trades(trades_file(tmp_path, *rows), SESSION)
    assert caught.value.reason == "FILE_MALFORMED"
    for word in words:
        assert word in caught.value.message


def test_a_file_that_is_missing_empty_cut_off_or_of_another_shape_is_named(tmp_path: Path) -> None:
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(gzip.compress(HEAD.encode() + row().encode() * 10_000)[:200])
    (tmp_path / "empty.csv").touch()
    (tmp_path / "bars.csv").write_text("symbol,open\nA,1\n")
    (tmp_path / "not.csv.xz").write_text("this is not xz")
    (tmp_path / "not.parquet").write_text("this is not parquet")
    for name in ("missing.csv", "empty.csv", "bars.csv", "cut.csv.gz", "not.csv.xz", "not.parquet"):
        with pytest.raises(InvalidInput, match=name.replace(".", r"\.")):
            load_trades(tmp_path / name, SESSION)


def test_bars_are_read_with_and_without_vwap(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    path.write_text(
        "symbol,start_time_ms,open,high,low,close,volume\nB,120000,2,3,1,2.5,10\nB,60000,2,3,1,2.5,20\n"
    )
    bars = load_bars(path)["B"]
    assert bars.start_nanos.tolist() == [60 * NANO, 120 * NANO]
    assert bars.volume.tolist() == [20.0, 10.0]
    assert bars.vwap_nanos.tolist() == [0, 0]
    path.write_text(
        "symbol,start_time_ms,open,high,low,close,vwap,volume\nB,60000,2,3,1,2.5,2.25,20\nC,60000,1,1,1,1,1,0\n"
    )
    assert load_bars(path, ["B"])["B"].vwap_nanos.tolist() == [2_250_000_000]


@pytest.mark.parametrize(
    ("line", "words"),
    [("B,1,2,1,3,2,5", "column high"), ("B,1,2,3,1,2,-5", "column volume"), ("B,1,0,3,1,2,5", "column open")],
)
def test_bars_that_cannot_be_are_refused(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "bars.csv"
    path.write_text(f"symbol,start_time_ms,open,high,low,close,volume\nB,0,2,3,1,2,5\n{line}\n")
    with pytest.raises(InvalidInput, match=f"row 2, {words}"):
        load_bars(path)


def test_a_bar_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    path.write_text("symbol,start_time_ms,open,high,low,close,volume\n" + "B,60000,2,3,1,2,5\n" * 2)
    with pytest.raises(InvalidInput, match="two bars at 60000"):
        load_bars(path)


def test_a_profile_is_data_and_a_wrong_one_names_its_field(tmp_path: Path) -> None:
    assert profile_for(["symbol", "exchange", "sale_condition"]).name == "us_consolidated"
    assert profile_for(["symbol"]).name == "plain"
    own = tmp_path / "own.toml"
    own.write_text('name = "own"\nrule = "all"\n[ineligible_conditions]\nodd = "zz"\n')
    with pytest.raises(InvalidInput, match=r"ineligible_conditions\.odd"):
        load_profile(str(own))
    own.write_text('name = "own"\nrule = "all"\ncolour = 1\n')
    with pytest.raises(InvalidInput, match="colour is unknown"):
        load_profile(str(own))
    own.write_text('rule = "all"\n')
    with pytest.raises(InvalidInput, match="name is missing"):
        load_profile(str(own))
    own.write_text('name = "own"\nrule = "all"\nvenue_column = 5\n')
    with pytest.raises(InvalidInput, match="venue_column is no text"):
        load_profile(str(own))
    with pytest.raises(InvalidInput, match=r"nosuch\.toml"):
        load_profile("nosuch")
