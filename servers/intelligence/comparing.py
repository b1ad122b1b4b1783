"""Both versions read the same texts at the same time: what one says and how long it takes, beside the other.

A comparison begins with a batch that a lane is about to send, and asks the other version beside it; never
more than one at a time. Its latency counts only when neither version had anything else to do when it began,
as the version with more callers would else look slower than it is.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from servers.intelligence.domain.rollout import Rollout
from servers.intelligence.domain.sentiment import RawAnswer
from servers.intelligence.domain.trial import Pair, Trial
from servers.intelligence.queueing import Ask

Calibrate = Callable[[str, str, RawAnswer], RawAnswer]
Given = tuple[list[RawAnswer], float] | None
"""Answers and the seconds they took; None when there were none."""
Question = Callable[[str, Sequence[str]], Awaitable[Given]]


@dataclass(eq=False, slots=True)
class _Comparison:
    rollout: Rollout
    trial: Trial
    version: str
    batch: Sequence[Ask]
    is_quiet: bool
    answered: asyncio.Future[Given]


class Comparer:
    """Compares batches, one at a time.

    Args:
        ask: asks a version some texts.
        calibrate: what an answer of a version means for a source.
        done: called after each comparison.
        run: starts a background task.
    """

    def __init__(
        self,
        ask: Question,
        calibrate: Calibrate,
        done: Callable[[], Awaitable[None]],
        run: Callable[[Coroutine[Any, Any, None]], object],
        seed: int,
    ) -> None:
        self._ask, self._calibrate, self._done, self._run = ask, calibrate, done, run
        self._random = random.Random(seed)
        self._in_flight: Counter[str] = Counter()
        self._present: _Comparison | None = None
        # A trial remembers which texts it has compared: by no hash that a guess could be tested against.
        self._secret = secrets.token_bytes(32)

    def sending(self, rollout: Rollout, trial: Trial | None, version: str, batch: Sequence[Ask]) -> None:
        """Take a batch that is about to be sent, and compare it when it is its turn."""
        versions = (rollout.candidate_version, rollout.stable_version)
        others = sum(self._in_flight[one] for one in versions)
        self._in_flight[version] += 1
        if trial is None or self._present is not None or version not in versions:
            return
        if version == rollout.candidate_version or rollout.stage.share == 0.0:
            share = 1.0
        else:
            share = rollout.plan.comparison_share
        if self._random.random() < share:
            answered: asyncio.Future[Given] = asyncio.get_running_loop().create_future()
            self._present = _Comparison(rollout, trial, version, batch, others == 0, answered)
            self._run(self._compare(self._present))

    def sent(self, version: str, batch: Sequence[Ask], given: Given) -> None:
        """Take what became of a batch."""
        self._in_flight[version] -= 1
        present = self._present
        if present is not None and present.batch is batch and not present.answered.done():
            present.answered.set_result(given)

    async def _compare(self, comparison: _Comparison) -> None:
        rollout, batch = comparison.rollout, comparison.batch
        is_candidate = comparison.version == rollout.candidate_version
        other = rollout.stable_version if is_candidate else rollout.candidate_version
        try:
            beside = await self._ask(other, [ask.item.text for ask in batch])
            # A lane always reports its batch, at the latest when its call times out.
            given = await comparison.answered
        finally:
            self._present = None
        if beside is None or given is None:
            return
        candidate, stable = (given, beside) if is_candidate else (beside, given)
        pairs = [
            Pair(
                blake2b(ask.digest, key=self._secret, digest_size=16).digest(),
                ask.item.entity,
                self._calibrate(rollout.candidate_version, ask.item.source, one).scores,
                self._calibrate(rollout.stable_version, ask.item.source, another).scores,
            )
            for ask, one, another in zip(batch, candidate[0], stable[0], strict=True)
        ]
        comparison.trial.compare(pairs)
        if comparison.is_quiet:
            comparison.trial.compare_latency(len(batch), candidate[1], stable[1])
        await self._done()
