"""The TLS of a local mesh: a folder with the certificates of its servers and of who operates it.

`FOLDER/orders/`, `FOLDER/operator/` and so on are what `tls_dir` expects: `tls.crt`, `tls.key`, `ca.crt`.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID

from servers.local.certificates import AUTHORITY_KEY_FILE, LocalAuthority
from servers.local.free_ports import HOST
from servers.local.mesh import Mesh, MeshError
from servers.runtime.security import AUTHORITY_FILE, CERTIFICATE_FILE, CertificateFolder, SecurityError

OPERATOR = "operator"
ROLES_OF: Mapping[str, str] = {
    "execution": "execution",
    "orders": "orders",
    "risk": "risk",
    "portfolio": "portfolio",
    "market_data": "market_data",
    "decision": "decision",
    "signals": "signals",
    "news": "news",
    OPERATOR: "operator",
}
"""What the servers of a mesh need of each other; who is not named calls nobody, or what is open to all."""


@dataclass(frozen=True)
class MeshTls:
    """The certificates of a mesh, checked.

    Attributes:
        folder: one folder a name.
        expires: when the first of them does.
        identities: name -> whom its certificate stands for in the table of roles.
        made: the names whose certificates were made just now.
    """

    folder: Path
    expires: datetime
    identities: Mapping[str, str] = field(default_factory=dict)
    made: tuple[str, ...] = ()

    def roles(self, configured: Mapping[str, frozenset[str]]) -> str:
        """Return the setting `roles`: the table of the mesh, then what is configured beside it."""
        own = {self.identities[name]: ROLES_OF[name] for name in self.identities if name in ROLES_OF}
        others = {identity: "+".join(sorted(roles)) for identity, roles in configured.items()}
        return json.dumps(own | others)

    def __str__(self) -> str:
        """Return what the screen says of it."""
        until = f"valid until {self.expires:%Y-%m-%d}"
        if not self.made:
            return f"Mutual TLS with the certificates of {self.folder}, {until}."
        return (
            f"Mutual TLS: made {len(self.made)} certificates in {self.folder}, for {HOST} and localhost"
            f" alone, {until}, the operator's among them. The keys are readable by you alone and lie beside"
            f" their authority's ({AUTHORITY_KEY_FILE}): keep the folder on this machine."
        )


def open_tls(folder: Path, running: Sequence[str], known: Iterable[str], now: datetime) -> MeshTls:
    """Return the certificates of `folder`, made there when it is empty or missing.

    Args:
        folder: what `--tls-dir` names.
        running: the servers that will use it.
        known: every server there is; a certificate is made for each of them.
        now: UTC.

    Where the folder has its own authority, a certificate that is missing is made.
    Raises MeshError that says what is wrong with which file, and what to do.
    """
    folder = folder.resolve()
    made: list[str] = []
    try:
        if not folder.exists() or not any(folder.iterdir()):
            made = [*known, OPERATOR]
            LocalAuthority.make(folder, now).issue(folder, made, now)
        elif (folder / AUTHORITY_KEY_FILE).exists():
            made = [name for name in (*known, OPERATOR) if not (folder / name).exists()]
            if made:
                LocalAuthority.read(folder).issue(folder, made, now)
    except OSError as error:
        raise MeshError(f"cannot make certificates in {folder}: {error}") from error
    names = [*running, OPERATOR]
    chains = {name: _read(folder, name) for name in names}
    for name, chain in chains.items():
        _check_dates(folder, name, chain[0], now)
        if name != OPERATOR:
            _check_address(folder, name, chain[0])
    _check_issuers(folder, chains, now)
    return MeshTls(
        folder,
        min(chain[0].not_valid_after_utc for chain in chains.values()),
        _identities(folder, chains),
        tuple(made),
    )


def renew(folder: Path, known: Iterable[str], now: datetime) -> tuple[int, datetime]:
    """Give every server in a folder that `open_tls` made, and the operator, a new key and certificate.

    Returns how many, and when they expire. A running mesh takes them up. Raises MeshError when the
    folder has no authority of its own, or when that has expired.
    """
    folder = folder.resolve()
    names = [*known, OPERATOR]
    return len(names), LocalAuthority.read(folder).issue(folder, names, now)


def operator_certificates(mesh: Mesh) -> CertificateFolder | None:
    """Return the key pair that commands show a mesh, None where it speaks in the clear.

    Raises MeshError that says why the mesh would refuse it.
    """
    if not mesh.tls_dir:
        return None
    folder, now = Path(mesh.tls_dir), datetime.now(UTC)
    chain = _read(folder, OPERATOR)
    _check_dates(folder, OPERATOR, chain[0], now)
    _check_issuers(folder, {OPERATOR: chain}, now)
    return CertificateFolder(folder / OPERATOR)


def _read(folder: Path, name: str) -> list[x509.Certificate]:
    try:
        pair = CertificateFolder(folder / name).pair
    except SecurityError as error:
        text = str(error).removeprefix("tls_dir: ")
        raise MeshError(f"no TLS for {name}: {text}. {_advice(folder, name)}") from error
    return x509.load_pem_x509_certificates(pair.certificate)


def _check_dates(folder: Path, name: str, certificate: x509.Certificate, now: datetime) -> None:
    path = folder / name / CERTIFICATE_FILE
    if certificate.not_valid_after_utc <= now:
        raise MeshError(
            f"{path} expired on {certificate.not_valid_after_utc:%Y-%m-%d}. {_advice(folder, name)}"
        )
    if certificate.not_valid_before_utc > now:
        begins = certificate.not_valid_before_utc
        raise MeshError(f"{path} is not valid before {begins:%Y-%m-%d %H:%M} UTC; look at the clock")


def _check_address(folder: Path, name: str, certificate: x509.Certificate) -> None:
    """A mesh of one machine dials 127.0.0.1: the certificate must say that it stands there."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        addresses = names.get_values_for_type(x509.IPAddress)
    except x509.ExtensionNotFound:
        addresses = []
    if ipaddress.ip_address(HOST) not in addresses:
        raise MeshError(
            f"{folder / name / CERTIFICATE_FILE} is not for {HOST}: it needs that IP address among its"
            f" subject alternative names. {_advice(folder, name)}"
        )


def _check_issuers(folder: Path, chains: Mapping[str, Sequence[x509.Certificate]], now: datetime) -> None:
    """Everybody must trust everybody: each certificate under each authority file."""
    files = {folder / name / AUTHORITY_FILE for name in chains}
    if (folder / AUTHORITY_FILE).exists():
        files.add(folder / AUTHORITY_FILE)
    trusted = {path.read_bytes(): path for path in sorted(files)}
    for content, path in trusted.items():
        roots = [root for root in x509.load_pem_x509_certificates(content) if root.not_valid_after_utc > now]
        for name, chain in chains.items():
            if not _is_issued_by(chain, roots):
                raise MeshError(
                    f"{folder / name / CERTIFICATE_FILE} is of another authority than {path}, or that one has"
                    f" expired. {_advice(folder, name)}"
                )


def _is_issued_by(chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]) -> bool:
    """Return whether the chain leads from its first certificate to one of `roots`."""
    certificate, others = chain[0], list(chain[1:])
    while not any(_signed(certificate, root) for root in roots):
        issuer = next((other for other in others if _signed(certificate, other)), None)
        if issuer is None:
            return False
        others.remove(issuer)
        certificate = issuer
    return True


def _signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _identities(folder: Path, chains: Mapping[str, Sequence[x509.Certificate]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, chain in chains.items():
        names = chain[0].subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        identity = str(names[0].value) if names else ""
        if not identity:
            raise MeshError(
                f"{folder / name / CERTIFICATE_FILE} needs a common name: the identity that has the roles"
            )
        if identity in found.values():
            raise MeshError(
                f"two certificates in {folder} have the common name {identity}; each server and the operator"
                " need one of their own, for it is the identity that has the roles"
            )
        found[name] = identity
    return found


def _advice(folder: Path, name: str) -> str:
    if (folder / AUTHORITY_KEY_FILE).exists():
        return f"Make new ones with `tapeline renew-certificates {folder}`."
    return (
        f"Put tls.crt, tls.key and ca.crt of {name} into {folder / name}, signed by the mesh's authority,"
        " or name an empty folder with --tls-dir to have all of them made."
    )
