"""The limit shrinks when calls queue, grows when it is used, and tells slow methods from congestion."""

from hypothesis import given
from hypothesis import strategies as st

from servers.runtime.limiter import ConcurrencyLimit, Limits, MethodLatency

LIMITS = Limits(initial=100, least=10, most=200, window_calls=10)


def feed(limit: ConcurrencyLimit, method: MethodLatency, seconds: float, windows: int) -> None:
    for _ in range(windows * LIMITS.window_calls):
        limit.observe(method, seconds)


def test_steady_latency_leaves_an_unused_limit_alone() -> None:
    limit = ConcurrencyLimit(LIMITS)
    method = limit.method()
    feed(limit, method, 0.01, 50)
    assert limit.limit == LIMITS.initial


def test_the_limit_shrinks_to_its_least_when_latency_explodes() -> None:
    limit = ConcurrencyLimit(LIMITS)
    method = limit.method()
    feed(limit, method, 0.01, 20)
    feed(limit, method, 0.5, 40)
    assert limit.limit == LIMITS.least


def test_event_loop_lag_counts_as_latency() -> None:
    limit = ConcurrencyLimit(LIMITS)
    method = limit.method()
    feed(limit, method, 0.01, 20)
    limit.lag_seconds = 0.5
    feed(limit, method, 0.01, 5)
    assert limit.limit < LIMITS.initial


def test_the_limit_grows_while_it_is_used_and_latency_stands() -> None:
    limit = ConcurrencyLimit(LIMITS)
    method = limit.method()
    limit.in_flight = 150
    feed(limit, method, 0.01, 200)
    assert limit.limit == LIMITS.most


def test_it_recovers_after_congestion() -> None:
    limit = ConcurrencyLimit(LIMITS)
    method = limit.method()
    feed(limit, method, 0.01, 20)
    feed(limit, method, 0.5, 10)
    shrunk = limit.limit
    limit.in_flight = shrunk
    feed(limit, method, 0.01, 20)
    assert limit.limit > shrunk


def test_a_slow_method_beside_a_fast_one_is_no_congestion() -> None:
    limit = ConcurrencyLimit(LIMITS)
    fast, slow = limit.method(), limit.method()
    feed(limit, fast, 0.002, 10)
    feed(limit, slow, 2.0, 10)
    feed(limit, fast, 0.002, 10)
    assert limit.limit == LIMITS.initial


def test_microseconds_that_become_milliseconds_are_no_congestion() -> None:
    limit = ConcurrencyLimit(LIMITS)
    method = limit.method()
    feed(limit, method, 0.00001, 10)
    feed(limit, method, 0.004, 10)
    assert limit.limit == LIMITS.initial


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 500)), max_size=300))
def test_the_limit_never_leaves_its_bounds(samples: list[tuple[float, int]]) -> None:
    limit = ConcurrencyLimit(LIMITS)
    method = limit.method()
    for seconds, in_flight in samples:
        limit.in_flight = in_flight
        limit.observe(method, seconds)
        assert LIMITS.least <= limit.limit <= LIMITS.most
