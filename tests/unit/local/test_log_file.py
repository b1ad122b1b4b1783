"""A log turns by size: nothing is lost at the turn, no line is split, and only so many files stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from servers.local.log_file import LogFile, LogLimits


def lines_of(folder: Path) -> list[str]:
    """Return what all files hold, the oldest first."""
    paths = sorted(folder.glob("server.log.*"), reverse=True)
    return [line for path in (*paths, folder / "server.log") for line in path.read_text().splitlines()]


def written(folder: Path, limits: LogLimits, count: int, first: int = 0) -> None:
    with LogFile(folder / "server.log", limits) as log:
        for number in range(first, first + count):
            log.write(f"line {number:04d}\n".encode())


def test_nothing_is_lost_at_the_turn_and_no_line_is_split(tmp_path: Path) -> None:
    written(tmp_path, LogLimits(file_bytes=95, files=9), 60)
    assert lines_of(tmp_path) == [f"line {number:04d}" for number in range(60)]
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == 7
    assert max(sizes) == 90


def test_only_so_many_files_stay_and_they_hold_the_newest_lines(tmp_path: Path) -> None:
    written(tmp_path, LogLimits(file_bytes=100, files=3), 57)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["server.log", "server.log.1", "server.log.2"]
    assert lines_of(tmp_path) == [f"line {number:04d}" for number in range(30, 57)]


def test_a_single_file_begins_anew(tmp_path: Path) -> None:
    written(tmp_path, LogLimits(file_bytes=100, files=1), 15)
    assert [path.name for path in tmp_path.iterdir()] == ["server.log"]
    assert lines_of(tmp_path) == [f"line {number:04d}" for number in range(10, 15)]


def test_a_server_that_starts_again_goes_on_in_the_same_file(tmp_path: Path) -> None:
    limits = LogLimits(file_bytes=100, files=3)
    written(tmp_path, limits, 7)
    written(tmp_path, limits, 7, first=7)
    assert len((tmp_path / "server.log.1").read_text().splitlines()) == 10
    assert lines_of(tmp_path) == [f"line {number:04d}" for number in range(14)]


def test_a_line_above_the_limit_gets_a_file_of_its_own(tmp_path: Path) -> None:
    with LogFile(tmp_path / "server.log", LogLimits(file_bytes=100, files=3)) as log:
        for line in (b"short\n", b"x" * 500 + b"\n", b"after\n"):
            log.write(line)
    assert (tmp_path / "server.log.2").read_text() == "short\n"
    assert (tmp_path / "server.log.1").stat().st_size == 501
    assert (tmp_path / "server.log").read_text() == "after\n"


def test_a_disk_that_takes_nothing_is_an_error(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    (tmp_path / "server.log").symlink_to(full)
    with LogFile(tmp_path / "server.log", LogLimits()) as log, pytest.raises(OSError, match="No space"):
        log.write(b"line\n")
