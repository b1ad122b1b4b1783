"""The GPU profiles' repositories keep the embedded model's contract, and their chains fit link by link."""

from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

TRITON_MODELS = Path(__file__).resolve().parents[2] / "triton_models"
EMBEDDED = TRITON_MODELS / "cpu"
PROFILES = sorted(path for path in TRITON_MODELS.glob("gpu_*/repository") if path.is_dir())
MODELS = sorted(path.parent for profile in PROFILES for path in profile.glob("*/config.pbtxt"))
TENSORRT = TRITON_MODELS / "gpu_tensorrt" / "repository"
TORCH = TRITON_MODELS / "gpu_torch" / "repository"
BATCH = 8

Shape = tuple[int, list[int]]


def config_of(model: Path) -> model_config_pb2.ModelConfig:
    text = (model / "config.pbtxt").read_text(encoding="utf-8")
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def inputs_of(config: model_config_pb2.ModelConfig) -> dict[str, Shape]:
    return {tensor.name: (tensor.data_type, list(tensor.dims)) for tensor in config.input}


def outputs_of(config: model_config_pb2.ModelConfig) -> dict[str, Shape]:
    return {tensor.name: (tensor.data_type, list(tensor.dims)) for tensor in config.output}


def versions_of(model: Path) -> set[int]:
    return {int(folder.name) for folder in model.iterdir() if folder.name.isdigit()}


def model_id(path: Path) -> str:
    return str(path.relative_to(TRITON_MODELS))


def batches_over_callers(config: model_config_pb2.ModelConfig, profile: Path) -> bool:
    if config.HasField("ensemble_scheduling"):
        steps = [config_of(profile / step.model_name) for step in config.ensemble_scheduling.step]
        return all(batches_over_callers(step, profile) for step in steps)
    return bool(config.HasField("dynamic_batching"))


def first_of(profile: Path) -> model_config_pb2.ModelConfig:
    """Return what a request meets first: the front model, or the first step of an ensemble.

    Triton refuses an ensemble with a queue or a warm-up of its own.
    """
    front = config_of(profile / "market_llm")
    steps = front.ensemble_scheduling.step
    assert not (steps and front.model_warmup)
    return config_of(profile / steps[0].model_name) if steps else front


def test_there_is_a_profile_to_check() -> None:
    assert TENSORRT in PROFILES
    assert {path.name for path in MODELS if path.parent == TENSORRT} == {
        "market_llm",
        "preprocessing",
        "tensorrt_llm",
        "postprocessing",
    }


@pytest.mark.parametrize("profile", PROFILES, ids=model_id)
def test_the_front_model_has_the_embedded_ones_contract(profile: Path) -> None:
    front, embedded = config_of(profile / "market_llm"), config_of(EMBEDDED / "market_llm")
    assert front.name == embedded.name
    assert front.max_batch_size == embedded.max_batch_size == BATCH
    assert inputs_of(front) == inputs_of(embedded)
    assert outputs_of(front) == outputs_of(embedded)
    assert {warmup.batch_size for warmup in first_of(profile).model_warmup} == {1, BATCH}
    assert batches_over_callers(front, profile)


@pytest.mark.parametrize("profile", PROFILES, ids=model_id)
def test_the_first_queue_is_bounded_and_takes_a_requests_own_deadline(profile: Path) -> None:
    ours, embedded = first_of(profile).dynamic_batching, config_of(EMBEDDED / "market_llm").dynamic_batching
    assert ours.default_queue_policy == embedded.default_queue_policy
    assert ours.max_queue_delay_microseconds <= embedded.max_queue_delay_microseconds


@pytest.mark.parametrize("model", MODELS, ids=model_id)
def test_a_model_is_named_like_its_folder_and_every_version_is_there_to_be_served(model: Path) -> None:
    config = config_of(model)
    assert config.name == model.name
    assert config.max_batch_size == BATCH
    assert config.version_policy.HasField("all")
    assert versions_of(model) == set(range(1, len(versions_of(model)) + 1))
    if config.backend == "python":
        assert all((model / str(version) / "model.py").is_file() for version in versions_of(model))


def test_pytorchs_profile_serves_fp16_and_int8_side_by_side() -> None:
    model = TORCH / "market_llm"
    assert versions_of(model) == {1, 2}
    for version, precision in ((1, "fp16"), (2, "int8")):
        code = (model / str(version) / "model.py").read_text(encoding="utf-8")
        assert f'precision = "{precision}"' in code


@pytest.mark.parametrize("model", MODELS, ids=model_id)
def test_every_tensor_of_an_ensembles_steps_has_one_maker_of_the_same_type_and_shape(model: Path) -> None:
    config = config_of(model)
    if not config.HasField("ensemble_scheduling"):
        assert config.backend
        return
    known = inputs_of(config)
    for step in config.ensemble_scheduling.step:
        composed = config_of(model.parent / step.model_name)
        assert step.model_version in versions_of(model.parent / step.model_name)
        required = {tensor.name for tensor in composed.input if not tensor.optional}
        assert required <= set(step.input_map)
        for own, tensor in step.input_map.items():
            assert inputs_of(composed)[own] == known[tensor], (step.model_name, own)
        for own, tensor in step.output_map.items():
            assert tensor not in known, f"{tensor} has two makers"
            known[tensor] = outputs_of(composed)[own]
    for name, shape in outputs_of(config).items():
        assert known[name] == shape


def test_the_engine_takes_ragged_prompts_answers_once_and_is_found_where_the_build_puts_it() -> None:
    config = config_of(TENSORRT / "tensorrt_llm")
    parameters = {key: value.string_value for key, value in config.parameters.items()}
    assert config.backend == "tensorrtllm"
    assert not config.model_transaction_policy.decoupled
    assert {tensor.name for tensor in config.input if tensor.allow_ragged_batch} == {"input_ids"}
    assert parameters["gpt_model_path"] == "/models/tensorrt_llm/1"
    assert parameters["gpt_model_type"] == "inflight_fused_batching"
    assert parameters["max_beam_width"] == "1"
