"""Files become prints and panels, block by block; what is wrong in them is named."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.backtest import tape
from servers.backtest.panel import read_panel
from servers.backtest.prints import PRINTS_PER_BAR, prints_of_bars, tilted_weights
from servers.backtest.tape import TapeFile
from servers.backtest.tracking import load_panel
from servers.calendars import Calendars
from servers.model.calendar import Session
from servers.model.errors import InvalidInput
from servers.recordings import load_bars

Write = Callable[[list[str]], Path]
MINUTE = 60 * 10**9


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(lines: list[str]) -> Path:
        path = tmp_path / "some.csv"
        path.write_text("\n".join(lines) + "\n")
        return path

    return written


@given(
    st.lists(
        st.tuples(
            st.floats(10, 100), st.floats(0, 0.5), st.floats(0, 1), st.floats(0, 1), st.floats(0.05, 0.95)
        ),
        min_size=1,
        max_size=20,
    )
)
def test_prints_of_a_bar_trade_its_volume_at_its_vwap_between_its_extremes(
    made: list[tuple[float, float, float, float, float]],
) -> None:
    low = np.array([bottom for bottom, *_ in made])
    high = low + np.array([span for _, span, *_ in made])
    opens, closes = (
        low + (high - low) * np.array(column) for column in ([m[2] for m in made], [m[3] for m in made])
    )
    vwap = low + (high - low) * np.array([m[4] for m in made])
    volume = np.arange(1.0, len(made) + 1)
    starts = np.arange(len(made)) * MINUTE
    times, prices, sizes = prints_of_bars(starts, opens, high, low, closes, vwap, volume)
    by_bar = sizes.reshape(-1, PRINTS_PER_BAR)
    assert by_bar.sum(axis=1).tolist() == (volume * 1e9).astype(int).tolist()
    assert (by_bar >= 0).all()
    assert (np.diff(times) > 0).all()
    assert (times.reshape(-1, PRINTS_PER_BAR) > starts[:, None]).all()
    assert (times.reshape(-1, PRINTS_PER_BAR) < starts[:, None] + MINUTE).all()
    found = (by_bar * (prices.reshape(-1, PRINTS_PER_BAR) / 1e9)).sum(axis=1) / by_bar.sum(axis=1)
    assert found == pytest.approx(vwap, abs=2e-3 + 0.001 * 0.5)


def test_weights_of_a_flat_bar_are_equal_and_bars_without_volume_make_no_print() -> None:
    assert tilted_weights(np.full((1, 4), 5.0), np.array([5.0])).tolist() == [[0.25] * 4]
    one = np.ones(1)
    times, _, _ = prints_of_bars(np.zeros(1, np.int64), one, one, one, one, np.zeros(1), np.zeros(1))
    assert len(times) == 0


def test_the_streamed_panel_is_the_panel_of_the_whole_file(
    bars_file: Path, calendars: Calendars, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tape, "SLIM_BLOCK_BYTES", 1 << 16)
    whole = load_panel(load_bars(bars_file), "XNYS", calendars)
    streamed = read_panel(bars_file, True, "XNYS", calendars)
    assert streamed.symbols == whole.symbols
    assert streamed.sessions == whole.sessions
    assert np.array_equal(streamed.volumes, whole.volumes)
    assert np.allclose(streamed.prices, whole.prices, rtol=1e-12, equal_nan=True)


def test_prints_carry_all_of_the_volume_in_the_order_of_time(bars_file: Path, calendars: Calendars) -> None:
    panel = read_panel(bars_file, True, "XNYS", calendars)
    total, last = 0, 0
    for part in TapeFile(bars_file, True, "XNYS", calendars).prints(["BBB"]):
        assert part.symbol == "BBB"
        assert int(part.times[0]) > last
        assert (np.diff(part.times) >= 0).all()
        assert np.array_equal(part.takeable, part.sizes)
        last = int(part.times[-1])
        total += int(part.sizes.sum())
    assert total == int(panel.volumes[1].sum()) * 10**9


def test_bars_in_no_order_are_refused_where_they_are_to_be_replayed(
    bars_lines: list[str], write: Write, calendars: Calendars
) -> None:
    path = write([bars_lines[0], *reversed(bars_lines[1:50])])
    with pytest.raises(InvalidInput, match="row 2, column start_time_ms: the time runs backwards"):
        read_panel(path, True, "XNYS", calendars, must_be_ordered=True)


@pytest.mark.parametrize("is_ordered", [True, False])
def test_another_markets_calendar_is_refused(
    is_ordered: bool, bars_lines: list[str], write: Write, calendars: Calendars
) -> None:
    rows = bars_lines[1:] if is_ordered else bars_lines[:0:-1]
    with pytest.raises(InvalidInput, match=r"of the file's volume lies inside sessions of XBOM"):
        read_panel(write([bars_lines[0], *rows]), True, "XBOM", calendars)


def test_bars_in_no_order_are_read_whole_and_give_the_same_panel(
    bars_lines: list[str], bars_file: Path, write: Write, calendars: Calendars
) -> None:
    shuffled = [bars_lines[0], *reversed(bars_lines[1:])]
    assert np.array_equal(
        read_panel(write(shuffled), True, "XNYS", calendars).volumes,
        read_panel(bars_file, True, "XNYS", calendars).volumes,
    )


@pytest.mark.parametrize(
    ("place", "value", "column"),
    [
        (2, "0", "open"),
        (2, "abc", "open"),
        (3, "1", "high"),
        (7, "-1", "volume"),
        (7, "", "volume"),
        (1, "x", "start_time_ms"),
    ],
)
def test_a_bad_value_is_named_by_row_and_column(
    place: int, value: str, column: str, bars_lines: list[str], write: Write, calendars: Calendars
) -> None:
    cells = bars_lines[200].split(",")
    cells[place] = value
    path = write([*bars_lines[:200], ",".join(cells), *bars_lines[201:400]])
    with pytest.raises(InvalidInput) as caught:
        read_panel(path, True, "XNYS", calendars)
    assert caught.value.reason == "FILE_MALFORMED"
    assert caught.value.metadata["row"] == "200"
    assert caught.value.metadata["column"] == column


def test_a_bar_that_is_there_twice_is_refused(
    bars_lines: list[str], write: Write, calendars: Calendars
) -> None:
    path = write([*bars_lines[:100], bars_lines[99], *bars_lines[100:200]])
    with pytest.raises(InvalidInput, match="row 100, column start_time_ms: AAA has two bars"):
        read_panel(path, True, "XNYS", calendars)


def test_a_file_without_the_columns_or_without_a_trade_is_refused(
    bars_lines: list[str], write: Write, calendars: Calendars
) -> None:
    with pytest.raises(InvalidInput, match="no column 'volume'"):
        read_panel(write([line.rpartition(",")[0] for line in bars_lines[:50]]), True, "XNYS", calendars)
    idle = [bars_lines[0], *(line.rpartition(",")[0] + ",0" for line in bars_lines[1:50])]
    with pytest.raises(InvalidInput, match="nothing traded"):
        read_panel(write(idle), True, "XNYS", calendars)


def trades_lines(session: Session) -> list[str]:
    start = session.open_time_nanos // 10**6
    rows = [
        (start - 1_000, 10.0, 100, "P", "1"),  # before the open
        (start, 10.0, 100, "P", "41"),  # the opening print: counts, and nobody could take part
        (start + 1, 10.1, 200, "P", "1"),
        (start + 1, 10.1, 300, "D", "1"),  # off exchange: counts, and nothing there to hit
        (start + 2, 99.0, 5_000, "P", "100000"),  # an average price: counts nowhere
        (start + 3, 10.2, 400, "P", "20"),
    ]
    head = "symbol,time_ms,price,size,exchange,sale_condition,suspicious"
    return [head, *(f"AAA,{time},{price},{size},{venue},{mask},0" for time, price, size, venue, mask in rows)]


def test_only_eligible_trades_count_and_only_some_can_be_had(
    write: Write, calendars: Calendars, sessions: tuple[Session, ...]
) -> None:
    path = write(trades_lines(sessions[0]))
    (part,) = TapeFile(path, False, "XNYS", calendars).prints()
    assert (part.sizes // 10**9).tolist() == [100, 200, 300, 400]
    assert (part.takeable // 10**9).tolist() == [0, 200, 0, 400]
    assert read_panel(path, False, "XNYS", calendars).volumes.sum() == 1_000


def test_trades_that_run_backwards_or_carry_no_condition_are_refused(
    write: Write, calendars: Calendars, sessions: tuple[Session, ...]
) -> None:
    lines = trades_lines(sessions[0])
    with pytest.raises(InvalidInput, match="row 6, column time_ms: the time runs backwards"):
        read_panel(write([*lines[:5], lines[6], lines[3]]), False, "XNYS", calendars)
    with pytest.raises(InvalidInput, match=r"row 3, column sale_condition: 'zz' is no hexadecimal"):
        read_panel(write([*lines[:3], lines[3].replace(",1,0", ",zz,0")]), False, "XNYS", calendars)
    with pytest.raises(InvalidInput, match="column size: not a size"):
        read_panel(write([*lines[:3], lines[3].replace(",200,", ",0,")]), False, "XNYS", calendars)
