"""Algorithms compared on a live mesh: randomised parents whose draw can be drawn again, too few to claim."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
from tapeline.execution.v1 import execution_pb2, execution_service_pb2

from servers.local.client import MeshClient
from tests.scenario.conftest import COMMAND, SESSION_DATE, RunningMesh, StartMesh

NAMES = {execution_pb2.ALGORITHM_TWAP: "TWAP", execution_pb2.ALGORITHM_ADAPTIVE_VWAP: "ADAPTIVE_VWAP"}


def command(mesh: RunningMesh, *words: str) -> str:
    """Return what a command prints."""
    done = subprocess.run(
        [*COMMAND, *words, "--mesh", mesh.folder], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr + mesh.log()
    return done.stdout


@pytest.mark.processes
@pytest.mark.timeout(300)
async def test_randomised_parents_trade_and_are_compared(start_mesh: StartMesh, tmp_path: Path) -> None:
    mesh = start_mesh("--trading-only", "--speed", "600", "--date", SESSION_DATE)
    await mesh.wait_ready()
    words = ["BUY", "600", "ACME,BOLT", "--algo", "twap,adaptive_vwap", "--randomise", "2", "--horizon", "3m"]
    said = command(mesh, "execute", *words, "--experiment", "e1", "--seed", "5")
    assert "too early to say anything: it takes 20 orders of each and 80 in all, of which 4 are finished" in (
        " ".join(said.split())
    )
    out = tmp_path / "comparison.json"
    command(mesh, "compare", "--experiment", "e1", "--json", str(out))
    comparison = json.loads(out.read_text())
    assert (comparison["parent_count"], comparison["left_out_count"]) == (4, 0)
    assert {one["verdict"] for one in comparison["differences"]} == {"TOO_EARLY"}
    assert {one["p_value"] for one in comparison["differences"]} == {None}
    whole = [one for one in comparison["groups"] if one["dimension"] == "all"]
    assert [(one["algorithm"], one["parent_count"]) for one in whole] == [("adaptive_vwap", 2), ("twap", 2)]

    async with MeshClient(mesh.mesh) as client:
        listed = await client.execution.ListExecutions(execution_service_pb2.ListExecutionsRequest())
    by_stratum = defaultdict(list)
    for execution in listed.executions:
        assignment = execution.assignment
        salt = f"5/e1/{assignment.stratum}/{assignment.block}"
        order = sorted(NAMES.values(), key=lambda name: hashlib.sha256(f"{salt}/{name}".encode()).digest())
        assert NAMES[execution.parameters.algorithm] == order[assignment.place]
        by_stratum[assignment.stratum].append(execution.parameters.algorithm)
    assert {stratum.split()[0]: sorted(drawn) for stratum, drawn in by_stratum.items()} == {
        symbol: sorted(NAMES) for symbol in ("ACME", "BOLT")
    }
