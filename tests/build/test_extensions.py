"""The debug build: the same source with its checks on, and the same line numbers."""

import os
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEADER = "# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True\n"


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = spec_from_file_location("tapeline_setup", ROOT / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_debug_header_turns_checks_on_and_keeps_the_meaning_of_the_code(build: ModuleType) -> None:
    text = HEADER + '"""Kernel."""\nvalue = 1\n'
    rewritten = build.debug_text(text)
    header = rewritten.splitlines()[0]
    directives = dict(pair.strip().split("=") for pair in header.removeprefix("# cython:").split(","))
    assert directives["boundscheck"] == directives["initializedcheck"] == directives["linetrace"] == "True"
    assert directives["cdivision"] == "True"
    assert directives["wraparound"] == "False", "a negative index stays an error"
    assert rewritten.splitlines()[1:] == text.splitlines()[1:]


def test_a_source_without_a_header_stops_the_debug_build(build: ModuleType) -> None:
    with pytest.raises(SystemExit, match="header"):
        build.debug_text('"""No directives."""\n')


def test_staging_copies_what_changed_and_drops_what_is_gone(
    build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kernel = tmp_path / "native" / "kernel.pyx"
    kernel.parent.mkdir()
    kernel.write_text(HEADER)
    (kernel.parent / "gone.pxd").touch()
    staged = tmp_path / "staged" / "native"
    build.stage_debug_sources(Path("staged"))
    assert sorted(path.name for path in staged.iterdir()) == ["gone.pxd", "kernel.pyx"]

    os.utime(staged / "kernel.pyx", (1, 1))
    (kernel.parent / "gone.pxd").unlink()
    build.stage_debug_sources(Path("staged"))
    assert [path.name for path in staged.iterdir()] == ["kernel.pyx"]
    assert (staged / "kernel.pyx").stat().st_mtime == 1, "an unchanged copy is not compiled again"

    kernel.write_text(HEADER + "x = 1\n")
    build.stage_debug_sources(Path("staged"))
    assert (staged / "kernel.pyx").read_text().endswith("x = 1\n")


@pytest.mark.parametrize("source", sorted((ROOT / "native").glob("*.pyx")), ids=lambda path: path.stem)
def test_every_extension_exists_in_both_builds_and_its_source_has_a_header(
    build: ModuleType, source: Path
) -> None:
    build.debug_text(source.read_text())
    for folder in (ROOT / "native", ROOT / "build" / "debug" / "native"):
        assert list(folder.glob(f"{source.stem}.*.so")), f"no build in {folder}; run `make setup`"


@pytest.mark.parametrize(("chosen", "folder"), [("release", "native"), ("debug", "build/debug/native")])
def test_the_environment_chooses_the_build(chosen: str, folder: str) -> None:
    program = "from native import schedule; print(schedule.__file__)"
    found = subprocess.check_output(
        [sys.executable, "-c", program], cwd=ROOT, env=os.environ | {"TAPELINE_NATIVE": chosen}, text=True
    )
    assert Path(found.strip()).parent == ROOT / folder
