"""A certificate authority for development, and the certificates that it issues to the parts of a stack."""

import os
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.call.process_name import spiffe_id
from services.mesh.transport.tls.identity import CA, folder_of

CA_KEY = "ca.key"
CA_LIFETIME = timedelta(days=3650)
LIFETIME = timedelta(days=30)
# Clocks of two machines differ.
BACKDATED = timedelta(minutes=5)


class Authority:
    """Issues certificates; its key and its certificates are in one folder."""

    def __init__(self, folder: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._folder = folder
        self._certificate = certificate
        self._key = key

    @property
    def certificate(self) -> x509.Certificate:
        """The authority's own certificate."""
        return self._certificate

    @classmethod
    def at(cls, data_dir: Path) -> "Authority":
        """The authority of a data directory; it is made if there is none.

        Raises:
            FailedPrecondition: there is a CA whose key is kept elsewhere, where certificates are issued; or the key
                belongs to another CA.
        """
        folder = folder_of(data_dir)
        folder.mkdir(mode=0o700, exist_ok=True)
        if not (folder / CA).exists():
            certificate, pem = make()
            write(folder / CA_KEY, pem)
            write(folder / CA, certificate.public_bytes(serialization.Encoding.PEM))
        if not (folder / CA_KEY).exists():
            raise errors.FailedPrecondition(
                f"{folder / CA} is there without {CA_KEY}: have certificates issued where the key is",
                reason=reasons.CA_KEY_MISSING,
            )
        key = serialization.load_pem_private_key((folder / CA_KEY).read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        for certificate in trusted(folder):
            if certificate.public_key() == key.public_key():
                return cls(folder, certificate, key)
        raise errors.FailedPrecondition(f"{folder / CA_KEY} is not the key of {CA}", reason=reasons.CA_KEY_FOREIGN)

    def issue(
        self,
        name: str,
        names: Sequence[str] = (),
        *,
        lifetime: timedelta = LIFETIME,
        folder: Path | None = None,
    ) -> Path:
        """Write the key and certificate of a part into `NAME.pem`, in one step; a running process reads it by itself.

        Args:
            name: of the part, such as `serve-memory`; it becomes the SPIFFE id.
            names: host names and IP addresses that the part is reached by.
            lifetime: how long the certificate is valid from now.
            folder: where to write the file, instead of beside the CA.
        """
        alternatives = [x509.UniformResourceIdentifier(spiffe_id(name)), *map(_alternative, names)]
        target = (folder or self._folder) / f"{name}.pem"
        self._issue(target, _subject(name), x509.SubjectAlternativeName(alternatives), lifetime)
        return target

    def renew(self, path: Path) -> None:
        """Replace a key and certificate by new ones with the same names."""
        old = x509.load_pem_x509_certificate(path.read_bytes())
        names = old.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self._issue(path, old.subject, names, LIFETIME)

    def _issue(self, target: Path, subject: x509.Name, names: x509.SubjectAlternativeName, lifetime: timedelta) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = (
            _builder(subject, self._certificate.subject, key.public_key(), lifetime)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(names, critical=False)
            .add_extension(usages, critical=False)
            .add_extension(issuer, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        write(target, _pem(key) + certificate.public_bytes(serialization.Encoding.PEM))


def trusted(folder: Path) -> list[x509.Certificate]:
    """The authorities that a folder trusts; there are two while one replaces the other."""
    return x509.load_pem_x509_certificates((folder / CA).read_bytes())


def make() -> tuple[x509.Certificate, bytes]:
    """A new authority: its certificate, and its key as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    # Each authority has a name of its own, by which a verifier finds the one that issued a certificate.
    subject = _subject(f"SomaMesh development CA {secrets.token_hex(4)}")
    certificate = (
        _builder(subject, subject, key.public_key(), CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_key_usage(), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate, _pem(key)


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, lifetime: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, now + lifetime) - BACKDATED)
        .not_valid_after(now + lifetime)
    )


def _key_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def write(path: Path, content: bytes) -> None:
    """Replace a file in one step; only its owner can read it."""
    new = path.with_name(path.name + ".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    new.replace(path)
