"""The wheels carry what they promise, and the stubs work without anything else of ours."""

import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXTENSION_SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
# grpc's own needs; the rest of the environment stays invisible to the clean interpreter.
STUB_PACKAGES = ("grpc", "google", "typing_extensions.py")

pytestmark = pytest.mark.slow


def build_wheel(project: Path, destination: Path) -> Path:
    """Build a wheel of a copy with the environment's own build requirements: nothing is downloaded.

    A copy, because a build folder of former wheels would slip what was removed since into this one.
    """
    copy = destination / "source"
    if project == ROOT:
        copy.mkdir()
        for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
            shutil.copy(project / name, copy)
        for name in ("servers", "native"):
            shutil.copytree(
                project / name, copy / name, ignore=shutil.ignore_patterns("*.so", "*.c", "__pycache__")
            )
    else:
        shutil.copytree(
            project, copy, ignore=shutil.ignore_patterns("build", "*.egg-info", "*_pb2*", "__pycache__")
        )
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"),
            *("--wheel-dir", str(destination), str(copy)),
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=100,
    )
    (wheel,) = destination.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(ROOT / "protos", tmp_path_factory.mktemp("stubs"))


def test_the_wheel_of_the_stubs_is_pure_typed_and_has_every_area(stubs: Path) -> None:
    names = zipfile.ZipFile(stubs).namelist()
    assert stubs.name.endswith("-py3-none-any.whl")
    areas = {
        path.parent.relative_to(ROOT / "protos").as_posix()
        for path in ROOT.glob("protos/tapeline/*/v1/*.proto")
    }
    assert areas
    for area in areas:
        assert f"{area}/__init__.py" in names
        assert f"{area}/py.typed" in names
    protos = [path.relative_to(ROOT / "protos") for path in ROOT.glob("protos/tapeline/*/v1/*.proto")]
    for proto in protos:
        assert proto.as_posix() in names
        assert proto.with_name(f"{proto.stem}_pb2.py").as_posix() in names
        assert proto.with_name(f"{proto.stem}_pb2.pyi").as_posix() in names
    assert "tapeline/__init__.py" not in names, "tapeline is a namespace"
    assert {name.split("/")[0] for name in names} == {
        "tapeline",
        f"{stubs.name.rpartition('-py3')[0]}.dist-info",
    }


def test_the_stubs_import_in_a_clean_environment_with_their_own_dependencies_alone(
    stubs: Path, tmp_path: Path
) -> None:
    venv.create(tmp_path / "clean", with_pip=False)
    python = tmp_path / "clean" / "bin" / "python"
    packages = Path(
        subprocess.check_output(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
        ).strip()
    )
    zipfile.ZipFile(stubs).extractall(packages)
    for name in STUB_PACKAGES:
        (packages / name).symlink_to(Path(sysconfig.get_path("purelib")) / name)
    services = sorted(
        ".".join(path.relative_to(ROOT / "protos").with_suffix("").parts) + "_pb2_grpc"
        for path in ROOT.glob("protos/tapeline/*/v1/*_service.proto")
    )
    assert services
    program = (
        "import importlib, importlib.util\n"
        f"for name in {services!r}: importlib.import_module(name)\n"
        "print([name for name in ('servers', 'native', 'numpy') if importlib.util.find_spec(name)])"
    )
    answer = subprocess.run(
        [python, "-W", "error", "-c", program],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip() == "[]"


def test_the_wheel_of_tapeline_carries_extensions_their_interfaces_and_the_command(tmp_path: Path) -> None:
    names = zipfile.ZipFile(wheel := build_wheel(ROOT, tmp_path)).namelist()
    for source in (ROOT / "native").glob("*.pyx"):
        assert f"native/{source.stem}{EXTENSION_SUFFIX}" in names
    for suffix in ("pxd", "pyi"):
        for source in (ROOT / "native").glob(f"*.{suffix}"):
            assert f"native/{source.name}" in names
    for source in (ROOT / "servers").rglob("*.py"):
        assert source.relative_to(ROOT).as_posix() in names
    for source in (ROOT / "servers").rglob("*.toml"):
        assert source.relative_to(ROOT).as_posix() in names
    assert not [name for name in names if name.endswith((".pyx", ".c", ".o"))]
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"native", "servers"}
    (entry_points,) = [name for name in names if name.endswith("entry_points.txt")]
    assert "tapeline = servers.local.command:main" in zipfile.ZipFile(wheel).read(entry_points).decode()
