"""The certificates of a stack's parts. The stack's own CA issues them at the start and renews them while it runs."""

import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.x509.oid import NameOID

from cli.data_dir import DataDir
from cli.state import running
from cli.table import aligned
from services.mesh.call.errors import Unavailable
from services.mesh.call.process_name import CONTROL, GATEWAY, host_of
from services.mesh.process.jobs import Job
from services.mesh.settings import Settings
from services.mesh.transport.tls.authority import LIFETIME, Authority, trusted
from services.mesh.transport.tls.identity import CA, folder_of
from services.mesh.transport.tls.succession import issued

log = structlog.get_logger("tls")

FRONT = "front"
LOOK_SECONDS, RETRY_SECONDS = 3600.0, 60.0
# How long the gateway may take to receive a new CA, and to use it.
TRUST_SECONDS, SETTLE_SECONDS, POLL_SECONDS = 30.0, 1.0, 0.05
# A certificate with less time left is renewed. So a stack that is down for a while starts again with valid ones.
RENEW_BELOW = LIFETIME / 2


def wanted(settings: Settings, processes: Mapping[str, Sequence[str]], address: str) -> dict[str, list[str]]:
    """The certificates that a stack needs: host names and addresses, by part. `address` is that of the public port."""
    found: dict[str, list[str]] = {}
    if settings.mutual_tls:
        found[CONTROL] = [host_of(CONTROL)]
        found[GATEWAY] = [host_of(GATEWAY)]
        found |= {name: [host_of(service) for service in services] for name, services in processes.items()}
    if settings.tls and settings.tls_cert is None:
        found[FRONT] = sorted({"localhost", "127.0.0.1", "::1", address, settings.advertise or settings.host})
    return found


def expires(path: Path) -> datetime | None:
    """When a certificate expires; None when there is none that can be read."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return None


def ensure(data_dir: Path, needed: Mapping[str, Sequence[str]]) -> list[str]:
    """Issue the certificates that are missing, expire soon, or have other names; return the names of the issued ones.

    Raises:
        FailedPrecondition: a certificate must be issued, and the CA's key is not here.
    """
    folder = folder_of(data_dir)
    due = [name for name, names in needed.items() if _due(folder / f"{name}.pem", names)]
    if due:
        authority = Authority.at(data_dir)
        for name in due:
            authority.issue(name, needed[name])
            log.info("certificate issued", name=name)
    return due


def renewal(data_dir: Path, needed: Mapping[str, Sequence[str]]) -> Job:
    """A job that renews the certificates of `ensure`; running processes load new certificates by themselves."""

    async def renew() -> None:
        ensure(data_dir, needed)

    return Job("renewal", renew, every=LOOK_SECONDS, first=LOOK_SECONDS, longest_pause=RETRY_SECONDS)


def wait_until_trusted(directory: DataDir) -> None:
    """Wait until every part of the running stack trusts the authorities in `ca.pem`.

    The serve processes read the file at each handshake. The control process passes it on to the gateway.

    Raises:
        Unavailable: the control process does not pass it on in time.
    """
    secret_file = directory["envoy"] / "secrets" / "mesh-authorities.json"
    wanted = (folder_of(directory.root) / CA).read_text()
    end = time.monotonic() + TRUST_SECONDS
    while running(directory) is not None and secret_file.exists():
        secret = json.loads(secret_file.read_text())["resources"][0]
        if secret["validation_context"]["trusted_ca"]["inline_string"] == wanted:
            # Envoy watches this file and needs a moment to load it.
            time.sleep(SETTLE_SECONDS)
            return
        if time.monotonic() > end:
            raise Unavailable("the gateway does not use the new CA; see its log", reason="CA_NOT_TAKEN_UP")
        time.sleep(POLL_SECONDS)


def certificate_table(data_dir: Path) -> str:
    """A table of the certificates, for people."""
    folder = folder_of(data_dir)
    rows = [("certificate", "until", "issued by")]
    for authority in trusted(folder):
        rows.append(("CA", f"{authority.not_valid_after_utc:%Y-%m-%d %H:%M} UTC", _name(authority.subject)))
    for path in issued(folder):
        try:
            certificate = x509.load_pem_x509_certificate(path.read_bytes())
        except ValueError:
            rows.append((path.stem, "cannot be read", ""))
        else:
            until = f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
            rows.append((path.stem, until, _name(certificate.issuer)))
    return "\n".join(aligned(rows))


def _name(name: x509.Name) -> str:
    return str(name.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def _due(path: Path, names: Sequence[str]) -> bool:
    end = expires(path)
    if end is None or end - datetime.now(UTC) < RENEW_BELOW:
        return True
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    has = {*alternatives.get_values_for_type(x509.DNSName)}
    has |= {str(address) for address in alternatives.get_values_for_type(x509.IPAddress)}
    return not has.issuperset(names)
