"""RunBacktest over gRPC: a study in a process of its own, kept under its id."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tapeline.execution.v1 import backtest_pb2, execution_pb2
from tapeline.execution.v1 import execution_service_pb2 as pb
from tapeline.execution.v1.execution_service_pb2_grpc import ExecutionServiceStub

from servers.calendars import Calendars
from servers.execution.__main__ import build
from servers.execution.adapters.memory import PracticeVenue, Step
from servers.execution.settings import ExecutionSettings
from servers.model.nanos import NANO
from servers.runtime.server import make_context, start_server
from servers.runtime.status import reason_of
from tests.integration.execution.peers import serve

DAY_NANOS = 86_400 * NANO


def write_bars(path: Path) -> str:
    """Write five-minute-spaced bars of four sessions; return the date of the third."""
    calendars = Calendars()
    first = calendars.session_for("XNYS", "2024-03-04")
    assert first is not None
    sessions = calendars.sessions_between(
        "XNYS", first.open_time_nanos, first.open_time_nanos + 4 * DAY_NANOS
    )
    generator = np.random.default_rng(2)
    lines = ["symbol,start_time_ms,open,high,low,close,volume"]
    for session in sessions:
        for start in range(session.open_time_nanos, session.close_time_nanos, 300 * NANO):
            price = 50.0 + float(generator.uniform(-0.1, 0.1))
            volume = int(generator.integers(100, 1_000))
            lines.append(
                f"AAA,{start // 10**6},{price:.3f},{price + 0.02:.3f},{price - 0.02:.3f},{price:.3f},{volume}"
            )
    path.write_text("\n".join(lines) + "\n")
    return sessions[2].date


def asked(request_id: str = "b1", **changed: object) -> pb.RunBacktestRequest:
    parameters = backtest_pb2.BacktestParameters(
        recording="bars.csv",
        kind=backtest_pb2.RECORDING_KIND_BARS,
        calendar="XNYS",
        algorithms=[execution_pb2.ALGORITHM_TWAP, execution_pb2.ALGORITHM_STATIC_VWAP],
        train_until="2024-03-06",
        size_fractions=[0.05],
        participation_cap=0.1,
        seed=1,
    )
    for name, value in changed.items():
        setattr(parameters, name, value)
    return pb.RunBacktestRequest(request_id=request_id, parameters=parameters)


@pytest.fixture
async def stub(tmp_path: Path) -> AsyncIterator[Any]:
    (tmp_path / "recordings").mkdir()
    assert write_bars(tmp_path / "recordings" / "bars.csv") == "2024-03-06"
    peers, addresses, _, _ = await serve(PracticeVenue(lambda now: Step(), step_nanos=2 * NANO))
    settings = ExecutionSettings(
        data_dir=tmp_path / "data",
        recordings=tmp_path / "recordings",
        peers=addresses,
        log_level="error",
        drain_notice_seconds=0,
    )
    context = await make_context("execution", settings)
    server = await start_server(settings, context, await build(settings, context))
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield ExecutionServiceStub(channel)
    await server.stop()
    await peers.stop(None)


async def refusal(stub: Any, request: pb.RunBacktestRequest) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.RunBacktest(request, timeout=60)
    return caught.value.code(), reason_of(caught.value)


@pytest.mark.processes
async def test_a_study_is_answered_and_kept_and_only_one_runs(stub: Any, tmp_path: Path) -> None:
    both = await asyncio.gather(
        *(stub.RunBacktest(asked(name), timeout=60) for name in ("b1", "b2")), return_exceptions=True
    )
    ran = [place for place, got in enumerate(both) if isinstance(got, pb.RunBacktestResponse)]
    assert len(ran) == 1
    refused = both[1 - ran[0]]
    assert isinstance(refused, grpc.aio.AioRpcError)
    assert (refused.code(), reason_of(refused)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    answer, name = both[ran[0]], ("b1", "b2")[ran[0]]
    assert isinstance(answer, pb.RunBacktestResponse)
    content = json.loads(answer.result_json)
    assert content["kind"] == "sized"
    assert content["test_days"] == 1
    assert {row["algorithm"] for row in content["results"]} == {"twap", "static_vwap", "foresight"}
    (tmp_path / "recordings" / "bars.csv").write_text("the answer does not come from the file any more")
    assert (await stub.RunBacktest(asked(name), timeout=60)).result_json == answer.result_json
    assert await refusal(stub, asked(name, seed=2)) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
    # What the process refuses comes back as its own refusal.
    code, reason = await refusal(stub, asked("b3"))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FILE_MALFORMED")


async def test_what_cannot_be_run_is_refused_before_a_process_starts(stub: Any) -> None:
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    assert await refusal(stub, asked(recording="")) == (invalid, "FIELD_MISSING")
    assert await refusal(stub, asked(recording="none.csv")) == (invalid, "FIELD_INVALID")
    assert await refusal(stub, asked(recording="../data/journal.db")) == (invalid, "FIELD_INVALID")
    assert await refusal(stub, asked(kind=backtest_pb2.RECORDING_KIND_UNSPECIFIED)) == (
        invalid,
        "ENUM_UNSPECIFIED",
    )
    assert await refusal(stub, pb.RunBacktestRequest(request_id="x")) == (invalid, "FIELD_MISSING")
    unspecified = asked()
    unspecified.parameters.algorithms.append(execution_pb2.ALGORITHM_UNSPECIFIED)
    assert await refusal(stub, unspecified) == (invalid, "ENUM_UNSPECIFIED")
