"""The certificate of this process and the CA, for gRPC and HTTP; both are read again when their files change."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.call.process_name import name_in

log = structlog.get_logger("tls")

CA = "ca.pem"
_BEGIN = b"-----BEGIN CERTIFICATE-----"


def folder_of(data_dir: Path) -> Path:
    """The folder of a data directory for certificates."""
    return data_dir / "tls"


@dataclass(frozen=True)
class Material:
    """Key, certificate and CA at one moment, in PEM; `version` changes when one of the files does.

    `ca` has two CAs while one replaces the other.
    """

    key: bytes
    certificate: bytes
    ca: bytes
    version: tuple[int, ...]


class Identity:
    """The certificate `NAME.pem` of a folder, beside the CA. Files that change are read again without a restart."""

    def __init__(self, folder: Path, name: str) -> None:
        """Read the files.

        Raises:
            FailedPrecondition: the files cannot be used; the reason is CERTIFICATE_MISSING, _EXPOSED, _MALFORMED,
                _EXPIRED, _UNTRUSTED or _MISNAMED.
        """
        self.name = name
        self.path = folder / f"{name}.pem"
        self._ca = folder / CA
        self._material = self._read()

    @property
    def material(self) -> Material:
        """The current key, certificate and CA. If new files cannot be used, that is logged and the old ones stay."""
        try:
            version = self._version()
            if version != self._material.version:
                self._material = self._read()
                log.info("certificate rotated", name=self.name)
        except errors.FailedPrecondition as error:
            self._material = Material(
                self._material.key, self._material.certificate, self._material.ca, self._version_if_any()
            )
            log.error("certificate not rotated", name=self.name, reason=error.reason, error=error.message)
        return self._material

    def server_credentials(self) -> grpc.ServerCredentials:
        """Credentials of a gRPC server that demands a certificate of the same CA; gRPC asks again at each handshake."""
        return grpc.dynamic_ssl_server_credentials(
            _configuration(self._material),
            lambda: _configuration(self.material),
            require_client_authentication=True,
        )

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Credentials of a channel, which keeps them: make a new channel when `material.version` has changed."""
        now = self.material
        return grpc.ssl_channel_credentials(now.ca, now.key, now.certificate)

    def server_context(self) -> ssl.SSLContext:
        """The TLS context of an HTTP server, which demands a certificate of the same CA, too."""
        context = self._context()
        version = self._material.version
        newest = context

        def follow(connection: ssl.SSLObject, *_: object) -> None:
            nonlocal newest, version
            if self.material.version != version:
                newest, version = self._context(), self._material.version
            connection.context = newest

        # Called at each handshake, before the certificate is sent; the connection keeps the context it is given here.
        context.sni_callback = follow
        return context

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(self.path)
        context.load_verify_locations(self._ca)
        return context

    def _read(self) -> Material:
        for path in (self.path, self._ca):
            if not path.exists():
                raise errors.FailedPrecondition(
                    f"{path} does not exist; soma certs issue makes certificates", reason=reasons.CERTIFICATE_MISSING
                )
        if self.path.stat().st_mode & 0o077:
            raise errors.FailedPrecondition(
                f"{self.path} holds a key and can be read by others; chmod 600 it", reason=reasons.CERTIFICATE_EXPOSED
            )
        version, content, ca = self._version(), self.path.read_bytes(), self._ca.read_bytes()
        begin = content.find(_BEGIN)
        material = Material(content[:begin], content[begin:], ca, version)
        _check(self.path, material, self.name)
        return material

    def _version(self) -> tuple[int, ...]:
        try:
            return tuple(number for path in (self.path, self._ca) for number in _stamp(path))
        except OSError as error:
            raise errors.FailedPrecondition(str(error), reason=reasons.CERTIFICATE_MISSING) from error

    def _version_if_any(self) -> tuple[int, ...]:
        try:
            return self._version()
        except errors.FailedPrecondition:
            return ()


def issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether an authority issued a certificate."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_ino


def _configuration(material: Material) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(material.key, material.certificate)], root_certificates=material.ca
    )


def _check(path: Path, material: Material, name: str) -> None:
    """Refuse a certificate that every neighbour would refuse."""
    try:
        certificate = x509.load_pem_x509_certificate(material.certificate)
        authorities = x509.load_pem_x509_certificates(material.ca)
    except ValueError as error:
        raise errors.FailedPrecondition(f"{path}: {error}", reason=reasons.CERTIFICATE_MALFORMED) from error
    if certificate.not_valid_after_utc <= datetime.now(UTC):
        raise errors.FailedPrecondition(
            f"{path} has expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC; soma certs rotate renews it",
            reason=reasons.CERTIFICATE_EXPIRED,
        )
    if not any(issued_by(certificate, authority) for authority in authorities):
        raise errors.FailedPrecondition(
            f"{path} was not issued by the CA beside it", reason=reasons.CERTIFICATE_UNTRUSTED
        )
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = [name_in(uri) for uri in alternatives.get_values_for_type(x509.UniformResourceIdentifier)]
    except x509.ExtensionNotFound:
        names = []
    if names != [name]:
        raise errors.FailedPrecondition(f"{path} is not the certificate of {name}", reason=reasons.CERTIFICATE_MISNAMED)
