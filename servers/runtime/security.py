"""Who calls, and what they may: mutual TLS with certificates that can be replaced while running.

A folder in the shape of a Kubernetes TLS secret holds `tls.crt` (with its chain), `tls.key` and `ca.crt`.
New files are used from the next handshake on; connections that stand stay up.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from servers.model.errors import PermissionDenied, Unauthenticated
from servers.runtime.settings import ServerSettings

CERTIFICATE_FILE = "tls.crt"
KEY_FILE = "tls.key"
AUTHORITY_FILE = "ca.crt"
EVERYONE = "*"
_FILES = (CERTIFICATE_FILE, KEY_FILE, AUTHORITY_FILE)


class SecurityError(Exception):
    """The TLS files cannot be used, or the settings would serve the network in the clear."""


@dataclass(frozen=True)
class KeyPair:
    """A certificate chain, its private key and the authority that signs callers, as PEM."""

    certificate: bytes
    key: bytes
    authority: bytes


class CertificateFolder:
    """Reads the three files, and again when one of them has changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._stamp = self._read_stamp()
        self.pair = self._read()

    def refresh(self) -> bool:
        """Read changed files and return whether there is a new pair; half-written ones are left alone."""
        with self._lock:
            try:
                stamp = self._read_stamp()
                if stamp == self._stamp:
                    return False
                pair = self._read()
            except (OSError, SecurityError):
                return False
            self._stamp = stamp
            self.pair = pair
            return True

    def server_credentials(self) -> grpc.ServerCredentials:
        """Return credentials that ask every caller for a certificate and follow the files."""

        def configuration() -> grpc.ServerCertificateConfiguration:
            pair = self.pair
            return grpc.ssl_server_certificate_configuration(
                [(pair.key, pair.certificate)], root_certificates=pair.authority
            )

        def fetch() -> Any:
            return configuration() if self.refresh() else None

        return grpc.dynamic_ssl_server_credentials(configuration(), fetch, require_client_authentication=True)

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Return the credentials of a caller, with the present pair."""
        pair = self.pair
        return grpc.ssl_channel_credentials(pair.authority, pair.key, pair.certificate)

    def _read_stamp(self) -> tuple[tuple[int, int, int], ...]:
        stamps = []
        for name in _FILES:
            try:
                facts = (self._folder / name).stat()
            except OSError as error:
                raise SecurityError(
                    f"tls_dir: cannot read {self._folder / name}: {error.strerror}"
                ) from error
            stamps.append((facts.st_mtime_ns, facts.st_ino, facts.st_size))
        return tuple(stamps)

    def _read(self) -> KeyPair:
        try:
            pair = KeyPair(*((self._folder / name).read_bytes() for name in _FILES))
        except OSError as error:
            raise SecurityError(f"tls_dir: cannot read {error.filename}: {error.strerror}") from error
        check_pair(pair, self._folder)
        return pair


def check_pair(pair: KeyPair, folder: Path) -> None:
    """Raise SecurityError unless the files are PEM and the key belongs to the certificate."""
    from cryptography import x509  # only with security on
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        certificate = x509.load_pem_x509_certificates(pair.certificate)[0]
        key = load_pem_private_key(pair.key, password=None)
        x509.load_pem_x509_certificates(pair.authority)
    except (ValueError, TypeError) as error:
        raise SecurityError(f"tls_dir: {folder} holds a file that is not PEM: {error}") from error
    if certificate.public_key() != key.public_key():
        raise SecurityError(f"tls_dir: the key in {folder} does not belong to the certificate")


class Gate:
    """Admits calls by the roles of the caller's certificate.

    Args:
        roles: identity -> its roles. The identity is a name out of the certificate: a URI or DNS
            subject alternative name, or the common name; the first that the table knows counts, and the
            common name where it knows none.
    """

    def __init__(self, roles: Mapping[str, frozenset[str]]) -> None:
        self._roles = roles

    def admit(self, context: Any, method: str, allowed: frozenset[str]) -> tuple[str, frozenset[str]]:
        """Return the caller's identity and roles.

        Raises Unauthenticated without a certificate, PermissionDenied without an allowed role.
        """
        names = _names(context.auth_context())
        if not names:
            raise Unauthenticated("NO_CLIENT_CERTIFICATE")
        identity = next((name for name in names if name in self._roles), names[-1])
        held = self._roles.get(identity, frozenset())
        if EVERYONE not in allowed and not held & allowed:
            raise PermissionDenied(
                "ROLE_MISSING",
                f"{identity} has none of the roles that may call {method}",
                identity=identity,
                method=method,
                roles=",".join(sorted(allowed)),
            )
        return identity, held


def _names(facts: Mapping[str, Any]) -> list[str]:
    values = [*facts.get("x509_subject_alternative_name", ()), *facts.get("x509_common_name", ())]
    return [value.decode("utf-8", "replace") for value in values]


def certificates_of(settings: ServerSettings) -> CertificateFolder | None:
    """Return the key pair that the settings name, None without TLS.

    Raises SecurityError without TLS on an address that other machines reach, unless the settings allow it.
    """
    if settings.tls_dir is not None:
        return CertificateFolder(settings.tls_dir)
    if not is_loopback(settings.host) and not settings.allow_insecure:
        raise SecurityError(
            f"host {settings.host} is reachable from other machines: set tls_dir, or allow_insecure"
        )
    return None


def is_loopback(host: str) -> bool:
    """Return whether `host` is reachable from this machine alone."""
    return host in ("localhost", "::1", "[::1]") or host.startswith("127.")
