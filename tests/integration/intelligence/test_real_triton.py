"""The real Triton with the real LLM behind intelligence; skipped where `make setup` has not made them."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tapeline.intelligence.v1 import intelligence_service_pb2, sentiment_pb2

from servers.local.triton import ROOT, Triton, TritonPlan, is_installed
from tests.integration.intelligence.conftest import Mind, eventually, item

pytestmark = [pytest.mark.slow, pytest.mark.processes, pytest.mark.timeout(300)]
LLM = sentiment_pb2.ANSWERER_STABLE
LEXICON = sentiment_pb2.ANSWERER_LEXICON
DEADLINE_SECONDS = 3.0


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Triton]:
    if not is_installed() or not (ROOT / "build" / "triton" / "recipe.json").exists():
        pytest.skip("Triton's environment or the LLM's weights are not set up")
    log: Path = tmp_path_factory.mktemp("triton") / "triton.log"
    with Triton(TritonPlan(threads=1, niceness=5, cache_bytes=0), log_path=log) as running:
        yield running


async def test_the_llm_reads_texts_and_names_its_version(mind: Mind, triton: Triton) -> None:
    await mind.start(triton=triton.grpc_address, model_timeout_seconds=20.0)
    texts = [
        "Acme beats estimates and raises its guidance",
        "Bolt files for bankruptcy",
        "The meeting is in May",
    ]
    answers = await mind.classify(*(item(text) for text in texts), timeout=60.0)
    assert {answer.answered_by for answer in answers} == {LLM}
    assert all(answer.model_version.startswith("market_llm-1-") for answer in answers)
    assert all(
        abs(answer.scores.bearish + answer.scores.neutral + answer.scores.bullish - 1) < 1e-6
        for answer in answers
    )
    assert answers[0].scores.bullish > answers[1].scores.bullish


async def test_triton_killed_under_load_leaves_answers_in_time_and_comes_back_by_itself(
    mind: Mind, triton: Triton
) -> None:
    await mind.start(triton=triton.grpc_address)
    numbers = itertools.count()
    answers: list[tuple[float, int]] = []
    stop = asyncio.Event()

    async def client() -> None:
        while not stop.is_set():
            began = time.monotonic()
            (answer,) = await mind.classify(
                item(f"Acme shares are up {next(numbers)} percent"), timeout=DEADLINE_SECONDS
            )
            answers.append((time.monotonic() - began, answer.answered_by))
            if answer.answered_by == LEXICON:
                await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(client())
        try:
            await eventually(lambda: LLM in {by for _, by in answers}, 60.0)
            await asyncio.to_thread(triton.kill)
            killed = len(answers)
            await eventually(lambda: LEXICON in {by for _, by in answers[killed:]}, 20.0)
            assert not (await mind.status()).is_llm_answering
            triton.start()
            await asyncio.to_thread(triton.wait_ready)
            back = len(answers)
            await eventually(lambda: LLM in {by for _, by in answers[back:]}, 60.0)
        finally:
            stop.set()
    assert {by for _, by in answers} == {LLM, LEXICON}
    assert max(seconds for seconds, _ in answers) < DEADLINE_SECONDS


async def test_a_deletion_finds_no_answer_left_in_triton(mind: Mind, triton: Triton) -> None:
    await mind.start(triton=triton.grpc_address, model_timeout_seconds=20.0)
    post = item("a planted and unique text about a quarry")
    await mind.classify(post, timeout=60.0)
    response = await mind.stub.ForgetTexts(
        intelligence_service_pb2.ForgetTextsRequest(request_id="f", item_ids=[post.item_id])
    )
    assert response.removed_answers == 1
    # The fixture's Triton runs without a response cache, as the mesh's does.
    assert response.is_triton_uncached
