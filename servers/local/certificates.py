"""A certificate authority of one machine: made in a folder, good for loopback alone.

The folder holds `ca.crt` and `ca.key`, and a folder for each name in the shape that `tls_dir` expects:
`tls.crt`, `tls.key`, `ca.crt`.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from servers.local.free_ports import HOST
from servers.local.mesh import MeshError
from servers.runtime.security import AUTHORITY_FILE, CERTIFICATE_FILE, KEY_FILE

AUTHORITY_KEY_FILE = "ca.key"
AUTHORITY_NAME = "Tapeline local authority"
AUTHORITY_LIFETIME = timedelta(days=1825)
CERTIFICATE_LIFETIME = timedelta(days=365)
CLOCK_SKEW = timedelta(minutes=5)
LOOPBACK_NAMES = (x509.IPAddress(ipaddress.ip_address(HOST)), x509.DNSName("localhost"))


class LocalAuthority:
    """Signs certificates whose common name is a server's or a person's, for loopback addresses alone."""

    def __init__(self, certificate: x509.Certificate, key: EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key

    @classmethod
    def make(cls, folder: Path, now: datetime) -> LocalAuthority:
        """Make an authority in `folder`, which is made when missing."""
        folder.mkdir(parents=True, exist_ok=True)
        key = generate_private_key(SECP256R1())
        name = _named(AUTHORITY_NAME)
        usage = _usage(signs_certificates=True)
        certificate = (
            _builder(name, name, key, now, AUTHORITY_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(key, hashes.SHA256())
        )
        _write(folder / AUTHORITY_KEY_FILE, _key_pem(key), 0o600)
        _write(folder / AUTHORITY_FILE, certificate.public_bytes(Encoding.PEM), 0o644)
        return cls(certificate, key)

    @classmethod
    def read(cls, folder: Path) -> LocalAuthority:
        """Return the authority of `folder`. Raises MeshError when its files are not there or no good."""
        try:
            certificate = x509.load_pem_x509_certificate((folder / AUTHORITY_FILE).read_bytes())
            key = load_pem_private_key((folder / AUTHORITY_KEY_FILE).read_bytes(), password=None)
        except OSError as error:
            raise MeshError(
                f"{folder} has no authority of its own that could sign: {error.filename}: {error.strerror}"
            ) from error
        except (ValueError, TypeError) as error:
            raise MeshError(f"{folder} holds an authority that cannot be read: {error}") from error
        if not isinstance(key, EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise MeshError(f"the key {folder / AUTHORITY_KEY_FILE} is not that of {AUTHORITY_FILE}")
        return cls(certificate, key)

    @property
    def expires(self) -> datetime:
        """When it signs no longer."""
        return self._certificate.not_valid_after_utc

    def issue(self, folder: Path, names: Iterable[str], now: datetime) -> datetime:
        """Write new keys and certificates of `names` below `folder`, each file in one step.

        Returns when they expire. Raises MeshError when the authority itself has expired.
        """
        if self.expires <= now:
            raise MeshError(
                f"the authority in {folder} expired on {self.expires:%Y-%m-%d}: remove the folder, and"
                " `tapeline up --tls-dir` makes a new one"
            )
        lifetime = min(CERTIFICATE_LIFETIME, self.expires - now)
        for name in names:
            place = folder / name
            place.mkdir(exist_ok=True)
            key = generate_private_key(SECP256R1())
            certificate = (
                _builder(_named(name), self._certificate.subject, key, now, lifetime)
                .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
                .add_extension(_usage(signs_certificates=False), critical=True)
                .add_extension(
                    x509.ExtendedKeyUsage((ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)),
                    critical=False,
                )
                .add_extension(x509.SubjectAlternativeName(LOOPBACK_NAMES), critical=False)
                .sign(self._key, hashes.SHA256())
            )
            _write(place / KEY_FILE, _key_pem(key), 0o600)
            _write(place / CERTIFICATE_FILE, certificate.public_bytes(Encoding.PEM), 0o644)
            _write(place / AUTHORITY_FILE, self._certificate.public_bytes(Encoding.PEM), 0o644)
        return now + lifetime


def _named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write in one step; a key is never readable by others, not even for a moment."""
    scratch = path.with_name(path.name + ".new")
    with contextlib.suppress(FileNotFoundError):
        scratch.unlink()  # of a run that was killed; its mode is not ours
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    scratch.replace(path)
