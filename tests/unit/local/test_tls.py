"""A folder of certificates is made when it is empty, and checked, with a clear word, when it is not."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from servers.local.certificates import CERTIFICATE_LIFETIME, LocalAuthority
from servers.local.mesh import Mesh, MeshError
from servers.local.tls import OPERATOR, MeshTls, open_tls, operator_certificates, renew

NOW = datetime.now(UTC).replace(microsecond=0)
SERVERS = ("orders", "risk", "telemetry")


def opened(folder: Path, now: datetime = NOW) -> MeshTls:
    return open_tls(folder, SERVERS, SERVERS, now)


def certificate_of(folder: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / name / "tls.crt").read_bytes())


def mesh_of(folder: Path) -> Mesh:
    return Mesh("run", 1, "simulated", tls_dir=str(folder))


@pytest.mark.parametrize("is_there", [False, True])
def test_an_empty_folder_gets_an_authority_and_a_certificate_for_each(tmp_path: Path, is_there: bool) -> None:
    folder = tmp_path / "tls"
    if is_there:
        folder.mkdir()
    tls = opened(folder)
    assert tls.made == (*SERVERS, OPERATOR)
    assert tls.expires == NOW + CERTIFICATE_LIFETIME
    for path in (folder / "ca.key", *folder.glob("*/tls.key")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    names = certificate_of(folder, "orders").extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert [str(name.value) for name in names.value] == ["127.0.0.1", "localhost"]
    for words in (
        "made 4 certificates",
        str(folder),
        "127.0.0.1 and localhost alone",
        f"{tls.expires:%Y-%m-%d}",
    ):
        assert words in str(tls)


def test_what_is_there_is_used_and_what_is_missing_is_added(tmp_path: Path) -> None:
    open_tls(tmp_path, ("orders",), ("orders",), NOW)
    before = (tmp_path / "orders" / "tls.crt").read_bytes()
    assert opened(tmp_path).made == ("risk", "telemetry")
    again = opened(tmp_path)
    assert again.made == ()
    assert "with the certificates of" in str(again)
    assert (tmp_path / "orders" / "tls.crt").read_bytes() == before


def test_the_table_has_the_roles_of_the_mesh_and_those_that_are_configured(tmp_path: Path) -> None:
    roles = json.loads(opened(tmp_path).roles({"ann": frozenset({"trader", "reader"})}))
    assert roles == {
        "orders": "orders",
        "risk": "risk",
        "operator": "operator",
        "ann": "reader+trader",
    }


def break_it(folder: Path, tmp_path: Path, mistake: str) -> None:
    orders = folder / "orders"
    authority = LocalAuthority.read(folder)
    if mistake == "no PEM":
        (orders / "tls.crt").write_text("nonsense")
    elif mistake == "missing file":
        (orders / "tls.crt").unlink()
    elif mistake == "foreign key":
        (orders / "tls.key").write_bytes((folder / "risk" / "tls.key").read_bytes())
    elif mistake == "expired":
        authority.issue(folder, ["orders"], NOW - CERTIFICATE_LIFETIME - timedelta(days=1))
    elif mistake == "not yet":
        authority.issue(folder, ["orders"], NOW + timedelta(days=1))
    elif mistake == "other authority":
        other = LocalAuthority.make(tmp_path / "other", NOW)
        other.issue(tmp_path / "other", ["orders"], NOW)
        (tmp_path / "other" / "orders").rename(orders.rename(folder / "away").with_name("orders"))
    else:
        for name in ("tls.crt", "tls.key"):
            (orders / name).write_bytes((folder / "risk" / name).read_bytes())


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ("no PEM", "holds a file that is not PEM"),
        ("missing file", "tls.crt: No such file"),
        ("foreign key", "does not belong to the certificate"),
        ("expired", "orders/tls.crt expired on"),
        ("not yet", "is not valid before"),
        ("other authority", "is of another authority than"),
        ("same name twice", "have the common name risk"),
    ],
)
def test_a_bad_certificate_is_named_with_what_to_do(tmp_path: Path, mistake: str, words: str) -> None:
    folder = tmp_path / "tls"
    opened(folder)
    break_it(folder, tmp_path, mistake)
    with pytest.raises(MeshError, match=words) as caught:
        opened(folder)
    if mistake not in ("not yet", "same name twice"):
        assert f"`tapeline renew-certificates {folder}`" in str(caught.value)


def test_the_advice_is_another_where_the_authority_is_not_ours(tmp_path: Path) -> None:
    opened(tmp_path)
    (tmp_path / "ca.key").unlink()
    assert opened(tmp_path).made == ()
    with pytest.raises(
        MeshError, match=r"no TLS for exchange: .* Put tls\.crt, tls\.key and ca\.crt of exchange"
    ):
        open_tls(tmp_path, (*SERVERS, "exchange"), (), NOW)
    with pytest.raises(MeshError, match="has no authority of its own"):
        renew(tmp_path, SERVERS, NOW)


def test_a_certificate_for_another_address_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("servers.local.certificates.LOOPBACK_NAMES", (x509.DNSName("orders.mesh"),))
        LocalAuthority.read(tmp_path).issue(tmp_path, ["orders"], NOW)
    with pytest.raises(MeshError, match=r"orders/tls\.crt is not for 127\.0\.0\.1"):
        opened(tmp_path)


def test_renewed_certificates_are_new_ones_of_the_same_authority(tmp_path: Path) -> None:
    opened(tmp_path)
    before = {name: certificate_of(tmp_path, name) for name in (*SERVERS, OPERATOR)}
    assert renew(tmp_path, SERVERS, NOW) == (4, NOW + CERTIFICATE_LIFETIME)
    assert opened(tmp_path).made == ()
    for name, old in before.items():
        assert certificate_of(tmp_path, name).serial_number != old.serial_number


def test_an_authority_that_has_expired_says_how_to_begin_anew(tmp_path: Path) -> None:
    opened(tmp_path, NOW - timedelta(days=4000))
    with pytest.raises(MeshError, match=r"expired on .*: remove the folder"):
        renew(tmp_path, SERVERS, NOW)


def test_an_authority_whose_key_is_not_its_own_signs_nothing(tmp_path: Path) -> None:
    opened(tmp_path)
    key = tmp_path / "ca.key"
    key.write_bytes((tmp_path / "orders" / "tls.key").read_bytes())
    with pytest.raises(MeshError, match=r"ca\.key is not that of ca\.crt"):
        renew(tmp_path, SERVERS, NOW)
    key.write_text("nonsense")
    with pytest.raises(MeshError, match="holds an authority that cannot be read"):
        renew(tmp_path, SERVERS, NOW)


def test_commands_show_the_operators_certificate_and_say_why_it_is_no_good(tmp_path: Path) -> None:
    assert operator_certificates(Mesh("run", 1, "simulated")) is None
    opened(tmp_path)
    certificates = operator_certificates(mesh_of(tmp_path))
    assert certificates is not None
    assert certificates.pair.certificate == (tmp_path / OPERATOR / "tls.crt").read_bytes()
    LocalAuthority.read(tmp_path).issue(tmp_path, [OPERATOR], NOW - CERTIFICATE_LIFETIME - timedelta(days=1))
    with pytest.raises(MeshError, match=r"operator/tls\.crt expired on"):
        operator_certificates(mesh_of(tmp_path))
