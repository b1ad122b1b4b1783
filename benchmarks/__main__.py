"""Run one benchmark: `python -m benchmarks NAME [--json OUT] [--no-peers]`."""

import argparse
import ast
import asyncio
import importlib
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.report import Options, Row, print_table, write_json

FOLDER = Path(__file__).resolve().parent
# What belongs to the framework; a module whose name begins with an underscore supports one benchmark.
_FRAMEWORK = frozenset({"report", "peers"})


def benchmark_names(folder: Path = FOLDER) -> dict[str, str]:
    """Return every benchmark in the folder with the first line of its docstring."""
    names = {}
    for path in sorted(folder.glob("*.py")):
        if path.stem.startswith("_") or path.stem in _FRAMEWORK:
            continue
        docstring = ast.get_docstring(ast.parse(path.read_text()))
        names[path.stem] = (docstring or "").partition("\n")[0]
    return names


def parse_arguments(arguments: Sequence[str], names: dict[str, str]) -> argparse.Namespace:
    """Return the parsed command line; `--help` lists the benchmarks."""
    listing = "\n".join(f"  {name:12} {text}" for name, text in names.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure one claim against its target. A missed target is a row, not a failure.",
        epilog=f"benchmarks:\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", choices=sorted(names), help="one of the benchmarks below")
    parser.add_argument("--json", metavar="OUT", type=Path, help="write the rows to this file")
    parser.add_argument("--no-peers", action="store_true", help="measure ours alone, install nothing")
    return parser.parse_args(arguments)


def run_benchmark(name: str, options: Options) -> list[Row]:
    """Run the benchmark of that name to its end, on an event loop when it is a coroutine."""
    result = importlib.import_module(f"benchmarks.{name}").run(options)
    rows: list[Row] = asyncio.run(result) if inspect.iscoroutine(result) else result
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark that the command line names, print its table, write its rows."""
    chosen = parse_arguments(sys.argv[1:] if arguments is None else arguments, benchmark_names())
    said = Console(stderr=True)
    options = Options(
        compare_peers=not chosen.no_peers,
        progress=lambda text: said.print(text, style="dim", highlight=False, markup=False),
    )
    rows = run_benchmark(chosen.name, options)
    print_table(f"benchmarks {chosen.name}", rows, Console())
    if chosen.json is not None:
        write_json(rows, chosen.json)
        options.progress(f"rows written to {chosen.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
