"""`tapeline calibrate`: make the LLM's confidence mean what it says for one source of texts."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from servers.intelligence.adapters.files import load_labelled
from servers.intelligence.domain.calibration import Calibration
from servers.intelligence.domain.fitting import Goodness, Read, fit, goodness_of, out_of_fold
from servers.intelligence.ports import MOST_TEXTS, LabelledText, ModelError, SentimentModel
from servers.local.mesh import MeshError
from servers.local.triton import MODEL, Triton, TritonError, TritonPlan
from servers.runtime.logs import make_log
from servers.runtime.tracing import Tracer

CALL_SECONDS = 60.0
TOLD_EVERY = 200


def register_calibrate(app: typer.Typer, run: Callable[[Coroutine[Any, Any, int]], int]) -> None:
    """Give the `tapeline` command its `calibrate`; `run` turns a coroutine into an exit code."""

    @app.command()
    def calibrate(
        path: Annotated[
            Path,
            typer.Option(
                "--input", help="CSV: text,label (bearish, neutral, bullish).", exists=True, dir_okay=False
            ),
        ],
        source: Annotated[str, typer.Option("--source", help="Name of the source that the texts are from.")],
        version: Annotated[str, typer.Option("--version", help="Version of the model.")] = "1",
        out: Annotated[
            Path | None,
            typer.Option("--out", help="Append the calibration to this TOML file.", dir_okay=False),
        ] = None,
        triton: Annotated[
            str, typer.Option("--triton", help="host:port of a running Triton; starts one without.")
        ] = "",
    ) -> None:
        """Fit temperature and biases for a source from labelled texts, and say how good they are."""
        console = Console(stderr=True, soft_wrap=True)
        sys.exit(run(calibrate_source(path, source, version, out, triton, console)))


async def calibrate_source(
    path: Path, source: str, version: str, out: Path | None, triton: str, console: Console
) -> int:
    """Read labelled texts with the LLM, fit, print how good it is out of fold, write the calibration.

    Raises InvalidInput for a file that cannot be read, ValueError for too few texts, MeshError when the LLM
    does not answer.
    """
    texts = load_labelled(path)
    own = None if triton else Triton(TritonPlan(cache_bytes=0))
    try:
        if own is not None:
            own.start()
            await asyncio.to_thread(own.wait_ready)
        reads = await _read(triton or own.grpc_address, version, texts, console)  # type: ignore[union-attr]  # one of the two
    except (TritonError, ModelError) as error:
        raise MeshError(str(error)) from error
    finally:
        if own is not None:
            own.stop()
    calibration = fit(reads)
    for name, goodness in (
        ("as it is", goodness_of(reads)),
        ("out of fold", goodness_of(out_of_fold(reads))),
    ):
        console.print(_line(name, goodness), highlight=False)
    table = calibration_table(version, source, calibration)
    if out is None:
        print(table, end="")
    else:
        with out.open("a", encoding="utf-8") as file:
            file.write(table)
        console.print(f"calibration of {source} appended to {out}", highlight=False)
    return 0


def calibration_table(version: str, source: str, calibration: Calibration) -> str:
    """Return a calibration as the TOML that intelligence reads."""
    bias = ", ".join(f"{one:.4f}" for one in calibration.bias)
    return (
        f'\n[versions."{version}".sources."{source}"]\n'
        f"temperature = {calibration.temperature:.4f}\nbias = [{bias}]\n"
    )


async def _read(address: str, version: str, texts: list[LabelledText], console: Console) -> list[Read]:
    from servers.intelligence.adapters.triton import TritonModels  # brings tritonclient along

    models = TritonModels(address, MODEL, Tracer(), make_log("tapeline", "console", "error"))
    try:
        model: SentimentModel = models.model(version)
        reads: list[Read] = []
        for first in range(0, len(texts), MOST_TEXTS):
            batch = texts[first : first + MOST_TEXTS]
            answers = await model.classify([one.text for one in batch], CALL_SECONDS, ())
            reads += [(answer.scores, one.label) for answer, one in zip(answers, batch, strict=True)]
            if len(reads) // TOLD_EVERY > first // TOLD_EVERY:
                console.print(f"{len(reads)} of {len(texts)} texts", highlight=False)
        return reads
    finally:
        await models.close()


def _line(name: str, goodness: Goodness) -> str:
    return (
        f"{name:>12}: {goodness.texts} texts, accuracy {goodness.accuracy:.3f}, calibration error"
        f" {goodness.calibration_error:.3f}; at 0.7 and above {goodness.confident_share:.1%} of them,"
        f" {goodness.confident_accuracy:.1%} right"
    )
