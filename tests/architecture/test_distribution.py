"""What the code imports is what the distributions declare, no more and no less, and all of it is pinned."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
OWN = {"servers", "native", "tapeline", "benchmarks", "tests", "triton_models"}
# Imported by a library that does not declare it: tweepy's asyncio client needs async-lru.
NEVER_IMPORTED = {"tapeline-stubs", "async-lru"}


def project(folder: Path) -> dict[str, Any]:
    with (folder / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def imported_distributions(folder: str) -> dict[str, set[str]]:
    """Return every distribution that the code below `folder` imports, with the files that do."""
    providers = packages_distributions()
    found: dict[str, set[str]] = {}
    for path in (ROOT / folder).rglob("*.py"):
        if path.stem.endswith("_peers"):
            continue  # runs in .venv-peers, whose versions benchmarks/peers.py pins
        modules = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules.add(node.module)
        for module in modules:
            top = module.split(".")[0]
            if top in sys.stdlib_module_names or top in OWN or path.with_name(f"{top}.py").exists():
                continue
            for distribution in provider(module, providers):
                found.setdefault(distribution, set()).add(str(path.relative_to(ROOT)))
    return found


def provider(module: str, providers: Any) -> set[str]:
    """Return the distribution of a module; `google` and `opentelemetry` are shared by several."""
    if module.startswith("google.protobuf"):
        return {"protobuf"}
    if module.startswith(("google.rpc", "google.type")):
        return {"googleapis-common-protos"}
    if module.startswith("opentelemetry.exporter"):
        return {"opentelemetry-exporter-otlp-proto-grpc"}
    if module.startswith(("opentelemetry.sdk", "opentelemetry.proto")):
        return {"-".join(module.split(".")[:2])}
    if module.startswith("opentelemetry"):
        return {"opentelemetry-api"}
    top = module.split(".")[0]
    assert top in providers, f"{module} is not installed"
    return {canonicalize_name(name) for name in providers[top]}


def test_everything_that_the_servers_import_is_declared() -> None:
    declared = names(project(ROOT)["project"]["dependencies"])
    found = imported_distributions("servers") | imported_distributions("native")
    assert {name: files for name, files in found.items() if name not in declared} == {}


def test_everything_that_is_declared_is_imported() -> None:
    declared = names(project(ROOT)["project"]["dependencies"]) - NEVER_IMPORTED
    assert declared - set(imported_distributions("servers") | imported_distributions("native")) == set()


def test_everything_that_tests_and_benchmarks_import_is_declared() -> None:
    settings = project(ROOT)["project"]
    declared = names(settings["dependencies"]) | names(settings["optional-dependencies"]["dev"])
    found = imported_distributions("tests") | imported_distributions("benchmarks")
    assert {name: files for name, files in found.items() if name not in declared} == {}


def test_every_declared_dependency_is_pinned_in_the_constraints() -> None:
    pinned = {
        canonicalize_name(line.split("==")[0]): line
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    }
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in pinned.values())
    root, stubs = project(ROOT), project(ROOT / "protos")
    requirements = [
        *root["build-system"]["requires"],
        *stubs["build-system"]["requires"],
        *root["project"]["dependencies"],
        *root["project"]["optional-dependencies"]["dev"],
        *stubs["project"]["dependencies"],
    ]
    wrong = []
    for text in requirements:
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        if name == "tapeline-stubs":
            continue
        if name not in pinned or not requirement.specifier.contains(pinned[name].split("==")[1]):
            wrong.append(text)
    assert wrong == []


def test_the_build_pins_what_generates_code() -> None:
    """Build isolation ignores constraints, so whatever writes code is exact where it is required."""
    exact = {
        requirement.name
        for folder in (ROOT, ROOT / "protos")
        for requirement in map(Requirement, project(folder)["build-system"]["requires"])
        if [specifier.operator for specifier in requirement.specifier] == ["=="]
    }
    assert {"cython", "grpcio-tools", "mypy-protobuf"} <= exact


def test_both_distributions_carry_the_same_version_and_one_needs_the_other() -> None:
    root, stubs = project(ROOT)["project"], project(ROOT / "protos")["project"]
    assert root["version"] == stubs["version"]
    assert f"tapeline-stubs=={stubs['version']}" in root["dependencies"]
    assert names(stubs["dependencies"]) == {"grpcio", "protobuf", "googleapis-common-protos"}
