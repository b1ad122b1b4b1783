"""The tape on disk: whole segments come back, torn ones are cut off, a full disk costs no print."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from servers.market_data.adapters.tape_files import TapeFiles
from servers.market_data.domain import Prints
from servers.market_data.market import Market
from servers.market_data.recorder import TapeRecorder
from servers.reference import recorded_instrument

SESSION = (1_000, 2_000)


class Log:
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def info(self, event: str, **fields: object) -> None:
        pass

    def warning(self, event: str, **fields: object) -> None:
        self.warnings.append(event)


def recorder(market: Market, store: Any, log: Log | None = None) -> TapeRecorder:
    return TapeRecorder(
        market, store, interval_seconds=0.001, log=log or Log(), instrument_for=recorded_instrument
    )


async def test_what_was_appended_comes_back_in_order(tmp_path: Path, make_prints: Any) -> None:
    files = TapeFiles(tmp_path, 5)
    runs = [
        make_prints(1, [1, 2], [50, 51], [7, 8]),
        make_prints(3, [3], [51], [8], [33], [2]),
        make_prints(1, [4] * 1_000, [120] * 1_000, [1] * 1_000, symbol="BOLT"),
    ]
    await files.append(SESSION, runs[:2])
    await files.append(SESSION, runs[2:])
    await files.close()
    assert list(TapeFiles(tmp_path, 5).load()) == [(SESSION, run) for run in runs]


async def test_a_file_cut_anywhere_gives_its_whole_segments_and_grows_on(
    tmp_path: Path, make_prints: Any
) -> None:
    files = TapeFiles(tmp_path, 5)
    first, second = make_prints(1, [1], [50], [7]), make_prints(2, [2, 3], [51, 52], [8, 9])
    await files.append(SESSION, [first])
    (path,) = tmp_path.iterdir()
    whole = len(path.read_bytes())
    await files.append(SESSION, [second])
    await files.close()
    content = path.read_bytes()
    for length in range(whole, len(content)):
        path.write_bytes(content[:length])
        again = TapeFiles(tmp_path, 5)
        assert list(again.load()) == [(SESSION, first)]
        assert len(path.read_bytes()) == whole
        await again.append(SESSION, [second])
        await again.close()
        assert path.read_bytes() == content


async def test_a_changed_byte_is_noticed(tmp_path: Path, make_prints: Any) -> None:
    files = TapeFiles(tmp_path, 5)
    await files.append(SESSION, [make_prints(1, [1], [50], [7])])
    await files.close()
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    for position in range(len(content)):
        broken = bytearray(content)
        broken[position] ^= 0x10
        path.write_bytes(broken)
        assert list(TapeFiles(tmp_path, 5).load()) == []


async def test_only_the_last_sessions_are_kept_and_two_are_loaded(tmp_path: Path, make_prints: Any) -> None:
    files = TapeFiles(tmp_path, 3)
    (tmp_path / "notes.txt").write_text("not a tape")
    for number in range(1, 6):
        session = (number * 1_000, number * 1_000 + 500)
        await files.append(session, [make_prints(number, [number], [50], [7])])
    await files.close()
    assert sorted(path.name for path in tmp_path.glob("*.tape")) == [
        "3000-3500.tape",
        "4000-4500.tape",
        "5000-5500.tape",
    ]
    assert [prints.first_sequence for _, prints in TapeFiles(tmp_path, 3).load()] == [4, 5]
    await files.clear()
    assert list(tmp_path.glob("*.tape")) == []
    assert list(TapeFiles(tmp_path / "absent", 3).load()) == []


async def test_the_recorder_writes_what_is_new_and_restores_it(
    tmp_path: Path, market: Market, make_prints: Any
) -> None:
    market.restore_session("ACME", *SESSION)
    writing = recorder(market, TapeFiles(tmp_path, 5))
    for first in (1, 3):
        market.apply(make_prints(first, [first, first], [50, 51], [7, 8]))
        writing.mark("ACME")
        await writing.flush()
    await writing.flush()
    await writing.close()
    assert writing.stored_count == 4
    again = Market(market.instruments)
    assert recorder(again, TapeFiles(tmp_path, 5)).restore() == 4
    assert again.session("ACME") == SESSION
    assert list(again.tapes["ACME"].read(0, 4)) == list(market.tapes["ACME"].read(0, 4))
    bare = Market({})
    assert recorder(bare, TapeFiles(tmp_path, 5)).restore() == 4
    assert bare.instruments["ACME"] == recorded_instrument("ACME")


class FullDisk:
    """Takes nothing until there is room."""

    def __init__(self) -> None:
        self.has_room = False
        self.kept: list[Prints] = []

    def load(self) -> Iterable[tuple[tuple[int, int], Prints]]:
        return ()

    async def append(self, session: tuple[int, int], runs: Sequence[Prints]) -> None:
        if not self.has_room:
            raise OSError(28, "No space left on device")
        self.kept += runs

    async def clear(self) -> None:
        self.kept.clear()

    async def close(self) -> None:
        pass


async def test_a_full_disk_costs_no_print_and_is_told_once(market: Market, make_prints: Any) -> None:
    disk, log = FullDisk(), Log()
    writing = recorder(market, disk, log)
    for first in (1, 2):
        market.apply(make_prints(first, [first], [50], [7]))
        writing.mark("ACME")
        await writing.flush()
        assert writing.is_failing
    assert len(log.warnings) == 1
    disk.has_room = True
    await writing.flush()
    assert not writing.is_failing
    assert [(run.first_sequence, run.count) for run in disk.kept] == [(1, 2)]
    await writing.start_over()
    await writing.flush()
    assert [(run.first_sequence, run.count) for run in disk.kept] == [(1, 2)]


async def test_a_failed_write_leaves_no_half_segment(
    tmp_path: Path, make_prints: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = TapeFiles(tmp_path, 5)
    first, second = make_prints(1, [1], [50], [7]), make_prints(2, [2], [51], [8])
    await files.append(SESSION, [first])

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("servers.market_data.adapters.tape_files.os.fsync", fail)
        with pytest.raises(OSError, match="Input/output"):
            await files.append(SESSION, [second])
    await files.append(SESSION, [second])
    await files.close()
    assert [prints for _, prints in TapeFiles(tmp_path, 5).load()] == [first, second]
