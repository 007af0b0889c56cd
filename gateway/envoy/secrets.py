"""The files from which Envoy reads its certificates, written at the start and after each change of a certificate."""

import json
import os
import ssl
from pathlib import Path
from typing import Any

from soma.errors.v1 import reasons

from gateway.xds.snapshot import Tls
from gateway.xds.tls import AUTHORITIES, FRONT, IDENTITY
from services.mesh.call import errors
from services.mesh.call.process_name import GATEWAY
from services.mesh.process.jobs import Job
from services.mesh.settings import Settings
from services.mesh.transport.tls.identity import Identity, folder_of

CHECK_SECONDS = 1.0
_SECRET = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"


class Secrets:
    """The files in `<data_dir>/envoy/secrets`, one per secret. Envoy watches them, so each is replaced in one step."""

    def __init__(self, settings: Settings) -> None:
        """Write the files.

        Raises:
            FailedPrecondition: a certificate cannot be used, or is given without its key.
        """
        self._folder = (settings.data_dir / "envoy" / "secrets").resolve()
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._identity = Identity(folder_of(settings.data_dir), GATEWAY) if settings.mutual_tls else None
        if (settings.tls_cert is None) is not (settings.tls_key is None):
            raise errors.FailedPrecondition("tls_cert and tls_key go together", reason=reasons.TLS_INCOMPLETE)
        if settings.tls_cert is not None and not settings.tls:
            raise errors.FailedPrecondition("tls_cert is set and tls is off", reason=reasons.TLS_INCOMPLETE)
        # The stack's own CA keeps key and certificate in one file.
        own = folder_of(settings.data_dir) / "front.pem"
        self._front = (settings.tls_cert or own, settings.tls_key or own) if settings.tls else None
        self._written: dict[str, str] = {}
        # Remove files of an earlier start, which may have had other settings.
        for path in self._folder.iterdir():
            path.unlink()
        self.write()

    @property
    def tls(self) -> Tls:
        """The paths of the files."""
        return Tls(
            identity=self._path(IDENTITY) if self._identity is not None else "",
            authorities=self._path(AUTHORITIES) if self._identity is not None else "",
            front=self._path(FRONT) if self._front is not None else "",
        )

    @property
    def job(self) -> Job:
        """Writes the files again when a certificate changes."""
        return Job("certificates", self._follow, every=CHECK_SECONDS, first=CHECK_SECONDS, longest_pause=CHECK_SECONDS)

    async def _follow(self) -> None:
        try:
            self.write()
        except errors.FailedPrecondition as error:
            raise errors.FailedPrecondition(
                f"certificate of the public port not taken up: {error.message}", reason=error.reason
            ) from error

    def write(self) -> None:
        """Write the files whose content has changed."""
        if self._identity is not None:
            now = self._identity.material
            self._write(IDENTITY, {"tls_certificate": _pair(now.certificate, now.key)})
            self._write(AUTHORITIES, {"validation_context": {"trusted_ca": _inline(now.ca)}})
        if self._front is not None:
            self._write(FRONT, {"tls_certificate": _front_pair(*self._front)})

    def _path(self, name: str) -> str:
        return str(self._folder / f"{name}.json")

    def _write(self, name: str, secret: dict[str, Any]) -> None:
        content = json.dumps({"resources": [{"@type": _SECRET, "name": name, **secret}]})
        if self._written.get(name) == content:
            return
        path = Path(self._path(name))
        new = path.with_suffix(".new")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(content)
        new.replace(path)
        self._written[name] = content


def _front_pair(certificate: Path, key: Path) -> dict[str, Any]:
    """The pair of the public port. It is checked here, because Envoy would refuse a bad pair without a clear reason.

    A pair is also bad while only one of its files has been replaced.
    """
    try:
        # An empty password, because nobody can be asked for the password of an encrypted key.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, lambda: "")
        return _pair(certificate.read_bytes(), key.read_bytes())
    except ssl.SSLError as error:
        raise errors.FailedPrecondition(
            f"{certificate} and {key}: {error.reason or error.strerror}", reason=reasons.TLS_UNUSABLE
        ) from error
    except OSError as error:
        raise errors.FailedPrecondition(
            f"{error.filename or certificate}: {error.strerror}", reason=reasons.TLS_UNREADABLE
        ) from error


def _pair(certificate: bytes, key: bytes) -> dict[str, Any]:
    return {"certificate_chain": _inline(certificate), "private_key": _inline(key)}


def _inline(pem: bytes) -> dict[str, str]:
    return {"inline_string": pem.decode()}
