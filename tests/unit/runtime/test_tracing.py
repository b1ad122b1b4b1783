"""Trace contexts as text, and spans that follow their parents."""

from hypothesis import given
from hypothesis import strategies as st

from servers.runtime.tracing import (
    SERVER,
    Span,
    Tracer,
    current_span,
    current_traceparent,
    is_sampled,
    is_traceparent,
    trace_id_of,
)

SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = SAMPLED[:-2] + "00"


def sampled_tracer() -> tuple[Tracer, list[Span]]:
    finished: list[Span] = []
    return Tracer(finished.append), finished


def test_the_example_of_the_standard_is_a_traceparent() -> None:
    assert is_traceparent(SAMPLED)
    assert is_sampled(SAMPLED)
    assert not is_sampled(UNSAMPLED)
    assert trace_id_of(SAMPLED) == "0af7651916cd43dd8448eb211c80319c"


@given(st.text(max_size=80) | st.binary(max_size=80) | st.none())
def test_text_that_is_no_traceparent_starts_a_new_trace(text: object) -> None:
    assert not is_traceparent(text)
    if isinstance(text, str):
        span = sampled_tracer()[0].start_span("work", text)
        assert span.parent == ""
        assert is_traceparent(span.traceparent)


def test_zero_ids_and_upper_case_are_refused() -> None:
    assert not is_traceparent("00-" + "0" * 32 + SAMPLED[35:])
    assert not is_traceparent(SAMPLED[:36] + "0" * 16 + "-01")
    assert not is_traceparent(SAMPLED.upper())


@given(st.integers(0, 3))
def test_every_traceparent_made_here_is_valid(depth: int) -> None:
    for ratio in (0.0, 1.0):
        tracer = Tracer(lambda span: None, ratio)
        span = tracer.start_span("root")
        for _ in range(depth):
            span = tracer.start_span("child", span.traceparent)
        assert is_traceparent(span.traceparent)
        assert is_sampled(span.traceparent) is (ratio == 1.0)


def test_a_child_stays_in_its_parents_trace() -> None:
    tracer, finished = sampled_tracer()
    with tracer.start_span("parent", SAMPLED, kind=SERVER, account="A1") as parent:
        parent.set(orders=3)
        parent.event("accepted", order_id="o-1")
        with tracer.start_span("child") as child:
            assert current_span() is child
            assert current_traceparent() == child.traceparent
        assert current_span() is parent
    assert current_span() is None
    assert current_traceparent() == ""
    assert [span.name for span in finished] == ["child", "parent"]
    assert child.parent == parent.traceparent
    assert child.trace_id == parent.trace_id == trace_id_of(SAMPLED)
    assert parent.parent == SAMPLED
    assert parent.attributes == {"account": "A1", "orders": 3}
    assert [(name, attributes) for _, name, attributes in parent.events] == [
        ("accepted", {"order_id": "o-1"})
    ]
    assert parent.start_nanos <= child.start_nanos <= child.end_nanos <= parent.end_nanos


def test_work_under_an_unsampled_parent_is_not_recorded_but_carries_the_context_on() -> None:
    tracer, finished = sampled_tracer()
    with tracer.start_span("parent", UNSAMPLED, account="A1") as span:
        span.set(a=1)
        span.event("b")
        span.fail("c")
        assert current_traceparent() == UNSAMPLED
    assert not span.sampled
    assert finished == []


def test_a_tracer_without_exporter_records_nothing_even_under_a_sampled_parent() -> None:
    span = Tracer(None).start_span("work", SAMPLED)
    assert not span.sampled
    assert span.traceparent == SAMPLED


def test_the_share_of_sampled_traces_is_the_ratio() -> None:
    tracer = Tracer(lambda span: None, 0.25)
    sampled = sum(tracer.start_span("work", "").sampled for _ in range(4_000))
    assert 800 < sampled < 1_200


def test_an_exception_marks_the_span_and_goes_on() -> None:
    tracer, finished = sampled_tracer()
    try:
        with tracer.start_span("work"):
            raise ValueError("out of paper")
    except ValueError:
        pass
    assert finished[0].error == "ValueError: out of paper"


def test_a_span_is_exported_once() -> None:
    tracer, finished = sampled_tracer()
    span = tracer.start_span("work", links=[SAMPLED, "nonsense"])
    span.end()
    span.end()
    assert len(finished) == 1
    assert finished[0].links == [SAMPLED]
