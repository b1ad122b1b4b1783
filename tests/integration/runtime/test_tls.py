"""Mutual TLS with real certificates: who gets in, who may do what, and new certificates while connected."""

import asyncio
import datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from servers.runtime.security import CertificateFolder, SecurityError
from servers.runtime.settings import ServerSettings
from servers.runtime.status import error_info, reason_of

CODE = grpc.StatusCode
SERVER_NAME = "echo.tapeline.test"


class Authority:
    """Signs certificates, as a mesh's own authority does."""

    def __init__(self, name: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(self.name, self.key.public_key(), days=30, is_authority=True)

    def _sign(
        self,
        subject: x509.Name,
        key: Any,
        *,
        days: int,
        names: tuple[x509.GeneralName, ...] = (),
        is_authority: bool = False,
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=60))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def write(
        self, folder: Path, identity: str, *, days: int = 30, uri: str | None = None, trusts: Any = None
    ) -> Path:
        """Write `tls.crt`, `tls.key` and `ca.crt` of `identity` into `folder`, each in one step."""
        folder.mkdir(exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        names: tuple[x509.GeneralName, ...] = (
            (x509.DNSName(SERVER_NAME),) if uri is None else (x509.UniformResourceIdentifier(uri),)
        )
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity)])
        certificate = self._sign(subject, key.public_key(), days=days, names=names)
        authority = (trusts or self).certificate
        for name, content in (
            ("tls.key", key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )),
            ("tls.crt", certificate.public_bytes(serialization.Encoding.PEM)),
            ("ca.crt", authority.public_bytes(serialization.Encoding.PEM)),
        ):  # fmt: skip
            (folder / (name + ".new")).write_bytes(content)
            (folder / (name + ".new")).replace(folder / name)
        return folder


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("tapeline test authority")


@pytest.fixture
def served(harness: Any, authority: Authority, tmp_path: Path) -> Any:
    async def serve(**roles: frozenset[str]) -> Any:
        folder = authority.write(tmp_path / "server", "echo")
        table = roles or {"execution": frozenset(("trader",)), "viewer": frozenset(("reader",))}
        running, _ = await harness.serve(tls_dir=folder, roles=table)
        return running

    return serve


@pytest.fixture
def caller(harness: Any) -> Any:
    def call(running: Any, folder: Path, **arguments: Any) -> Any:
        certificates = CertificateFolder(folder)
        channels = harness.channels(
            peers={"echo": running.address},
            certificates=certificates,
            tls_server_name=SERVER_NAME,
            **arguments,
        )
        return harness.echo.Stub(channels.channel("echo"))

    return call


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_the_role_of_the_certificate_decides(
    harness: Any, served: Any, caller: Any, authority: Authority, tmp_path: Path
) -> None:
    running = await served()
    request = harness.echo.Request(text="a", count=1)
    trader = caller(running, authority.write(tmp_path / "execution", "execution"))
    viewer = caller(running, authority.write(tmp_path / "viewer", "viewer"))
    stranger = caller(running, authority.write(tmp_path / "stranger", "stranger"))

    assert (await trader.Echo(request)).text == "a"
    assert [part.text async for part in viewer.Repeat(request)] == ["a"]
    for stub, identity in ((viewer, "viewer"), (stranger, "stranger")):
        error = await refused(stub.Echo(request))
        info = error_info(error)
        assert info is not None
        assert (error.code(), info.reason) == (CODE.PERMISSION_DENIED, "ROLE_MISSING")
        assert info.metadata["identity"] == identity
    assert (await stranger.GetEcho(request)).text == "a"


async def test_a_method_without_roles_is_refused_to_everybody(
    harness: Any, served: Any, caller: Any, authority: Authority, tmp_path: Path
) -> None:
    running = await served()
    trader = caller(running, authority.write(tmp_path / "execution", "execution"))
    assert reason_of(await refused(trader.Cancel(harness.echo.Request(text="a")))) == "ROLE_MISSING"


async def test_an_identity_may_be_a_uri(
    harness: Any, served: Any, caller: Any, authority: Authority, tmp_path: Path
) -> None:
    uri = "spiffe://tapeline/execution"
    running = await served(**{uri: frozenset(("trader",))})
    stub = caller(running, authority.write(tmp_path / "execution", "anything", uri=uri))
    assert (await stub.Echo(harness.echo.Request(text="a"))).text == "a"


@pytest.mark.parametrize("mistake", ["expired", "wrong authority", "no certificate", "in the clear"])
async def test_who_has_no_good_certificate_gets_no_connection(
    harness: Any, served: Any, caller: Any, authority: Authority, tmp_path: Path, mistake: str
) -> None:
    running = await served()
    folder = tmp_path / "caller"
    component = running._component
    if mistake == "expired":
        stub = caller(running, authority.write(folder, "execution", days=-1))
    elif mistake == "wrong authority":
        stub = caller(running, Authority("somebody else").write(folder, "execution", trusts=authority))
    elif mistake == "no certificate":
        root = authority.certificate.public_bytes(serialization.Encoding.PEM)
        options = (("grpc.ssl_target_name_override", SERVER_NAME),)
        credentials = grpc.ssl_channel_credentials(root)
        stub = harness.echo.Stub(channel := grpc.aio.secure_channel(running.address, credentials, options))
    else:
        stub = harness.stub(running)
    error = await refused(stub.Echo(harness.echo.Request(text="a"), timeout=5))
    assert error.code() is CODE.UNAVAILABLE
    assert component.calls == []
    if mistake == "no certificate":
        await channel.close(None)


async def test_a_caller_refuses_a_server_of_another_authority(
    harness: Any, served: Any, caller: Any, authority: Authority, tmp_path: Path
) -> None:
    running = await served()
    folder = authority.write(tmp_path / "execution", "execution", trusts=Authority("somebody else"))
    assert (await refused(caller(running, folder).Echo(harness.echo.Request()))).code() is CODE.UNAVAILABLE


async def test_new_certificates_are_used_without_losing_a_call(
    harness: Any, served: Any, caller: Any, authority: Authority, tmp_path: Path
) -> None:
    running = await served()
    folder = authority.write(tmp_path / "execution", "execution")
    stub = caller(running, folder, refresh_seconds=0.0)
    request = harness.echo.Request(text="a")
    assert (await stub.Echo(request)).text == "a"
    stream = stub.Repeat(harness.echo.Request(text="endless"))
    await asyncio.wait_for(running._component.entered.wait(), 10)

    successor = Authority("the next authority")
    successor.write(running._settings.tls_dir, "echo")
    successor.write(folder, "execution")
    # The connection that stands stays up; a new one is made under the new authority alone.
    assert (await stub.Echo(request, wait_for_ready=True)).text == "a"
    fresh = caller(running, folder)
    assert (await fresh.Echo(request)).text == "a"
    old = caller(running, authority.write(tmp_path / "old", "execution"))
    assert (await refused(old.Echo(request))).code() is CODE.UNAVAILABLE
    running._component.release.set()
    assert [part async for part in stream] == []


async def test_a_stream_goes_on_over_its_connection_after_a_change_of_certificates(
    harness: Any, served: Any, caller: Any, authority: Authority, tmp_path: Path
) -> None:
    folder = authority.write(tmp_path / "execution", "execution")
    stub = caller(await served(), folder, refresh_seconds=0.0)
    request = harness.echo.Request(text="a")
    chat = stub.Chat()
    for _ in range(3):
        await chat.write(request)
        async with asyncio.timeout(10):
            assert (await chat.read()).text == "a"
        authority.write(folder, "execution")
        assert (await stub.Echo(request, wait_for_ready=True)).text == "a"
    chat.cancel()


async def test_a_half_written_pair_is_left_alone(
    harness: Any, served: Any, caller: Any, authority: Authority, tmp_path: Path
) -> None:
    running = await served()
    (running._settings.tls_dir / "tls.key").write_bytes(b"half a key")
    stub = caller(running, authority.write(tmp_path / "execution", "execution"))
    assert (await stub.Echo(harness.echo.Request(text="a"))).text == "a"


async def test_only_operators_look_inside(
    harness: Any, served: Any, caller: Any, authority: Authority, tmp_path: Path
) -> None:
    running = await served(execution=frozenset(("trader",)), ann=frozenset(("operator",)))
    request = b""
    for identity, is_admitted in (("execution", False), ("ann", True)):
        folder = authority.write(tmp_path / identity, identity)
        channel = harness.channels(
            peers={"echo": running.address},
            certificates=CertificateFolder(folder),
            tls_server_name=SERVER_NAME,
        ).channel("echo")
        await channel.unary_unary("/grpc.health.v1.Health/Check")(request)
        look = channel.unary_unary("/grpc.channelz.v1.Channelz/GetServers")
        if is_admitted:
            assert await look(request)
        else:
            assert reason_of(await refused(look(request))) == "ROLE_MISSING"


def test_files_that_cannot_be_used_are_named(authority: Authority, tmp_path: Path) -> None:
    with pytest.raises(SecurityError, match=r"cannot read .*tls\.crt: No such file"):
        CertificateFolder(tmp_path)
    folder = authority.write(tmp_path / "a", "a")
    other = authority.write(tmp_path / "b", "b")
    (other / "tls.key").replace(folder / "tls.key")
    with pytest.raises(SecurityError, match="does not belong to the certificate"):
        CertificateFolder(folder)
    (folder / "ca.crt").write_text("nonsense")
    with pytest.raises(SecurityError, match="is not PEM"):
        CertificateFolder(folder)


async def test_the_network_is_not_served_in_the_clear_unless_allowed(harness: Any) -> None:
    with pytest.raises(SecurityError, match=r"host 0\.0\.0\.0 is reachable from other machines"):
        await harness.serve(host="0.0.0.0")
    running, _ = await harness.serve(host="0.0.0.0", allow_insecure=True)
    assert running.port


async def test_settings_alone_turn_it_on(harness: Any, authority: Authority, tmp_path: Path) -> None:
    folder = authority.write(tmp_path / "tls", "echo")
    behind, _ = await harness.serve(tls_dir=folder, roles={"echo": frozenset(("trader",))})
    settings = ServerSettings(
        tls_dir=folder, tls_server_name=SERVER_NAME, peers={"echo": behind.address}, roles={}
    )
    context = await harness.context("caller", settings)
    stub = harness.echo.Stub(context.channels.channel("echo"))
    assert (await stub.Echo(harness.echo.Request(text="a"))).text == "a"
    await context.channels.close()
