"""Generate the stubs beside their `.proto` and package them as `tapeline-stubs`.

`python setup.py build_stubs` in this folder generates what is out of date; a wheel or an editable install
does the same first. `tapeline` itself is a namespace package (it has no `__init__.py`), so that other
distributions may add areas of their own.
"""

import shutil
import sys
import sysconfig
import tempfile
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from setuptools import Command, setup
from setuptools.command.build_py import build_py

SOURCE = Path(__file__).resolve().parent
MESSAGE_SUFFIXES = ("_pb2.py", "_pb2.pyi")
SERVICE_SUFFIXES = ("_pb2_grpc.py", "_pb2_grpc.pyi")


def proto_files(source: Path = SOURCE) -> list[Path]:
    """Return every `.proto` of Tapeline below `source`, relative to it."""
    return sorted(path.relative_to(source) for path in (source / "tapeline").rglob("*.proto"))


def generated_files(proto: Path) -> list[Path]:
    """Return the files that one `.proto` becomes: messages always, a service part for `*_service.proto`."""
    suffixes = MESSAGE_SUFFIXES + (SERVICE_SUFFIXES if has_service(proto) else ())
    return [proto.with_name(proto.stem + suffix) for suffix in suffixes]


def has_service(proto: Path) -> bool:
    """Tell whether the file declares a service; by the rule of this tree its name says so."""
    return proto.stem.endswith("_service")


def package_folders(protos: list[Path]) -> list[Path]:
    """Return the folders that hold packages, `tapeline` itself left out because it is a namespace."""
    versions = {proto.parent for proto in protos}
    return sorted(versions | {version.parent for version in versions})


def is_stale(source: Path, destination: Path, protos: list[Path]) -> bool:
    """Tell whether a generated file is missing, left over, or older than any `.proto` or this file.

    Any `.proto`, and not just its own: one file imports another, and all of them take a second together.
    """
    expected = {destination / name for proto in protos for name in generated_files(proto)}
    present = set(present_stubs(destination))
    if present != expected:
        return True
    newest_source = max(
        path.stat().st_mtime for path in [Path(__file__), *(source / proto for proto in protos)]
    )
    return any(path.stat().st_mtime < newest_source for path in expected)


def generate(source: Path, destination: Path) -> None:
    """Generate all stubs of `source/tapeline/**/*.proto` into the same folders below `destination`.

    A file is replaced at once and only when all have compiled, so a running server never imports half of one.
    Raises SystemExit when a file does not compile; the compiler has said why.
    """
    with tempfile.TemporaryDirectory() as folder:
        compile_stubs(source, Path(folder))
        compiled = [path.relative_to(folder) for path in Path(folder).rglob("*") if path.is_file()]
        for path in compiled:
            (destination / path.parent).mkdir(parents=True, exist_ok=True)
            arriving = destination / path.with_name(path.name + ".arriving")
            shutil.copyfile(Path(folder) / path, arriving)
            arriving.replace(destination / path)
    for path in present_stubs(destination):
        if path.relative_to(destination) not in compiled:
            path.unlink()


def present_stubs(destination: Path) -> list[Path]:
    """Return every generated file below `destination`, wanted or left over."""
    suffixes = MESSAGE_SUFFIXES + SERVICE_SUFFIXES
    return [path for path in (destination / "tapeline").rglob("*_pb2*") if path.name.endswith(suffixes)]


def google_protos() -> Path:
    """Return the folder below which googleapis-common-protos keeps `google/type` and `google/rpc`."""
    spec = find_spec("google.type.money_pb2")
    if spec is None or spec.origin is None:
        raise SystemExit("googleapis-common-protos is not installed")
    return Path(spec.origin).parents[2]


def compile_stubs(source: Path, destination: Path) -> None:
    """Run the compiler and its plugins over every `.proto`, and make packages of the folders."""
    from grpc_tools import protoc

    protos = proto_files(source)
    scripts = Path(sysconfig.get_path("scripts"))
    plugins = [
        f"--plugin={name}={path}"
        for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
        if (path := scripts / name).exists()
    ]
    command = [
        "protoc",
        *plugins,
        f"--proto_path={source}",
        f"--proto_path={files('grpc_tools') / '_proto'}",
        f"--proto_path={google_protos()}",
    ]
    messages = [f"--python_out={destination}", f"--mypy_out=quiet:{destination}"]
    services = [f"--grpc_python_out={destination}", f"--mypy_grpc_out=quiet:{destination}"]
    for outputs, compiled in ((messages, protos), (services, list(filter(has_service, protos)))):
        if compiled and protoc.main([*command, *outputs, *map(str, compiled)]):
            raise SystemExit(f"protoc could not compile the files in {source}")
    for folder in package_folders(protos):
        name = ".".join(folder.parts)
        (destination / folder / "__init__.py").write_text(f'"""Generated stubs of {name}."""\n')
        (destination / folder / "py.typed").touch()


class BuildStubs(Command):
    """Generate the stubs beside their `.proto`, when they are out of date."""

    description = "generate the gRPC stubs"
    user_options: ClassVar[list[tuple[str, str | None, str]]] = []

    def initialize_options(self) -> None:
        """Have no options."""

    def finalize_options(self) -> None:
        """Have no options."""

    def run(self) -> None:
        """Generate what is missing or older than its source."""
        protos = proto_files()
        if is_stale(SOURCE, SOURCE, protos):
            generate(SOURCE, SOURCE)
            print(f"generated the stubs of {len(protos)} files", file=sys.stderr)


class CopyGoogleProtos(Command):
    """Copy Google's `.proto` files from their Python package into `third_party`, for the proto linter."""

    description = "copy the protos that ours import"
    user_options: ClassVar[list[tuple[str, str | None, str]]] = []

    def initialize_options(self) -> None:
        """Have no options."""

    def finalize_options(self) -> None:
        """Have no options."""

    def run(self) -> None:
        """Make `third_party` anew."""
        google = SOURCE / "third_party" / "google"
        shutil.rmtree(google, ignore_errors=True)
        for area in ("rpc", "type"):
            (google / area).mkdir(parents=True)
            for proto in (google_protos() / "google" / area).glob("*.proto"):
                shutil.copyfile(proto, google / area / proto.name)


class BuildPackages(build_py):
    """Collect the packages after their modules were generated."""

    def run(self) -> None:
        """Generate, then collect."""
        self.run_command("build_stubs")
        super().run()


if __name__ == "__main__":
    setup(
        packages=["tapeline", *(".".join(folder.parts) for folder in package_folders(proto_files()))],
        package_dir={"": "."},
        package_data={"": ["*.proto", "*.pyi", "py.typed"]},
        cmdclass={
            "build_stubs": BuildStubs,
            "build_py": BuildPackages,
            "copy_google_protos": CopyGoogleProtos,
        },
    )
