"""A mesh with mutual TLS: the operator's certificate opens it and is renewed at work; nothing else does."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import ssl
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from typer.testing import CliRunner, Result

from servers.local.certificates import LocalAuthority
from servers.local.command import app
from servers.local.health import health_in, health_of
from servers.local.mesh import Mesh
from servers.local.tls import operator_certificates
from tests.scenario.conftest import SESSION_DATE, RunningMesh, StartMesh, eventually

START_SECONDS = 90.0


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


async def all_serve(mesh: Mesh) -> bool:
    certificates = operator_certificates(mesh)
    return {await health_in(mesh, name, certificates) for name in mesh.servers} == {"SERVING"}


def wait_ready(running: RunningMesh) -> Mesh:
    async def is_ready() -> bool:
        assert running.process.poll() is None, running.log()
        return (running.folder / "mesh.json").exists() and await all_serve(running.mesh)

    asyncio.run(eventually(is_ready, START_SECONDS, running.log))
    return running.mesh


def shown_by(mesh: Mesh, server: str) -> int:
    """Return the serial number of the certificate that a server shows the operator."""
    folder = Path(mesh.tls_dir) / "operator"
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    context.set_alpn_protocols(["h2"])
    host, port = mesh.address(server).split(":")
    with (
        socket.create_connection((host, int(port)), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=host) as connection,
    ):
        shown = connection.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown).serial_number


@pytest.mark.timeout(300)
def test_certificates_open_the_mesh_are_renewed_at_work_and_nothing_else_does(
    start_mesh: StartMesh, tmp_path: Path
) -> None:
    tls, folder = tmp_path / "tls", str(tmp_path / "run")
    running = start_mesh(
        "--trading-only",
        "--speed",
        "400",
        "--date",
        SESSION_DATE,
        "--tls-dir",
        str(tls),
        environment={"TAPELINE_EXCHANGE_HOLD": "true"},
    )
    mesh = wait_ready(running)
    assert "made 12 certificates" in running.log_path.read_text().replace("\n", " ")

    # Health is asked, parents are traded, figures are scraped and traces are kept under TLS.
    order = ("execute", "BUY", "500", "ACME", "--algo", "twap", "--start", "09:30", "--horizon", "10m")
    bought = run(*order, "--mesh", folder)
    assert bought.exit_code == 0, bought.output + running.log()
    execution_id = bought.output.split()[1]
    assert run("status", "--mesh", folder).output.count("SERVING") == len(mesh.servers)
    assert "SERVING" in run("doctor", "--mesh", folder).output

    async def is_traced() -> bool:
        spans = run("trace", execution_id, "--data", folder).output
        return all(name in spans for name in ("of execution", "market_data", "orders", "risk", "tapeline"))

    asyncio.run(eventually(is_traced, 20.0, running.log))
    with urllib.request.urlopen(f"http://{mesh.servers['risk'].metrics}/metrics", timeout=5) as answer:
        figures = answer.read().decode()
    assert "tapeline_risk_kill_switch" in figures

    # In the clear there is no health and no call.
    assert asyncio.run(health_of(mesh.address("risk"))) == "UNREACHABLE"

    # New certificates: servers show them, commands use them, a server that dies comes back with them.
    before = {name: shown_by(mesh, name) for name in mesh.servers}
    assert run("renew-certificates", str(tls)).exit_code == 0
    for name, serial in before.items():
        on_disk = x509.load_pem_x509_certificate((tls / name / "tls.crt").read_bytes()).serial_number
        assert shown_by(mesh, name) == on_disk != serial
    pid = mesh.servers["orders"].pid
    os.kill(pid, signal.SIGKILL)

    async def is_back() -> bool:
        return running.mesh.servers["orders"].pid not in (0, pid) and await all_serve(running.mesh)

    asyncio.run(eventually(is_back, 30.0, running.log))
    bought = run("execute", "BUY", "500", "ACME", "--algo", "twap", "--horizon", "10m", "--mesh", folder)
    assert bought.exit_code == 0, bought.output + running.log()

    # Without the operator's certificate a command is refused, and says why.
    switch = ("kill-switch", "on", "--reason", "a drill", "--mesh", folder)
    operator = tls / "operator"
    shutil.rmtree(operator)
    shutil.copytree(tls / "portfolio", operator)
    assert "ROLE_MISSING: portfolio has none of the roles" in run(*switch).output
    shutil.rmtree(operator)
    assert "no TLS for operator: cannot read" in run(*switch).output
    stranger = LocalAuthority.make(tmp_path / "stranger", datetime.now(UTC))
    stranger.issue(tmp_path / "stranger", ["operator"], datetime.now(UTC))
    shutil.copytree(tmp_path / "stranger" / "operator", operator)
    refused = run(*switch)
    assert refused.exit_code == 1
    assert "of another authority" in refused.output
    (tls / "ca.crt").unlink()  # nothing left to compare with: the mesh itself refuses
    refused = run(*switch)
    assert refused.exit_code == 1
    assert "did not take the operator's certificate" in refused.output
    assert running.stop() == 0
