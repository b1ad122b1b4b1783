"""A plan survives being written as arguments, and becomes the command line and environment it describes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from servers.local import triton as launch
from servers.local.triton import TritonPlan, TritonPorts

PORTS = TritonPorts(grpc=5001, http=5002, metrics=5003)


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    facts = {"triton": "/opt/triton", "site_packages": "/opt/site", "library_folder": "/opt/lib"}
    (tmp_path / launch.FACTS_NAME).write_text(json.dumps(facts), encoding="utf-8")
    return tmp_path


def test_a_plan_and_its_ports_survive_being_written_as_arguments(environment: Path) -> None:
    plan = TritonPlan(
        environment,
        environment / "models",
        ("market_llm", "other"),
        threads=1,
        niceness=10,
        cache_bytes=4096,
        trace_url="http://127.0.0.1:4318/v1/traces",
        weights=environment / "weights",
    )
    assert launch._parse(launch.triton_arguments(plan, PORTS)) == (plan, PORTS, os.getpid())
    assert launch._parse(launch.triton_arguments(TritonPlan(), PORTS)) == (TritonPlan(), PORTS, os.getpid())


def test_a_cache_and_traces_are_asked_for_only_when_the_plan_says_so(environment: Path) -> None:
    plain = launch.triton_command(TritonPlan(environment), PORTS)
    assert not any("cache-config" in part or "trace-config" in part for part in plain)
    full = launch.triton_command(
        TritonPlan(environment, cache_bytes=7, trace_url="http://h/v1/traces"), PORTS
    )
    assert "--cache-config=local,size=7" in full
    assert "--trace-config=opentelemetry,url=http://h/v1/traces" in full
    assert "--load-model=market_llm" in full
    assert "--model-control-mode=explicit" in full


def test_the_environment_is_tritons_own(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    monkeypatch.setenv("TAPELINE_RISK_PORT", "1")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/mine")
    made = launch.triton_environment(TritonPlan(environment, threads=3, weights=Path("/w")))
    assert not [name for name in made if name.startswith("TAPELINE_") or name == "PYTHONHASHSEED"]
    assert made["LD_LIBRARY_PATH"] == "/opt/lib:/mine"
    assert made["PYTHONPATH"].endswith(":/opt/site")
    assert (made["MARKET_LLM_THREADS"], made["MARKET_LLM_WEIGHTS"]) == ("3", "/w")


def test_free_ports_differ() -> None:
    ports = TritonPorts.free()
    assert len({ports.grpc, ports.http, ports.metrics}) == 3
    assert ports.grpc_address == f"127.0.0.1:{ports.grpc}"
