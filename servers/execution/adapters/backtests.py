"""Backtests for RunBacktest: each in a process of its own, so that live parents never wait for it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tapeline.execution.v1 import backtest_pb2, execution_pb2
from tapeline.execution.v1 import execution_service_pb2 as pb

from servers.model.errors import AlreadyExists, InvalidInput, ResourceExhausted, TapelineError
from servers.model.order import check_request_id

_REFUSALS = {kind.__name__: kind for kind in TapelineError.__subclasses__()}
_EXIT_SECONDS = 5.0


class Backtests:
    """Runs backtests of files in one folder, one at a time.

    Args:
        recordings: folder of the files that may be replayed; None refuses every request.
        kept: folder for finished parts and answers, one folder a request id.
    """

    def __init__(self, recordings: Path | None, kept: Path) -> None:
        self._recordings = recordings
        self._kept = kept
        self._is_running = False

    async def run(self, request: pb.RunBacktestRequest) -> str:
        """Return the study as JSON; the answer of an earlier request with the same id where there is one.

        Raises what the proto says, InvalidInput FIELD_INVALID for a file that is not there, and what
        `run_backtest` raises. A cancelled call ends its process; a repeat goes on from what is finished.
        """
        name = hashlib.sha256(check_request_id(request.request_id).encode()).hexdigest()[:32]
        if not request.HasField("parameters"):
            raise InvalidInput("FIELD_MISSING", "parameters are missing", field="parameters")
        asked = _asked(request.parameters, self._path(request.parameters.recording))
        folder = self._kept / name
        content = json.dumps(asked, sort_keys=True)
        if (folder / "request.json").exists() and (folder / "request.json").read_text() != content:
            raise AlreadyExists(
                "REQUEST_ID_REUSED", f"{request.request_id} asked for another backtest before"
            )
        if (folder / "result.json").exists():
            return (folder / "result.json").read_text()
        if self._is_running:
            raise ResourceExhausted("OVERLOADED", "another backtest is running")
        self._is_running = True
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "request.json").write_text(content)
            answer = await _in_process(asked, folder / "parts")
            beside = folder / "result.part"
            beside.write_text(answer)
            beside.replace(folder / "result.json")
        finally:
            self._is_running = False
        return answer

    def _path(self, recording: str) -> Path:
        if not recording:
            raise InvalidInput("FIELD_MISSING", "recording is empty", field="recording")
        if self._recordings is None:
            raise InvalidInput("FIELD_INVALID", "this server has no folder of recordings", field="recording")
        root = self._recordings.resolve()
        path = (root / recording).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            raise InvalidInput("FIELD_INVALID", f"no recording {recording[:80]!r}", field="recording")
        return path


def _asked(message: backtest_pb2.BacktestParameters, path: Path) -> dict[str, Any]:
    """Return what is asked for as plain values, which travel to the process."""
    if message.kind not in (backtest_pb2.RECORDING_KIND_BARS, backtest_pb2.RECORDING_KIND_TRADES):
        raise InvalidInput(
            "ENUM_UNSPECIFIED", f"kind is {message.kind}: unspecified or unknown", field="kind"
        )
    names = []
    for number in message.algorithms:
        if number == execution_pb2.ALGORITHM_UNSPECIFIED or number not in execution_pb2.Algorithm.values():
            raise InvalidInput(
                "ENUM_UNSPECIFIED", f"an algorithm is {number}: unspecified or unknown", field="algorithms"
            )
        names.append(execution_pb2.Algorithm.Name(number).removeprefix("ALGORITHM_").lower())
    return {
        "path": str(path),
        "is_bars": message.kind == backtest_pb2.RECORDING_KIND_BARS,
        "calendar": message.calendar,
        "algorithms": ",".join(names),
        "train_until": message.train_until,
        "sizes": [repr(fraction) for fraction in message.size_fractions],
        "cap": message.participation_cap or None,
        "seed": message.seed,
    }


async def _in_process(asked: dict[str, Any], parts: Path) -> str:
    """Run a backtest in a spawned process and return its JSON, or raise what it was refused with."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(
        target=_backtest, args=(theirs, asked, str(parts)), daemon=True
    )
    loop = asyncio.get_running_loop()
    arrived = asyncio.Event()
    process.start()
    theirs.close()
    loop.add_reader(ours.fileno(), arrived.set)
    try:
        await arrived.wait()
        kind, *said = await asyncio.to_thread(_received, ours)
    finally:
        loop.remove_reader(ours.fileno())
        process.terminate()
        await asyncio.to_thread(process.join, _EXIT_SECONDS)
        ours.close()
    if kind == "result":
        return str(said[0])
    reason, message, metadata = said
    raise _REFUSALS[kind](reason, message, **metadata)


def _received(connection: Connection) -> tuple[Any, ...]:
    try:
        answer: tuple[Any, ...] = connection.recv()
    except EOFError:
        raise ChildProcessError("the backtest's process ended without an answer") from None
    return answer


def _backtest(connection: Connection, asked: dict[str, Any], parts: str) -> None:
    """Run in the spawned process; only it imports what a backtest needs."""
    from servers.backtest.options import BacktestOptions, parse_algorithms, parse_sizes
    from servers.backtest.running import run_backtest

    try:
        options = BacktestOptions(
            Path(asked["path"]),
            asked["is_bars"],
            asked["calendar"],
            parse_algorithms(asked["algorithms"]),
            train_until=asked["train_until"],
            sizes=parse_sizes(asked["sizes"]),
            cap=asked["cap"],
            seed=asked["seed"],
        )
        content = run_backtest(options, resume=Path(parts)).to_json()
    except TapelineError as error:
        connection.send((type(error).__name__, error.reason, error.message, dict(error.metadata)))
    else:
        connection.send(("result", json.dumps(content, allow_nan=False)))
