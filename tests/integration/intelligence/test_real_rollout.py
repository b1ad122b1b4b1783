"""A broken version beside the real LLM in a real Triton: it is rolled back, and no call fails."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tapeline.intelligence.v1 import rollout_pb2, sentiment_pb2

from servers.local.triton import ROOT, Triton, TritonPlan, is_installed
from tests.integration.intelligence.conftest import Mind, eventually, item

pytestmark = [pytest.mark.slow, pytest.mark.processes, pytest.mark.timeout(300)]
# What Triton's Python backend loads as version 2: it misbehaves as the file beside it says.
BROKEN = """
import pathlib, random, time
import numpy as np
import triton_python_backend_utils as triton

HOW = pathlib.Path(__file__).with_name("how.txt")

class TritonPythonModel:
    def execute(self, requests):
        how = HOW.read_text()
        if how == "exception":
            raise RuntimeError("broken")
        if how == "sleep":
            time.sleep(2.0)
        answers = []
        for request in requests:
            rows = triton.get_input_tensor_by_name(request, "TEXT").as_numpy().shape[0]
            width = 2 if how == "shape" else 3
            scores = np.zeros((rows, width), dtype=np.float32)
            for row in range(rows):
                scores[row, random.randrange(width)] = 1.0
            word = np.full((rows, 1), b"broken", dtype=object)
            answers.append(triton.InferenceResponse([
                triton.Tensor("SCORES", scores),
                triton.Tensor("LABEL", word),
                triton.Tensor("CONFIDENCE", scores.max(axis=1, keepdims=True)),
                triton.Tensor("MODEL_VERSION", word),
            ]))
        return answers
"""


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Triton, Path]]:
    """A Triton with the LLM as version 1, and the file that says how version 2 misbehaves."""
    if not is_installed() or not (ROOT / "build" / "triton" / "recipe.json").exists():
        pytest.skip("Triton's environment or the LLM's weights are not set up")
    repository: Path = tmp_path_factory.mktemp("repository")
    model = repository / "market_llm"
    shutil.copytree(ROOT / "triton_models" / "cpu" / "market_llm", model)
    shutil.rmtree(model / "2", ignore_errors=True)
    (model / "2").mkdir()
    (model / "2" / "model.py").write_text(BROKEN)
    how = model / "2" / "how.txt"
    how.write_text("random")
    plan = TritonPlan(repository=repository, threads=1, niceness=5, cache_bytes=0)
    with Triton(plan, log_path=repository / "triton.log") as running:
        yield running, how


@pytest.mark.parametrize("behaviour", ["exception", "random"])
async def test_a_broken_version_at_a_quarter_is_rolled_back_and_no_call_fails(
    mind: Mind, broken: tuple[Triton, Path], behaviour: str
) -> None:
    triton, how = broken
    how.write_text(behaviour)
    await mind.start(triton=triton.grpc_address)
    numbers = itertools.count()
    answers: list[Any] = []
    stop = asyncio.Event()

    async def client() -> None:
        while not stop.is_set():
            number = next(numbers)
            answers.extend(
                await mind.classify(
                    item(f"Company {number} beats estimates", f"A{number}"),
                    item(f"Company {number} files for bankruptcy", f"B{number}"),
                    timeout=5.0,
                )
            )

    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(client())
        try:
            await eventually(lambda: answers, 30.0)
            await mind.try_out()

            async def is_over() -> bool:
                return bool((await mind.rollout()).state == rollout_pb2.ROLLOUT_STATE_ROLLED_BACK)

            await eventually(is_over, 60.0)
            seen = len(answers)
            await eventually(lambda: len(answers) > seen + 4, 30.0)
        finally:
            stop.set()
    assert answers[-1].answered_by == sentiment_pb2.ANSWERER_STABLE
    last = (await mind.events())[-1]
    assert last.set_by == "automatic"
    assert ("it agrees in" if behaviour == "random" else "it failed") in last.reason
