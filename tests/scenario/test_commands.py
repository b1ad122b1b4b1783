"""The commands of a trader and an operator on a running mesh."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner, Result

from servers.local.command import app
from servers.local.mesh import read_mesh
from tests.scenario.conftest import SESSION_DATE, RunningMesh, StartMesh, eventually


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def ready(mesh: RunningMesh) -> str:
    asyncio.run(mesh.wait_ready())
    return str(mesh.folder)


@pytest.mark.timeout(300)
def test_a_trader_executes_looks_cancels_and_is_stopped(start_mesh: StartMesh, tmp_path: Path) -> None:
    mesh = start_mesh(
        "--trading-only",
        "--speed",
        "400",
        "--date",
        SESSION_DATE,
        environment={"TAPELINE_EXCHANGE_HOLD": "true"},
    )
    folder = ready(mesh)
    out = tmp_path / "one.json"

    bought = run(
        "execute", "BUY", "2000", "ACME", "--algo", "twap", "--start", "09:30", "--horizon", "20m",
        "--mesh", folder, "--json", str(out),
    )  # fmt: skip
    assert bought.exit_code == 0, bought.output + mesh.log()
    report = json.loads(out.read_text())
    assert (report["state"], report["side"], report["algorithm"]) == ("FILLED", "BUY", "twap")
    assert report["filled_quantity_nanos"] == 2000 * 10**9
    assert report["execution_id"] in bought.output

    shown = run("status", "--mesh", folder)
    assert shown.exit_code == 0, shown.output
    assert "SERVING" in shown.output
    assert "2,000" in shown.output

    detached = run(
        "execute", "SELL", "1000", "ACME", "--algo", "twap", "--horizon", "2h", "--mesh", folder, "--detach"
    )
    assert detached.exit_code == 0, detached.output
    execution_id = detached.output.split()[1]
    cancelled = run("cancel", execution_id, "--mesh", folder)
    assert cancelled.exit_code == 0, cancelled.output
    assert execution_id in cancelled.output

    assert run("kill-switch", "on", "--reason", "a drill", "--mesh", folder).exit_code == 0
    refused = run("execute", "BUY", "100", "ACME", "--horizon", "10m", "--mesh", folder)
    assert refused.exit_code == 1
    assert "KILL_SWITCH_ON" in refused.output
    assert run("kill-switch", "off", "--reason", "the drill is over", "--mesh", folder).exit_code == 0

    examined = run("doctor", "--settings", "--mesh", folder)
    assert "SERVING" in examined.output
    assert "valid" in examined.output
    assert "drain_seconds" in examined.output


@pytest.mark.timeout(120)
def test_a_mesh_that_is_stopped_before_it_serves_says_so(start_mesh: StartMesh) -> None:
    mesh = start_mesh("--trading-only")

    async def starting() -> bool:
        return "Starting the mesh" in mesh.log()

    asyncio.run(eventually(starting, 60, mesh.log))
    mesh.process.send_signal(signal.SIGINT)
    assert mesh.process.wait(60) == 130, mesh.log()
    assert "Stopped before it was done." in mesh.log()
    assert not (mesh.folder / "mesh.json").exists()


@pytest.mark.timeout(300)
def test_words_that_mean_nothing_get_one_line_and_change_nothing(start_mesh: StartMesh) -> None:
    folder = ready(start_mesh("--trading-only", "--speed", "1"))
    for words, expected in (
        (("execute", "HOLD", "100", "ACME"), "side 'HOLD' is unknown"),
        (("execute", "BUY", "100", "NOSUCH"), "SYMBOL_UNKNOWN"),
        (("execute", "BUY", "0", "ACME"), "above 0"),
        (("cancel", "01ARZ3NDEKTSV4RRFFQ69G5FAV"), "EXECUTION_NOT_FOUND"),
        (("kill-switch", "perhaps", "--reason", "x"), "on or off"),
    ):
        result = run(*words, "--mesh", folder)
        assert result.exit_code != 0
        assert expected in result.output, result.output
        assert "Traceback" not in result.output
    assert "tapeline up" in run("status", "--mesh", folder + "-elsewhere").output
    kept = Path(folder) / "demonstration" / "kept"
    kept.parent.mkdir()
    kept.touch()
    for ups in (["up"], ["up", "--demo"]):
        assert "already running" in run(*ups, "--data", folder, "--port-base", "0").output
    assert kept.exists(), "a running mesh's state was removed"


@pytest.mark.timeout(300)
def test_a_file_that_cannot_be_replayed_is_named_and_nothing_keeps_running(
    tmp_path: Path,
) -> None:
    before = set(psutil.Process().children(recursive=True))
    path = tmp_path / "trades.csv"
    path.write_text("symbol,time_ms,price,size\nA,1381152601000,5,100\nA,1381152602000,minus,100\n")
    result = run(
        "up",
        "--recorded",
        str(path),
        "--date",
        "2013-10-07",
        "--data",
        str(tmp_path / "run"),
        "--port-base",
        "0",
    )
    assert result.exit_code == 1, result.output
    for words in ("exchange refuses to start", "trades.csv, row 2, column price", "minus"):
        assert words in result.output
    assert not (tmp_path / "run" / "mesh.json").exists()
    assert set(psutil.Process().children(recursive=True)) <= before


@pytest.mark.timeout(300)
def test_a_killed_supervisor_leaves_nothing_running(start_mesh: StartMesh) -> None:
    mesh = start_mesh("--trading-only", "--speed", "1")
    ready(mesh)
    servers = [psutil.Process(place.pid) for place in read_mesh(mesh.folder).servers.values()]
    mesh.process.send_signal(signal.SIGKILL)
    mesh.process.wait()
    gone, alive = psutil.wait_procs(servers, timeout=30)
    assert not alive
    assert len(gone) == len(servers)


@pytest.mark.timeout(300)
def test_a_dead_server_is_started_again_and_told_of(start_mesh: StartMesh) -> None:
    mesh = start_mesh("--trading-only", "--speed", "1")
    ready(mesh)
    first = read_mesh(mesh.folder).servers["portfolio"].pid
    psutil.Process(first).kill()

    async def is_back() -> bool:
        return read_mesh(mesh.folder).servers["portfolio"].pid not in (0, first)

    asyncio.run(eventually(is_back, 20.0, mesh.log))
    ready(mesh)
    assert "was ended by SIGKILL" in mesh.log_path.read_text()
    assert mesh.stop() == 0
