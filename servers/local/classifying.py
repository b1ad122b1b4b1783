"""`tapeline classify`: what every row's `text` of a file says, by the LLM of a mesh or by one of its own."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import json
import lzma
import sys
import tempfile
import time
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import grpc
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tapeline.intelligence.v1 import intelligence_service_pb2, sentiment_pb2

from servers.local.mesh import DEFAULT_FOLDER, Mesh, MeshError, read_mesh
from servers.local.rollout import INTELLIGENCE, intelligence_at, intelligence_of
from servers.local.triton import Triton, TritonError, TritonPlan
from servers.model.errors import InvalidInput

COLUMNS = ("row", "label", "confidence", "scores", "model_version")
TEXT = "text"
MOST_CHARACTERS = 8_000
"""Of a text; what comes after is not sent, and no model reads so far."""
NO_MODEL = "none"
"""The version that is written for a row without a text."""
TEXTS_A_CALL, CALLS_AT_ONCE = 8, 3
CALL_SECONDS = 60.0
PATIENCE_SECONDS = 60.0
"""How long no row at all may be answered by the LLM before the command gives up."""
PAUSE_SECONDS = 0.2
PLAIN_LINE_SECONDS = 5.0


def register_classify(app: typer.Typer, run: Callable[[Coroutine[Any, Any, int]], int]) -> None:
    """Give the `tapeline` command its `classify`; `run` turns a coroutine into an exit code."""

    @app.command()
    def classify(
        path: Annotated[
            Path,
            typer.Option(
                "--input", help="CSV with a column `text` (also .gz, .xz).", exists=True, dir_okay=False
            ),
        ],
        json_path: Annotated[
            Path | None, typer.Option("--json", help="Write the answers as JSON lines.", dir_okay=False)
        ] = None,
        csv_path: Annotated[
            Path | None, typer.Option("--csv", help="Write the answers as CSV.", dir_okay=False)
        ] = None,
        source: Annotated[
            str, typer.Option("--source", help="Whose calibration to use; none: an uncalibrated source.")
        ] = "",
        mesh: Annotated[
            Path,
            typer.Option("--mesh", help="Run folder of the mesh, or its mesh.json.", envvar="TAPELINE_MESH"),
        ] = DEFAULT_FOLDER,
    ) -> None:
        """Label every row's text as bearish, neutral or bullish; starts an LLM when no mesh runs one."""
        # Standard output may be the answers themselves.
        console = Console(stderr=True, soft_wrap=True)
        sys.exit(run(classify_file(path, json_path, csv_path, source, mesh, console)))


@dataclass(frozen=True, slots=True)
class Labelled:
    """One row's answer. `row` counts from 1, the first row after the heading."""

    row: int
    label: str
    confidence: float
    scores: dict[str, float]
    model_version: str

    def to_json(self) -> str:
        """Return the answer as one line of JSON."""
        return json.dumps({name: getattr(self, name) for name in COLUMNS})


def read_texts(path: Path) -> list[str]:
    """Return the column `text` of a CSV with a heading (.gz and .xz are unpacked); "" where a row has none.

    Raises InvalidInput FILE_MALFORMED that names row and column; then nothing was read.
    """
    openers: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open}
    texts: list[str] = []
    row = 0
    try:
        with openers.get(path.suffix, open)(path, "rt", encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            if TEXT not in (reader.fieldnames or ()):
                there = ", ".join(reader.fieldnames or ()) or "nothing"
                raise _wrong(path, f"there is no such column; the heading has {there}", column=TEXT)
            for row, record in enumerate(reader, start=1):
                if None in record or None in record.values():
                    raise _wrong(path, f"it has not {len(reader.fieldnames or ())} fields", row=row)
                texts.append(record[TEXT].strip())
    except UnicodeDecodeError as error:
        raise _wrong(path, f"not UTF-8: {error.reason}", row=row + 1) from error
    except (OSError, EOFError, zlib.error, lzma.LZMAError, csv.Error) as error:
        raise _wrong(path, str(error), row=row + 1) from error
    if not texts:
        raise _wrong(path, "there are no rows")
    if not any(texts):
        raise _wrong(path, "no row has a text", column=TEXT)
    return texts


def _wrong(path: Path, why: str, *, row: int | None = None, column: str = "") -> InvalidInput:
    where = f"{path}" + (f", row {row}" if row else "") + (f", column {column}" if column else "")
    return InvalidInput("FILE_MALFORMED", f"{where}: {why}", file=path, row=row or "", column=column)


def to_lines(answers: Sequence[Labelled]) -> str:
    """Return answers as JSON lines."""
    return "".join(answer.to_json() + "\n" for answer in answers)


def to_csv(answers: Sequence[Labelled]) -> str:
    """Return answers as CSV; `scores` is the JSON of the three."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for answer in answers:
        writer.writerow(
            [answer.row, answer.label, answer.confidence, json.dumps(answer.scores), answer.model_version]
        )
    return text.getvalue()


async def classify_file(
    path: Path, json_path: Path | None, csv_path: Path | None, source: str, mesh: Path, console: Console
) -> int:
    """Label every row of a file and write the answers; to standard output as CSV when no file is named.

    Raises InvalidInput for a file that cannot be read, MeshError when no LLM answers.
    """
    texts = read_texts(path)
    started = time.monotonic()
    async with _intelligence(mesh, console) as stub:
        answers = await label(stub, texts, source, console)
    seconds = time.monotonic() - started
    for target, written in ((json_path, to_lines), (csv_path, to_csv)):
        if target is not None:
            scratch = target.with_name(target.name + ".tmp")
            scratch.write_text(written(answers), encoding="utf-8")
            scratch.replace(target)
            console.print(f"{len(answers)} rows written to {target}", highlight=False)
    if json_path is None and csv_path is None:
        print(to_csv(answers), end="")
    if blank := sum(not text for text in texts):
        console.print(f"{blank} without a text: neutral, by no model and with no confidence", highlight=False)
    sums = {
        name: sum(answer.label == name for answer in answers) for name in ("bearish", "neutral", "bullish")
    }
    console.print(
        f"{len(answers)} {'text' if len(answers) == 1 else 'texts'} in {seconds:.0f} s: "
        + ", ".join(f"{count} {name}" for name, count in sums.items())
        + ("" if source else "; without --source the confidence is that of an uncalibrated source"),
        highlight=False,
    )
    return 0


async def label(stub: Any, texts: Sequence[str], source: str, console: Console) -> list[Labelled]:
    """Return the LLM's answer to every text, in order, however often the mesh is too busy to give it.

    An empty text is not sent: its label is neutral, of no model. Raises MeshError when the LLM has answered
    nothing for a minute.
    """
    asked = [place for place, text in enumerate(texts) if text]
    waiting = deque(asked[first : first + TEXTS_A_CALL] for first in range(0, len(asked), TEXTS_A_CALL))
    answers = {place: _unanswered(place + 1) for place, text in enumerate(texts) if not text}
    answered_at = time.monotonic()
    warned = False

    async def work(told: _Told) -> None:
        nonlocal answered_at, warned
        while waiting:
            places = waiting.popleft()
            sentiments = await _ask(stub, places, texts, source)
            left = []
            for place, sentiment in zip(places, sentiments, strict=True):
                if sentiment is None or sentiment.answered_by == sentiment_pb2.ANSWERER_LEXICON:
                    left.append(place)
                else:
                    answers[place] = _labelled(place + 1, sentiment)
                    if source and not sentiment.is_source_calibrated and not warned:
                        warned = True
                        told.say(f"source {source!r} has no calibration: its confidence is lowered")
            told.advance(len(answers))
            if len(left) < len(places):
                answered_at = time.monotonic()
            elif time.monotonic() - answered_at > PATIENCE_SECONDS:
                raise MeshError(await _why_silent(stub))
            if left:
                waiting.append(left)
                await asyncio.sleep(PAUSE_SECONDS)

    with _Told(console, len(texts)) as told:
        async with asyncio.TaskGroup() as group:
            for _ in range(CALLS_AT_ONCE):
                group.create_task(work(told))
    return [answers[place] for place in range(len(texts))]


async def _ask(stub: Any, places: Sequence[int], texts: Sequence[str], source: str) -> Sequence[Any]:
    # One entity: in a mesh that tries a version out, one version reads the whole file. Posts go first.
    items = [
        sentiment_pb2.SentimentItem(
            item_id=f"file:{place}", entity="file", text=texts[place][:MOST_CHARACTERS], source=source
        )
        for place in places
    ]
    try:
        response = await stub.ClassifySentiment(
            intelligence_service_pb2.ClassifySentimentRequest(items=items), timeout=CALL_SECONDS
        )
    except grpc.aio.AioRpcError as error:
        if error.code() not in _LATER:
            raise
        return [None] * len(places)
    sentiments: Sequence[Any] = response.sentiments
    return sentiments


_LATER = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)


async def _why_silent(stub: Any) -> str:
    try:
        status = await stub.GetStatus(intelligence_service_pb2.GetStatusRequest())
    except grpc.aio.AioRpcError as error:
        return f"intelligence does not answer: {error.details()}"
    reasons = [model.reason for model in status.models if model.reason]
    why = reasons[0] if reasons else "other texts take all of its time"
    return f"the LLM has answered nothing for {PATIENCE_SECONDS:g} s: {why}"


def _unanswered(row: int) -> Labelled:
    third = round(1 / 3, 6)
    return Labelled(row, "neutral", third, {"bearish": third, "neutral": third, "bullish": third}, NO_MODEL)


def _labelled(row: int, sentiment: sentiment_pb2.Sentiment) -> Labelled:
    name = sentiment_pb2.SentimentLabel.Name(sentiment.label)
    scores = sentiment.scores
    return Labelled(
        row,
        name.removeprefix("SENTIMENT_LABEL_").lower(),
        round(sentiment.confidence, 6),
        {one: round(getattr(scores, one), 6) for one in ("bearish", "neutral", "bullish")},
        sentiment.model_version,
    )


class _Told:
    """Progress: a bar on a terminal, a line every few seconds elsewhere."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._line_at = time.monotonic()
        columns = (TextColumn("reading"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=console) if console.is_terminal else None
        self._task = None if self._bar is None else self._bar.add_task("", total=total)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, done: int) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done)
        elif time.monotonic() - self._line_at > PLAIN_LINE_SECONDS or done == self._total:
            self._line_at = time.monotonic()
            self.say(f"{done} of {self._total} rows")

    def say(self, line: str) -> None:
        self._console.print(line, highlight=False)


# -- Who answers --------------------------------------------------------------------------------------


@asynccontextmanager
async def _intelligence(folder: Path, console: Console) -> AsyncIterator[Any]:
    """Yield a stub of the running mesh's intelligence, or of one that lives as long as the block."""
    mesh = _running_mesh(folder)
    if mesh is not None:
        async with intelligence_of(mesh) as stub:
            yield stub
        return
    triton = Triton(TritonPlan(cache_bytes=0))
    with tempfile.TemporaryDirectory(prefix="tapeline-classify-") as scratch:
        triton.log_path = Path(scratch) / "triton.log"
        console.print("No mesh with an LLM runs here; starting Triton ...", highlight=False)
        try:
            triton.start()
            await asyncio.to_thread(triton.wait_ready)
            async with _own_intelligence(triton.grpc_address, Path(scratch)) as stub:
                yield stub
        except TritonError as error:
            raise MeshError(str(error)) from error
        finally:
            triton.stop()


def _running_mesh(folder: Path) -> Mesh | None:
    try:
        mesh = read_mesh(folder)
    except MeshError:
        return None
    return mesh if INTELLIGENCE in mesh.servers else None


@asynccontextmanager
async def _own_intelligence(triton: str, folder: Path) -> AsyncIterator[Any]:
    """Yield a stub of an intelligence server in this process: patient, as nobody else asks it."""
    # A whole server and what it needs: nobody else pays for importing it.
    from servers.intelligence.__main__ import build
    from servers.intelligence.settings import IntelligenceSettings
    from servers.runtime.server import make_context, start_server

    settings = IntelligenceSettings(
        port=0,
        metrics_port=0,
        data_dir=folder,
        triton=triton,
        log_level="warning",
        max_queue_age_seconds=CALL_SECONDS,
        model_timeout_seconds=CALL_SECONDS / 2,
        longest_answer_seconds=CALL_SECONDS,
        drain_notice_seconds=0,
    )
    context = await make_context(INTELLIGENCE, settings)
    server = await start_server(settings, context, await build(settings, context))
    try:
        async with intelligence_at(server.address) as stub:
            yield stub
    finally:
        await server.stop()
