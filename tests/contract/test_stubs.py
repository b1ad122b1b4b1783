"""The generated stubs are those of the protos that lie beside them."""

import os
from pathlib import Path
from types import ModuleType

import pytest

from tests.contract.conftest import PROTOS


@pytest.fixture(scope="module")
def fresh(generator: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("stubs")
    generator.generate(PROTOS, folder)
    return folder


def test_no_stub_is_stale(generator: ModuleType, fresh: Path) -> None:
    stale = [
        str(name)
        for proto in generator.proto_files()
        for name in generator.generated_files(proto)
        if not (PROTOS / name).exists() or (PROTOS / name).read_bytes() != (fresh / name).read_bytes()
    ]
    assert stale == [], "run `make setup`"


def test_no_stub_is_left_over_from_a_proto_that_is_gone(generator: ModuleType) -> None:
    expected = {
        PROTOS / name for proto in generator.proto_files() for name in generator.generated_files(proto)
    }
    assert set(generator.present_stubs(PROTOS)) == expected


def test_the_generator_notices_a_missing_a_left_over_and_an_older_stub(
    generator: ModuleType, tmp_path: Path
) -> None:
    source = tmp_path / "tapeline" / "probe" / "v1"
    source.mkdir(parents=True)
    proto = source / "probe.proto"
    proto.write_text('syntax = "proto3";\npackage tapeline.probe.v1;\n// Probe.\nmessage Probe {}\n')
    protos = generator.proto_files(tmp_path)
    assert generator.is_stale(tmp_path, tmp_path, protos)
    generator.generate(tmp_path, tmp_path)
    assert not generator.is_stale(tmp_path, tmp_path, protos)
    assert (source / "__init__.py").exists()
    assert (tmp_path / "tapeline" / "__init__.py").exists() is False, "tapeline is a namespace"

    left_over = source / "gone_pb2.py"
    left_over.touch()
    assert generator.is_stale(tmp_path, tmp_path, protos)
    generator.generate(tmp_path, tmp_path)
    assert not left_over.exists()

    stub = source / "probe_pb2.py"
    newer = stub.stat().st_mtime + 10
    os.utime(proto, (newer, newer))
    assert generator.is_stale(tmp_path, tmp_path, protos)


def test_a_proto_that_does_not_compile_stops_the_build_and_keeps_the_old_stubs(
    generator: ModuleType, tmp_path: Path
) -> None:
    source = tmp_path / "tapeline" / "probe" / "v1"
    source.mkdir(parents=True)
    (source / "probe.proto").write_text('syntax = "proto3";\npackage tapeline.probe.v1;\nmessage Probe {}\n')
    generator.generate(tmp_path, tmp_path)
    before = (source / "probe_pb2.py").read_bytes()
    (source / "probe.proto").write_text('syntax = "proto3";\nmessage {}\n')
    with pytest.raises(SystemExit, match="could not compile"):
        generator.generate(tmp_path, tmp_path)
    assert (source / "probe_pb2.py").read_bytes() == before
