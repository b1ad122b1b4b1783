"""Models in memory and behind Triton's protocol keep one contract; files say what is wrong with them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from servers.intelligence.adapters.files import load_calibrations, load_labelled, load_lexicon
from servers.intelligence.adapters.memory import MemoryModels
from servers.intelligence.adapters.triton import TritonModels, answers_of, request_of
from servers.intelligence.domain.sentiment import Label, Scores, WrongShape
from servers.intelligence.ports import (
    ModelError,
    ModelFailed,
    ModelTimeout,
    ModelUnreachable,
    SentimentModels,
)
from servers.model.errors import InvalidInput
from servers.runtime.logs import make_log
from servers.runtime.tracing import Tracer, trace_id_of
from tests.integration.intelligence.conftest import eventually
from tests.integration.intelligence.triton_server import (
    TritonServer,
    has_the_wrong_shape,
    raises,
    reads_well,
    row_of,
    sleeps_two_seconds,
)


class World:
    """Versions that a test can break, in memory or behind the protocol."""

    def __init__(self, models: SentimentModels, misbehave: Callable[[str], None]) -> None:
        self.models = models
        self.misbehave = misbehave


@pytest.fixture(params=["memory", "protocol"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "memory":
        memory = MemoryModels(lambda text: Scores(*row_of(text)))

        def broken(text: str) -> Scores:
            raise ModelFailed("it raises")

        def misbehave_in_memory(how: str) -> None:
            if how == "sleep":
                memory.model("1").seconds = 2.0
            else:
                memory.model("1").read = broken

        yield World(memory, misbehave_in_memory)
        return
    triton = TritonServer()
    await triton.start()
    models = TritonModels(triton.address, "market_llm", Tracer(), make_log("test", "json", "error"))

    def misbehave(how: str) -> None:
        triton.versions["1"].read = {
            "sleep": sleeps_two_seconds,
            "raise": raises,
            "shape": has_the_wrong_shape,
        }[how]

    yield World(models, misbehave)
    await models.close()
    await triton.stop()


async def test_a_model_answers_every_text_in_order(world: World) -> None:
    model = world.models.model("1")
    assert world.models.model("1") is model
    assert model.version == "1"
    assert await model.is_ready()
    answers = await model.classify(["go up", "go down", "stay"], 5.0, ["", "", ""])
    assert [answer.scores.label for answer in answers] == [Label.BULLISH, Label.BEARISH, Label.NEUTRAL]
    assert model.unavailable_reason == ""
    assert not await world.models.keeps_answers()


@pytest.mark.parametrize(
    ("how", "error"), [("sleep", ModelTimeout), ("raise", ModelFailed), ("shape", ModelFailed)]
)
async def test_a_model_that_misbehaves_says_how(world: World, how: str, error: type[ModelError]) -> None:
    world.misbehave(how)
    with pytest.raises(error):
        await world.models.model("1").classify(["a secret text"], 0.1, [])


async def test_no_more_than_eight_texts_go_at_once(world: World) -> None:
    with pytest.raises(ValueError, match="outside 1 to 8"):
        await world.models.model("1").classify(["x"] * 9, 1.0, [])


# -- Behind the protocol alone ------------------------------------------------------------------------


@pytest.fixture
async def triton() -> AsyncIterator[TritonServer]:
    made = TritonServer()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def spans() -> list[Any]:
    return []


@pytest.fixture
async def models(triton: TritonServer, spans: list[Any]) -> AsyncIterator[TritonModels]:
    log = make_log("test", "json", "error")
    made = TritonModels(triton.address, "market_llm", Tracer(spans.append), log, patience_seconds=0.05)
    yield made
    await made.close()


async def test_an_error_never_repeats_the_text(triton: TritonServer, models: TritonModels) -> None:
    triton.versions["1"].read = raises
    with pytest.raises(ModelFailed) as failed:
        await models.model("1").classify(["a secret text"], 1.0, [])
    assert "secret" not in str(failed.value)
    assert "INTERNAL" in str(failed.value)


async def test_a_version_that_is_not_there_is_unreachable_and_found_when_it_comes(
    triton: TritonServer, models: TritonModels
) -> None:
    model = models.model("3")
    assert not await model.is_ready()
    with pytest.raises(ModelUnreachable, match="not loaded"):
        await model.classify(["x"], 1.0, [])
    assert "not loaded" in model.unavailable_reason
    triton.versions["3"] = type(triton.versions["1"])()
    await eventually(lambda: model.unavailable_reason == "")


async def test_a_version_that_is_late_again_and_again_is_left_alone_until_it_is_not(
    triton: TritonServer, models: TritonModels
) -> None:
    triton.versions["1"].read = sleeps_two_seconds
    model = models.model("1")
    for _ in range(3):
        assert model.unavailable_reason == ""
        with pytest.raises(ModelTimeout):
            await model.classify(["x"], 0.02, [])  # too little to tell anything of the model
    for _ in range(3):
        assert model.unavailable_reason == ""
        with pytest.raises(ModelTimeout):
            await model.classify(["x"], 0.06, [])
    assert "in time" in model.unavailable_reason
    triton.versions["1"].read = reads_well
    await eventually(lambda: model.unavailable_reason == "")


async def test_a_batch_is_a_span_under_the_first_callers_trace(
    triton: TritonServer, models: TritonModels, spans: list[Any]
) -> None:
    first, second = "00-" + "a" * 32 + "-" + "b" * 16 + "-01", "00-" + "c" * 32 + "-" + "d" * 16 + "-01"
    await models.model("1").classify(["x", "y"], 1.0, [first, second])
    (span,) = spans
    assert span.name == "ask market_llm"
    assert span.trace_id == trace_id_of(first)
    assert span.links == [second]
    assert span.attributes["texts"] == 2
    assert triton.versions["1"].traceparents == [span.traceparent]


async def test_a_triton_with_a_cache_of_its_own_is_noticed(
    triton: TritonServer, models: TritonModels
) -> None:
    assert not await models.keeps_answers()
    triton.cache_misses = 1
    assert await models.keeps_answers()
    await triton.stop()
    assert await models.keeps_answers()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda response: response.outputs.pop(0), "SCORES is"),
        (lambda response: response.outputs.pop(), "MODEL_VERSION is missing"),
        (lambda response: setattr(response.outputs[0], "datatype", "FP64"), "FP64"),
        (lambda response: response.outputs[0].shape.__setitem__(1, 2), "shape"),
        (lambda response: response.raw_output_contents.__setitem__(1, b"\x01"), "cut off"),
        (lambda response: response.raw_output_contents.__setitem__(1, b"\x09\0\0\0x"), "cut off"),
        (lambda response: response.raw_output_contents.__setitem__(1, b""), "0 values"),
        (lambda response: response.raw_output_contents.__setitem__(0, b"\xff" * 12), "not a number"),
    ],
)
async def test_outputs_that_break_the_contract_are_refused(
    models: TritonModels, damage: Callable[[Any], None], words: str
) -> None:
    response = await models.stub.ModelInfer(request_of("market_llm", "1", ["x"]))
    assert answers_of(response, 1)[0].model_version == "market_llm-1-test"
    damage(response)
    with pytest.raises(WrongShape, match=words):
        answers_of(response, 1)


# -- Files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        "not toml",
        "[sources.x]\ntemperature = 0\nbias = [0, 0, 0]",
        "[sources.x]\ntemperature = 1\nbias = [0, 0]",
        "[sources.x]\nbias = [0, 0, 0]",
        "[sources.x]\ntemperature = 1\nbias = [0, 0, 0]\nconfidence_ceiling = 2",
        "sources = []",
    ],
)
def test_a_calibration_that_cannot_be_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(content)
    with pytest.raises(InvalidInput) as refused:
        load_calibrations(path)
    assert refused.value.reason == "FILE_MALFORMED"


def test_a_calibration_file_names_sources_versions_and_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    entry = "temperature = 2.0\nbias = [0, 0, 0]\nconfidence_ceiling ="
    path.write_text(
        f'[sources.x]\n{entry} 0.9\n[versions."2".sources.y]\n{entry} 0.9\n[uncalibrated]\n{entry} 0.5\n'
    )
    calibrations = load_calibrations(path)
    certain = Scores(0.0, 0.0, 1.0)
    assert calibrations.apply("1", "x", certain).confidence == 0.9
    assert calibrations.apply("2", "x", certain).confidence == 0.5
    assert calibrations.apply("2", "y", certain).is_source_calibrated


def test_labelled_texts_are_read_with_their_sources(tmp_path: Path) -> None:
    path = tmp_path / "labelled.csv"
    path.write_text("text,label,source\nup we go,bullish,x\nflat,Neutral,\n")
    assert [(one.label, one.source) for one in load_labelled(path)] == [
        (Label.BULLISH, "x"),
        (Label.NEUTRAL, ""),
    ]
    assert load_labelled(None) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("text\nx\n", "no column label"),
        ("text,label\nx,2\n", "row 2, column label"),
        ("text,label\n,bullish\n", "row 2, column text"),
    ],
)
def test_labelled_texts_that_cannot_be_read_are_refused(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "labelled.csv"
    path.write_text(content)
    with pytest.raises(InvalidInput, match=words):
        load_labelled(path)


@pytest.mark.parametrize("content", ["[weights", "negations = []\n[weights]\n", "[weights]\nx = [1]\n"])
def test_a_word_list_that_cannot_be_read_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "words.toml"
    path.write_text(content)
    with pytest.raises(InvalidInput):
        load_lexicon(path)
