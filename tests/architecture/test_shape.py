"""The tree is the diagram: every server has the same shape, and every file tells one story."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVERS = ROOT / "servers"
OWN_CODE = ("servers", "native", "benchmarks", "tests", "docs")
MAX_LINES = 450
# A server is a folder that can be started; the other folders are libraries of the servers.
SERVER_FOLDERS = sorted(path.parent for path in SERVERS.glob("*/__main__.py") if path.parent.name != "local")
EXPECTED_SERVERS = {"market_data", "portfolio", "risk", "execution", "orders", "exchange"}
REQUIRED_FILES = ("__init__.py", "__main__.py", "settings.py", "service.py", "wire.py", "README.md")
NAMES_OF_NOTHING = {"common", "utils", "util", "helpers", "helper", "misc", "shared"}
# What only the edge of a server may know.
DRIVERS = {
    "grpc",
    "grpc_health",
    "google",
    "tapeline",
    "opentelemetry",
    "prometheus_client",
    "sqlite3",
    "uvloop",
}
FREE_OF_DRIVERS = ("domain.py", "ports.py", "engine.py")
IO_MODULES = {
    "asyncio",
    "socket",
    "threading",
    "subprocess",
    "logging",
    "structlog",
    "random",
    "os",
    "pathlib",
}


def sources(*folders: str, suffixes: tuple[str, ...] = (".py",)) -> list[Path]:
    return [
        path
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in suffixes and "__pycache__" not in path.parts
    ]


def imported_modules(path: Path) -> Iterator[str]:
    """Yield the dotted name of every module that the file imports, whether at its top or in a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.relative_to(ROOT)}:{node.lineno} imports relatively"
            yield node.module or ""


def named(paths: list[Path]) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in paths]


def test_the_servers_of_the_mesh_are_there() -> None:
    assert {path.name for path in SERVER_FOLDERS} >= EXPECTED_SERVERS


@pytest.mark.parametrize("folder", SERVER_FOLDERS, ids=lambda path: path.name)
def test_a_server_has_the_shape_of_every_server(folder: Path) -> None:
    assert [name for name in REQUIRED_FILES if not (folder / name).is_file()] == []


@pytest.mark.parametrize("folder", SERVER_FOLDERS, ids=lambda path: path.name)
def test_a_server_wires_itself_in_main_alone(folder: Path) -> None:
    tree = ast.parse((folder / "__main__.py").read_text())
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert "build" in functions


def test_every_folder_of_code_is_a_package() -> None:
    folders = {path.parent for path in sources("servers", "native")}
    assert named(sorted(folder for folder in folders if not (folder / "__init__.py").is_file())) == []


def test_no_folder_or_module_has_a_name_that_names_nothing() -> None:
    assert (
        named(
            [
                path
                for path in sources("servers", "native")
                if NAMES_OF_NOTHING & set(path.with_suffix("").parts)
            ]
        )
        == []
    )


def test_no_file_is_too_long_for_one_story() -> None:
    files = [*sources(*OWN_CODE, suffixes=(".py", ".pyx", ".pxd", ".pyi")), ROOT / "setup.py"]
    assert [path for path in named(files) if len((ROOT / path).read_text().splitlines()) > MAX_LINES] == []


@pytest.mark.parametrize("file_name", FREE_OF_DRIVERS)
def test_domain_ports_and_engine_know_no_driver(file_name: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for folder in SERVER_FOLDERS
        for path in folder.glob(file_name)
        for module in imported_modules(path)
        if module.split(".")[0] in DRIVERS
    ]
    assert wrong == []


def test_the_domain_does_no_input_or_output_and_reads_no_clock() -> None:
    wrong = []
    for path in [*SERVERS.glob("*/domain.py"), *SERVERS.glob("*/domain/*.py")]:
        wrong += [
            f"{path.relative_to(ROOT)} imports {module}"
            for module in imported_modules(path)
            if module.split(".")[0] in IO_MODULES | {"time"}
        ]
        wrong += [
            f"{path.relative_to(ROOT)}:{node.lineno} is asynchronous"
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.AsyncFunctionDef | ast.Await)
        ]
    assert wrong == []


def test_only_wire_and_the_edge_know_protobuf() -> None:
    edges = {"wire", "adapters", "service.py", "wire.py", "__main__.py", "runtime", "journal", "local"}
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in sources("servers")
        for module in imported_modules(path)
        if module.split(".")[0] == "tapeline" and not edges & set(path.relative_to(SERVERS).parts)
    ]
    assert wrong == []


def test_servers_never_import_each_other() -> None:
    names = {folder.name for folder in SERVER_FOLDERS}
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for folder in SERVER_FOLDERS
        for path in folder.rglob("*.py")
        for module in imported_modules(path)
        if (parts := module.split("."))[0] == "servers"
        and len(parts) > 1
        and parts[1] in names - {folder.name}
    ]
    assert wrong == []


def test_only_the_command_prints() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources("servers", "native")
        if "local" not in path.parts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
        # What a process says before it has a log, or after it lost it, goes to standard error.
        and "file=sys.stderr" not in ast.unparse(node)
    ]
    assert wrong == []


def test_no_file_names_a_machine() -> None:
    """A path of someone's machine, or the word for unfinished work, belongs in no file."""
    # A bracket around one letter, so that this file does not find itself.
    words = re.compile(r"/[h]ome/|/[U]sers/|/[r]oot/|/[w]ork/|\b([T]ODO|[F]IXME)\b")
    files = sources(
        *OWN_CODE, "protos", suffixes=(".py", ".pyx", ".pxd", ".pyi", ".proto", ".md", ".toml", ".sql")
    )
    files += [
        path
        for path in ROOT.iterdir()
        if path.suffix in {".md", ".toml", ".py", ".txt"} or path.name == "Makefile"
    ]
    wrong = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files
        if "third_party" not in path.parts
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if words.search(line)
    ]
    assert wrong == []
