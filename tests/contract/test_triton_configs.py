"""Every profile's model repository keeps the contract of `market_llm`, and its parts fit each other."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

TRITON_MODELS = Path(__file__).resolve().parents[2] / "triton_models"
CONFIGS = sorted(TRITON_MODELS.rglob("config.pbtxt"))
FRONTS = [path for path in CONFIGS if path.parent.name == "market_llm"]
CONTRACT_INPUTS = {"TEXT": ("TYPE_STRING", [1])}
CONTRACT_OUTPUTS = {
    "SCORES": ("TYPE_FP32", [3]),
    "LABEL": ("TYPE_STRING", [1]),
    "CONFIDENCE": ("TYPE_FP32", [1]),
    "MODEL_VERSION": ("TYPE_STRING", [1]),
}


def config_of(path: Path) -> model_config_pb2.ModelConfig:
    return text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())


def tensors(declared: Iterable[Any]) -> dict[str, tuple[str, list[int]]]:
    return {
        tensor.name: (model_config_pb2.DataType.Name(tensor.data_type), list(tensor.dims))
        for tensor in declared
    }


def folder_name(path: Path) -> str:
    return str(path.parent.relative_to(TRITON_MODELS))


@pytest.mark.parametrize("path", CONFIGS, ids=folder_name)
def test_a_configuration_parses_and_is_named_like_its_folder(path: Path) -> None:
    assert config_of(path).name == path.parent.name


@pytest.mark.parametrize("path", CONFIGS, ids=folder_name)
def test_a_model_batches_up_to_eight_texts_and_has_a_version(path: Path) -> None:
    assert config_of(path).max_batch_size == 8
    versions = [folder for folder in path.parent.iterdir() if folder.is_dir() and folder.name.isdigit()]
    assert versions


@pytest.mark.parametrize("path", FRONTS, ids=folder_name)
def test_every_front_model_keeps_the_contract(path: Path) -> None:
    config = config_of(path)
    assert tensors(config.input) == CONTRACT_INPUTS
    assert tensors(config.output) == CONTRACT_OUTPUTS


@pytest.mark.parametrize("path", FRONTS, ids=folder_name)
def test_every_version_of_a_front_model_in_python_has_its_code(path: Path) -> None:
    if config_of(path).backend != "python":
        pytest.skip("an ensemble has no code")
    versions = [folder for folder in path.parent.iterdir() if folder.name.isdigit()]
    assert all((folder / "model.py").is_file() for folder in versions)


def test_the_embedded_front_model_batches_over_callers_warms_up_caches_and_bounds_its_queue() -> None:
    config = config_of(TRITON_MODELS / "cpu" / "market_llm" / "config.pbtxt")
    assert config.response_cache.enable
    assert config.version_policy.HasField("all")
    assert {warmup.batch_size for warmup in config.model_warmup} == {1, 8}
    queue = config.dynamic_batching.default_queue_policy
    assert queue.allow_timeout_override
    assert queue.max_queue_size > 0
    assert config.dynamic_batching.max_queue_delay_microseconds <= 5_000
    assert [group.count for group in config.instance_group] == [1]
