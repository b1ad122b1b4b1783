"""A breaker opens after repeated failures, probes with one call, and closes on an answer."""

from servers.runtime.breaker import Breaker


class Monotonic:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def opened() -> tuple[Breaker, Monotonic]:
    clock = Monotonic()
    breaker = Breaker(failures=3, shortest_seconds=1.0, longest_seconds=4.0, monotonic=clock)
    for _ in range(3):
        assert breaker.admits()
        breaker.failed()
    return breaker, clock


def test_it_opens_after_the_last_allowed_failure() -> None:
    breaker, _ = opened()
    assert not breaker.admits()


def test_an_answer_between_failures_starts_the_count_again() -> None:
    breaker = Breaker(failures=3)
    for _ in range(5):
        breaker.failed()
        breaker.failed()
        breaker.succeeded()
    assert breaker.admits()


def test_half_open_it_admits_one_probe() -> None:
    breaker, clock = opened()
    clock.now += 1.1
    assert breaker.admits()
    assert not breaker.admits()


def test_a_probe_that_succeeds_closes_it() -> None:
    breaker, clock = opened()
    clock.now += 1.1
    assert breaker.admits()
    breaker.succeeded()
    assert breaker.admits()
    assert breaker.admits()


def test_a_probe_that_fails_opens_it_for_longer_up_to_a_bound() -> None:
    breaker, clock = opened()
    for open_seconds in (1.0, 2.0, 4.0, 4.0):
        clock.now += open_seconds - 0.1
        assert not breaker.admits()
        clock.now += 0.2
        assert breaker.admits()
        breaker.failed()


def test_a_probe_that_never_ends_does_not_keep_it_shut() -> None:
    breaker, clock = opened()
    clock.now += 1.1
    assert breaker.admits()
    clock.now += 4.1
    assert breaker.admits()
