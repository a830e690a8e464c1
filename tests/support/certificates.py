"""An authority of a test's own, and the certificates that it issues for 127.0.0.1."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(kw_only=True, slots=True, frozen=True)
class Identity:
    """A certificate and its private key, each a PEM file, and both in one."""

    certificate: Path
    key: Path
    both: Path


class Authority:
    """Issues certificates; `file` is the PEM file that clients check them against."""

    def __init__(self, directory: Path, name: str = "headrace test authority") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._name, self._key = _named(name), ec.generate_private_key(ec.SECP256R1())
        signed = self._sign(self._name, self._key, x509.BasicConstraints(ca=True, path_length=0))
        self.file = directory / "ca.pem"
        self.file.write_bytes(_pem(signed))

    def issue(self, name: str) -> Identity:
        """A certificate of 127.0.0.1 with the common name `name`."""
        key = ec.generate_private_key(ec.SECP256R1())
        signed = _pem(
            self._sign(_named(name), key, x509.BasicConstraints(ca=False, path_length=None))
        )
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        identity = Identity(
            certificate=self._directory / f"{name}.pem",
            key=self._directory / f"{name}.key",
            both=self._directory / f"{name}.both.pem",
        )
        identity.certificate.write_bytes(signed)
        identity.key.write_bytes(private)
        identity.both.write_bytes(private + signed)
        return identity

    def _sign(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, kind: x509.BasicConstraints
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(kind, critical=True)
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            .sign(self._key, hashes.SHA256())
        )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
