"""What waits for a model: the most relevant goes first, and the least relevant is shed first."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from servers.intelligence.domain.sentiment import Item
from servers.intelligence.queueing import Ask, Budget, RelevanceQueue


def ask(loop: asyncio.AbstractEventLoop, item_id: str, followers: int = 0, **facts: bool) -> Ask:
    item = Item(item_id, "ACME", f"text {item_id}", "x", followers, **facts)
    return Ask(item, item.digest, 0.0, 10.0, "", loop.create_future())


def names(asks: list[Ask]) -> list[str]:
    return [one.item.item_id for one in asks]


async def test_unique_comes_before_linked_before_followed() -> None:
    loop = asyncio.get_running_loop()
    queue = RelevanceQueue()
    for place, one in enumerate(
        (
            ask(loop, "duplicate", 1_000_000, is_duplicate=True, is_linked=True),
            ask(loop, "plain"),
            ask(loop, "followed", 50_000),
            ask(loop, "linked", is_linked=True),
            ask(loop, "linked and followed", 900, is_linked=True),
        )
    ):
        queue.put(one, float(place))
    assert names(queue.take(8)) == ["linked and followed", "linked", "followed", "plain", "duplicate"]


async def test_equals_leave_in_the_order_in_which_they_came() -> None:
    loop = asyncio.get_running_loop()
    queue = RelevanceQueue()
    for name in "abc":
        queue.put(ask(loop, name), 0.0)
    assert names(queue.take(2)) == ["a", "b"]
    assert len(queue) == 1


async def test_the_least_relevant_leaves_first_when_there_are_too_many() -> None:
    loop = asyncio.get_running_loop()
    queue = RelevanceQueue()
    for one in (ask(loop, "a", is_linked=True), ask(loop, "b", is_duplicate=True), ask(loop, "c")):
        queue.put(one, 0.0)
    found = queue.take_least()
    assert found is not None
    assert found.item.item_id == "b"
    assert names(queue.take(8)) == ["a", "c"]
    assert queue.take_least() is None


async def test_whoever_left_is_skipped_and_does_not_age_the_queue() -> None:
    loop = asyncio.get_running_loop()
    queue = RelevanceQueue()
    first, second = ask(loop, "a"), ask(loop, "b")
    queue.put(first, 1.0)
    queue.put(second, 3.0)
    assert queue.age_seconds(5.0) == 4.0
    queue.drop(first)
    queue.drop(first)
    assert len(queue) == 1
    assert queue.age_seconds(5.0) == 2.0
    assert names(queue.take(8)) == ["b"]
    assert queue.age_seconds(5.0) == 0.0


def test_a_budget_lets_its_rate_through_and_saves_a_second() -> None:
    budget = Budget(16.0)
    assert budget.available(100.0, 8) == 8
    budget.spend(16)
    assert budget.available(100.0, 8) == 0
    assert budget.pause_seconds == 1 / 16
    assert budget.available(100.125, 8) == 2
    budget.spend(2)
    assert budget.available(1_000.0, 100) == 16


def test_no_budget_is_no_bound() -> None:
    budget = Budget(0.0)
    budget.spend(1_000_000)
    assert budget.available(0.0, 8) == 8
    assert budget.pause_seconds == 0.0


@given(st.lists(st.tuples(st.floats(0.0, 0.5), st.integers(0, 8)), max_size=60), st.floats(1.0, 100.0))
def test_no_more_than_the_budget_is_ever_spent(steps: list[tuple[float, int]], rate: float) -> None:
    budget, now, spent = Budget(rate), 0.0, 0
    for pause, most in steps:
        now += pause
        count = budget.available(now, most)
        assert 0 <= count <= most
        budget.spend(count)
        spent += count
    assert spent <= max(8.0, rate) + rate * now + 1e-6
