"""The model keeps its contract behind a real Triton, whatever it is given to read."""

from __future__ import annotations

import time

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from servers.local.receiver.http import export_from_json
from servers.local.receiver.service import spans_from_wire
from servers.local.receiver.store import Span
from tests.integration.triton.conftest import Asker, SpanListener

GOOD = "Acme raised to buy from hold at Borealis Securities, price target up 20%"
BAD = "Acme shares plunge after it cuts its full-year outlook on weak orders"
PLAIN = "Acme to present at the Corvid industrial conference on Tuesday"

pytestmark = pytest.mark.processes


def test_the_answers_have_the_shapes_and_order_of_the_contract(asker: Asker) -> None:
    found = asker.ask(BAD, PLAIN, GOOD)
    assert found.scores.shape == (3, 3)
    assert found.scores.dtype == np.float32
    assert found.confidences.shape == (3, 1)
    assert np.allclose(found.scores.sum(axis=1), 1.0, atol=1e-5)
    assert found.labels == ["bearish", "neutral", "bullish"]
    assert np.allclose(found.scores.max(axis=1), found.confidences[:, 0])
    assert all(version.startswith("market_llm-1-fp32-head_") for version in found.versions)


def test_a_text_gets_the_same_answer_alone_and_beside_others(asker: Asker) -> None:
    texts = [BAD, GOOD, PLAIN, "up", f"{PLAIN} " * 10, f"{BAD}.", f"{GOOD}!", "$ACME"]
    together = asker.ask(*texts).scores
    alone = np.concatenate([asker.ask(text).scores for text in texts])
    assert np.abs(together - alone).max() < 1e-3


def test_version_two_in_eight_bits_stands_beside_version_one_and_agrees_with_it(asker: Asker) -> None:
    first, second = (asker.ask(BAD, PLAIN, GOOD, version=version) for version in ("1", "2"))
    assert all(version.startswith("market_llm-2-int8-head_") for version in second.versions)
    assert second.labels == first.labels
    assert 0 < np.abs(second.scores - first.scores).max() < 0.2


@pytest.mark.parametrize(
    "text",
    ["", " \n\t ", "\x00", "🚀" * 500, b"\xff\xfe broken", "word " * 5_000, "<|im_end|>" * 40],
    ids=["empty", "blank", "nul", "emoji", "not UTF-8", "long", "special tokens"],
)
def test_any_text_gets_a_distribution(asker: Asker, text: str | bytes) -> None:
    scores = asker.ask(text).scores
    assert np.isfinite(scores).all()
    assert scores.sum() == pytest.approx(1.0, abs=1e-5)


def test_more_than_eight_texts_are_refused(asker: Asker) -> None:
    with pytest.raises(InferenceServerException, match="batch-size must be <= 8"):
        asker.ask(*[PLAIN] * 9)


def test_a_text_that_was_read_is_answered_from_the_cache(asker: Asker) -> None:
    text = f"{PLAIN}, says a statement of {time.time_ns()}"
    first, before = asker.ask(text), asker.cache_hits()
    again = asker.ask(text)
    assert asker.cache_hits() == before + 1
    assert (again.scores == first.scores).all()


def test_the_spans_of_a_request_continue_its_callers_trace(asker: Asker, spans: SpanListener) -> None:
    """Triton hands spans on as it can and drops some on a busy machine: the request is made again then."""
    parent, deadline = "b7ad6b7169203331", time.monotonic() + 90
    names: set[str] = set()
    while names != {"InferRequest", "market_llm", "compute"}:
        assert time.monotonic() < deadline, f"of {len(told(spans))} spans, the last trace had {names}"
        trace = f"{time.time_ns():032x}"
        asker.ask(f"{PLAIN} {trace}", headers={"traceparent": f"00-{trace}-{parent}-01"})
        asked_until = time.monotonic() + 8
        while len(names) < 3 and time.monotonic() < asked_until:
            found = [span for span in told(spans) if span.trace_id == trace]
            names = {span.name for span in found}
            time.sleep(0.05)
    assert [span.parent_span_id for span in found if span.name == "InferRequest"] == [parent]
    assert {span.service for span in found} == {"triton"}


def told(spans: SpanListener) -> list[Span]:
    """Return what Triton sent, as the mesh's receiver takes it."""
    return [span for body in list(spans.bodies) for span in spans_from_wire(export_from_json(body.encode()))]
