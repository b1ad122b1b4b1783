"""The error table: well-formed, complete, and the page that people read is made from it."""

import ast
import re
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import grpc
import pytest

from servers.model import errors

ROOT = Path(__file__).resolve().parents[2]
KINDS = {kind.__name__: kind for kind in errors.TapelineError.__subclasses__()}


def refusals() -> Iterator[tuple[str, str]]:
    """Yield (place, reason) of every refusal that our code raises with a literal reason."""
    for path in sorted((ROOT / "servers").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name | ast.Attribute)
                and (node.func.id if isinstance(node.func, ast.Name) else node.func.attr) in KINDS
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", str(node.args[0].value)


def test_every_kind_of_error_has_a_status_that_grpc_knows() -> None:
    assert {kind.status for kind in KINDS.values()} <= {code.name for code in grpc.StatusCode}
    assert len({kind.status for kind in KINDS.values()}) == len(KINDS)


@pytest.mark.parametrize("reason", sorted(errors.REASONS))
def test_a_reason_is_upper_snake_and_says_what_it_means(reason: str) -> None:
    assert re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*", reason)
    assert errors.REASONS[reason].strip()


def test_every_refusal_in_the_code_is_in_the_table() -> None:
    found = list(refusals())
    assert found, "no refusal was found, so this test would prove nothing"
    assert [f"{place} {reason}" for place, reason in found if reason not in errors.REASONS] == []


def test_no_reason_of_the_table_is_unused() -> None:
    code = "\n".join(
        path.read_text() for path in sorted((ROOT / "servers").rglob("*.py")) if path != Path(errors.__file__)
    )
    assert [reason for reason in errors.REASONS if f'"{reason}"' not in code] == []


def test_the_page_of_errors_is_up_to_date() -> None:
    spec = spec_from_file_location("generate_errors", ROOT / "docs" / "generate_errors.py")
    assert spec is not None
    assert spec.loader is not None
    generate_errors = module_from_spec(spec)
    spec.loader.exec_module(generate_errors)
    page = generate_errors.page()
    assert generate_errors.PAGE.read_text() == page, "run `python docs/generate_errors.py`"
    assert all(f"| `{reason}` |" in page for reason in errors.REASONS)
