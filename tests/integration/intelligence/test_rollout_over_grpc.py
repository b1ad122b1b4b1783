"""Rolling out a version through real gRPC: broken ones go within a second, and no client's call fails."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from tapeline.intelligence.v1 import rollout_pb2, sentiment_pb2

from tests.integration.intelligence.conftest import Mind, eventually, item
from tests.integration.intelligence.triton_server import (
    Reader,
    answers_at_random,
    has_the_wrong_shape,
    raises,
    sleeps_two_seconds,
)

ROLLED_BACK = rollout_pb2.ROLLOUT_STATE_ROLLED_BACK
WORDS = ("go up", "go down", "stay")


@asynccontextmanager
async def load(mind: Mind) -> AsyncIterator[list[Any]]:
    """Clients that ask all the time about many entities; yields answers. A failed call fails the test."""
    numbers = itertools.count()
    answers: list[Any] = []
    stop = asyncio.Event()

    async def client() -> None:
        while not stop.is_set():
            number = next(numbers)
            answers.extend(
                await mind.classify(
                    *(
                        item(
                            f"{number} {place} shares {WORDS[(number + place) % 3]}",
                            f"SYM{number * 4 + place}",
                        )
                        for place in range(4)
                    ),
                    timeout=5.0,
                )
            )

    async with asyncio.TaskGroup() as group:
        clients = [group.create_task(client()) for _ in range(2)]
        try:
            yield answers
        finally:
            stop.set()
            await asyncio.gather(*clients)


@pytest.mark.parametrize("broken", [has_the_wrong_shape, raises, sleeps_two_seconds])
async def test_a_version_that_fails_is_rolled_back_and_no_call_fails(mind: Mind, broken: Reader) -> None:
    await mind.start()
    mind.triton.versions["2"].read = broken
    async with load(mind) as answers:
        await eventually(lambda: answers)
        await mind.try_out()

        async def is_over() -> bool:
            return bool((await mind.rollout()).state == ROLLED_BACK)

        await eventually(is_over)
        seen = len(answers)
        await eventually(lambda: len(answers) > seen + 20)
    by = {answer.answered_by for answer in answers}
    assert by == {sentiment_pb2.ANSWERER_STABLE}
    last = (await mind.events())[-1]
    assert last.kind == rollout_pb2.ROLLOUT_EVENT_KIND_ROLLED_BACK
    assert last.set_by == "automatic"
    assert "it failed" in last.reason


async def test_a_version_that_answers_at_random_is_rolled_back_by_the_evidence(mind: Mind) -> None:
    await mind.start()
    mind.triton.versions["2"].read = answers_at_random
    async with load(mind) as answers:
        await eventually(lambda: answers)
        await mind.try_out()

        async def is_over() -> bool:
            return bool((await mind.rollout()).state == ROLLED_BACK)

        await eventually(is_over)
    last = (await mind.events())[-1]
    assert "it agrees in" in last.reason
    assert last.figures.agreement_evidence >= 100
    assert last.figures.comparisons < 60


async def test_a_version_that_is_as_good_is_promoted_by_itself_through_all_stages(
    mind: Mind, tmp_path: Path
) -> None:
    labelled = tmp_path / "labelled.csv"
    labelled.write_text("text,label,source\n" + "".join(f"{n} go up,bullish,news\n" for n in range(1_200)))
    await mind.start(labelled_file=labelled)
    async with load(mind) as answers:
        await mind.try_out(
            rollout_pb2.ROLLOUT_STAGE_SHADOW, min_comparisons=10, min_stage_time=Duration(), alpha=0.1
        )

        async def is_over() -> bool:
            return bool((await mind.rollout()).state == rollout_pb2.ROLLOUT_STATE_PROMOTED)

        await eventually(is_over, 60.0)
        seen = len(answers)
        await eventually(lambda: len(answers) > seen + 20)
    assert (await mind.rollout()).stable_version == "2"
    assert answers[-1].model_version == "market_llm-2-test"
    stages = [event.stage for event in await mind.events()]
    assert stages == [1, 2, 3, 4, 5, 6, 6]
    last = (await mind.events())[-1]
    assert last.figures.labelled_texts > 0
    assert last.figures.candidate_accuracy == last.figures.stable_accuracy == 1.0
